"""The numbers of a result by name: what a gate is about.

Names may hold dots, so a path is no list of keys, and may lead to several places: at each, the
longest key that fits is tried first, and a number is what was meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from dotrain.core.marks import Mark
from dotrain.errors import did_you_mean
from dotrain.space.values import is_number

#: Counts that a result leaves out where there was nothing to count.
_NO_COUNT = {
    "trials": {"unfinished": 0},
    "promotions": {"total": 0, "from_checkpoint": 0, "steps_saved": 0, "begun_again": 0},
    "checkpoints": {"freed": 0, "freed_bytes": 0},
    "marks": {str(mark): {"count": 0} for mark in Mark},
}
#: What a path leads to that leads nowhere.
MISSING = object()


@final
@dataclass(frozen=True)
class Paths:
    """A result, looked up by paths.

    Attributes:
        tree: The result as JSON.
        metrics: Where each metric's own value stands, by its name, which is short for that.
    """

    tree: Mapping[str, Any]
    metrics: Mapping[str, str]

    def find(self, path: str, *, any_index: bool = False) -> Any:
        """Return what a path leads to, None where there will be a number, or `MISSING`.

        Args:
            path: The metric's name, or a path.
            any_index: Whether every index of a list leads to what the list's last item is like.
        """
        path = self.metrics.get(path, path)
        places = [*_walk(path, self.tree, any_index), *_walk(path, _NO_COUNT, any_index)]
        numbers = (place for place in places if place is None or is_number(place))
        return next(numbers, places[0] if places else MISSING)

    def why_no_number(self, path: str, value: Any) -> str:
        """Return why a path leads to no number, and which one was meant.

        Args:
            path: The path.
            value: What `find` returned.
        """
        numbers = [*self.metrics, *dict.fromkeys(_numbers(self.tree))]
        if value is not MISSING:
            below = [name for name in numbers if name.startswith(f"{path}.")]
            return f"'{path}' is no number" + (f"; known: {_some(below)}" if below else "")
        hint = did_you_mean(path, numbers)
        if not hint.startswith("; did"):
            # All there is would be a page; what begins alike is enough.
            head = path.partition(".")[0]
            alike = [name for name in numbers if name.startswith(f"{head}.")]
            hint = f"; known: {_some(alike or [n for n in numbers if n.count('.') < 2])}"
        return f"there is no '{path}' in the result{hint}"


def _walk(rest: str, node: Any, any_index: bool) -> Iterator[Any]:
    if node is None:
        yield None
    for key, child in sorted(_children(node), key=lambda item: -len(item[0])):
        if rest == key:
            yield child
        if rest.startswith(f"{key}."):
            yield from _walk(rest[len(key) + 1 :], child, any_index)
    index, _, further = rest.partition(".")
    if any_index and _grows(node) and index.isdecimal():
        yield from _walk(further, node[-1], any_index) if further else [node[-1]]


def _grows(node: Any) -> bool:
    """Whether it is a list that may get longer; one whose items have names may not."""
    if not isinstance(node, list) or not node:
        return False
    return not (isinstance(node[-1], Mapping) and "name" in node[-1])


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a path may go on with; the items of a list by name, if they have one, and index."""
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield str(key), child
    elif isinstance(node, list):
        named = (child for child in node if isinstance(child, Mapping) and "name" in child)
        yield from ((str(child["name"]), child) for child in named)
        yield from ((str(index), child) for index, child in enumerate(node))


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _numbers(node: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every number."""
    if node is None or is_number(node):
        yield path
    children = list(_children(node))
    named = {id(child) for key, child in children if not key.isdecimal()}
    for key, child in children:
        if not (isinstance(node, list) and key.isdecimal() and id(child) in named):
            yield from _numbers(child, f"{path}.{key}" if path else key)
