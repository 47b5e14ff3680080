"""A run as a JUnit XML file, which Jenkins, GitLab and GitHub's actions show.

A case for each trial of a search, or each component of an ablation, and for each gate. What CI
systems read is the part that they agree on: suites, cases with a class and a name, ``failure`` for
what came out wrong, ``error`` for what went wrong around it, ``skipped`` for what didn't come to
its end. Written with the standard library: a library for it would add a model of these few
elements, and neither refuses nor strips what XML can't hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from dotrain.ablation.study import BASELINE
from dotrain.core.trial import Trial, TrialState
from dotrain.errors import DotrainError, UsageError
from dotrain.report.text import params_text
from dotrain.store import RunDir, replace_file

#: Terminal colours, then all that XML 1.0 has no place for.
_ILLEGAL = re.compile(
    "\x1b\\[[0-9;?]*[ -/]*[@-~]|[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


class Verdict(NamedTuple):
    """What keeps a case from having passed.

    Attributes:
        tag: ``failure``, ``error`` or ``skipped``.
        message: Why, in a line.
        kind: Of failure.
        text: More about it, such as a traceback.
    """

    tag: str
    message: str
    kind: str = ""
    text: str = ""


class Case(NamedTuple):
    """A test case, as CI systems call it."""

    group: str
    name: str
    time_s: float = 0.0
    verdict: Verdict | None = None
    output: str = ""


@contextmanager
def recording(file: Path | None, name: str) -> Iterator[None]:
    """See to it that the file tells of this run alone, however it ends.

    It says at first that the run hasn't come to its end, so that no older success is left there;
    and why, if it can't even begin.

    Args:
        file: The file, or None for none.
        name: Of the suite, as long as the run has none.

    Raises:
        UsageError: If it can't be written, or is there already and is no JUnit file.
    """
    if file is None:
        yield
        return
    _refuse(file)
    unended = Verdict("error", "dotrain has not come to the end of this run", "unfinished")
    _write_first(file, to_xml(name, [Case("run", "run", verdict=unended)]))
    try:
        yield
    except DotrainError as error:
        broken = Verdict("error", str(error).split("\n")[0], type(error).__name__, str(error))
        write_junit(file, to_xml(name, [Case("run", "run", verdict=broken)]))
        raise


def write_junit(file: Path, text: bytes) -> None:
    """Write the file, such that readers see the old one or the new one, never a part.

    Raises:
        DotrainError: If it can't be written.
    """
    try:
        replace_file(file.resolve(), text)
    except OSError as error:
        raise DotrainError(f"--junit {file}: {error.strerror}") from error


def to_junit(
    header: Mapping[str, Any], trials: Sequence[Trial], result: Mapping[str, Any]
) -> bytes:
    """Return what is known of a run as JUnit XML.

    Args:
        header: The journal's.
        trials: All trials.
        result: What ``--json`` prints.
    """
    if "study" in header:
        cases = list(_component_cases(trials, result))
    else:
        cases = [_trial_case(trial, result) for trial in trials]
    cases += [_gate_case(outcome) for outcome in result.get("gates", ())]
    broken = _broken(result)
    if broken is not None:
        cases.append(Case("run", "run", verdict=broken))
    best = result.get("best") or {}
    properties = {
        **{key: result[key] for key in ("metric", "direction", "status", "run_dir")},
        **{"seed": header["seed"], "dotrain": header.get("dotrain", "")},
        **({"simulated": "true"} if result["simulated"] else {}),
        **{f"marks.{mark}": told["count"] for mark, told in result["marks"].items()},
        **({"guessed": ", ".join(result["guessed"])} if result["guessed"] else {}),
        **{f"best.{key}": best[key] for key in ("trial_id", "value") if key in best},
        **{f"best.params.{name}": value for name, value in best.get("params", {}).items()},
    }
    return to_xml(
        result["name"], cases, properties, result["elapsed_s"], header.get("started_at", "")
    )


def to_xml(
    name: str,
    cases: Iterable[Case],
    properties: Mapping[str, Any] | None = None,
    elapsed_s: float = 0.0,
    started_at: str = "",
) -> bytes:
    """Return a JUnit file of one suite.

    Args:
        name: Of the suite, and of the package that its cases belong to.
        cases: What it holds.
        properties: What else is to be known.
        elapsed_s: How long it took, in seconds.
        started_at: When it began, in the notation of ISO 8601, or ``""``.
    """
    cases = list(cases)
    counts = {"tests": str(len(cases))}
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[key] = str(sum(c.verdict is not None and c.verdict.tag == tag for c in cases))
    common = {**counts, "time": f"{elapsed_s:.3f}"}
    stamp = {"timestamp": started_at} if started_at else {}
    root = ElementTree.Element("testsuites", {"name": "dotrain", **common})
    del root.attrib["skipped"]  # Jenkins' schema has it for suites only
    suite = ElementTree.SubElement(root, "testsuite", {"name": _legal(name), **common, **stamp})
    if properties:
        listed = ElementTree.SubElement(suite, "properties")
        for key, value in properties.items():
            pair = {"name": _legal(str(key)), "value": _legal(str(value))}
            ElementTree.SubElement(listed, "property", pair)
    for case in cases:
        suite.append(_element(name, case))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _element(suite: str, case: Case) -> ElementTree.Element:
    attributes = {
        "classname": _legal(f"{suite}.{case.group}"),
        "name": _legal(case.name),
        "time": f"{case.time_s:.3f}",
    }
    element = ElementTree.Element("testcase", attributes)
    if case.verdict is not None:
        tag, message, kind, text = case.verdict
        why = {"message": _legal(message), **({"type": kind} if kind else {})}
        ElementTree.SubElement(element, tag, why).text = _legal(text) or None
    if case.output:
        ElementTree.SubElement(element, "system-out").text = _legal(case.output)
    return element


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)


def _refuse(file: Path) -> None:
    """Refuse to write over what is no JUnit file: a config, say, after a forgotten argument."""
    if not file.exists():
        return
    if not file.is_file():
        raise UsageError(f"--junit {file}: is no regular file")
    with open(file, "rb") as opened:
        start = opened.read(1024)
    if start and b"<testsuite" not in start:
        raise UsageError(f"--junit {file}: is there already and is no JUnit file; choose another")


def _write_first(file: Path, text: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_junit(file, text)
    except OSError as error:
        raise UsageError(f"--junit {file}: {error.strerror}") from None
    except DotrainError as error:
        raise UsageError(str(error)) from None


def _trial_case(trial: Trial, result: Mapping[str, Any]) -> Case:
    name = f"{trial.trial_id} {params_text(trial.params)}".strip()
    log = RunDir(Path(result["run_dir"])).trial_log(trial.trial_id)
    marks = [f"{mark}: {trial.notes[mark]}" for mark in trial.marks]
    output = [line for line in (_outcome(trial, result["metric"]), *marks, f"log: {log}") if line]
    return Case("trials", name, trial.busy_s, _verdict(trial), "\n".join(output))


def _outcome(trial: Trial, metric: str) -> str:
    if trial.divergence:
        return f"diverged: {trial.divergence}"
    if trial.final_metric is None:
        return ""
    steps = "1 step" if trial.steps_run == 1 else f"{trial.steps_run} steps"
    text = f"{metric} {trial.final_metric!r} after {steps}"
    if trial.state is TrialState.STOPPED:
        why = next((s.what for s in reversed(trial.story) if s.state is TrialState.STOPPING), "")
        text += f"\nstopped early{f': {why}' if why else ''}"
    return text


def _verdict(trial: Trial) -> Verdict | None:
    if trial.error is not None:
        error = trial.error
        tag = "error" if error.kind.is_ours else "failure"
        return Verdict(tag, error.message, error.kind, error.traceback or error.location)
    if trial.state.ended:
        return None
    why = trial.story[-1].what if trial.story else "never launched"
    return Verdict("skipped", f"{trial.state}: {why}")


def _component_cases(trials: Sequence[Trial], result: Mapping[str, Any]) -> Iterator[Case]:
    runs: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.arm:
            runs.setdefault(trial.arm.name, []).append(trial)
    for component in ({"name": BASELINE, **result["baseline"]}, *result["components"]):
        own = runs.get(component["name"], [])
        busy_s = sum(trial.busy_s for trial in own)
        output = "\n".join([_effect(component, result["metric"]), *_marks_of(own)]).strip()
        verdict = _component_verdict(component, own, result["seeds"])
        yield Case("components", component["name"], busy_s, verdict, output)


def _marks_of(runs: Sequence[Trial]) -> list[str]:
    """Return what must be known of a component's runs, each thing once."""
    lines = [f"diverged: {run.trial_id} {run.divergence}" for run in runs if run.divergence]
    marks = {f"{mark}: {run.notes[mark]}": None for run in runs for mark in run.marks}
    return [*lines, *marks]


