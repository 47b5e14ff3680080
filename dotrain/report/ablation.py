"""The result of an ablation study: one plain dict, and its table for people, papers and programs.

Everything that is shown is made from the dict alone, so ``result.json`` is enough to show it again.
"""

from __future__ import annotations

import csv
import io
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from dotrain.ablation.statistics import compare, holm, mean_ci95, seeds_needed, verdict
from dotrain.ablation.study import ARM, BASELINE, SEED
from dotrain.core.book import TrialBook
from dotrain.core.policy import sign_of
from dotrain.core.trial import Trial, TrialState
from dotrain.report.progress import duration
from dotrain.report.summary import failures, trial_counts

#: What the whole table takes, with names of usual length.
_FULL_WIDTH = 100
#: A pipe has no width of its own; there the table may take what it needs.
_PIPE_WIDTH = 200
#: What a cell shows where nothing is known.
_NOTHING = "-"
#: Verdicts as they fit into a column; every other begins "not distinguishable from noise".
_SHORT = {"helps": "helps", "hurts": "hurts", "no pair of runs to compare": "no pair"}
_STYLES = {"helps": "green", "hurts": "red"}


def summarize_study(
    header: Mapping[str, Any], book: TrialBook, status: str, elapsed_s: float, run_dir: Path
) -> dict[str, Any]:
    """Return the result of a study, as far as it has got.

    Args:
        header: The journal's: name, metric, direction, and ``study`` with arms, seeds, ``adds``,
            and, by the arm's name, the parameters of the models (``params``; of the baseline all,
            of the others the difference) and what was changed in them (``changes``).
        book: All trials.
        status: How the run ended.
        elapsed_s: How long it took, in seconds.
        run_dir: The run directory.
    """
    study = header["study"]
    trials = list(book.trials.values())
    runs: dict[str, dict[int, Trial]] = {arm["name"]: {} for arm in study["arms"]}
    for trial in trials:
        runs[trial.params[ARM]][trial.params[SEED]] = trial
    baseline = _metric(runs[BASELINE])
    arms = [arm for arm in study["arms"] if arm["name"] != BASELINE]
    effects = [compare(baseline, _metric(runs[arm["name"]])) for arm in arms]
    adjusted = holm([effect.p if effect else None for effect in effects])
    compared = sum(effect is not None for effect in effects)
    sign, adds = sign_of(header["direction"]), bool(study["adds"])
    shown = {arm["name"]: _arm(arm, runs[arm["name"]], study) for arm in study["arms"]}
    components = []
    for arm, effect, p_holm in zip(arms, effects, adjusted, strict=True):
        components.append(
            {
                "name": arm["name"],
                "kind": arm["kind"],
                **shown[arm["name"]],
                "delta": effect and effect.delta,
                "delta_ci95": effect and effect.delta_ci95 and list(effect.delta_ci95),
                "p": effect and effect.p,
                "p_holm": p_holm,
                "n": effect.n if effect else 0,
                "verdict": verdict(effect, p_holm, sign, adds, compared),
            }
        )
    result: dict[str, Any] = {
        "run_dir": str(run_dir),
        "name": header["name"],
        "status": status,
        "metric": header["metric"],
        "direction": header["direction"],
        "adds": adds,
        "seeds": list(study["seeds"]),
        "baseline": shown[BASELINE],
        "components": components,
        "trials": trial_counts(book),
        "elapsed_s": round(elapsed_s, 3),
    }
    if book.counts[TrialState.FAILED]:
        result["failures"] = failures(trials, run_dir)
    return result


def _metric(runs: Mapping[int, Trial]) -> dict[int, float]:
    """Return the metric by the seed's index, of the runs that have come to an end."""
    return {
        index: trial.final_metric
        for index, trial in runs.items()
        if trial.final_metric is not None
        and trial.state in (TrialState.FINISHED, TrialState.STOPPED)
    }


