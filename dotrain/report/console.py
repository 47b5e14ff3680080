"""The console: a live table on a terminal, a few plain lines elsewhere, the result at the end.

Progress goes to stderr; stdout is for the result alone.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dotrain.core.events import (
    Event,
    Failed,
    Finished,
    Lost,
    SlotsChanged,
    Started,
    Stopped,
    TrialEvent,
)
from dotrain.core.instructions import Finish, Instruction, Kill, Launch
from dotrain.core.policy import Direction, Plan
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial, TrialState
from dotrain.report.progress import Progress, duration
from dotrain.report.summary import best_trial, ranked

#: Rows of the live table and of the final one.
_MAX_ROWS = 12
_TOP = 5


class Quiet:
    """Shows nothing."""

    def start(self, scheduler: Scheduler) -> None:
        """Ignore the start."""

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Ignore an event."""

    def on_pulse(self, time_s: float) -> None:
        """Ignore the time."""

    def on_interrupt(self) -> None:
        """Ignore the interrupt; the exit code tells."""

    def close(self) -> None:
        """Nothing to close."""


class _Watching(Quiet):
    """What the plain and the live display share: progress, and the best trial so far."""

    def __init__(self, console: Console, title: str, direction: Direction, plan: Plan | None):
        self.console = console
        self.title = title
        self.direction = direction
        self.plan = plan
        self.best: Trial | None = None

    def start(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.progress = Progress(scheduler, self.plan)
        self.best = best_trial(scheduler.book.trials.values(), self.direction)

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        if isinstance(event, Started):
            self.progress.on_start(time_s)
        elif isinstance(event, Finished | Stopped | Failed) and self.scheduler.took_in:
            self._note_end(self.scheduler.book.trials[event.trial_id])

    def _note_end(self, trial: Trial) -> None:
        self.progress.on_end(trial)
        # Of a trial that was the best, a later and worse value may have made another the best.
        rivals = [self.best, trial] if self.best not in (None, trial) else []
        everyone = self.scheduler.book.trials.values()
        self.best = best_trial([t for t in rivals if t] or everyone, self.direction)

    def best_text(self) -> str:
        if self.best is None or self.best.final_metric is None:
            return "no result yet"
        return f"best {self.best.final_metric:.6g} ({self.best.trial_id})"

    def on_interrupt(self) -> None:
        self.console.print("stopping; Ctrl-C again to stop at once", style="yellow")


class Plain(_Watching):
    """A line when a trial ends; for pipes and files."""

    def start(self, scheduler: Scheduler) -> None:
        """Say what is about to run."""
        super().start(scheduler)
        self._line(self.title)

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Tell of ends, losses and the run's end."""
        trial = None
        if isinstance(event, TrialEvent):
            trial = self.scheduler.book.trials.get(event.trial_id)
        super().on_event(event, instructions, time_s)
        ends = isinstance(event, Finished | Stopped | Failed | Lost) and self.scheduler.took_in
        if trial is not None and ends:
            self._line(f"[{time_s:8.1f} s] {self._ended(trial, event)}")
        if isinstance(event, SlotsChanged) and event.why:
            self._line(f"[{time_s:8.1f} s] {event.why}")
        for instruction in instructions:
            if isinstance(instruction, Kill) and instruction.timeout:
                self._line(f"[{time_s:8.1f} s] {instruction.trial_id} failed: {instruction.reason}")
            elif isinstance(instruction, Finish) and instruction.status != "finished":
                self._line(f"[{time_s:8.1f} s] {instruction.status}: {instruction.reason}")

    def _ended(self, trial: Trial, event: Event) -> str:
        planned = f"/{self.progress.planned}" if self.progress.planned else ""
        tally = f"{self.progress.ended}{planned} done, {self.best_text()}"
        match event:
            case Failed(failure=failure):
                where = f" at {failure.location}" if failure.location else ""
                return f"{trial.trial_id} failed{where}: {failure.message}"
            case Lost(cause=cause):
                return f"{trial.trial_id} lost: {cause}"
            case Stopped():
                why = next((s.what for s in reversed(trial.story) if s.state == "stopping"), "")
                return f"{why} | {tally}"
        budget, value = trial.results[-1]  # the trial itself may have been promoted by now
        after = f" after {budget:g} steps" if budget is not None else ""
        return f"{trial.trial_id} finished{after}: {value:.6g} | {tally}"

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveTable(_Watching):
    """A table that follows the run; for terminals."""

    def start(self, scheduler: Scheduler) -> None:
        """Open the table."""
        super().start(scheduler)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._live.start()
        self._shown_s = -1.0

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Note an event; tell of failures above the table."""
        super().on_event(event, instructions, time_s)
        if not self.scheduler.took_in:
            return
        if isinstance(event, Failed):
            where = f" at {event.failure.location}" if event.failure.location else ""
            text = f"[red]{event.trial_id} failed[/]{escape(f'{where}: {event.failure.message}')}"
            self.console.print(text, highlight=False, soft_wrap=True)
        elif isinstance(event, SlotsChanged) and event.why:
            self.console.print(f"[yellow]{escape(event.why)}[/]")
        elif isinstance(event, Lost):
            self.console.print(f"[yellow]{event.trial_id} lost[/]: {escape(event.cause)}")
        if any(isinstance(i, Launch) for i in instructions) or time_s - self._shown_s > 0.2:
            self.on_pulse(time_s)

    def on_pulse(self, time_s: float) -> None:
        """Draw the table anew, a few times a second at most."""
        if time_s - self._shown_s < 0.1:
            return
        self._shown_s = time_s
        self._live.update(self._render(time_s), refresh=True)

    def close(self) -> None:
        """Take the table off the terminal."""
        self._live.stop()

    def _render(self, time_s: float) -> Group:
        table = Table(
            title=Text(self.title), title_justify="left", title_style="bold", box=None, expand=True
        )
        for heading in ("trial", "state", "steps", "value", "running for"):
            table.add_column(heading, no_wrap=True)
        # The only column that may be cut short.
        table.add_column("parameters", no_wrap=True, ratio=1)
        active = list(self.scheduler.book.active.values())
        for trial in active[:_MAX_ROWS]:
            last = f"{trial.metric_history[-1]:.5g}" if trial.metric_history else ""
            done = 0 if trial.last_step is None else trial.last_step + 1
            steps = f"{done}" if trial.budget is None else f"{done} of {trial.budget:g}"
            since = "" if trial.started_s is None else duration(time_s - trial.started_s)
            table.add_row(
                trial.trial_id, trial.state, steps, last, since, escape(params_text(trial.params))
            )
        if len(active) > _MAX_ROWS:
            table.add_row(f"... {len(active) - _MAX_ROWS} more")
        return Group(table, Text(self._footer(time_s), style="dim"))

    def _footer(self, time_s: float) -> str:
        counts = self.scheduler.book.counts
        planned = f" of {self.progress.planned}" if self.progress.planned else ""
        parts = [f"{self.progress.ended}{planned} done"]
        for state in (TrialState.STOPPED, TrialState.FAILED, TrialState.WAITING):
            if counts[state]:
                parts.append(f"{counts[state]} {state}")
        parts += [self.best_text(), f"{duration(time_s)} elapsed", self._left(time_s)]
        return " | ".join(part for part in parts if part)

    def _left(self, time_s: float) -> str:
        left = self.progress.left_s(time_s)
        if left is None:
            return ""
        return f"{'at least' if self.progress.is_lower_bound else 'about'} {duration(left)} left"


def params_text(params: Mapping[str, Any]) -> str:
    """Return hyperparameters in one line, numbers shortened."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )


def choose_observer(
    title: str, direction: Direction, plan: Plan | None, *, live: bool = True, quiet: bool = False
) -> Quiet:
    """Return the display that fits where stderr leads.

    Args:
        title: What is about to run.
        direction: ``max`` or ``min``.
        plan: What the optimizer plans, or None.
        live: Whether a live table may be shown at all.
        quiet: Show nothing.
    """
    if quiet:
        return Quiet()
    # The stream as it is now: while a trial runs in this process, sys.stderr is its log.
    console = Console(file=sys.stderr)
    cls = LiveTable if live and console.is_terminal else Plain
    return cls(console, title, direction, plan)


def print_result(result: Mapping[str, Any], trials: Sequence[Trial]) -> None:
    """Print the final table to stdout: the best trials, the counts, and failures by group.

    Args:
        result: What `summarize` returned.
        trials: All trials.
    """
    console = Console()
    valued = ranked(trials, result["direction"])
    if valued:
        table = Table(box=None)
        for heading in ("trial", result["metric"], "state", "steps", "parameters"):
            table.add_column(escape(heading), overflow="fold")
        for trial in valued[:_TOP]:
            table.add_row(
                trial.trial_id,
                f"{trial.final_metric:.6g}",
                trial.state,
                str(trial.steps_run),
                escape(params_text(trial.params)),
            )
        console.print(table)
    for line in _result_lines(result, len(valued)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _result_lines(result: Mapping[str, Any], valued: int) -> list[str]:
    counts = result["trials"]
    lines = [f"the best {_TOP} of {valued} trials"] if valued > _TOP else []
    parts = [f"{counts['finished']} finished"]
    parts += [f"{counts[k]} {k}" for k in ("stopped", "failed", "unfinished") if counts.get(k)]
    lines.append(
        f"{result['status']}: {counts['total']} trials ({', '.join(parts)}), "
        f"{result['steps']} steps, {duration(result['elapsed_s'])}"
    )
    promotions = result.get("promotions")
    if promotions:
        rungs = ", ".join(f"{r['trials']} at {r['budget']:g}" for r in result["rungs"])
        lines.append(
            f"rungs: {rungs} steps; {promotions['total']} promotions, {_saved(promotions)}"
        )
    for group in result.get("failures", ()):
        lines += _failure_lines(group)
    lines.append(f"run directory: {result['run_dir']}")
    if counts.get("unfinished"):
        lines.append(f"go on with: dotrain resume {shlex.quote(result['run_dir'])}")
    return lines


def _saved(promotions: Mapping[str, int]) -> str:
    if not promotions["from_checkpoint"]:
        return "none from a checkpoint (the train function keeps none), so each began again"
    return (
        f"{promotions['from_checkpoint']} from a checkpoint, which saved "
        f"{promotions['steps_saved']} steps"
    )


def _failure_lines(group: Mapping[str, Any]) -> list[str]:
    times = "1 trial" if group["count"] == 1 else f"{group['count']} trials, the first"
    where = f"\n    at {group['location']}" if group["location"] else ""
    return [
        f"failed: {group['message']}{where}\n"
        f"    {times}: {group['trial_id']} {params_text(group['params'])}\n"
        f"    log: {group['log']}",
        *(f"      | {line}" for line in group.get("last_lines", ())),
    ]


def print_json(value: Any) -> None:
    """Print a value as one JSON object to stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_plan(plan: Mapping[str, Any]) -> None:
    """Print what `make_plan` returned to stdout."""
    console = Console(highlight=False)
    table = Table(box=None, show_header=False)
    for line in _plan_lines(plan):
        table.add_row(*line)
    console.print(table)
    for note in plan.get("notes", ()):
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def _plan_lines(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    slots = "as many as the cluster has workers" if plan["slots"] is None else str(plan["slots"])
    lines = [
        (plan["name"], f"{plan['mode']}, {plan['direction']} {plan['metric']}"),
        ("train", plan["train"]),
        ("optimizer", f"{plan['optimizer']}, early stop {plan['early_stop']}, seed {plan['seed']}"),
        *((f"  {name}", domain) for name, domain in plan["space"].items()),
        ("cluster", f"{plan['cluster']}, slots: {slots}"),
    ]
    if "configurations" in plan:
        least = "at least " if "rungs" in plan else ""
        lines.append(("trials", f"{plan['configurations']} configurations"))
        lines.append(("launches", f"{least}{plan['launches']}"))
    for k, rung in enumerate(plan.get("rungs", ())):
        lines.append((f"  rung {k}", f"{rung['trials']} trials to {rung['budget']} steps"))
    if "steps" in plan:
        lines.append(
            (
                "steps",
                f"at least {plan['steps']} from checkpoints, "
                f"{plan['steps_from_scratch']} if every promotion begins again",
            )
        )
    return [(escape(left), escape(right)) for left, right in lines]
