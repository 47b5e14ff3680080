"""A run as a JUnit XML file, which Jenkins, GitLab and GitHub's actions show.

A case for each trial of a search, or each component of an ablation, and for each gate. What CI
systems read is the part that they agree on: suites, cases with a class and a name, ``failure`` for
what came out wrong, ``error`` for what went wrong around it, ``skipped`` for what didn't come to
its end. Written with the standard library: a library for it would add a model of these few
elements, and neither refuses nor strips what XML can't hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dotrain.errors import DotrainError, UsageError
from dotrain.results import FrontResult, RunResult
from dotrain.results.cases import Case, Verdict
from dotrain.space import value_text
from dotrain.store import replace_file

#: Terminal colours, then all that XML 1.0 has no place for.
_ILLEGAL = re.compile(
    "\x1b\\[[0-9;?]*[ -/]*[@-~]|[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


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
        _write(file, to_xml(name, [Case("run", "run", verdict=broken)]))
        raise


def write_junit(file: Path, result: RunResult) -> None:
    """Write the file of a run.

    Raises:
        DotrainError: If it can't be written.
    """
    _write(file, to_junit(result))


def _write(file: Path, text: bytes) -> None:
    """Write the file, such that readers see the old one or the new one, never a part."""
    try:
        replace_file(file.resolve(), text)
    except OSError as error:
        raise DotrainError(f"--junit {file}: {error.strerror}") from error


def to_junit(result: RunResult) -> bytes:
    """Return what is known of a run as JUnit XML."""
    header, best, caveats = result.header, result.best, result.caveats
    properties = {
        **{"metric": result.metric, "direction": result.direction, "status": result.status},
        **{"run_dir": result.run_dir, "seed": header["seed"], "dotrain": header.get("dotrain", "")},
        **({"simulated": "true"} if caveats.simulated else {}),
        **{f"marks.{mark}": marked.size for mark, marked in caveats.marks.items()},
        **({"guessed": ", ".join(caveats.guessed)} if caveats.guessed else {}),
    }
    if isinstance(result, FrontResult):
        properties["metrics"] = ", ".join(f"{way} {name}" for name, way in result.metrics.items())
        properties["front"] = ", ".join(trial.trial_id for trial in result.front)
        properties |= {f"best_values.{name}": v for name, v in result.best_values.items()}
    if best is not None:
        properties |= {"best.trial_id": best.trial_id, "best.value": best.final_metric}
        properties |= {
            f"best.params.{name}": value_text(value) for name, value in best.params.items()
        }
    started_at = header.get("started_at", "")
    return to_xml(result.name, result.cases(), properties, result.elapsed_s, started_at)


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
        _write(file, text)
    except OSError as error:
        raise UsageError(f"--junit {file}: {error.strerror}") from None
    except DotrainError as error:
        raise UsageError(str(error)) from None