def _arm(
    arm: Mapping[str, Any], runs: Mapping[int, Trial], study: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is shown of every arm, the baseline too.

    Args:
        arm: Its part of the header.
        runs: Its trials by the seed's index.
        study: The header's.
    """
    name, seeds = arm["name"], study["seeds"]
    metric = _metric(runs)
    mean, interval = mean_ci95(list(metric.values())) if metric else (None, None)
    done = [runs[index] for index in metric]
    paces = [trial.busy_s / trial.steps_run for trial in done if trial.steps_run]
    shown: dict[str, Any] = {
        "left_out": list(arm["left_out"]),
        "changes": list(study.get("changes", {}).get(name, [])),
        "values": [metric.get(index) for index in range(len(seeds))],
        "mean": mean,
        "ci95": interval and list(interval),
        "params": study.get("params", {}).get(name),
        "seconds_per_step": sum(paces) / len(paces) if paces else None,
    }
    if done and not paces:
        shown["seconds_per_run"] = sum(trial.busy_s for trial in done) / len(done)
    shown["failed"] = [
        {"seed": seeds[index], "trial_id": trial.trial_id, "message": trial.error.message}
        for index, trial in sorted(runs.items())
        if trial.error is not None
    ]
    return shown


class Numbers:
    """Writes the metric and its differences, with as many digits as the noise leaves sense in."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        """Choose the digits: two of the usual half width of an interval.

        Args:
            result: What `summarize_study` returned.
        """
        components = result["components"]
        halves = [_half(c["delta_ci95"]) for c in components if c["delta_ci95"]]
        deltas = [abs(c["delta"]) for c in components if c["delta"] is not None]
        means = [abs(a["mean"]) for a in (result["baseline"], *components) if a["mean"] is not None]
        # What rounding has left of an interval without noise is none.
        least = 1e-9 * max(means, default=0.0)
        kinds = ([size for size in kind if size > least] for kind in (halves, deltas, means))
        sizes = next((kind for kind in kinds if kind), [1.0])
        size = sorted(sizes)[len(sizes) // 2]
        self._form = f".{max(0, 1 - math.floor(math.log10(size)))}f"
        if not 1e-5 <= size < 1e5:
            self._form = ".3g"

    def value(self, value: float | None) -> str:
        """Return a value of the metric."""
        return _NOTHING if value is None else format(value, self._form)

    def mean(self, arm: Mapping[str, Any]) -> str:
        """Return the mean of an arm with its 95 % interval's half width."""
        half = f" ± {self.value(_half(arm['ci95']))}" if arm["ci95"] else ""
        return self.value(arm["mean"]) + half

    def difference(self, component: Mapping[str, Any]) -> str:
        """Return the difference from the baseline with its 95 % interval."""
        if component["delta"] is None:
            return _NOTHING
        text = format(component["delta"], "+" + self._form)
        if component["delta_ci95"]:
            low, high = (format(end, "+" + self._form) for end in component["delta_ci95"])
            text += f" [{low}, {high}]"
        return text


def p_text(p: float | None) -> str:
    """Return a p-value with two digits."""
    if p is None:
        return _NOTHING
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def _half(interval: Sequence[float]) -> float:
    return (interval[1] - interval[0]) / 2


class _Row(NamedTuple):
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
_LAST = len(_Row._fields) - 1


def _rows(result: Mapping[str, Any]) -> list[_Row]:
    """Return the headings, then the baseline, then the components in the study's order."""
    numbers = Numbers(result)
    arms = [result["baseline"], *result["components"]]
    stepwise = any(arm["seconds_per_step"] is not None for arm in arms)
    pace = "seconds_per_step" if stepwise else "seconds_per_run"

    def seconds(arm: Mapping[str, Any]) -> str:
        value = arm.get(pace)
        return _NOTHING if value is None else f"{value:.3g}"

    unit = "s/step" if stepwise else "s/run"
    heads = ("component", "mean ±", "difference [95 % CI]", "p", "p (Holm)", "n", "params", unit)
    baseline = result["baseline"]
    rows = [
        _Row(*heads, "verdict"),
        _Row(
            *(BASELINE, numbers.mean(baseline), "", "", ""),
            str(sum(value is not None for value in baseline["values"])),
            _NOTHING if baseline["params"] is None else f"{baseline['params']:,}",
            *(seconds(baseline), ""),
        ),
    ]
    for component in result["components"]:
        rows.append(
            _Row(
                component["name"],
                numbers.mean(component),
                numbers.difference(component),
                p_text(component["p"]),
                p_text(component["p_holm"]),
                str(component["n"]),
                _NOTHING if component["params"] is None else f"{component['params']:+,}",
                seconds(component),
                component["verdict"],
            )
        )
    return rows


def _columns(rows: Sequence[_Row]) -> list[int]:
    """Return the columns that tell something: without models, say, there are no parameters."""
    body = rows[1:]
    return [index for index in range(_LAST + 1) if {row[index] for row in body} - {"", _NOTHING}]


def study_table(result: Mapping[str, Any], *, narrow: bool = False) -> Table:
    """Return the table for a terminal; the component with the largest loss is bold.

    Args:
        result: What `summarize_study` returned.
        narrow: Leave out p before its adjustment, parameters and times, to fit 80 columns.
    """
    rows = _rows(result)
    dropped = {"p", "params", "seconds"} if narrow else set()
    kept = [index for index in _columns(rows) if _Row._fields[index] not in dropped]
    # Cells are texts: a name may look like markup, or, as ":a:" does, like an emoji.
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for index in kept:
        heading = Text(rows[0][index].replace(" (", "\n(").replace(" [", "\n["))
        if index == 0:
            table.add_column(heading, overflow="fold")
        else:
            justify: JustifyMethod = "left" if index == _LAST else "right"
            table.add_column(heading, no_wrap=True, justify=justify)
    largest = _largest(result)
    for row in rows[1:]:
        short = _short(row.verdict)
        cells = [Text(cell) for cell in row._replace(verdict=short)]
        cells[_LAST].stylize(_STYLES.get(short, ""))
        bold = largest is not None and row is not rows[1] and row.component == largest["name"]
        table.add_row(*(cells[index] for index in kept), style="bold" if bold else "")
    return table


def _short(text: str) -> str:
    return _SHORT.get(text, "unclear") if text else ""


def _title(result: Mapping[str, Any]) -> str:
    better = "larger" if result["direction"] == "max" else "smaller"
    return f"{result['metric']} ({better} is better), {_count(len(result['seeds']), 'seed')}"


def _largest(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the component whose absence costs most, or None if nothing costs anything."""
    sign = sign_of(result["direction"]) * (1.0 if result["adds"] else -1.0)
    valued = [c for c in result["components"] if c["delta"] is not None and sign * c["delta"] > 0]
    return max(valued, key=lambda c: sign * float(c["delta"]), default=None)


def print_study(result: Mapping[str, Any]) -> None:
    """Print the table to stdout, what failed, how to read p, and where the run lies.

    Args:
        result: What `summarize_study` returned.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(_PIPE_WIDTH, console.width))
    console.print(_title(result), markup=False, emoji=False, highlight=False, soft_wrap=True)
    console.print(study_table(result, narrow=console.width < _FULL_WIDTH))
    for line in _study_lines(result):
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _study_lines(result: Mapping[str, Any]) -> list[str]:
    counts = result["trials"]
    lines = []
    largest = _largest(result)
    if largest is not None:
        what = "gain with" if result["adds"] else "loss without"
        change = Numbers(result).difference(largest).split(" ")[0]
        lines.append(f"largest {what} {largest['name']}: {change}, {_short(largest['verdict'])}")
    lines += [*_notes(result), *_unclear(result)]
    for name, arm in _named_arms(result):
        lines += _failure_lines(name, arm, result["run_dir"])
    parts = [f"{counts['finished']} finished"]
    parts += [f"{counts[k]} {k}" for k in ("stopped", "failed", "unfinished") if counts.get(k)]
    lines.append(
        f"{result['status']}: {counts['total']} trials ({', '.join(parts)}), "
        f"{duration(result['elapsed_s'])}"
    )
    lines.append(f"run directory: {result['run_dir']}")
    missing = sum(a["values"].count(None) - len(a["failed"]) for _, a in _named_arms(result))
    if missing:
        runs = "1 run is" if missing == 1 else f"{missing} runs are"
        lines.append(f"{runs} missing; go on with: dotrain resume {shlex.quote(result['run_dir'])}")
    return lines


def _notes(result: Mapping[str, Any]) -> list[str]:
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


def _unclear(result: Mapping[str, Any]) -> list[str]:
    """Return what the verdict's short form stands for, if it occurs."""
    pairs = [c["n"] for c in result["components"] if _short(c["verdict"]) == "unclear"]
    if not pairs:
        return []
    compared = sum(c["p"] is not None for c in result["components"])
    needed = seeds_needed(compared)
    few = f"; {_count(compared, 'comparison')} can show nothing with n < {needed}"
    return [f"unclear: not distinguishable from noise{few if min(pairs) < needed else ''}"]


def _count(size: int, what: str) -> str:
    return f"{size} {what}" + ("" if size == 1 else "s")


def _named_arms(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(BASELINE, result["baseline"]), *((c["name"], c) for c in result["components"])]


def _failure_lines(name: str, arm: Mapping[str, Any], run_dir: str) -> list[str]:
    failed = arm["failed"]
    if not failed:
        return []
    seeds = ", ".join(str(failure["seed"]) for failure in failed)
    log = Path(run_dir) / "trials" / failed[0]["trial_id"] / "output.log"
    return [
        f"failed, so without a pair: {name} with {'seed' if len(failed) == 1 else 'seeds'} {seeds}: "
        f"{failed[0]['message']}\n    log: {log}"
    ]


def to_markdown(result: Mapping[str, Any]) -> str:
    """Return the table in Markdown, with the notes below it.

    Args:
        result: What `summarize_study` returned.
    """
    rows = _rows(result)
    kept = _columns(rows)
    lines = []
    for number, row in enumerate(rows):
        lines.append("| " + " | ".join(_markdown(row[index]) for index in kept) + " |")
        if number == 0:
            rules = ("---" if i in (0, _LAST) else "---:" for i in kept)
            lines.append("| " + " | ".join(rules) + " |")
    notes = [f"- {_markdown(note)}" for note in _notes(result)]
    return "\n".join([f"**{_markdown(_title(result))}**", "", *lines, "", *notes]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))


