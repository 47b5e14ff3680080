"""The config's ``storage:``: whether the trials' files can be kept there, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

from dotrain.config.errors import Problem
from dotrain.config.schema import Settings
from dotrain.config.source import Source
from dotrain.executors.base import AbstractExecutor
from dotrain.store.storage_url import is_in_this_process, url_problem

_PATH = ("storage",)


def storage_problems(
    settings: Settings, source: Source, executor: AbstractExecutor | None
) -> Iterator[Problem]:
    """Yield what is wrong with it; nobody is asked over a network.

    Args:
        settings: What the config says.
        source: Where it stands.
        executor: Where trials run; None if nobody can tell.
    """
    url, kind = settings.storage, settings.cluster.kind
    if url is None:
        return
    if (message := url_problem(url)) is not None:
        found = source.problem(_PATH, message)
        # The origin of an override is the override, and there may be a secret in it.
        origin = "--set storage=..." if found.origin.startswith("--set ") else found.origin
        yield Problem(origin, found.path, found.message, found.name)
    elif executor is None:
        return
    elif executor.is_virtual:
        message = f"kind '{kind}' trains nothing, so there is nothing to keep; take it out"
        yield source.problem(_PATH, message)
    elif not executor.stores_files:
        message = f"kind '{kind}' keeps files in the run directory only; use local or address"
        yield source.problem(_PATH, message)
    elif is_in_this_process(url) and not executor.runs_in_this_process:
        message = (
            f"what is kept there is gone with the process that keeps it, and kind '{kind}' has "
            "several; use file:///folder, or cluster.kind: inline"
        )
        yield source.problem(_PATH, message)
