"""The words for what a surgery did to a model, or can't do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dotrain.ablation.layers import Change

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
