"""The generators: how a train function gets its model and its data without knowing which ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dotrain.training.arguments import bind
from dotrain.training.errors import BadSetup


class ModelGenerator:
    """Builds the model of this trial.

    Calls the config's ``model:`` function; it may ask by name for hyperparameters, ``hparams``,
    ``seed``, ``budget`` and ``trial_dir``.
    """

    def __init__(
        self,
        function: Callable[..., Any] | None,
        available: Mapping[str, Any],
        hparams: Mapping[str, Any],
    ) -> None:
        self._function = function
        self._available = available
        self._hparams = hparams

    def create(self, **arguments: Any) -> Any:
        """Return a new model.

        Args:
            **arguments: Passed on to the model function, before what it would get by name.

        Raises:
            BadSetup: If the config has no ``model:``.
        """
        if self._function is None:
            raise BadSetup("model_gen.create() was called, but the config has no 'model:'")
        return self._function(**bind(self._function, self._available, self._hparams, arguments))

    __call__ = create


class DataGenerator:
    """Gives the data of this trial.

    Calls the config's ``data:`` function; it may ask by name for hyperparameters, ``hparams``,
    ``seed``, ``trial_dir``, and ``split``.
    """

    def __init__(
        self,
        function: Callable[..., Any] | None,
        available: Mapping[str, Any],
        hparams: Mapping[str, Any],
        seed: int,
        shard: Callable[[Any], Any],
    ) -> None:
        self._function = function
        self._available = available
        self._hparams = hparams
        self._seed = seed
        self._shard = shard

    def load(self, split: str = "train", **arguments: Any) -> Any:
        """Return what the data function returns, as it is.

        Args:
            split: Handed to the data function if it asks for it: ``train``, ``validation``, ...
            **arguments: Passed on, before what it would get by name.

        Raises:
            BadSetup: If the config has no ``data:``.
        """
        if self._function is None:
            raise BadSetup("data_gen was used, but the config has no 'data:'")
        available = {**self._available, "split": split}
        return self._function(**bind(self._function, available, self._hparams, arguments))

    def batch(
        self, batch_size: int | None = None, split: str = "train", shuffle: bool | None = None
    ) -> Any:
        """Return the data in batches, ready for ``model.fit``.

        Args:
            batch_size: Rows of a batch, over all workers of the trial; by default the
                hyperparameter ``batch_size``, else 32.
            split: Handed to the data function if it asks for it.
            shuffle: Whether rows are shuffled anew each epoch, by the trial's seed; by default
                for the split ``train`` only.

        Returns:
            A ``tf.data.Dataset`` of batches if the data function returns a dataset of rows or
            arrays of equal length (features, labels, ...); anything else is returned as it is.
        """
        data = self.load(split)
        arrays = isinstance(data, tuple | list) and all(hasattr(part, "shape") for part in data)
        if not arrays and not hasattr(data, "element_spec"):
            return data
        import tensorflow as tf

        rows = tf.data.Dataset.from_tensor_slices(tuple(data)) if arrays else data
        if shuffle if shuffle is not None else split == "train":
            size = len(data[0]) if arrays else 10_000
            rows = rows.shuffle(size, seed=self._seed, reshuffle_each_iteration=True)
        size = batch_size or self._hparams.get("batch_size") or 32
        return self._shard(rows.batch(int(size)).prefetch(tf.data.AUTOTUNE))

    def __call__(self, *args: Any, **arguments: Any) -> Any:
        """Call the data function as it stands, the way of Maggy's ``dataset_function``."""
        if self._function is None:
            raise BadSetup("data_gen was used, but the config has no 'data:'")
        if args:
            return self._function(*args, **arguments)
        return self.load(**arguments)
