"""What may change when a run goes on, and what may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotrain.config.errors import ConfigError
from dotrain.config.searching import first_problems
from dotrain.errors import UsageError
from dotrain.runs.definition import Experiment
from dotrain.runs.spaces import KEYS, without_hparams
from dotrain.store import Record, is_simulated

#: What may be changed when a run goes on.
_FREE = (
    ("limits",),
    ("cluster",),
    ("resources",),
    ("distribution",),
    ("env",),
    # Which files these are is a question of the code.
    ("ship",),
    ("checkpoints",),
    ("observers",),
    ("tensorboard",),
    ("journal",),
    # Whether the same files are there is found out when the run takes them (`store/claim.py`).
    ("storage",),
    ("search", "num_trials"),
    # What has been added is in `Resumed`.
    ("search", "try_first"),
    ("search", "stop"),
    # Whether the optimizer takes another one is asked besides.
    *(("search", key) for key in KEYS),
)


def refuse_changes(
    path: Path, header: Record, experiment: Experiment, *, other_space: bool = False
) -> None:
    """Refuse to go on with an experiment that isn't the one that was begun.

    Args:
        path: The run directory.
        header: The journal's.
        experiment: As it is now.
        other_space: Whether another space is to be searched than before.

    Raises:
        UsageError: With every difference.
    """
    # What was fixed may be searched from now on.
    names = experiment.space.names
    first, config = (without_hparams(one, names) for one in (header["config"], experiment.config))
    changes = list(_changed(first, config))
    were, are = list(header.get("metrics") or {}), list(experiment.metrics)
    if were != are and sorted(were) == sorted(are):
        order = f"were {', '.join(were)}, are now {', '.join(are)}"
        changes.append(f"metrics: {order}; the first is the main one")
    was_at, is_at = (config.get("storage") for config in (header["config"], experiment.config))
    if (was_at is None) != (is_at is None):
        changes.append(
            f"storage: was {_shown(was_at)}, is now {_shown(is_at)}; files stay on the side where "
            "they are, though another URL may be given when they have been copied there"
        )
    if is_simulated(header) != experiment.simulated:
        was, now_ = ("simulated", "real")[:: 1 if is_simulated(header) else -1]
        changes.append(
            f"cluster.kind: the run is {was} and can't go on as a {now_} one: made-up values "
            "and trained ones don't go together"
        )
    optimizer = type(experiment.optimizer)
    if other_space and not optimizer.takes_other_spaces:
        changes.append(
            f"search.space: {optimizer.__name__} decides by the space that it began with, and can't go on in another "
            "one; random, tpe, asha and others can"
        )
    before, now = header["num_trials"], experiment.num_trials
    if before is not None and (now is None or now < before):
        changes.append(f"search.num_trials: was {before}, is now {now}; it may only grow")
    if changes:
        lines = "\n  ".join(changes)
        raise UsageError(
            f"{path} can't go on with other settings than it began with:\n"
            f"  {lines}\n"
            "only limits, cluster, resources, distribution, checkpoints, env, ship, observers, tensorboard, "
            "journal, search.stop, search.space with search.space_constraints, the URL of storage, a larger "
            "search.num_trials and more of search.try_first may change; start a new run"
        )


def added_first(
    path: Path, records: Sequence[Record], experiment: Experiment
) -> list[dict[str, Any]]:
    """Return the configurations to be tried first that have been added to those of before.

    Args:
        path: The run directory.
        records: The journal, its header first.
        experiment: As it is now.

    Raises:
        UsageError: If others were changed, or there is no room for more.
        ConfigError: If some don't lie in the space.
    """
    search = experiment.settings.search
    now = search.try_first if search is not None else []
    header, *others = records
    before = list((header["config"].get("search") or {}).get("try_first") or [])
    for record in others:
        if record["type"] == "Resumed":
            before += record.get("try_first") or []
    added = now[len(before) :]
    if now != before[: len(now)] and now[: len(before)] != before:
        raise UsageError(
            f"{path}: search.try_first began with {before}; more may be added at its end, and nothing else"
        )
    if problems := list(
        first_problems(now, experiment.space, experiment.source, known=len(before))
    ):
        raise ConfigError(problems)
    launched = len({one["trial_id"] for one in others if one["type"] == "Launch"})
    limit = experiment.num_trials
    if added and limit is not None and launched + len(added) > limit:
        raise UsageError(
            f"{path}: search.try_first has {len(added)} more, and search.num_trials, {limit}, leaves room for "
            f"{limit - launched}: -s search.num_trials={launched + len(added)}"
        )
    return added


def _changed(before: Any, now: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a line for each difference between two configs that a resumed run can't have."""
    if path in _FREE:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from _changed(before.get(key), now.get(key), (*path, str(key)))
    elif before != now:
        yield f"{'.'.join(path)}: was {_shown(before)}, is now {_shown(now)}"


def _shown(value: Any) -> str:
    return "absent" if value is None else repr(value)
