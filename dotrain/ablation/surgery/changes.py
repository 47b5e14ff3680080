"""What a surgery did to a model, and the words for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Change:
    """What else is different in a model from which layers were left out.

    Attributes:
        kind: ``kernel shape``: a layer's weights have another shape, and fresh values;
            ``dropped``: nothing uses the layer any more; ``removed``: it was inside of a model
            that was left out, or nothing is left inside of it; ``inputs``: two inputs of a merge
            have become one and the same, so that an Add now doubles it.
        layer: The qualified name of the layer.
        before: Weights with their shape, or inputs, or the class of a layer that went.
        after: The new shape or inputs, or why the layer went.
    """

    kind: Literal["kernel shape", "dropped", "removed", "inputs"]
    layer: str
    before: str
    after: str

    def __str__(self) -> str:
        if self.kind in ("dropped", "removed"):
            return f"{self.layer} ({self.before}): {self.kind}, {self.after}"
        return f"{self.layer}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Surgery:
    """A model without some of its layers.

    Attributes:
        model: The new Keras model, compiled as the original if that was. Layers whose weights kept
            their shapes have the original's, with its states of random generators; others have
            fresh ones.
        removed: The qualified names of the layers that were asked for.
        changes: What else changed.
        params: How many parameters the new model has more; mostly negative.
    """

    model: Any
    removed: tuple[str, ...]
    changes: tuple[Change, ...]
    params: int


VARIANT = "write a variant under `models:`"


GROUP = f"leave out a whole group that ends in the shape it began with, or {VARIANT}"


def reshaped(name: str, old: Any, new: Any) -> Iterator[Change]:
    """Yield how the weights of a layer differ, those that differ alike together."""
    if len(old.variables) != len(new.variables):
        counts = (f"{len(layer.variables)} variables" for layer in (old, new))
        yield Change("kernel shape", name, *counts)
        return
    alike: dict[tuple[str, str], list[str]] = {}
    for before, after in zip(old.variables, new.variables, strict=True):
        if before.shape != after.shape:
            # Below the layer's own name: "kernel", or "forward_lstm/lstm_cell/kernel".
            label = f"/{before.path}".rpartition(f"/{old.name}/")[2]
            alike.setdefault((str(tuple(before.shape)), str(tuple(after.shape))), []).append(label)
    for (was, is_now), labels in alike.items():
        yield Change("kernel shape", name, f"{', '.join(labels)} {was}", is_now)


def spec(tensor: Any) -> tuple[tuple[int | None, ...], str]:
    """Return a tensor's shape and dtype."""
    return tuple(tensor.shape), str(tensor.dtype)


def in_words(before: Any, after: Any) -> str:
    """Return how two tensors differ: by their shapes, else by their dtypes."""
    if before.shape != after.shape:
        return f"{tuple(before.shape)} -> {tuple(after.shape)}"
    return f"{before.dtype} -> {after.dtype}"


def quoted(names: Iterable[str]) -> str:
    """Return names for a sentence."""
    return ", ".join(f"'{name}'" for name in names)
