"""TensorFlow's strategies, made to work with Keras 3 and to use every sample once.

No class of TensorFlow or Keras is changed: the strategies here are subclasses.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any

from dotrain.frameworks.tensorflow.empty_share import refusing_no_rows
from dotrain.frameworks.tensorflow.exact import as_one_process, trainer_behind
from dotrain.training.errors import BadSetup


def distributed(base: type[Any]) -> type[Any]:
    """Return a subclass of a TensorFlow strategy, for use as ``with strategy:`` too.

    Args:
        base: ``tf.distribute.MirroredStrategy`` or ``MultiWorkerMirroredStrategy``.
    """
    import tensorflow as tf
    from tensorflow.data.experimental import AutoShardPolicy

    class Distributed(base):  # type: ignore[misc]
        #: Whether Keras trains as one process with the same global batch would.
        exact = True
        #: Whether anything has been run or distributed by the strategy.
        used = False

        def __enter__(self) -> Any:
            self._scopes = getattr(self, "_scopes", [])
            scope = ExitStack()
            scope.enter_context(self.scope())
            self._scopes.append(scope)
            return self

        def __exit__(self, *error: Any) -> Any:
            return self._scopes.pop().__exit__(*error)

        def run(
            self, fn: Callable[..., Any], args: Any = (), kwargs: Any = None, options: Any = None
        ) -> Any:
            self.used = True
            trainer = trainer_behind(fn)
            if self.num_replicas_in_sync == 1:
                return super().run(fn, args, kwargs, options)
            if trainer is None:
                own = refusing_no_rows(fn) if self.exact and _has_onednn() else fn
                return super().run(own, args, kwargs, options)
            with as_one_process(trainer, exact=self.exact) as step:
                return super().run(step.of(fn), args, kwargs, options)

        def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
            # Keras calls this in two ways that TensorFlow refuses (keras-team/keras#20585): with
            # a structure, only to learn its shapes, and with scalars and axis=0.
            if tf.nest.is_nested(value):
                return tf.nest.map_structure(
                    lambda part: self.experimental_local_results(part)[0], value
                )
            if axis == 0 and self.experimental_local_results(value)[0].shape.rank == 0:
                axis = None
            return super().reduce(reduce_op, value, axis)

        def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
            self.used = True
            rows = split_by_rows(dataset)
            return looked_at(super().experimental_distribute_dataset(rows, options), rows)

    def split_by_rows(dataset: Any) -> Any:
        policy = dataset.options().experimental_distribute.auto_shard_policy
        if policy == AutoShardPolicy.OFF:
            raise BadSetup(
                "the data set's auto_shard_policy is OFF: every worker would train on every row; "
                "leave it out (rows are then split), or shard by hand with "
                "strategy.distribute_datasets_from_function"
            )
        return by_rows(dataset)

    def looked_at(distributed: Any, dataset: Any) -> Any:
        """Let Keras' look at the first batch's shape cost no iteration of the data.

        A shuffled data set has another order in each iteration, and a generator has but one: with
        the look, training would see other batches than on one process.
        """
        specs = tf.nest.flatten(dataset.element_spec)
        if not all(isinstance(spec, tf.TensorSpec) and spec.shape.rank for spec in specs):
            return distributed

        class LookedAt(type(distributed)):  # type: ignore[misc]
            def __iter__(self) -> Any:
                if not _keras_only_looks():
                    return super().__iter__()
                zeros = [tf.zeros([size or 1 for size in s.shape], s.dtype) for s in specs]
                return iter([tf.nest.pack_sequence_as(dataset.element_spec, zeros)])

        distributed.__class__ = LookedAt
        return distributed

    Distributed.__name__ = Distributed.__qualname__ = base.__name__
    return Distributed


def require_backend(strategy: str) -> None:
    """Refuse Keras on another backend, which knows nothing of TensorFlow's strategies.

    Raises:
        BadSetup: If that is so.
    """
    import keras

    if (backend := keras.backend.backend()) != "tensorflow":
        raise BadSetup(
            f"strategy '{strategy}' is TensorFlow's, and Keras computes with {backend} here (KERAS_BACKEND): take "
            "strategy: jax with KERAS_BACKEND=jax, or KERAS_BACKEND=tensorflow"
        )


def _has_onednn() -> bool:
    import tensorflow as tf

    asked = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
    return asked != "0" and not tf.config.list_physical_devices("GPU")


def _keras_only_looks() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("keras."):
        if frame.f_code.co_name == "_maybe_symbolic_build":
            return True
        frame = frame.f_back
    return False


def by_rows(dataset: Any) -> Any:
    """Return a data set of global batches that is split by rows, none of them twice.

    TensorFlow's own choice, by files where there are any, fails on other data and pads a number
    of files that doesn't divide.

    Raises:
        BadSetup: If they are another framework's batches.
    """
    import tensorflow as tf

    if not isinstance(dataset, tf.data.Dataset):
        raise BadSetup(
            f"data_gen.batch() can't split {type(dataset).__name__} between ranks with TensorFlow: let the data "
            "function return arrays, or a tf.data.Dataset of rows"
        )
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
