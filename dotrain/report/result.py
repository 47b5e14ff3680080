"""What a command prints on stdout at its end: the result, a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from dotrain.core.trial import Trial
from dotrain.report.columns import Column, fit
from dotrain.report.marks import mark_lines, marks_text
from dotrain.report.summary import counts_text, ranked
from dotrain.report.text import duration, make_console, number_text, params_text, printable

#: How many of the best trials are shown.
_TOP = 5


def print_lines(lines: Sequence[str], console: Console | None = None) -> None:
    """Print lines to stdout as they are; a terminal wraps them, nothing is cut."""
    console = console or make_console()
    for line in lines:
        console.print(line, soft_wrap=True)


def width_of(console: Console) -> int | None:
    """Return how wide a table may be: as wide as the terminal, or as it takes in a pipe."""
    return console.width if console.file.isatty() else None


def print_result(result: Mapping[str, Any], trials: Sequence[Trial]) -> None:
    """Print the final table to stdout: the best trials, the counts, and failures by group.

    Args:
        result: What `summarize` returned.
        trials: All trials.
    """
    console = make_console()
    valued = ranked(trials, result["direction"])
    if valued:
        print_lines(_best_lines(result["metric"], valued[:_TOP], width_of(console)), console)
    print_lines(result_lines(result, len(valued)), console)


def _best_lines(metric: str, trials: Sequence[Trial], width: int | None) -> list[str]:
    params = [params_text(trial.params) for trial in trials]
    marks = [marks_text(trial) for trial in trials]
    columns = [
        Column("trial", [trial.trial_id for trial in trials]),
        Column(
            printable(metric), [number_text(trial.final_metric or 0.0) for trial in trials], least=8
        ),
        Column("state", [trial.state for trial in trials], rank=3),
        *([Column("marks", marks, rank=4)] if any(marks) else []),
        Column("steps", [str(trial.steps_run) for trial in trials], rank=2, right=True),
        Column("parameters", params, rank=1, least=20),
    ]
    lines, _ = fit(columns, width)
    if not lines[1].endswith(params[0]):
        # The row had no room for them.
        lines.append(f"best parameters: {params[0]}")
    return lines


def result_lines(result: Mapping[str, Any], valued: int) -> list[str]:
    """Return what is said below the table of the best trials.

    Args:
        result: What `summarize` returned.
        valued: How many trials have a value.
    """
    counts = result["trials"]
    lines = [f"the best {_TOP} of {valued} trials"] if valued > _TOP else []
    lines += fixed_lines(result.get("hparams"))
    lines.append(
        f"{result['status']}: {counts_text(counts)}, "
        f"{result['steps']} steps, {duration(result['elapsed_s'])}"
    )
    lines += [printable(line) for line in mark_lines(result)]
    promotions = result.get("promotions")
    if promotions:
        rungs = ", ".join(f"{r['trials']} at {r['budget']:g}" for r in result["rungs"])
        lines.append(
            f"rungs: {rungs} steps; {promotions['total']} promotions, {_saved(promotions)}"
        )
    for group in result.get("failures", ()):
        lines += _failure_lines(group)
    lines.append(f"run directory: {result['run_dir']}")
    if result["resume"]:
        lines.append(f"go on with: {result['resume']}")
    return lines


def fixed_lines(hparams: Mapping[str, Any] | None) -> list[str]:
    """Return the line that tells what was the same in every trial, if anything was."""
    return [f"fixed: {params_text(hparams)}"] if hparams else []


def _saved(promotions: Mapping[str, int]) -> str:
    if not promotions["from_checkpoint"]:
        return "none from a checkpoint (the train function uses none), so each began again"
    return (
        f"{promotions['from_checkpoint']} from a checkpoint, which saved "
        f"{promotions['steps_saved']} steps"
    )


def _failure_lines(group: Mapping[str, Any]) -> list[str]:
    times = "1 trial" if group["count"] == 1 else f"{group['count']} trials, the first"
    where = [f"    at {printable(group['location'])}"] if group["location"] else []
    return [
        f"failed: {printable(group['message'])}",
        *where,
        f"    {times}: {group['trial_id']} {params_text(group['params'])}",
        f"    log: {group['log']}",
        *(f"      | {printable(line)}" for line in group.get("last_lines", ())),
    ]


def print_plan(plan: Mapping[str, Any]) -> None:
    """Print what `make_plan` returned to stdout."""
    pairs = [(printable(left), printable(right)) for left, right in _plan_lines(plan)]
    width = max(len(left) for left, _ in pairs)
    lines = [f"{left:{width}}  {right}" for left, right in pairs]
    notes = [f"note: {printable(note)}" for note in plan["notes"]]
    print_lines([*lines, *notes, *(f"warning: {printable(text)}" for text in plan["warnings"])])


def _plan_lines(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    slots = "as many as the cluster has workers" if plan["slots"] is None else str(plan["slots"])
    lines = [
        (plan["name"], f"{plan['mode']}, {plan['direction']} {plan['metric']}"),
        ("train", plan["train"]),
        ("optimizer", f"{plan['optimizer']}, early stop {plan['early_stop']}, seed {plan['seed']}"),
        *([("hparams", params_text(plan["hparams"]))] if plan["hparams"] else []),
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
    return lines
