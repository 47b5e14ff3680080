"""What makes a Keras training step on R replicas compute what one process would.

Left alone, Keras 3 averages the replicas' own means, whatever their share of the batch; clips each
replica's gradient before they are summed; normalizes each replica's rows by themselves; and lets
all replicas drop the same units. Here, while a step is traced, and not a moment longer:

- the loss of replica i is weighted by n_i R / n, with n_i of the batch's n rows, so that the sum
  of the gradients is the gradient of the batch's mean;
- gradients are summed before anything else is done with them (clipping, accumulation, the search
  for overflows of a loss scale), which is then the same on all replicas;
- batch normalization takes its moments from the whole batch;
- replicas draw from different streams of random numbers.

Nothing is left behind on the user's model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dotrain.training.errors import BadSetup

#: Added to a seed once per replica; any odd number that spreads them will do.
_STREAM = 0x2545F491


def trainer_behind(function: Callable[..., Any]) -> Any:
    """Return the Keras model whose step a function is, or None."""
    import keras

    seen = function
    for name in ("python_function", "__wrapped__"):
        seen = getattr(seen, name, seen)
    owner = getattr(seen, "__self__", None)
    if isinstance(owner, keras.Model):
        return owner
    # Before Keras 3.15 the step is a nested function of a method of the model's.
    for cell in getattr(seen, "__closure__", None) or ():
        if isinstance(cell.cell_contents, keras.Model):
            return cell.cell_contents
    return None


class Step:
    """A training step under way on each replica.

    Attributes:
        weight: Of this replica's loss, once the step has begun; None if it is not weighted.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def weight(self) -> Any:
        """n_i R / n of the replica that this thread traces."""
        return getattr(self._local, "weight", None)

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step's function that counts its rows first."""
        import tensorflow as tf

        def counted(*args: Any, **kwargs: Any) -> Any:
            parts = [part for part in tf.nest.flatten((args, kwargs)) if _has_rows(part)]
            if parts:
                replica = tf.distribute.get_replica_context()
                own = tf.cast(tf.shape(parts[0])[0], tf.float32)
                total = replica.all_reduce(tf.distribute.ReduceOp.SUM, own)
                replicas = float(replica.num_replicas_in_sync)
                self._local.weight = tf.math.divide_no_nan(own * replicas, total)
            try:
                return function(*args, **kwargs)
            finally:
                self._local.weight = None

        return counted


def _has_rows(part: Any) -> bool:
    shape = getattr(part, "shape", None)
    return shape is not None and shape.rank != 0


@contextmanager
def as_one_process(model: Any, *, exact: bool) -> Iterator[Step]:
    """Let the steps of a compiled model, traced inside, compute what one process would.

    Args:
        model: A Keras model.
        exact: Whether to; else only what can't work is refused.

    Raises:
        BadSetup: If it is compiled with something that can't be done on several replicas.
    """
    _refuse(model)
    step = Step()
    with ExitStack() as overrides:
        if exact:
            for target, name, value in _overrides(model, step):
                overrides.enter_context(_overridden(target, name, value))
        yield step


def _refuse(model: Any) -> None:
    import tensorflow as tf

    if getattr(model, "steps_per_execution", 1) != 1:
        raise BadSetup(
            "model.compile(steps_per_execution=...) doesn't work on several workers: "
            "Keras' loop of steps would hang there; leave it out"
        )
    if getattr(model, "jit_compile", False) is True and not tf.config.list_physical_devices("GPU"):
        raise BadSetup(
            "model.compile(jit_compile=True) doesn't work on several workers without GPUs: "
            "XLA has no collective operations for CPUs; leave it out"
        )


def _overrides(model: Any, step: Step) -> Iterator[tuple[Any, str, Any]]:
    import keras

    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        yield from _optimizer_overrides(optimizer, step, weighted=_takes_means(model))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer, "synchronized", True
        for generator in getattr(layer, "_seed_generators", ()):
            yield generator, "next", _own_stream(generator.next)


def _takes_means(model: Any) -> bool:
    """Whether the model's losses are means over rows, which need weights, or all sums."""
    import keras

    losses = [loss for loss in keras.tree.flatten(getattr(model, "loss", None)) if loss is not None]
    kinds = {getattr(loss, "reduction", "sum_over_batch_size") for loss in losses}
    if kinds == {"sum"}:
        return False
    if unknown := kinds - {"sum_over_batch_size", "mean"}:
        raise BadSetup(
            f"a loss with reduction {', '.join(sorted(map(repr, unknown)))} can't be summed over "
            "several workers as one process would; use 'sum_over_batch_size', or set "
            "distribution.exact: false"
        )
    return True


def _optimizer_overrides(
    optimizer: Any, step: Step, *, weighted: bool
) -> Iterator[tuple[Any, str, Any]]:
    import tensorflow as tf

    inner = getattr(optimizer, "inner_optimizer", optimizer)
    scale_loss, apply, reduce = (
        optimizer.scale_loss,
        optimizer.apply,
        inner._all_reduce_sum_gradients,
    )

    def weigh(loss: Any) -> Any:
        loss = scale_loss(loss)
        if not weighted or step.weight is None:
            return loss
        return loss * tf.cast(step.weight, loss.dtype)

    def reduce_first(grads: Any, trainable_variables: Any = None) -> Any:
        variables = trainable_variables or optimizer._trainable_variables
        pairs = reduce(list(zip(grads, variables, strict=True)))
        return apply([gradient for gradient, _ in pairs], trainable_variables)

    yield optimizer, "scale_loss", weigh
    yield optimizer, "apply", reduce_first
    yield inner, "_all_reduce_sum_gradients", lambda pairs: pairs
    conditions = ("gradient_accumulation_steps", "ema_overwrite_frequency")
    if any(getattr(inner, name, None) for name in conditions):
        # These updates stand in a condition, where replicas can't be merged; nor need they be,
        # since they all hold the same gradient.
        extended = inner._distribution_strategy.extended
        yield extended, "_use_merge_call", lambda: False


def _own_stream(draw: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def shifted(*args: Any, **kwargs: Any) -> Any:
        seed = draw(*args, **kwargs)
        replica = tf.distribute.get_replica_context()
        if replica is None:
            return seed
        shift = tf.cast(replica.replica_id_in_sync_group, tf.int64) * _STREAM
        return seed + tf.cast(tf.stack([shift % 2**31, 0]), seed.dtype)

    return shifted


@contextmanager
def _overridden(target: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of an instance, and put it back as it was."""
    attributes = vars(target)
    own = name in attributes
    before = attributes.get(name)
    # Past the tracking of attributes, which Keras and TensorFlow do for saving.
    attributes[name] = value
    try:
        yield
    finally:
        if own:
            attributes[name] = before
        else:
            del attributes[name]
