"""The table of a study, cell by cell, and the sentences around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dotrain.ablation.statistics import seeds_needed
from dotrain.ablation.study import BASELINE
from dotrain.report.text import duration
from dotrain.results import ArmResult, StudyResult
from dotrain.results.arms import WithoutPair
from dotrain.results.numbers import NOTHING, p_text
from dotrain.results.text import count_text
from dotrain.store import RunDir


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


def study_rows(result: StudyResult) -> list[StudyRow]:
    """Return the headings, then the baseline, then the components in the study's order."""
    numbers, arms = result.numbers, result.shown
    stepwise = any(arm.seconds["seconds_per_step"] is not None for arm in arms)
    pace, unit = ("seconds_per_step", "s/step") if stepwise else ("seconds_per_run", "s/run")
    heads = ("component", "mean ±", "difference [95 % CI]", "p", "p (Holm)", "n", "params", unit)
    rows = [StudyRow(*heads, "verdict")]
    for arm in arms:
        sign, worth = "+", (numbers.difference(arm), p_text(arm.p), p_text(arm.p_holm), str(arm.n))
        if arm.name == BASELINE:
            sign, worth = "", ("", "", "", str(len(arm.metric)))
        seconds = arm.seconds.get(pace)
        rows.append(
            StudyRow(
                *(arm.name, numbers.mean(arm), *worth),
                NOTHING if arm.params is None else f"{arm.params:{sign},}",
                NOTHING if seconds is None else f"{seconds:.3g}",
                arm.verdict,
            )
        )
    return rows


def study_cells(result: StudyResult) -> list[list[str]]:
    """Return the table as text: the headings, the baseline, the components in the study's order."""
    rows = study_rows(result)
    kept = filled_columns(rows)
    return [[row[index] for index in kept] for row in rows]


def filled_columns(rows: Sequence[StudyRow]) -> list[int]:
    """Return the columns that tell something: without models, say, there are no parameters."""
    body = rows[1:]
    return [index for index in range(VERDICT + 1) if {row[index] for row in body} - {"", NOTHING}]


def study_title(result: StudyResult) -> str:
    """Return what was measured, and over how many seeds."""
    better = "larger" if result.direction == "max" else "smaller"
    return f"{result.metric} ({better} is better), {count_text(len(result.seeds), 'seed')}"


def study_lines(result: StudyResult) -> list[str]:
    """Return what became of the runs: what failed, what is missing, where they lie."""
    lines = [
        _without_pair(fate, arm, runs, result.run_dir)
        for arm in result.arms
        for fate, runs in arm.without_pair.items()
        if runs
    ]
    lines.append(f"{result.status}: {result.counts}, {duration(result.elapsed_s)}")
    lines += [*result.caveats.lines, *result.checkpoints.lines]
    lines.append(f"run directory: {result.run_dir}")
    missing = sum(arm.missing for arm in result.arms)
    if missing:
        runs = "1 run is" if missing == 1 else f"{missing} runs are"
        lines.append(f"{runs} missing{f'; go on with: {result.resume}' if result.resume else ''}")
    return lines


def study_notes(result: StudyResult) -> list[str]:
    """Return how to read the table, one sentence each."""
    compared = _compared(result)
    if not compared:
        return ["nothing can be compared yet: no seed has both the baseline and an arm"]
    each = "adds the component to" if result.adds else "leaves the component out of"
    return [
        f"difference: each arm {each} the baseline; arm minus baseline, by pairs of equal seeds",
        f"p: sign-flip test; p (Holm): adjusted for {count_text(compared, 'comparison')}, "
        "the intervals are not adjusted",
        *_of_columns(result),
        *_of_copies(result),
    ]


def _of_copies(result: StudyResult) -> list[str]:
    """Return what is to be known where nothing depends on the seed: n counts copies of one run."""
    arms = [list(arm.metric.values()) for arm in result.arms]
    if not all(len(values) > 1 and len(set(values)) == 1 for values in arms):
        return []
    return [
        "every seed has given the same value in each arm: nothing is drawn by the seed, so n counts copies, and p and the "
        "intervals tell nothing about other data"
    ]


def _of_columns(result: StudyResult) -> list[str]:
    """Return what goes with the columns that are left out, and what still tells them."""
    arms = [arm for arm in result.components if arm.kind in ("feature", "features")]
    return [f"{arm.name}: {change}" for arm in arms for change in arm.changes]


def unclear(result: StudyResult) -> list[str]:
    """Return what the verdict's short form stands for, if it occurs."""
    pairs = [component.n for component in result.components if component.short_verdict == "unclear"]
    if not pairs:
        return []
    compared = _compared(result)
    needed = seeds_needed(compared)
    few = f"; {count_text(compared, 'comparison')} can show nothing with n < {needed}"
    return [f"unclear: not distinguishable from noise{few if min(pairs) < needed else ''}"]


def _compared(result: StudyResult) -> int:
    return sum(component.effect is not None for component in result.components)


def _without_pair(fate: str, arm: ArmResult, runs: Sequence[WithoutPair], run_dir: Path) -> str:
    seeds = ", ".join(str(run.seed) for run in runs)
    return (
        f"{fate}, so without a pair: {arm.name} with {'seed' if len(runs) == 1 else 'seeds'} {seeds}: "
        f"{runs[0].message}\n    log: {RunDir(run_dir).trial_log(runs[0].trial_id)}"
    )
