"""From the config's `cluster:` section to an executor: its class says which keys it takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.config.arguments import place_of
from dotrain.config.errors import Problem, dotted
from dotrain.config.options import arguments_of, descriptions_of
from dotrain.config.parts import Parts
from dotrain.config.schema import Settings
from dotrain.config.secrets import not_kept
from dotrain.config.source import Source
from dotrain.config.validation import MISSING, validate_options
from dotrain.config.where import Cluster
from dotrain.errors import UsageError, did_you_mean
from dotrain.executors.base import AbstractExecutor, NamedFunction
from dotrain.usercode.target import Target

#: Keys that may be left empty whatever the kind; one that isn't empty must be asked for.
OPTIONAL_KEYS = ("workers", "threads", "adapt", "address", "options", "tls")


def make_executor(
    cluster: Cluster, source: Source, folder: Path, code: Path | None = None
) -> tuple[AbstractExecutor | None, list[Problem]]:
    """Make the executor of a section that is sound by its structure.

    Args:
        cluster: The section.
        source: Where everything stands.
        folder: Where paths in the config start from.
        code: Where an earlier run's code has been unpacked, if that is meant.

    Returns:
        The executor, or None with the problems found.
    """
    problems = [
        source.problem(path, f"was not kept; give it again with --set {dotted(path)}=...")
        for path in not_kept(cluster.model_dump(), ("cluster",))
    ]
    try:
        cls = plugins.load_plugin(plugins.EXECUTORS, cluster.kind, code or folder)
    except UsageError as error:
        problems.append(source.problem(("cluster", "kind"), str(error)))
        return None, problems + list(_not_taken(cluster, OPTIONAL_KEYS[2:], source))
    takes = arguments_of(cls)
    foreign = [key for key in OPTIONAL_KEYS if key not in takes]
    problems += _not_taken(cluster, foreign, source)
    given = {key: value for key, value in cluster.model_dump().items() if key in takes}
    if cluster.tls is not None and "tls" in takes:  # relative to the config, like every path in it
        given["tls"] = {key: str(folder / name) for key, name in given["tls"].items()}
    given = {key: value for key, value in given.items() if value not in (None, {})}
    executor, found = validate_options(cls, given, source, ("cluster",), "kind")
    problems += (_worded(problem, cluster.kind, cls) for problem in found)
    if executor is not None:
        for inner, message in executor.problems():
            path = ("cluster", *inner)
            at_key = isinstance(given.get(inner[-1]), Mapping)
            problems.append(source.problem(path, message, at_key=at_key))
    return (None if problems else executor), problems


def cluster_functions(executor: AbstractExecutor | None, parts: Parts) -> dict[str, Target]:
    """Return the user's functions that the section's options name, by their key; what is wrong goes to `parts`.

    Args:
        executor: Made of the section; None if it couldn't be.
        parts: Finds them.
    """
    found = {}
    for one in () if executor is None else executor.named_functions():
        path = ("cluster", "options", one.key)
        target = parts.named(path, one.spec)
        if target is None:
            continue
        found[one.key] = target
        for message in _not_callable(target, one):
            parts.problems.append(parts.source.problem(path, message))
    return found


def _not_callable(target: Target, named: NamedFunction) -> Iterator[str]:
    """Yield why a function can't be called as it is meant to be."""
    signature = target.signature()
    if signature is None:
        return
    where = place_of(target, signature)
    given = " and ".join((", ".join(named.given[:-1]), named.given[-1]))
    for name in signature.required:
        if name not in named.given:
            hint = did_you_mean(name, [*named.given])
            yield f"{where} asks for '{name}', which nobody provides; {named.key} is given {given}{hint}"
    if target.gives_nothing():
        yield f"{where} returns nothing; expected a number"


def cluster_warnings(executor: AbstractExecutor | None, source: Source) -> list[Problem]:
    """Return what a person should know of the section before a run.

    Args:
        executor: Made of it; None if it couldn't be.
        source: Where everything stands.
    """
    told = [] if executor is None else executor.warnings()
    return [source.problem(("cluster", *inner), message) for inner, message in told]


def goes_with(key: str, kinds: Collection[str]) -> str:
    """Say which kinds take a key.

    Args:
        key: Of the section.
        kinds: Their names, as they are registered.
    """
    names = [f"'{kind}'" for kind in sorted(kinds) if kind != plugins.DOTTED]
    if plugins.DOTTED in kinds:
        names = ["a Dask cluster class", *names]
    else:
        names[0] = f"kind {names[0]}"
    return f"{'go' if key == 'options' else 'goes'} with {' or '.join(names)} only"


def _not_taken(cluster: Cluster, keys: Collection[str], source: Source) -> Iterator[Problem]:
    for key in keys:
        if getattr(cluster, key):
            kinds = [
                found.name
                for found in plugins.find_plugins(plugins.EXECUTORS)
                if found.plugin is not None and key in arguments_of(found.plugin)
            ]
            message = f"{goes_with(key, kinds)}, not '{cluster.kind}'"
            yield source.problem(("cluster", key), message, at_key=True)


def _worded(problem: Problem, kind: str, cls: type[Any]) -> Problem:
    """Say of a key that is missing what should stand there."""
    text = descriptions_of(cls).get(str(problem.path[-1]), "")
    if len(problem.path) != 2 or problem.message != MISSING or not text:
        return problem
    what = f"kind '{kind}' needs {text[0].lower()}{text[1:].rstrip('.')}"
    return Problem(problem.origin, problem.path, what)


def unwatched(kind: str, settings: Settings, source: Source) -> Iterator[Problem]:
    """Yield the limits that nobody watches where a trial has no process of its own."""
    for key in ("trial_memory_mb", "silent_s"):
        if getattr(settings.limits, key) is not None:
            message = (
                f"isn't watched with cluster.kind: {kind}, which runs trials in this process; "
                "use cluster.kind: local"
            )
            yield source.problem(("limits", key), message)
