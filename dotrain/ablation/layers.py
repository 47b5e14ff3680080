"""Layers left out of a model, whatever the framework: which are asked for, and what came of it.

A qualified name says where a layer is: ``block/dense_1`` is `dense_1` in the nested model `block`. What
stands between its parts is the framework's: a slash, or a dot.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from dotrain.errors import UsageError

#: How many names an error lists.
_SHOWN = 20


class SurgeryError(UsageError):
    """A layer can't be left out: mend the names, or write the model without it."""


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
        model: The new model, compiled as the original if that was. Layers whose weights kept
            their shapes have the original's, with its states of random generators; others have
            fresh ones.
        removed: The qualified names of the layers that were asked for.
        changes: What else changed.
        params: How many parameters the new model has more; mostly negative, 0 of one that isn't built yet.
        uncalled: Returns the names of layers where, since the surgery, no run of the model has come
            by the place that they were left out of: whatever was trained is not this model. Nothing
            for a framework whose model can't be run around them.
    """

    model: Any
    removed: tuple[str, ...]
    changes: tuple[Change, ...]
    params: int
    uncalled: Callable[[], Sequence[str]] = tuple


def layers_matching(
    known: Sequence[str], *, prefix: str, pattern: str, separator: str = "/"
) -> list[str]:
    """Return the qualified names of the layers that match, in the model's order.

    What lies inside a nested model that matches itself isn't listed: it goes with that model.

    Args:
        known: The qualified names of all layers that can be asked for.
        prefix: What a layer's name, or its qualified name, starts with; ``""`` for any.
        pattern: As in a shell, with ``*``, ``?`` and ``[...]``, for a layer's name or its
            qualified name; ``""`` for any.
        separator: What stands between the parts of a qualified name.

    Raises:
        SurgeryError: If none matches.
    """
    found: list[str] = []
    for name in known:
        forms = (name, name.rpartition(separator)[2])
        starts = any(form.startswith(prefix) for form in forms)
        matches = not pattern or any(fnmatchcase(form, pattern) for form in forms)
        if (
            starts
            and matches
            and not any(name.startswith(f"{outer}{separator}") for outer in found)
        ):
            found.append(name)
    if not found:
        wanted = [
            *([f"starts with '{prefix}'"] if prefix else []),
            *([f"matches '{pattern}'"] if pattern else []),
        ]
        hint = name_hint(prefix or pattern, known, separator)
        raise SurgeryError(f"no layer's name {' and '.join(wanted)}{hint}")
    return found


def name_hint(word: str, known: Sequence[str], separator: str = "/") -> str:
    """Return a hint for a misspelt name or the misspelt beginning of one.

    Like `did_you_mean`, which doesn't know beginnings and lists however many names there are.

    Args:
        word: What was asked for.
        known: Qualified names.
        separator: What stands between the parts of one.

    Returns:
        A clause that starts with ``"; "``.
    """
    plain = [*known]
    if separator not in word:
        plain += [name.rpartition(separator)[2] for name in known]
    for near in (
        {name: name for name in plain},
        {name[: len(word)]: name for name in reversed(plain)},
    ):
        close = difflib.get_close_matches(word, list(near), n=1, cutoff=0.6)
        if close:
            return f"; did you mean '{near[close[0]]}'?"
    shown = ", ".join(known[:_SHOWN])
    return f"; known: {shown}" + (f", ... ({len(known)} in all)" if len(known) > _SHOWN else "")
