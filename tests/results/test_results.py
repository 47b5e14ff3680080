"""What a run has come to, through the types: the same for a search and a study, but what differs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dotrain.core import events as e
from dotrain.core.arm import ArmRun
from dotrain.core.book import TrialBook
from dotrain.core.instructions import RunStatus
from dotrain.core.limits import Limits
from dotrain.core.policy import Direction
from dotrain.core.trial import Trial
from dotrain.report.reading import read_run
from dotrain.results import RunResult, SearchResult, expected_result, result_of
from dotrain.results.paths import MISSING
from dotrain.space import Searchspace, as_domain
from tests.conftest import ROOT
from tests.report import runs
from tests.results.studies import FAILED, make_result
from tests.samples.reading import holds

RUNS = (runs.search, runs.ablation, runs.group, runs.hostile)


def searched(*values: float | None, direction: Direction = "max", **told: Any) -> RunResult:
    """Return the result of a search whose trials came out as told; None is still running."""
    book = TrialBook(0, Limits())
    for number, value in enumerate(values):
        trial = Trial({"lr": float(number)})
        book.accept(trial)
        book.launch(trial, None, "a sample", 0.0, 1)
        book.apply(e.Started(trial.trial_id, 1, "worker", 0), 0.0)
        if value is not None:
            book.apply(e.Finished(trial.trial_id, 1, value), 1.0)
    book.accept(Trial({"lr": 9.0}))  # drawn, and never launched
    header = {"name": "digits", "metric": "score", "direction": direction, "seed": 7}
    told = {"status": RunStatus.FINISHED, "elapsed_s": 1.23456, "run_dir": Path("/runs/1"), **told}
    return result_of(header, book.trials.values(), **told)


@pytest.mark.parametrize("make", RUNS)
def test_the_file_that_a_run_leaves_is_what_its_journal_says(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path)
    written = json.loads((path / "result.json").read_text())
    read = json.loads(json.dumps(read_run(path).result.to_json()))
    assert list(written) == list(read)
    # A journal has times to the microsecond, and the driver ends a little after its last record.
    del written["elapsed_s"], read["elapsed_s"]
    assert [*holds(written, read, relative=1e-6), *holds(read, written, relative=1e-6)] == []


@pytest.mark.parametrize("make", RUNS)
def test_each_number_of_a_result_can_be_named_before_the_run(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    run = read_run(make(tmp_path))
    domains = (run.header["config"].get("search") or {}).get("space", {})
    space = Searchspace(**{name: as_domain(spec) for name, spec in domains.items()})
    expected = expected_result(run.header, space).paths
    named = list(numbers(run.result.to_json()))
    assert len(named) > 10
    for path in named:
        found = expected.find(path, any_index=True)
        assert found is None or isinstance(found, int | float), path
        assert run.result.paths.find(path) is not MISSING


def numbers(node: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every number."""
    if isinstance(node, int | float) and not isinstance(node, bool):
        yield path
    pairs = node.items() if isinstance(node, dict) else ()
    for key, child in enumerate(node) if isinstance(node, list) else pairs:
        yield from numbers(child, f"{path}.{key}" if path else str(key))


@pytest.mark.parametrize(
    ("values", "direction", "usable", "headline"),
    [
        ((0.5, 0.75), "max", True, "score 0.75 (t0001), the best of 2 trials"),
        ((0.5, 0.75), "min", True, "score 0.5 (t0000), the best of 2 trials"),
        ((0.5,), "max", True, "score 0.5 (t0000)"),
        ((None,), "max", False, "no result from 1 trial"),
        ((), "max", False, "no result from 0 trials"),
    ],
)
def test_a_search_is_usable_if_a_trial_has_a_value(
    values: tuple[float | None, ...], direction: Direction, usable: bool, headline: str
) -> None:
    result = searched(*values, direction=direction)
    assert isinstance(result, SearchResult)
    assert (result.is_usable, result.headline) == (usable, headline)
    assert (result.best is not None) is usable
    assert result.counts.total == len(values), "what was only drawn counts as none"


@pytest.mark.parametrize(
    ("other", "usable", "headline"),
    [
        ([0.25, 0.35], True, "largest loss without feature:a: -0.25, unclear"),
        ([0.5, 0.7], True, "no component is worth anything"),
        ([FAILED, FAILED], False, "nothing can be compared yet"),
        ([], False, "nothing can be compared yet"),
    ],
)
def test_a_study_is_usable_if_a_pair_of_runs_can_be_compared(
    other: list[float | str], usable: bool, headline: str
) -> None:
    result = make_result({"baseline": [0.5, 0.6], "feature:a": other}, seeds=2)
    assert (result.is_usable, result.headline, result.best) == (usable, headline, None)
    standing_out = [trial.arm for trial in result.trials if result.stands_out(trial)]
    assert standing_out == [ArmRun("baseline", 0), ArmRun("baseline", 1)]


def test_a_study_says_how_far_it_is_without_any_statistics() -> None:
    result = make_result({"baseline": [0.5, 0.6, 0.7], "feature:a": [0.4, FAILED]})
    told = replace(result).so_far()
    assert told["arms"] == {"baseline": 3, "feature:a": 1}
    assert not {"best", "baseline", "components"} & told.keys()


@pytest.mark.parametrize("status", RunStatus)
def test_a_run_goes_on_unless_it_has_finished_or_still_runs(status: RunStatus) -> None:
    result = searched(0.5, status=status)
    ends = status in (RunStatus.FINISHED, RunStatus.RUNNING)
    assert (result.resume is None) is ends
    assert result.to_json()["resume"] == result.resume
    broken_off = [case.name for case in result.cases() if case.group == "run"]
    assert broken_off == (["run"] if status in (RunStatus.FAILED, RunStatus.INTERRUPTED) else [])


def test_what_ended_a_run_stands_in_the_json_and_is_a_case_of_its_own() -> None:
    result = searched(0.5, error="optimizer Mine raised KeyError: 'x'\n  at line 3")
    assert result.to_json()["error"] == result.error
    last = result.cases()[-1]
    assert last.verdict is not None
    assert (last.verdict.tag, last.verdict.message) == (
        "error",
        "optimizer Mine raised KeyError: 'x'",
    )


def test_a_status_of_a_newer_version_keeps_its_text() -> None:
    status = RunStatus("paused")
    assert searched(0.5, status=status).to_json()["status"] == "paused"
    assert status.goes_on
    assert not status.was_broken_off


def test_one_place_tells_a_study_from_a_search() -> None:
    pattern = re.compile(r'"(study|components)" (not )?in |\.get\("(study|components)"')
    package = ROOT / "dotrain"
    files = [file for file in package.rglob("*.py") if pattern.search(file.read_text())]
    # The other reads what the first version of the journal said of an arm.
    places = {file.relative_to(package).as_posix() for file in files}
    assert places == {"results/making.py", "store/arms.py"}
