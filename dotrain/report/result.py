"""What a command prints on stdout at its end: the result, a plan."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from typing import Any

from rich.console import Console

from dotrain.core.trial import Trial
from dotrain.core.usage import megabytes
from dotrain.executors.threads import Threads
from dotrain.report.ablation import print_study
from dotrain.report.columns import Column, fit
from dotrain.report.front import front_lines, front_note
from dotrain.report.text import duration, make_console
from dotrain.results import (
    AbstractSearchResult,
    FailureGroup,
    FrontResult,
    RunResult,
    SearchResult,
)
from dotrain.results.gates import GateOutcome
from dotrain.results.hosts import host_lines
from dotrain.results.lineage import lineage_lines
from dotrain.results.marks import marks_text
from dotrain.results.search import Promotions
from dotrain.results.text import count_text, number_text, params_text, printable
from dotrain.space import Share

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


@singledispatch
def print_result(result: RunResult) -> None:
    """Print the final table to stdout: the best trials, or what each component is worth."""
    raise NotImplementedError


@print_result.register
def _print_search(result: SearchResult) -> None:
    console = make_console()
    if result.ranked:
        best = result.ranked[:_TOP]
        print_lines(_best_lines(result.metric, best, width_of(console)), console)
    print_lines(result_lines(result, best_note(result)), console)


@print_result.register
def _print_front(result: FrontResult) -> None:
    console = make_console()
    print_lines(front_lines(result, width_of(console)), console)
    print_lines(result_lines(result, front_note(result)), console)


print_result.register(print_study)


def print_gates(outcomes: Iterable[GateOutcome], *, quiet: bool = False) -> None:
    """Print a line for each gate to stderr.

    Args:
        outcomes: How they came out.
        quiet: Only those that were missed.
    """
    with contextlib.suppress(OSError):  # whoever reads may have left; the exit code tells
        for outcome in outcomes:
            if not (quiet and outcome.met):
                sys.stderr.write(f"{outcome.gate}: {outcome.message}\n")


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


def best_note(result: SearchResult) -> list[str]:
    """Return the line that tells that there are more trials than the table of the best has, if there are."""
    valued = len(result.ranked)
    return [f"the best {_TOP} of {valued} trials"] if valued > _TOP else []


def result_lines(result: AbstractSearchResult, note: Sequence[str] = ()) -> list[str]:
    """Return what is said below the table of the best trials.

    Args:
        result: Of a search.
        note: What is said of the table first.
    """
    lines = [*note, *fixed_lines(result.hparams)]
    lines.append(
        f"{result.status}: {result.counts}, {result.steps} steps, {duration(result.elapsed_s)}"
    )
    if result.ended_early:
        lines.append(f"ended early: {printable(result.ended_early)}")
    lines += [printable(line) for line in result.caveats.lines]
    lines += [printable(line) for line in lineage_lines(result.lineage)]
    promotions = result.promotions
    if promotions:
        rungs = ", ".join(f"{n} at {budget:g}" for budget, n in result.rungs.items())
        lines.append(f"rungs: {rungs} steps; {promotions.total} promotions, {_saved(promotions)}")
    lines += result.checkpoints.lines
    for group in (*result.failures, *result.tried_elsewhere):
        lines += _failure_lines(group)
    lines += [printable(line) for line in host_lines(result.hosts)]
    lines.append(f"run directory: {result.run_dir}")
    if result.resume:
        lines.append(f"go on with: {result.resume}")
    return lines


def fixed_lines(hparams: Mapping[str, Any] | None) -> list[str]:
    """Return the line that tells what was the same in every trial, if anything was."""
    return [f"fixed: {params_text(hparams)}"] if hparams else []


def _saved(promotions: Promotions) -> str:
    if not promotions.from_checkpoint and not promotions.begun_again:
        return "none from a checkpoint (the train function uses none), so each began again"
    return (
        f"{promotions.from_checkpoint} from a checkpoint, which saved "
        f"{promotions.steps_saved} steps"
    )


def _failure_lines(group: FailureGroup) -> list[str]:
    error, what = group.error, "failed"
    count, of = group.size, "trial"
    if not group.size:
        count, of, what = group.attempts, "attempt", "failed and tried elsewhere"
    times = f"1 {of}" if count == 1 else f"{count} {of}s, the first"
    return [
        f"{what}: {printable(error.message)}",
        *([f"    at {printable(error.location)}"] if error.location else []),
        *([f"    {printable(group.where_text)}"] if group.where_text else []),
        f"    {times}: {group.trial.trial_id} {params_text(group.trial.varied)}",
        f"    log: {group.log}",
        *(f"      | {printable(line)}" for line in group.last_lines),
    ]


def print_plan(plan: Mapping[str, Any]) -> None:
    """Print what `make_plan` returned to stdout."""
    pairs = [(printable(left), printable(right)) for left, right in _plan_lines(plan)]
    width = max(len(left) for left, _ in pairs)
    lines = [f"{left:{width}}  {right}" for left, right in pairs]
    notes = [f"note: {printable(note)}" for note in plan["notes"]]
    print_lines([*lines, *notes, *(f"warning: {printable(text)}" for text in plan["warnings"])])


def _ships_text(ships: Mapping[str, Any]) -> str:
    counts = (
        (ships["code"], "of code"),
        (ships["package_data"], "of packages' data"),
        (ships["named"], "named by 'ship:'"),
    )
    parts = [f"{count} {what}" for count, what in counts if count]
    total = sum(count for count, _ in counts)
    if not total:
        return "no file: the functions are installed"
    text = f"{count_text(total, 'file')}, {megabytes(ships['bytes'])} MB: {', '.join(parts)}"
    if ships["table"] is not None:
        text += f"; and {ships['table']}, {megabytes(ships['table_bytes'])} MB"
    return "; ".join([text, *ships["left_out"]])


def _gpus_text(gpus: Sequence[Sequence[str]]) -> str:
    """Say which GPUs slots see, those that share one together."""
    seen = Counter(", ".join(one) or "none" for one in gpus)
    return "; ".join(f"{names} for {count_text(slots, 'slot')}" for names, slots in seen.items())


def _constraint_lines(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say what is to hold between hyperparameters, and how much of the space does."""
    texts = plan["space_constraints"]
    if not texts:
        return []
    share = Share(**plan["space_share"])
    return [*(("constraint", text) for text in texts), ("met by", str(share))]


