"""The devices that a trial computes on, and how arrays lie there: what ``dist_strategy()`` gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, final

#: The mesh's one axis.
ROWS = "rows"


@final
class Devices:
    """The devices of a trial, of one process or of several; ``with`` it or without, nothing changes.

    Attributes:
        mesh: A ``jax.sharding.Mesh`` of all devices, of one axis, ``rows``.
        by_rows: The sharding of a batch: each device has its share of the rows.
        replicated: The sharding of what each device has as a whole.
    """

    def __init__(self, devices: Callable[[], Sequence[Any]]) -> None:
        """Take them, once anything is asked: JAX starts its threads then.

        Args:
            devices: Returns JAX's, of every process, in the same order in each.
        """
        self._devices = devices
        self._has_said = False

    @property
    def used(self) -> bool:
        """Whether anything has been asked of them."""
        return "mesh" in vars(self)

    @cached_property
    def mesh(self) -> Any:
        """The mesh of all devices."""
        import numpy as np
        from jax.sharding import Mesh

        return Mesh(np.array(self._devices()), (ROWS,))

    @cached_property
    def by_rows(self) -> Any:
        """How a batch lies on them."""
        from jax.sharding import NamedSharding, PartitionSpec

        return NamedSharding(self.mesh, PartitionSpec(ROWS))

    @cached_property
    def replicated(self) -> Any:
        """How weights lie on them."""
        from jax.sharding import NamedSharding, PartitionSpec

        return NamedSharding(self.mesh, PartitionSpec())

    @cached_property
    def _replicate(self) -> Any:
        import jax

        return jax.jit(lambda array: array, out_shardings=self.replicated)

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def scope(self) -> Devices:
        """Return itself, as the scopes of other frameworks do."""
        return self

    @property
    def num_replicas_in_sync(self) -> int:
        """How many devices there are."""
        return int(self.mesh.size)

    def shard(self, batch: Any) -> Any:
        """Lay a global batch on the devices: to each its share of the rows.

        JAX divides no rows unevenly: a batch whose rows don't divide by the devices is laid on each as a whole.
        A jitted function computes the same of either.

        Args:
            batch: A tree of arrays of equal length, the same in every process.

        Returns:
            The same tree of global ``jax.Array``.
        """
        import jax
        import numpy as np

        leaves, form = jax.tree.flatten(batch)
        arrays = [leaf if isinstance(leaf, jax.Array) else np.asarray(leaf) for leaf in leaves]
        divides = all(
            array.ndim and array.shape[0] % self.num_replicas_in_sync == 0 for array in arrays
        )
        sharding = self.by_rows if divides else self.replicated
        return form.unflatten([_laid(array, sharding) for array in arrays])

    def replicate(self, tree: Any) -> Any:
        """Lay a tree of arrays, the same in every process, on each device as a whole."""
        import jax
        import numpy as np

        def laid(leaf: Any) -> Any:
            return _laid(leaf if isinstance(leaf, jax.Array) else np.asarray(leaf), self.replicated)

        return jax.tree.map(laid, tree)

    def whole(self, tree: Any) -> Any:
        """Return a tree's arrays as NumPy's, whole, in every process; all of them must call it."""
        import jax
        import numpy as np

        def gathered(leaf: Any) -> Any:
            if isinstance(leaf, jax.Array) and not (
                leaf.is_fully_addressable or leaf.is_fully_replicated
            ):
                leaf = self._replicate(leaf)
            return np.asarray(leaf)

        return jax.tree.map(gathered, tree)

    def say_if_nobody_shares(self, batch: Any) -> None:
        """Say once, as the chief, that a data set's first batch doesn't divide by the devices."""
        import jax

        count = self.num_replicas_in_sync
        rows = {len(leaf) for leaf in jax.tree.leaves(batch) if getattr(leaf, "shape", ())}
        if self._has_said or not any(number % count for number in rows):
            return
        self._has_said = True
        if jax.process_index() == 0:
            told = ", ".join(map(str, sorted(rows)))
            sys.stderr.write(
                f"dotrain: a batch of {told} rows doesn't divide by {count} devices, so each of them computes all "
                f"of it; to share the work, choose a batch size that is a multiple of {count}\n"
            )


def _laid(array: Any, sharding: Any) -> Any:
    import jax

    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return array  # it lies there already
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
