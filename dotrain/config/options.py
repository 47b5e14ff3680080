"""A plugin's options: the arguments of its class are the keys of its section in the config."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from dotrain.errors import UsageError

_ENTRY = re.compile(r"(\w+)(?: \([^)]*\))?: +(.*)")


def options_model(plugin: type[Any], key: str) -> type[BaseModel]:
    """Return the schema of a plugin's section.

    Args:
        plugin: The class; its constructor's arguments and annotations are the keys and types.
        key: The one that names it.

    Raises:
        UsageError: If the annotations can't be understood.
    """
    try:
        return _model(plugin, key)
    except Exception as error:  # annotations may be anything, and name what isn't there
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UsageError(f"the options of {plugin.__name__} can't be told: {what}") from None


def arguments_of(plugin: type[Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a class' constructor by name, without ``*`` and ``**``."""
    init = plugin.__init__
    found = [] if init is object.__init__ else list(inspect.signature(init).parameters.values())[1:]
    return {p.name: p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _model(plugin: type[Any], key: str) -> type[BaseModel]:
    options: dict[str, Any] = {key: (str, "")}  # so that a misspelt one is recognized
    arguments = arguments_of(plugin)
    hints = get_type_hints(plugin.__init__, include_extras=True) if arguments else {}
    for name, parameter in arguments.items():
        default = ... if parameter.default is parameter.empty else parameter.default
        options[name] = (hints.get(name, Any), default)
    return create_model(
        plugin.__name__,
        __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False),
        **options,
    )


def summary_of(cls: type[Any]) -> str:
    """Return the first sentence or line of a class' own docstring."""
    paragraph = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]
    return _plain(" ".join(paragraph.split()))


def descriptions_of(cls: type[Any]) -> dict[str, str]:
    """Return what the docstrings of a class, of its bases and constructors say of each argument."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for part in (base, vars(base).get("__init__")):
            found.update(arguments_in(inspect.cleandoc(getattr(part, "__doc__", None) or "")))
    return found


def arguments_in(docstring: str) -> dict[str, str]:
    """Return the entries of Google-style ``Args:`` and ``Attributes:`` sections."""
    found: dict[str, str] = {}
    inside, margin, name = False, 0, ""
    for line in docstring.splitlines():
        depth = len(line) - len(line.lstrip())
        if line and not depth:
            inside, margin, name = line.strip() in ("Args:", "Attributes:"), 0, ""
        elif line and inside:
            margin = margin or depth
            entry = _ENTRY.match(line.strip()) if depth == margin else None
            if entry:
                name = entry[1]
                found[name] = _plain(entry[2])
            elif name:
                found[name] += " " + _plain(line.strip())
    return found


def _plain(text: str) -> str:
    return text.replace("``", "`")