def _effect(component: Mapping[str, Any], metric: str) -> str:
    lines = []
    if component["mean"] is not None:
        lines.append(f"mean {metric} {component['mean']!r}")
    if component.get("delta") is not None:
        interval = component["delta_ci95"]
        within = f", 95 % interval {interval[0]!r} to {interval[1]!r}" if interval else ""
        lines.append(f"difference from the baseline {component['delta']!r}{within}")
        lines.append(f"p (Holm) {component['p_holm']!r}, {component['n']} pairs")
    if "verdict" in component:
        lines.append(component["verdict"])
    return "\n".join(lines)


def _component_verdict(
    component: Mapping[str, Any], runs: Sequence[Trial], seeds: Sequence[int]
) -> Verdict | None:
    failed = [trial for trial in runs if trial.error is not None]
    if failed:
        verdicts = [verdict for trial in failed if (verdict := _verdict(trial))]
        first = verdicts[0]
        text = "\n\n".join(
            f"seed {trial.seed}, {trial.trial_id}: {verdict.message}\n{verdict.text}"
            for trial, verdict in zip(failed, verdicts, strict=True)
        )
        message = f"{len(failed)} of {len(seeds)} runs failed: {first.message}"
        return first._replace(message=message, text=text)
    missing = component["values"].count(None) - len(component.get("diverged", ()))
    if missing:
        return Verdict("skipped", f"{missing} of {len(seeds)} runs have not come to their end")
    return None


def _gate_case(outcome: Mapping[str, Any]) -> Case:
    verdict = None if outcome["met"] else Verdict("failure", outcome["message"], "gate")
    return Case("gates", outcome["gate"], verdict=verdict, output=outcome["message"])


def _broken(result: Mapping[str, Any]) -> Verdict | None:
    """Return what is wrong with the run as a whole."""
    status, why = result["status"], str(result.get("error", ""))
    if why or status in ("failed", "interrupted"):
        return Verdict("error", why.split("\n")[0] or f"the run ended as {status}", status, why)
    return None
