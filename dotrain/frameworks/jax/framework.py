"""JAX, as the rest of dotrain sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from dotrain.frameworks.base import AbstractFramework
from dotrain.frameworks.none import ArrayBatches
from dotrain.frameworks.rows import Rows


@final
class Jax(AbstractFramework):
    """JAX, with whatever is built on it: Flax, Optax, Equinox, ...

    It has no global generator: the user makes keys (``jax.random.key(seed)``), and keeps the last of them with
    what it trains. Arrays and trees of them come in batches of NumPy arrays, which a jitted function takes as
    they are.
    """

    #: Others import it where it is installed.
    precedence: ClassVar[int] = -1
    packages: ClassVar[tuple[str, ...]] = ("jax",)
    distributions: ClassVar[tuple[str, ...]] = ("jax", "jaxlib", "flax", "optax")
    requirement: ClassVar[str] = "dotrain[jax]"

    def threads(self, count: int) -> Mapping[str, str]:
        """Limit the pool in which XLA computes on CPUs; those in which it waits stay."""
        return {"PJRT_NPROC": str(count)}

    def environment(self) -> Mapping[str, str]:
        """Leave out what it says of itself; take a GPU's memory as it is needed, as others may share it."""
        return {"TF_CPP_MIN_LOG_LEVEL": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

    def seed(self, seed: int) -> None:
        """Seed nothing: keys are the user's."""

    def takes_data(self, data: Any) -> bool:
        """Take tuples, lists and dicts of arrays, and of such; and rows, whose batches are tuples."""
        if isinstance(data, Rows):
            return True
        return isinstance(data, tuple | list | dict) and bool(data) and _holds_arrays(data)

    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        """Return batches of NumPy arrays in the data's own form."""
        if isinstance(data, Rows):
            return ArrayBatches(data, size, seed, epoch)
        from dotrain.frameworks.jax.data import TreeBatches

        return TreeBatches(data, size, seed, epoch)

    def scope(self) -> Any:
        """Return the devices of one process: the first of them."""
        import jax

        from dotrain.frameworks.jax.devices import Devices

        return Devices(lambda: jax.local_devices()[:1])


def _holds_arrays(data: Any) -> bool:
    if isinstance(data, tuple | list):
        return all(map(_holds_arrays, data))
    if isinstance(data, dict):
        return all(map(_holds_arrays, data.values()))
    return bool(getattr(data, "shape", ()))
