"""From the config's ``env:`` to variables: their names, and where the values come from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dotrain.config.errors import Path, Problem
from dotrain.config.schema import Settings
from dotrain.config.secrets import names_secret
from dotrain.config.source import Source
from dotrain.executors.base import AbstractExecutor
from dotrain.executors.threads import VARIABLE
from dotrain.frameworks import registry
from dotrain.training.environment import Environment

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What a process looks at when it begins: too late where none does.
_AT_START = re.compile(r"(PYTHON|LD_|DYLD_|MALLOC_)")
#: What can't be set by the config, and why.
_REFUSED = {
    "PYTHONPATH": "where modules come from is settled before trials; start the command and the workers "
    "with it instead",
    "PYTHONHOME": "where Python itself lies is settled before trials",
    "PYTHONDONTWRITEBYTECODE": "trials are started without it, whoever sets it",
}


@dataclass(frozen=True)
class _Variable:
    path: Path
    name: str
    value: str | None


def make_environment(
    settings: Settings,
    source: Source,
    executor: AbstractExecutor | None,
    goes_on: bool,
    given: Mapping[str, str] = os.environ,
) -> tuple[Environment, list[Problem], list[Problem]]:
    """Return the variables of a config.

    Args:
        settings: What the config says.
        source: Where it stands.
        executor: Where trials run; None if nobody can tell.
        goes_on: Whether a run goes on: if nothing is left to train, nothing is missing.
        given: The environment that values of bare names are taken from.

    Returns:
        The variables, problems, and what a person should look at.
    """
    variables = list(_variables(settings))
    problems = [
        source.problem(one.path, message)
        for index, one in enumerate(variables)
        if (message := _fault(one, variables[:index], executor))
    ]
    plain = {one.name: one.value for one in variables if one.value is not None}
    bare = [one for one in variables if one.value is None]
    if executor is None or executor.is_virtual:
        return Environment(plain), problems, []
    if variables and not executor.sets_variables:
        message = f"kind '{settings.cluster.kind}' sets no variables; give them to it another way"
        problems.append(source.problem(("env",), message))
    lacks = [
        source.problem(one.path, f"the environment of this process has no {one.name}; set it there")
        for one in bare
        if one.name not in given and not any(p.path == one.path for p in problems)
    ]
    if not goes_on:
        problems += lacks
    secret = {one.name: given[one.name] for one in bare if one.name in given}
    warnings = list(_warnings(variables, source, executor))
    return Environment(plain, secret, tuple(map(str, lacks))), problems, warnings


def _variables(settings: Settings) -> Iterator[_Variable]:
    for index, one in enumerate(settings.env):
        if isinstance(one, str):
            yield _Variable(("env", index), one, None)
        else:
            for name, value in one.items():
                yield _Variable(("env", index, name), name, str(value))


def _fault(
    one: _Variable, before: list[_Variable], executor: AbstractExecutor | None
) -> str | None:
    name = one.name
    if not _NAME.fullmatch(name):
        hint = ""
        if one.value is None and "=" in name:
            # Its right side may be what nobody is to read.
            name = name.partition("=")[0] + "=..."
            hint = "; write {NAME: value}"
        return f"expected a name of letters, digits and '_', got {name!r}{hint}"
    if one.value is not None and "\0" in one.value:
        return "a variable can't hold a null character"
    if any(other.name == name for other in before):
        return f"{name} stands here twice"
    if name.startswith("DOTRAIN_"):
        return f"{name}: variables that begin with DOTRAIN_ are dotrain's own"
    if name in _REFUSED:
        return f"{name} can't be set here: {_REFUSED[name]}"
    if name == VARIABLE or name in registry.threads(1):
        if executor is not None and executor.runs_in_this_process:
            return f"{name} can't be set here: start the command with {VARIABLE} instead"
        return f"{name} can't be set here: cluster.threads sets it, for all libraries alike"
    if executor is not None and executor.runs_in_this_process and _AT_START.match(name):
        return f"{name} is looked at when a process begins, and trials have none of their own here"
    return None


def _warnings(
    variables: list[_Variable], source: Source, executor: AbstractExecutor
) -> Iterator[Problem]:
    for one in variables:
        if one.value is not None and names_secret(one.name):
            yield source.problem(
                one.path,
                "a value that stands in the config is kept in the run directory; name the variable "
                "alone, and its value is written nowhere",
            )
    names = [one.name for one in variables if one.value is None]
    if names and (host := executor.overheard_by()):
        yield source.problem(
            ("env",),
            f"values of {', '.join(names)} go to {host} unencrypted; use a tls:// address with "
            "cluster.tls",
        )
