"""From which trials a trial has grown, and with which hyperparameters each of its steps was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dotrain.core.trial import Trial
from dotrain.results.text import params_text
from dotrain.space import value_text
from dotrain.space.values import same_value

#: What is said of a hyperparameter that a trial doesn't have.
_ABSENT = "none"


class Segment(NamedTuple):
    """Steps that one trial has trained.

    Attributes:
        trial_id: The trial.
        from_step: Steps that were done when it began.
        to_step: Steps that were done when the next one began, or that it has done, if it is the last.
        params: Its hyperparameters.
        changes: Those that are other than before, each as it was and as it is; None where there is none.
    """

    trial_id: str
    from_step: int
    to_step: int
    params: Mapping[str, Any]
    changes: Mapping[str, tuple[Any, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return what a result holds."""
        changes = {name: list(both) for name, both in self.changes.items()}
        return {**self._asdict(), "params": dict(self.params), "changes": changes}


def lineage_of(trial: Trial, trials: Mapping[str, Trial]) -> list[Segment]:
    """Return the schedule of hyperparameters that led to a trial, the first steps first; nothing if it began by itself.

    Args:
        trial: The last of the line.
        trials: All, by id.
    """
    line = [trial]
    while line[0].begins_from in trials:
        line.insert(0, trials[line[0].begins_from])
    if len(line) == 1:
        return []
    ends = [*(one.begins_at for one in line[1:]), max(trial.steps_done, trial.begins_at)]
    before = line[:1] + line
    return [
        Segment(one.trial_id, one.begins_at, end, one.params, _changes(was.params, one.params))
        for was, one, end in zip(before, line, ends, strict=False)
    ]


def _changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*was, *now])
    both = {name: (was.get(name), now.get(name)) for name in names}
    return {name: pair for name, pair in both.items() if not same_value(*pair)}


def lineage_lines(segments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a lineage for people, the last trial first in its first line.

    Args:
        segments: As of `Segment.to_json`.
    """
    if not segments:
        return []
    line = " <- ".join(one["trial_id"] for one in reversed(segments))
    spans = [f"steps {one['from_step']} to {one['to_step']}" for one in segments]
    width = max(map(len, spans))
    return [
        f"lineage: {line}",
        *(
            f"  {span:{width}}  {one['trial_id']}  {_told(one)}"
            for span, one in zip(spans, segments, strict=True)
        ),
    ]


def _told(segment: Mapping[str, Any]) -> str:
    if segment["from_step"] == 0:
        return params_text(segment["params"])
    changes = [f"{name} {_text(a)} -> {_text(b)}" for name, (a, b) in segment["changes"].items()]
    return ", ".join(changes) or "the same"


def _text(value: Any) -> str:
    if value is None:
        return _ABSENT
    return f"{value:.4g}" if isinstance(value, float) else value_text(value)
