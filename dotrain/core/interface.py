"""Whether a class can stand in for the interface it derives from, by its methods' signatures."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

#: Called by the plugin itself only, so its own business.
_OWN = frozenset({"create_trial", "score"})


def broken_method(cls: type[Any], base: type[Any]) -> str:
    """Return what of a class can't be used as its base class is; ``""`` if all can.

    Args:
        cls: A subclass of `base`.
        base: The interface; its methods are called by position.
    """
    for name in dir(base):
        if name.startswith("_") or name in _OWN:
            continue
        expected, found = inspect.getattr_static(base, name), inspect.getattr_static(cls, name)
        if found is expected:
            continue
        fault = (
            _broken_call(name, expected, found)
            if inspect.isfunction(expected)
            else _broken_value(name, expected, found)
        )
        if fault:
            return fault
    return ""


def _broken_call(name: str, expected: Any, found: Any) -> str:
    wanted = _plain(inspect.signature(expected))
    arguments = list(wanted.parameters)[1:]
    right = f"expected def {name}{wanted}"
    is_bound = not isinstance(found, staticmethod)
    function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    if not callable(function) and not hasattr(function, "__get__"):
        return f"{name} is {found!r}, not a method; {right}"
    if inspect.iscoroutinefunction(function):
        return f"{_place(function)}{name} is async; {right}"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""  # nothing is known of it
    # A callable object is no descriptor: nothing is passed before the arguments.
    first: Sequence[object] = [None] if is_bound and hasattr(function, "__get__") else []
    try:
        signature.bind(*first, *arguments)
    except TypeError:
        call = f"{name}({', '.join(arguments)})"
        own = f"{name}{_plain(signature)}"
        return f"{_place(function)}{own} can't be called as {call}; {right}"
    return ""


def _broken_value(name: str, expected: Any, found: Any) -> str:
    if not inspect.isroutine(found):
        return ""
    function = getattr(found, "__func__", found)
    what = "a @property" if isinstance(expected, property) else f"a value such as {expected!r}"
    return f"{_place(function)}{name} is a method; expected {what}"


def _plain(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature without annotations."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=signature.empty)


def _place(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
