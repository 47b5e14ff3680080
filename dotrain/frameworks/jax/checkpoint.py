"""A training state of JAX's in a checkpoint: whatever tree of arrays it is."""

from __future__ import annotations

from typing import Any, final

from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadSetup


@final
class JaxCheckpoint:
    """Keep a tree of arrays in the trial's checkpoint, and get it back.

    Weights, the optimizer's state, the last key, a step: any tree of ``jax.Array``, NumPy's arrays and numbers. It is
    saved whole and in NumPy's format, so it can be restored on another number of ranks.

    Example:
        >>> kept = JaxCheckpoint(checkpoint)
        >>> weights, state, key = kept.restore((weights, state, key))
        >>> for epoch in range(checkpoint.step, budget):
        ...     ...
        ...     kept.save((weights, state, key), step=epoch + 1)

    Args:
        checkpoint: The train function's ``checkpoint``.
    """

    FILE = "state.npz"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._was_asked = False

    def save(self, tree: Any, step: int) -> None:
        """Save a tree; on several ranks all of them must.

        Args:
            tree: What `restore` is to return.
            step: How many steps are done, >= 1.

        Raises:
            BadSetup: If the training begins anew beside a checkpoint.
        """
        import jax
        import numpy as np

        if not self._was_asked and (found := self._checkpoint.found_step()):
            raise BadSetup(
                f"a checkpoint of step {found} is there, and the training has begun anew: "
                "`state = kept.restore(state)` goes on from it"
            )
        self._was_asked = True
        whole = _whole(jax.tree.map(_without_key, tree))
        named = {name: _as_bits(np.asarray(leaf)) for name, leaf in _named(whole)}
        with self._checkpoint.save(step) as folder:
            np.savez(folder / self.FILE, **named)

    def restore(self, tree: Any) -> Any:
        """Return the tree of the newest checkpoint, and let Python's and NumPy's generators go on from it.

        Args:
            tree: One of the same form, as a training begins with.

        Returns:
            The tree that was saved, each leaf of the type that it has in `tree`; `tree` itself if there is no checkpoint.

        Raises:
            BadSetup: If the checkpoint has other names, shapes or types.
        """
        import jax
        import numpy as np

        self._was_asked = True
        latest = self._checkpoint.latest
        if latest is None:
            return tree
        leaves, form = jax.tree.flatten(tree)
        names = [name for name, _ in _named(tree)]
        with np.load(latest / self.FILE) as file:
            saved = {name: file[name] for name in file.files}
        if differing := sorted(saved.keys() ^ set(names)):
            what = "the training has not" if differing[0] in saved else "the checkpoint has not"
            raise BadSetup(
                f"{latest / self.FILE}: {what} '{differing[0]}': it is of another training state"
            )
        found = [_like(leaf, saved[name], name) for leaf, name in zip(leaves, names, strict=True)]
        self._checkpoint.restore_random_state()
        return form.unflatten(found)


def _named(tree: Any) -> list[tuple[str, Any]]:
    import jax

    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    # NumPy's files have names, of which a lone leaf has none.
    return [(jax.tree_util.keystr(path) or "tree", leaf) for path, leaf in pairs]


def _is_key(leaf: Any) -> bool:
    import jax

    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_key(leaf: Any) -> Any:
    import jax

    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _whole(tree: Any) -> Any:
    """Return what lies on devices of several processes as NumPy's arrays."""
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    def whole(leaf: Any) -> Any:
        far = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        if far and not leaf.is_fully_replicated:
            return multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(whole, tree)


def _as_bits(array: Any) -> Any:
    """Return what NumPy's files can hold: bfloat16 and its like they would give back as nothing known."""
    return array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}")


def _like(leaf: Any, saved: Any, name: str) -> Any:
    """Return what was saved in the form of a leaf.

    Raises:
        BadSetup: If it is of another shape or type.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    data = _without_key(leaf)
    shape, dtype = np.shape(data), np.dtype(getattr(data, "dtype", None) or np.asarray(data).dtype)
    if dtype.isbuiltin != 1 and saved.dtype == f"u{dtype.itemsize}":
        saved = saved.view(dtype)
    if (saved.shape, saved.dtype) != (shape, dtype):
        raise BadSetup(
            f"the checkpoint has {name} as {saved.dtype}{list(saved.shape)}, the training as "
            f"{dtype}{list(shape)}: it is of another training state"
        )
    if _is_key(leaf):
        return jax.random.wrap_key_data(saved, impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array):
        return jnp.asarray(saved)
    return saved if hasattr(leaf, "shape") else type(leaf)(saved.item())
