"""The data that a configuration of Maggy's gives its train function, and each rank's part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

from dotrain.training.errors import BadSetup


class Sets:
    """``train_set`` and ``test_set``, or ``dataset``: whichever are given."""

    def __init__(
        self, given: Mapping[str, Any], process_data: Callable[..., Any] | None = None
    ) -> None:
        self.given, self._process = dict(given), process_data

    def __getstate__(self) -> dict[str, Any]:
        try:
            return {"packed": cloudpickle.dumps(self.__dict__)}
        except Exception as error:
            said = ", ".join(f"{name}: {type(one).__name__}" for name, one in self.given.items())
            raise TypeError(f"{error} ({said}); give arrays, or load them inside of it") from error

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = cloudpickle.loads(state["packed"])

    def read(self) -> dict[str, Any]:
        """Return them by name; of files, what ``process_data`` makes of them."""
        values = self.given["dataset"] if "dataset" in self.given else [*self.given.values()]
        if self._process is not None and all(isinstance(one, str) for one in values):
            made, self._process = self._process(*values), None
            names = self.given.keys()
            self.given = (
                {"dataset": [*made]} if "dataset" in names else dict(zip(names, made, strict=True))
            )
        return self.given

    def __call__(self, split: str = "train") -> Any:
        """Return one, for ``data_gen``."""
        return self.read()[f"{split}_set"]

    def dealt(self, strategy: Any, data_gen: Any, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """Return a rank's part: global batches where their sizes are said; in a loader's ranks its rows to train on."""
        sets, ranks = self.read(), strategy.num_replicas_in_sync
        for name in ("train", "test"):
            size = hparams.get(f"{name}_batch_size")
            if size and isinstance(sets.get(f"{name}_set"), tuple | list):
                sets = {**sets, f"{name}_set": data_gen.batch(size * ranks, name, shuffle=False)}
        if hasattr(strategy, "rank") and sets is self.given:
            for name in sets.keys() - {"test_set"}:
                one, *others = sets[name] if name == "dataset" else [sets[name]]
                if isinstance(one, tuple | Mapping) or not hasattr(one, "__getitem__"):
                    told = f"{name}: a {type(one).__name__} has no rows to deal out to the ranks"
                    raise BadSetup(f"{told}; give a Dataset, such as TensorDataset(x, y)")
                share = one if isinstance(one, str) else Share(one, strategy.rank, ranks)
                sets = {**sets, name: [share, *others] if name == "dataset" else share}
        return sets


class Share:
    """A rank's rows of a data set. Each rank has as many, for which the first ones come once more if need be."""

    def __init__(self, rows: Any, rank: int, ranks: int) -> None:
        self._rows, self._rank, self._ranks = rows, rank, ranks

    def __len__(self) -> int:
        return -(-len(self._rows) // self._ranks)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._rows[(index * self._ranks + self._rank) % len(self._rows)]
