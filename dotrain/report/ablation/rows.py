"""The table of a study, cell by cell, and the sentences around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dotrain.ablation.statistics import seeds_needed
from dotrain.ablation.study import BASELINE
from dotrain.core.policy import sign_of
from dotrain.report.ablation.numbers import NOTHING, Numbers, p_text
from dotrain.report.marks import mark_lines
from dotrain.report.summary import counts_text
from dotrain.report.text import duration
from dotrain.store import RunDir

#: Verdicts as they fit into a column; every other begins "not distinguishable from noise".
_SHORT = {"helps": "helps", "hurts": "hurts", "no pair of runs to compare": "no pair"}


class StudyRow(NamedTuple):
    """A line of the table, as text."""

    component: str
    mean: str
    difference: str
    p: str
    p_holm: str
    n: str
    params: str
    seconds: str
    verdict: str


#: The last column; like the first, and unlike all between, it holds words.
VERDICT = len(StudyRow._fields) - 1


def study_rows(result: Mapping[str, Any]) -> list[StudyRow]:
    """Return the headings, then the baseline, then the components in the study's order."""
    numbers = Numbers(result)
    arms = [result["baseline"], *result["components"]]
    stepwise = any(arm["seconds_per_step"] is not None for arm in arms)
    pace = "seconds_per_step" if stepwise else "seconds_per_run"

    def seconds(arm: Mapping[str, Any]) -> str:
        value = arm.get(pace)
        return NOTHING if value is None else f"{value:.3g}"

    unit = "s/step" if stepwise else "s/run"
    heads = ("component", "mean ±", "difference [95 % CI]", "p", "p (Holm)", "n", "params", unit)
    baseline = result["baseline"]
    rows = [
        StudyRow(*heads, "verdict"),
        StudyRow(
            *(BASELINE, numbers.mean(baseline), "", "", ""),
            str(sum(value is not None for value in baseline["values"])),
            NOTHING if baseline["params"] is None else f"{baseline['params']:,}",
            *(seconds(baseline), ""),
        ),
    ]
    for component in result["components"]:
        rows.append(
            StudyRow(
                component["name"],
                numbers.mean(component),
                numbers.difference(component),
                p_text(component["p"]),
                p_text(component["p_holm"]),
                str(component["n"]),
                NOTHING if component["params"] is None else f"{component['params']:+,}",
                seconds(component),
                component["verdict"],
            )
        )
    return rows


def study_cells(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the table as text: the headings, the baseline, the components in the study's order.

    Args:
        result: What `summarize_study` returned.
    """
    rows = study_rows(result)
    kept = filled_columns(rows)
    return [[row[index] for index in kept] for row in rows]


def filled_columns(rows: Sequence[StudyRow]) -> list[int]:
    """Return the columns that tell something: without models, say, there are no parameters."""
    body = rows[1:]
    return [index for index in range(VERDICT + 1) if {row[index] for row in body} - {"", NOTHING}]


def short_verdict(text: str) -> str:
    """Return a verdict as it fits into a column."""
    return _SHORT.get(text, "unclear") if text else ""


def study_title(result: Mapping[str, Any]) -> str:
    """Return what was measured, and over how many seeds."""
    better = "larger" if result["direction"] == "max" else "smaller"
    return f"{result['metric']} ({better} is better), {_count(len(result['seeds']), 'seed')}"


def largest_component(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the component whose absence costs most, or None if nothing costs anything."""
    sign = sign_of(result["direction"]) * (1.0 if result["adds"] else -1.0)
    valued = [c for c in result["components"] if c["delta"] is not None and sign * c["delta"] > 0]
    return max(valued, key=lambda c: sign * float(c["delta"]), default=None)


def largest_effect(result: Mapping[str, Any]) -> str:
    """Return which component is worth most, or ``""`` if none is worth anything."""
    largest = largest_component(result)
    if largest is None:
        return ""
    what = "gain with" if result["adds"] else "loss without"
    change = Numbers(result).difference(largest).split(" ")[0]
    return f"largest {what} {largest['name']}: {change}, {short_verdict(largest['verdict'])}"


def study_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what became of the runs: what failed, what is missing, where they lie."""
    counts = result["trials"]
    lines: list[str] = []
    for name, arm in named_arms(result):
        for fate in ("failed", "diverged"):
            lines += _lines_without_a_pair(fate, name, arm, result["run_dir"])
    lines.append(f"{result['status']}: {counts_text(counts)}, {duration(result['elapsed_s'])}")
    lines += mark_lines(result)
    lines.append(f"run directory: {result['run_dir']}")
    missing = sum(_missing(a) for _, a in named_arms(result))
    if missing:
        runs = "1 run is" if missing == 1 else f"{missing} runs are"
        advice = f"; go on with: {result['resume']}" if result["resume"] else ""
        lines.append(f"{runs} missing{advice}")
    return lines


def study_notes(result: Mapping[str, Any]) -> list[str]:
    """Return how to read the table, one sentence each."""
    compared = sum(c["p"] is not None for c in result["components"])
    if not compared:
        return ["nothing can be compared yet: no seed has both the baseline and an arm"]
    each = "adds the component to" if result["adds"] else "leaves the component out of"
    return [
        f"difference: each arm {each} the baseline; arm minus baseline, by pairs of equal seeds",
        f"p: sign-flip test; p (Holm): adjusted for {_count(compared, 'comparison')}, "
        "the intervals are not adjusted",
    ]


def unclear(result: Mapping[str, Any]) -> list[str]:
    """Return what the verdict's short form stands for, if it occurs."""
    pairs = [c["n"] for c in result["components"] if short_verdict(c["verdict"]) == "unclear"]
    if not pairs:
        return []
    compared = sum(c["p"] is not None for c in result["components"])
    needed = seeds_needed(compared)
    few = f"; {_count(compared, 'comparison')} can show nothing with n < {needed}"
    return [f"unclear: not distinguishable from noise{few if min(pairs) < needed else ''}"]


def _count(size: int, what: str) -> str:
    return f"{size} {what}" + ("" if size == 1 else "s")


def named_arms(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the baseline and the components, by name."""
    return [(BASELINE, result["baseline"]), *((c["name"], c) for c in result["components"])]


def _missing(arm: Mapping[str, Any]) -> int:
    """Return how many runs of an arm are still to come."""
    return int(arm["values"].count(None)) - len(arm["failed"]) - len(arm.get("diverged", ()))


def _lines_without_a_pair(fate: str, name: str, arm: Mapping[str, Any], run_dir: str) -> list[str]:
    failed = arm.get(fate)
    if not failed:
        return []
    seeds = ", ".join(str(failure["seed"]) for failure in failed)
    log = RunDir(Path(run_dir)).trial_log(failed[0]["trial_id"])
    return [
        f"{fate}, so without a pair: {name} with {'seed' if len(failed) == 1 else 'seeds'} {seeds}: "
        f"{failed[0]['message']}\n    log: {log}"
    ]