def _strategy_text(plan: Mapping[str, Any]) -> str:
    """Say how a trial spans workers."""
    workers = count_text(plan["slots_per_trial"], "worker")
    return f"{plan['strategy']}, {workers} for each trial"


def _goals_text(plan: Mapping[str, Any]) -> str:
    metrics = plan.get("metrics") or {plan["metric"]: plan["direction"]}
    return ", ".join(f"{direction} {name}" for name, direction in metrics.items())


def _plan_lines(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    slots = "as many slots as the cluster has workers"
    if plan["resources"]:
        slots = "as many slots as its workers have room for"
    if plan["slots"] is not None:
        slots = "1 slot" if plan["slots"] == 1 else f"{plan['slots']} slots"
    if plan["threads"] is not None:
        slots += f", {Threads(**plan['threads'])}"
    lines = [
        (plan["name"], f"{plan['mode']}, {_goals_text(plan)}"),
        ("train", plan["train"]),
        *([("prepare", plan["prepare"])] if "prepare" in plan else []),
        ("optimizer", f"{plan['optimizer']}, early stop {plan['early_stop']}, seed {plan['seed']}"),
        *([("hparams", params_text(plan["hparams"]))] if plan["hparams"] else []),
        *((f"  {name}", domain) for name, domain in plan["space"].items()),
        *_constraint_lines(plan),
        ("cluster", f"{plan['cluster']}, {slots}"),
        *([("strategy", _strategy_text(plan))] if plan["strategy"] != "single" else []),
        *([("resources", f"{plan['resources']} for each rank")] if plan["resources"] else []),
        *([("gpus", _gpus_text(plan["gpus"]))] if plan["gpus"] else []),
        *([("env", ", ".join(plan["env"]))] if plan["env"] else []),
        *([("storage", plan["storage"])] if plan["storage"] else []),
        ("ships", _ships_text(plan["ships"])),
    ]
    if "configurations" in plan:
        most = "at most " if "repeats" in plan else ""
        least = "at least " if "rungs" in plan else most
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
