"""What may change when a run goes on, and what may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotrain.errors import UsageError
from dotrain.runs.definition import Experiment
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
)


def refuse_changes(path: Path, header: Record, experiment: Experiment) -> None:
    """Refuse to go on with an experiment that isn't the one that was begun.

    Args:
        path: The run directory.
        header: The journal's.
        experiment: As it is now.

    Raises:
        UsageError: With every difference.
    """
    changes = list(_changed(header["config"], experiment.config))
    names_before, names = list(header.get("metrics") or {}), list(experiment.metrics)
    if names_before != names and sorted(names_before) == sorted(names):
        order = f"were {', '.join(names_before)}, are now {', '.join(names)}"
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
    before, now = header["num_trials"], experiment.num_trials
    if before is not None and (now is None or now < before):
        changes.append(f"search.num_trials: was {before}, is now {now}; it may only grow")
    if changes:
        lines = "\n  ".join(changes)
        raise UsageError(
            f"{path} can't go on with other settings than it began with:\n"
            f"  {lines}\n"
            "only limits, cluster, resources, distribution, checkpoints, env, ship, observers, tensorboard, "
            "journal, search.stop, the URL of storage, a larger search.num_trials and more of search.try_first may "
            "change; start a "
            "new run"
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
        UsageError: If others were taken out or changed, or there is no room for more.
    """
    search = experiment.settings.search
    now = search.try_first if search is not None else []
    header, *others = records
    before = list((header["config"].get("search") or {}).get("try_first") or [])
    for record in others:
        if record["type"] == "Resumed":
            before += record.get("try_first") or []
    added = now[len(before) :]
    if now and now[: len(before)] != before:
        raise UsageError(
            f"{path}: search.try_first began with {before}; more may be added at its end, and nothing else"
        )
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