def to_latex(result: Mapping[str, Any]) -> str:
    """Return the table in LaTeX, for a paper that loads ``booktabs``.

    Args:
        result: What `summarize_study` returned.
    """
    rows = [row._replace(verdict=_short(row.verdict)) for row in _rows(result)]
    rows[0] = rows[0]._replace(verdict="verdict")
    kept = _columns(rows)
    lines = []
    for number, row in enumerate(rows):
        numeric = {i for i in kept if number and i not in (0, _LAST)}
        cells = (_latex_number(row[i]) if i in numeric else _latex(row[i]) for i in kept)
        lines.append("    " + " & ".join(cells) + r" \\")
        if number == 0:
            lines.append(r"    \midrule")
    notes = "; ".join([_title(result), *_notes(result), *_unclear(result)])
    spec = "".join("l" if i in (0, _LAST) else "r" for i in kept)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex(notes)}.}}",
            rf"  \begin{{tabular}}{{{spec}}}",
            r"    \toprule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


#: What TeX would take for a command, and what its old fonts have another sign for.
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    **{char: "\\" + char for char in "#$%&_"},
}


def _latex(text: str) -> str:
    # A row may begin with a bracket, which the \\ before it would take for its option.
    return re.sub(r"^\[", "{[}", "".join(_LATEX.get(char, char) for char in " ".join(text.split())))


def _latex_number(text: str) -> str:
    if text in ("", _NOTHING):
        return text.replace(_NOTHING, "--")
    text = re.sub(r"(\d),(\d)", r"\1{,}\2", text)
    text = re.sub(r"e([-+])0*(\d+)", lambda m: rf"\cdot 10^{{{int(m[1] + m[2])}}}", text)
    return f"${text.replace('±', chr(92) + 'pm')}$"


def to_csv(result: Mapping[str, Any]) -> str:
    """Return every value in a row of its own: arm, kind, seed_index, seed, value.

    Args:
        result: What `summarize_study` returned.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("arm", "kind", "seed_index", "seed", "value"))
    for name, arm in _named_arms(result):
        kind = arm.get("kind", BASELINE)
        for index, (seed, value) in enumerate(zip(result["seeds"], arm["values"], strict=True)):
            writer.writerow((name, kind, index, seed, "" if value is None else repr(value)))
    return out.getvalue()
