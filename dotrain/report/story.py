"""One trial in full: what was decided about it, when and why, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

from dotrain.core.trial import StoryLine, Trial, TrialState
from dotrain.errors import UsageError, did_you_mean
from dotrain.report.reading import Run, read_run
from dotrain.report.text import steps_text, usage_text
from dotrain.results import FrontResult, RunResult, ranked
from dotrain.results.checkpoints import checkpoint_of, freed_text
from dotrain.results.lineage import lineage_of
from dotrain.results.text import number_text
from dotrain.results.trials import values_of
from dotrain.store import Record, replay_each


def read_trial(path: Path, name: str) -> dict[str, Any]:
    """Return everything that is known of one trial.

    Args:
        path: The run directory.
        name: ``t0007``, or its number.

    Raises:
        UsageError: If `path` is no run directory, or has no such trial.
        JournalError: If the journal is damaged or newer than this dotrain.
    """
    run = read_run(path)
    trial = find_trial(run, name)
    result = run.result
    log = run.run_dir.trial_log(trial.folder)
    story = Story(trial.trial_id, run.records)
    error = trial.error
    return {
        "run_dir": str(run.run_dir.path),
        "run_status": run.status,
        "trial_id": trial.trial_id,
        "state": str(trial.state),
        "marks": {str(mark): trial.notes[mark] for mark in trial.marks},
        **_arm_of(run.header, trial),
        "metric": result.metric,
        "value": trial.final_metric,
        **_rank_of(result, trial),
        **_repeats_of(trial),
        "metrics": dict(trial.metrics or {}),
        "params": dict(trial.varied),
        "lineage": [one.to_json() for one in lineage_of(trial, run.state.book.trials)],
        "seed": trial.seed,
        "steps": trial.steps_run,
        "seconds": round(trial.busy_s, 3),
        "usage": trial.usage and trial.usage.to_record(),
        "attempts": story.attempts,
        "reports": story.reports(trial),
        "story": story.lines,
        "error": error
        and {
            "kind": error.kind,
            "message": error.message,
            "host": trial.host or None,
            "location": error.location,
            "source": error.source,
            "traceback": error.traceback,
        },
        "log": str(log) if log.is_file() else None,
        "checkpoint": checkpoint_of(trial, run.run_dir.path, run.header["direction"]),
        "freed": trial.freed or None,
    }


@singledispatch
def _rank_of(result: RunResult, trial: Trial) -> dict[str, Any]:
    """Return how good a trial is among all."""
    order = [other.trial_id for other in ranked(result.trials, result.direction)]
    rank = order.index(trial.trial_id) + 1 if trial.trial_id in order else None
    return {"rank": rank, "ranked": len(order)}


@_rank_of.register
def _(result: FrontResult, trial: Trial) -> dict[str, Any]:
    return {
        "rank": None,
        "ranked": len(result.front),
        "values": values_of(trial, result.metrics),
        "front": result.stands_out(trial),
        "dominated_by": [other.trial_id for other in result.dominating(trial)],
    }


def find_trial(run: Run, name: str) -> Trial:
    """Return the trial that is called ``t0007`` or ``7``."""
    trials = run.state.book.trials
    number = re.fullmatch(r"[tT]?(\d+)", name.strip())
    trial_id = f"t{int(number[1]):04d}" if number else name
    if trial_id in trials:
        return trials[trial_id]
    if not trials:
        raise UsageError(f"there is no trial '{name}': the run has launched none")
    first, last = next(iter(trials)), next(reversed(trials))
    # With a number only the range helps; every id is close to every other.
    hint = "" if number else did_you_mean(name, list(trials))
    if not hint.startswith("; did"):
        hint = f"; the run has {first} to {last}" if first != last else f"; the run has {first}"
    raise UsageError(f"there is no trial '{name}'{hint}")


def _repeats_of(trial: Trial) -> dict[str, Any]:
    """Return the values of its repeats, if it has several."""
    return {} if trial.repeated is None else {"repeats": list(trial.repeated.values)}


def _arm_of(header: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    """Return which part of an ablation study a trial is, if it is one."""
    if trial.arm is None:
        return {}
    study = header["study"]
    arm = next(arm for arm in study["arms"] if arm["name"] == trial.arm.name)
    return {
        "arm": arm["name"],
        "left_out": list(arm["left_out"]),
        "changes": list(study.get("changes", {}).get(arm["name"], [])),
        "seed_index": trial.arm.seed_index,
    }


class Story:
    """What the journal says about one trial, record by record.

    Attributes:
        attempts: One dict for each launch.
        lines: ``time_s`` and ``what``, for each decision about the trial and each thing that
            became of it; reports that follow each other are one line.
    """

    def __init__(self, trial_id: str, records: Iterable[Record]) -> None:
        """Read a journal.

        Args:
            trial_id: The trial.
            records: The journal, header included.
        """
        self.attempts: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self._metrics: dict[int, Mapping[str, float]] = {}
        #: (step, value) of the reports that the last line tells of.
        self._together: list[tuple[int, float]] = []
        moves = reports = 0
        for state, record in replay_each(records):
            trial = state.book.trials.get(trial_id)
            if trial is None:
                continue
            if trial.steps_run > reports:
                reports = trial.steps_run
                self._report(record)
            elif record.get("replaces") and record["trial_id"] == trial_id and trial.repeats:
                self._replaced(record)
            elif record["type"] == "Noted" and record["trial_id"] == trial_id:
                self._together = []
                self._tell(record["t"], f"note: {record['what']}")
            elif record["type"] == "StopAsked" and record["trial_id"] == trial_id:
                self._together = []
                why = f": {record['why']}" if record["why"] else ""
                self._tell(record["t"], f"asked to stop by {record['who']}{why}")
            elif record["type"] == "Used" and record["trial_id"] == trial_id:
                self._used(record)
            elif record["type"] == "Freed" and trial_id in record["sizes"]:
                self._tell(record["t"], freed_text(record["sizes"][trial_id], record["keep"]))
            for line in trial.story[moves:]:
                self._move(trial, line, record, state.book.codes)
            moves = len(trial.story)

    def reports(self, trial: Trial) -> list[dict[str, Any]]:
        """Return the reports that count: what was trained once more later counts once."""
        return [
            {"step": step, "value": value, **self._metrics.get(step, {})}
            for step, value in zip(trial.step_history, trial.metric_history, strict=True)
        ]

    def _report(self, record: Record) -> None:
        step, value = record["step"], record["value"]
        self._metrics[step] = {k: v for k, v in record.get("metrics", {}).items() if k != "step"}
        self.attempts[-1]["steps"].append(step)
        self.attempts[-1]["values"].append(value)
        self._together.append((step, value))
        (first_step, first), count = self._together[0], len(self._together)
        if count == 1:
            self._tell(record["t"], f"reported step {step}: {number_text(value)}")
        else:
            self.lines[-1] = _line(
                record["t"],
                f"reported steps {first_step} to {step}: {number_text(first)} to "
                f"{number_text(value)}",
            )

    def _replaced(self, record: Record) -> None:
        step, value = record["step"], record["value"]
        self._metrics[step] = {k: v for k, v in record.get("metrics", {}).items() if k != "step"}
        self.attempts[-1]["values"][-1] = value
        self._together = []
        self._tell(record["t"], f"reported step {step} again: {number_text(value)} replaces it")

    def _used(self, record: Record) -> None:
        for attempt in self.attempts:
            if attempt["attempt"] == record["attempt"]:
                attempt["usage"] = record["usage"]
        self._tell(record["t"], f"ended: {usage_text(record['usage'])}")

    def _tell(self, time_s: float, what: str) -> None:
        self.lines.append(_line(time_s, what))

    def _move(self, trial: Trial, line: StoryLine, record: Record, codes: Sequence[str]) -> None:
        """Note that the trial has gone to another state; only attempts that began do."""
        self._together = []
        state, time_s, what = line.state, line.time_s, line.what
        usage = record.get("usage")
        if state is TrialState.LAUNCHED:
            self.attempts.append(_new_attempt(trial, line, codes))
        attempt = self.attempts[-1]
        if state is TrialState.RUNNING:
            attempt.update(started_s=time_s, worker=trial.worker, from_step=trial.resume_step)
            if trial.begins_from and trial.resume_step == trial.begins_at:
                attempt["from_trial"] = trial.begins_from
            attempt["host"] = trial.host or None
        elif state is TrialState.STOPPING:
            attempt["stopped_because"] = what
        elif state is not TrialState.LAUNCHED:
            value = record.get("value", trial.final_metric if state in _VALUED else None)
            outcome = _OUTCOMES[_BY_RECORD.get(record["type"], state)]
            attempt.update(ended_s=time_s, outcome=outcome, why=what, value=value)
            attempt.update(usage=usage, host=trial.host or None)
        used = f" ({usage_text(usage)})" if usage else ""
        self._tell(time_s, _words(attempt, state, what, next(iter(codes), None)) + used)


_VALUED = (TrialState.FINISHED, TrialState.STOPPED)
#: What an attempt has come to whose trial goes on.
_BY_RECORD = {"Failed": TrialState.FAILED, "Finished": TrialState.FINISHED}
_OUTCOMES = {
    TrialState.FINISHED: "finished",
    TrialState.STOPPED: "stopped",
    TrialState.DIVERGED: "diverged",
    TrialState.FAILED: "failed",
    TrialState.WAITING: "lost",
}


def _line(time_s: float, what: str) -> dict[str, Any]:
    return {"time_s": round(time_s, 3), "what": what}


def _new_attempt(trial: Trial, line: StoryLine, codes: Sequence[str]) -> dict[str, Any]:
    return {
        "attempt": trial.attempt,
        "reason": line.what,
        "budget": trial.budget,
        "slots": trial.slots,
        "code": codes[-1] if codes else None,
        "worker": None,
        "host": None,
        "launched_s": line.time_s,
        "started_s": None,
        "from_step": None,
        "from_trial": None,
        "steps": [],
        "values": [],
        "stopped_because": None,
        "ended_s": None,
        "outcome": None,
        "why": None,
        "value": None,
        "usage": None,
    }


def _words(attempt: Mapping[str, Any], state: TrialState, what: str, first_code: str | None) -> str:
    """Return what a line of a trial's story says to people."""
    match state:
        case TrialState.LAUNCHED:
            budget = "" if attempt["budget"] is None else f", to {steps_text(attempt['budget'])}"
            slots = "" if attempt["slots"] == 1 else f", on {attempt['slots']} slots"
            code = f", with code {attempt['code']}" if attempt["code"] != first_code else ""
            return f"attempt {attempt['attempt']} launched{budget}{slots}{code}: {what}"
        case TrialState.RUNNING:
            where = f" on {attempt['worker']}" if attempt["worker"] else ""
            where += f" of {attempt['host']}" if attempt["host"] else ""
            step = attempt["from_step"]
            whose = f"{attempt['from_trial']}'s" if attempt["from_trial"] else "its"
            return f"started{where}" + (
                f", from {whose} checkpoint of {steps_text(step)}" if step else ""
            )
        case TrialState.FINISHED:
            return f"finished: {number_text(attempt['value'])}"
        case TrialState.STOPPED:
            _, _, why = what.partition("; ")
            return f"ended early: {number_text(attempt['value'])}{why and f'; {why}'}"
        case TrialState.DIVERGED:
            return f"diverged: {what}"
        case TrialState.FAILED:
            where = f" on {attempt['host']}" if attempt["host"] else ""
            return f"failed{where}: {what}"
        case TrialState.WAITING if attempt["outcome"] == "failed":
            return f"{what}; waits to be tried on another host"
        case TrialState.WAITING if attempt["outcome"] == "finished":
            return f"{what}; the next is to be launched"
        case TrialState.WAITING:
            return f"lost: {what}; waits to be launched again"
    return what
