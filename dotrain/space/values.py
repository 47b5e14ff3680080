"""Values as a config holds them: text, numbers, true or false, none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Scalar = str | int | float | bool | None

#: A value in a form that can be looked up: equal for `same_value`, and only then.
Key = tuple[str, Any]

_PLAIN = (bool, int, float, str)


class SpaceError(ValueError):
    """A domain or a space that can't be.

    Attributes:
        key: The field at fault (``range``, ``step``, ...), or ``""`` for the whole domain.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def plain_value(value: Any) -> Any:
    """Return a hyperparameter's value as a config and a journal can hold it.

    Enumerations of numbers and text, NumPy's scalars and arrays without dimensions become what
    they stand for; lists and tuples become lists, and mappings by text dicts.

    Raises:
        TypeError: If it is anything else: an array, a set, an object.
    """
    if value is None or type(value) in _PLAIN:
        return value
    for kind in _PLAIN:
        if isinstance(value, kind):
            # An enumeration's own `str` is its name.
            return str.__str__(value) if kind is str else kind(value)
    if isinstance(value, list | tuple):
        return [plain_value(part) for part in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {plain_value(key): plain_value(part) for key, part in value.items()}
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        held = item()
        if held is not value:
            return plain_value(held)
    raise TypeError(
        f"{_shown(value)} is no plain value (text, number, true or false, none, list)"
        f"{_instead(value)}"
    )


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _instead(value: Any) -> str:
    if callable(getattr(value, "tolist", None)):
        return "; write .tolist() for a list"
    if isinstance(value, set | frozenset):
        return "; write a list"
    return ""


def plain_or_text(value: Any) -> Any:
    """Return what JSON doesn't know as what it does, the rest as text: for `json.dumps`."""
    try:
        return plain_value(value)
    except TypeError:
        return str(value)


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters as a journal can hold them.

    Raises:
        TypeError: If a value can't be, with the name of its parameter.
    """
    found = {}
    for name, value in params.items():
        try:
            found[str(plain_value(name))] = plain_value(value)
        except TypeError as error:
            raise TypeError(f"'{name}': {error}") from None
    return found


def plain_if_possible(value: Any) -> Any:
    """Return `value` plain, or as it is for a check to refuse."""
    try:
        return plain_value(value)
    except TypeError:
        return value


def as_sequence(values: Any) -> Any:
    """Return a sequence, or an array of one dimension, with plain values; the rest as it is.

    A set is no sequence: its order would be another one in every process.
    """
    if len(getattr(values, "shape", ())) == 1 and callable(getattr(values, "tolist", None)):
        values = values.tolist()
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        return values
    return tuple(map(plain_if_possible, values))


def as_list(values: Any) -> Sequence[Any]:
    """Return a list or tuple as it is, and anything else as the only one."""
    return values if isinstance(values, list | tuple) else [values]


def is_plain(value: object) -> bool:
    """Whether `value` is one that a parameter may have: as `plain_value` returns it, and no NaN in it."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(part) for key, part in value.items())
    return isinstance(value, str | int | float | bool | None) and value == value


def is_number(value: object) -> bool:
    """Whether `value` is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same_value(a: Any, b: Any) -> bool:
    """Equality of plain values that tells True from 1, as a YAML author does, inside of lists and mappings too."""
    if isinstance(a, list | dict) or isinstance(b, list | dict):
        return type(a) is type(b) and value_key(a) == value_key(b)
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def value_key(value: Any) -> Key:
    """Return what stands for a plain value in a set or a dict; the order of a mapping's keys is no matter."""
    if isinstance(value, list):
        return "list", tuple(map(value_key, value))
    if isinstance(value, dict):
        return "mapping", frozenset((key, value_key(part)) for key, part in value.items())
    return "bool" if isinstance(value, bool) else "", value


def value_text(value: Any) -> str:
    """Return a plain value as people read it: ``relu``, ``[64, 64]``, ``{units: 32}``."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {value_text(part)}' for key, part in value.items())}}}"
    return str(value)
