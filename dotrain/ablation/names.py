"""Names and groups of names that a study written in Python is given: in order, or refused where they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dotrain.errors import UsageError


def flat(names: Iterable[Any]) -> Iterator[Any]:
    """Yield the names of lists in lists, one after the other."""
    for name in in_order(names):
        if isinstance(name, Iterable) and not isinstance(name, str | bytes | Mapping):
            yield from flat(name)
        else:
            yield name


def in_order(names: Iterable[Any]) -> Iterable[Any]:
    """A set's order changes from process to process; that of a study's arms must not."""
    return sorted(names, key=str) if isinstance(names, set | frozenset) else names


def name_of(where: str, what: str, name: Any) -> str:
    """Return a name, unless it is none.

    Args:
        where: The call that it is of, for the message.
        what: What it names.
        name: What was given.

    Raises:
        UsageError: If it is no text, or empty.
    """
    if not isinstance(name, str) or not name:
        own = getattr(name, "name", None)  # of a layer, say
        hint = f"; write its name, {own!r}" if isinstance(own, str) else ""
        raise UsageError(f"{where}: expected the name of a {what}, got {name!r}{hint}")
    return str(name)


def group_of(where: str, group: Any, what: str) -> list[str]:
    """Return the names of a group; args and errors are those of `name_of`."""
    if isinstance(group, str):
        begins = f"prefix={group!r}" if what == "layer" else f"pattern={group + '*'!r}"
        raise UsageError(
            f"{where}: expected lists of names, got the text {group!r}; for one {what}: "
            f"include({group!r}); for all whose names begin so: include_groups({begins})"
        )
    if not isinstance(group, Iterable) or isinstance(group, bytes | Mapping):
        raise UsageError(f"{where}: expected lists of names, got {group!r}")
    names = list(in_order(group))
    for name in names:
        if isinstance(name, list | tuple | set):
            raise UsageError(
                f"{where}: a group is a list of names, got the list {name!r} in one; "
                "write include_groups(['a', 'b'], ['c', 'd'])"
            )
    if not names:
        raise UsageError(f"{where}: a group is empty")
    return [name_of(where, what, name) for name in names]


def groups_of(
    where: str, groups: Sequence[Any], ways: Mapping[str, str | None], what: str
) -> list[list[str] | dict[str, str]]:
    """Return groups, as a config has them.

    Args:
        where: As of `name_of`.
        groups: Lists of names.
        ways: By which others are told, such as ``prefix``; None where it isn't said.
        what: As of `name_of`.

    Raises:
        UsageError: If a group is none, or there is none.
    """
    found: list[list[str] | dict[str, str]] = [group_of(where, group, what) for group in groups]
    for key, value in ways.items():
        if value is not None:
            found.append({key: name_of(where, key, value)})
    if not found:
        raise UsageError(f"{where}: names no group")
    return found
