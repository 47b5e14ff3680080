"""The JUnit file, read back with a library of another author."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from dotrain import experiment
from dotrain.core import events as e
from dotrain.core.arm import ArmRun
from dotrain.core.book import TrialBook
from dotrain.core.failure import Failure as TrialFailure
from dotrain.core.failure import FailureKind
from dotrain.core.instructions import RunStatus
from dotrain.core.limits import Limits
from dotrain.core.trial import Trial
from dotrain.errors import UsageError
from dotrain.report.junit import to_junit, to_xml
from dotrain.results import RunResult, result_of
from dotrain.results.cases import Case, Verdict
from dotrain.results.gates import Gate
from tests.conftest import Project

HEADER = {
    **{"name": "digits", "metric": "score", "direction": "max", "seed": 7, "dotrain": "0.1.0"},
    "started_at": "2026-11-22T08:15:00+00:00",
}
TRACEBACK = (
    'Traceback:\n  File "user.py", line 3, in helper\nValueError: x < 1 & \x1b[31mred\x1b[0m\0'
)


def suite_of(xml: bytes) -> TestSuite:
    """Return the one suite of a file, after a look at what every reader relies on."""
    root = JUnitXml.fromstring(xml)
    # All that the schema of Jenkins allows there.
    assert set(root._elem.attrib) == {"name", "tests", "failures", "errors", "time"}
    (suite,) = list(root)
    cases = list(suite)
    assert suite.tests == root.tests == len(cases)
    for count, kind in (
        (suite.failures, Failure),
        (suite.errors, Error),
        (suite.skipped, Skipped),
    ):
        assert count == sum(isinstance(r, kind) for case in cases for r in case.result)
    # Those that follow a test's history do so by its class and name.
    assert len({(case.classname, case.name) for case in cases}) == len(cases)
    # The schema of Jenkins takes no other notation of a time.
    assert set(re.findall(rb' time="([^"]*)"', xml)) <= set(re.findall(rb"\d+\.\d{3}", xml))
    return suite


def outcome_of(case: TestCase) -> Any:
    """Return what kept a case from passing, or None."""
    assert len(case.result) <= 1
    return case.result[0] if case.result else None


def search(status: str = "finished", **demanded: Any) -> RunResult:
    """One trial of each kind: finished, stopped, failed twice over, unfinished."""
    book = TrialBook(0, Limits())

    def launch(**params: Any) -> tuple[str, int]:
        trial = Trial(params)
        book.accept(trial)
        book.launch(trial, None, "a sample", 0.0, 1)
        key = (trial.trial_id, 1)
        book.apply(e.Started(*key, "worker", 0), 1.0)
        return key

    done = launch(lr=0.123456, name="a")
    book.apply(e.Reported(*done, 0, 0.5), 2.0)
    book.apply(e.Finished(*done, 0.75), 3.5)
    slow = launch(lr=0.2, name="<&>")
    book.apply(e.Reported(*slow, 0, 0.25), 2.0)
    book.stop(book.trials[slow[0]], "worse than the median at step 0", 2.0)
    book.apply(e.Stopped(*slow), 2.5)
    bad = launch(lr=0.3, name="c")
    book.apply(
        e.Failed(*bad, TrialFailure(FailureKind.EXCEPTION, "ValueError: x < 1", "", "", TRACEBACK)),
        2,
    )
    lost = launch(lr=0.4, name="d")
    book.fail(book.trials[lost[0]], TrialFailure(FailureKind.LOST, "its worker was killed"), 2.0)
    launch(lr=0.5, name="e")
    run_dir = Path("/runs/digits/1")
    return result_of(HEADER, book.trials.values(), RunStatus(status), 61.23456, run_dir, **demanded)


def test_a_search_has_a_case_for_each_trial_and_gate() -> None:
    result = search(gates=[Gate.parse("score>=0.9"), Gate.parse("steps>1")])
    suite = suite_of(to_junit(result))
    assert (suite.name, suite.time) == ("digits", 61.235)
    assert suite.timestamp == "2026-11-22T08:15:00+00:00"
    done, slow, bad, lost, running, missed, met = suite
    assert (done.classname, done.name) == ("digits.trials", "t0000 lr=0.1235 name=a")
    assert done.time == 2.5
    assert outcome_of(done) is None
    assert done.system_out.startswith("score 0.75 after 1 step\n")
    assert "/runs/digits/1/trials/t0000/output.log" in done.system_out
    assert slow.name == "t0001 lr=0.2 name=<&>"
    assert outcome_of(slow) is None
    assert "stopped early: worse than the median at step 0" in slow.system_out
    failure = outcome_of(bad)
    assert isinstance(failure, Failure)
    assert (failure.message, failure.type) == ("ValueError: x < 1", "exception")
    assert failure.text == TRACEBACK.replace("\x1b[31mred\x1b[0m\0", "red")
    assert isinstance(outcome_of(lost), Error)
    assert outcome_of(lost).message == "its worker was killed"
    assert isinstance(outcome_of(running), Skipped)
    assert "running" in outcome_of(running).message
    assert (missed.classname, missed.name) == ("digits.gates", "score>=0.9")
    assert isinstance(outcome_of(missed), Failure)
    assert outcome_of(missed).message == "got 0.75, missed by 0.15"
    assert outcome_of(met) is None
    properties = {pair.name: pair.value for pair in suite.properties()}
    assert (
        properties.items()
        >= {
            **{"seed": "7", "metric": "score", "direction": "max", "status": "finished"},
            **{"best.value": "0.75", "best.trial_id": "t0000", "best.params.lr": "0.123456"},
        }.items()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "interrupted"}, "the run ended as interrupted"),
        ({"status": "failed"}, "the run ended as failed"),
        ({"error": "optimizer Mine raised KeyError: 'x'\n  at line 3"}, "optimizer Mine raised"),
    ],
)
def test_a_run_that_was_broken_off_is_never_green(changes: dict[str, Any], message: str) -> None:
    (*_, last) = suite_of(to_junit(search(**changes)))
    assert (last.classname, last.name) == ("digits.run", "run")
    assert isinstance(outcome_of(last), Error)
    assert outcome_of(last).message.startswith(message)


def test_an_ablation_has_a_case_for_each_component() -> None:
    arms = {
        "baseline": [0.8, 0.9],
        "layer:dense_2": [0.5, 0.7],
        "feature:sex": [
            0.7,
            TrialFailure(FailureKind.EXCEPTION, "ValueError: no", "", "", TRACEBACK),
        ],
        "feature:age": [0.7, None],
    }
    book = TrialBook(0, Limits())
    for name, outcomes in arms.items():
        for index, outcome in enumerate(outcomes):
            trial = Trial({}, seed=11 + index, arm=ArmRun(name, index))
            book.accept(trial)
            book.launch(trial, None, "", 0.0, 1)
            key = (trial.trial_id, 1)
            book.apply(e.Started(*key, "", 0), 0.0)
            if isinstance(outcome, float):
                book.apply(e.Finished(*key, outcome), 1.5)
            elif outcome is not None:
                book.apply(e.Failed(*key, outcome), 1.5)
    listed = [{"name": n, "kind": n.split(":")[0], "left_out": []} for n in arms]
    study = {"arms": listed, "seeds": [11, 12], "adds": False, "params": {}, "changes": {}}
    header = {**HEADER, "study": study}
    trials = book.trials.values()
    status, run_dir = RunStatus.INTERRUPTED, Path("/runs/study/1")
    suite = suite_of(to_junit(result_of(header, trials, status, 9.0, run_dir)))
    baseline, layer, sex, age, run = suite
    assert [case.name for case in suite] == [*arms, "run"]
    assert {case.classname for case in (baseline, layer, sex, age)} == {"digits.components"}
    assert baseline.time == layer.time == 3.0
    assert outcome_of(layer) is None
    assert "difference from the baseline -0.25" in layer.system_out
    assert "not distinguishable from noise" in layer.system_out
    assert outcome_of(sex).message == "1 of 2 runs failed: ValueError: no"
    assert "seed 12, t0005: ValueError: no\nTraceback:" in outcome_of(sex).text
    assert isinstance(outcome_of(age), Skipped)
    assert outcome_of(age).message == "1 of 2 runs have not come to their end"
    assert isinstance(outcome_of(run), Error)


@given(st.text(st.characters(codec=None)))
def test_whatever_a_message_holds_the_file_is_xml(text: str) -> None:
    verdict = Verdict("failure", text, "exception", text)
    case = Case("trials", f"t0000 {text}", 1e9, verdict, text)
    (found,) = suite_of(to_xml(text or "suite", [case], {"key": text}, 1e-9))
    assert found.time == 1e9


# From here on through the command line.

USER = """
def train(x, reporter):
    if x > 0.9:
        raise ValueError(f"{x} is <too> much \\x1b[31m")
    reporter.broadcast(x, 0)
    return x
"""
SEARCH = {"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 6}


@pytest.fixture
def searching(project: Project) -> Project:
    project.write("user.py", USER)
    project.config(name="demo", search=SEARCH, cluster={"kind": "inline"})
    return project


def read(project: Project, name: str = "junit.xml") -> TestSuite:
    return suite_of((project.path / name).read_bytes())


def test_the_file_of_a_search_tells_what_its_json_tells(searching: Project) -> None:
    options = ("--junit", "new/folder/junit.xml", "--require", "trials.failed==0")
    done = searching.cli("run", "config.yaml", "--json", "-q", *options)
    result = json.loads(done.stdout)
    suite = read(searching, "new/folder/junit.xml")
    assert result["trials"]["failed"] > 0, "the seed gives no value above 0.9: choose another"
    assert done.returncode == 4
    assert suite.tests == 6 + 1
    assert suite.failures == result["trials"]["failed"] + 1
    failed = [case for case in suite if case.classname == "demo.trials" and case.result]
    assert "<too> much" in outcome_of(failed[0]).message
    assert "user.py" in outcome_of(failed[0]).text
    assert not list((searching.path / "new/folder").glob(".*"))
    # A run that goes on tells of all its trials.
    searching.cli("resume", result["run_dir"], "--junit", "new/folder/junit.xml")
    assert read(searching, "new/folder/junit.xml").tests == 6


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.yaml", "is there already and is no JUnit file"),
        ("user.py/junit.xml", "Not a directory|File exists"),
        ("runs", "is no regular file"),
        ("/dev/null", "is no regular file"),
    ],
)
def test_a_file_that_cannot_be_written_is_found_before_the_run(
    searching: Project, file: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (searching.path / "runs").mkdir()
    before = (searching.path / "config.yaml").read_text()
    monkeypatch.chdir(searching.path)
    with pytest.raises(UsageError) as caught:
        experiment.run(Path("config.yaml"), junit=Path(file))
    assert re.match(f"--junit {file}: .*({message})", str(caught.value))
    assert not list((searching.path / "runs").iterdir())
    assert (searching.path / "config.yaml").read_text() == before


@pytest.mark.parametrize("mistake", [("-s", "direction=maxx"), ("--require", "scoer>1")])
def test_what_was_refused_leaves_no_older_success_behind(
    searching: Project, mistake: tuple[str, str]
) -> None:
    assert searching.cli("run", "config.yaml", "-q", "--junit", "junit.xml").returncode == 0
    done = searching.cli("run", "config.yaml", "--junit", "junit.xml", *mistake)
    assert done.returncode == 2
    (case,) = read(searching)
    assert isinstance(outcome_of(case), Error)
    assert outcome_of(case).message == done.stderr.splitlines()[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_ended_leaves_what_is_known(searching: Project, number: int) -> None:
    searching.write(
        "user.py",
        f"""
        import os

        def train(x, trial_dir):
            if trial_dir.name == "t0002":
                os.kill(os.getpid(), {int(number)})
            return x
        """,
    )
    done = searching.cli("run", "config.yaml", "-q", "--junit", "junit.xml")
    suite = read(searching)
    (*_, last) = suite
    assert isinstance(outcome_of(last), Error)
    if number == signal.SIGKILL:
        assert done.returncode == -signal.SIGKILL
        assert outcome_of(last).message == "dotrain has not come to the end of this run"
        (run_dir,) = searching.path.glob("runs/*/*")
        searching.write("user.py", "def train(x): return x")
        mended = ("--code", "current", "--junit", "junit.xml")
        assert searching.cli("resume", str(run_dir), *mended).returncode == 0
        assert (read(searching).tests, read(searching).errors) == (6, 0)
    else:
        assert done.returncode == 130
        assert sum(not case.result for case in suite) == 2
        assert suite.skipped == 1
        assert outcome_of(last).message == "the run ended as interrupted"


def test_a_file_that_is_lost_at_the_end_costs_no_result(searching: Project) -> None:
    searching.write(
        "user.py",
        """
        import pathlib, shutil

        def train(x):
            shutil.rmtree("out", ignore_errors=True)
            pathlib.Path("out").write_text("in the way")
            return x
        """,
    )
    done = searching.cli("run", "config.yaml", "-q", "--json", "--junit", "out/junit.xml")
    assert done.returncode == 1
    assert "--junit out/junit.xml: " in done.stderr
    assert json.loads(done.stdout)["trials"]["finished"] == 6


def test_it_is_written_without_anything_heavy() -> None:
    code = "import sys, dotrain.report.junit; print(*{n.split('.')[0] for n in sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"junitparser", "scipy", "tensorflow", "distributed"} & set(out.stdout.split())
