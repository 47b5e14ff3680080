"""A failure names its host, in everything that tells of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from dotrain.core.instructions import Launch
from dotrain.core.observer import RunView
from dotrain.report.page.writing import write_page
from dotrain.report.plain import Plain
from dotrain.report.reading import read_run
from dotrain.report.result import result_lines
from dotrain.report.status import read_status
from dotrain.report.story import read_trial
from dotrain.report.subject import Subject
from dotrain.results import SearchResult
from dotrain.results.cases import trial_case
from tests.executors.virtual import Cluster, Fate, at_once, error
from tests.report.test_show import write_run

HOSTS = {"node-a": 2, "node-b": 9}


def broken(launch: Launch, host: str, ended: int) -> Fate:
    """One host has no device; one configuration fails wherever it is."""
    if launch.trial_id == "t0020":
        return Fate(1.0, error("ValueError: no such width", "user.py:9 in train"))
    return at_once() if host == "node-b" else Fate()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    cluster = Cluster(HOSTS, broken, num_trials=31).run()
    return write_run(tmp_path / "run", cluster.log)


def test_the_summary_says_on_which_hosts_attempts_failed_and_of_how_many(run_dir: Path) -> None:
    result = read_run(run_dir).result
    assert isinstance(result, SearchResult)
    lines = result_lines(result)
    at = lines.index("failed and tried elsewhere: OSError: no device")
    assert lines[at + 1] == "    at user.py:3 in train"
    assert lines[at + 2] == "    9 of 9 on node-b, 0 of 31 elsewhere"
    assert lines[at + 3].startswith("    9 attempts, the first: t000")
    at = lines.index("failed: ValueError: no such width")
    assert lines[at + 2] == "    1 of 31 on node-a, 0 of 9 elsewhere"
    assert lines[at + 3].startswith("    1 trial: t0020")


def test_json_says_the_same(run_dir: Path) -> None:
    told = read_run(run_dir).result.to_json()
    (failed,), (elsewhere,) = told["failures"], told["tried_elsewhere"]
    assert (failed["count"], failed["attempts"]) == (1, 1)
    assert (elsewhere["count"], elsewhere["attempts"]) == (0, 9)
    assert elsewhere["where"] == [
        {"host": "node-b", "failed": 9, "ended": 9},
        {"host": None, "failed": 0, "ended": 31},
    ]
    assert json.loads(json.dumps(told)) == told
    assert told["trials"]["failed"] == 1


def test_show_names_the_host_of_each_attempt_and_of_the_error(run_dir: Path) -> None:
    failed = read_trial(run_dir, "t0020")
    assert failed["error"]["host"] == "node-a"
    moved = next(
        found
        for found in (read_trial(run_dir, f"t{number:04d}") for number in range(11))
        if len(found["attempts"]) == 2
    )
    first, second = moved["attempts"]
    assert (first["host"], first["outcome"]) == ("node-b", "failed")
    assert (second["host"], second["outcome"]) == ("node-a", "finished")
    story = [line["what"] for line in moved["story"]]
    assert "failed on node-b: OSError: no device; waits to be tried on another host" in story
    assert any(what.startswith("started on w of node-b") for what in story)


def test_the_table_has_a_column_of_hosts(run_dir: Path) -> None:
    assert {row["host"] for row in read_run(run_dir).result.rows} == {"node-a"}


def test_status_and_page_and_case_say_it_too(run_dir: Path) -> None:
    run = read_run(run_dir)
    page = write_page(run_dir).read_text()
    assert "What failed and was tried elsewhere" in page
    assert "9 of 9 on node-b, 0 of 31 elsewhere" in page
    case = trial_case(run.state.book.trials["t0020"], "score", run_dir)
    assert case.verdict is not None
    assert case.verdict.message == "ValueError: no such width (on node-a)"
    assert read_status(run_dir).to_json()["tried_elsewhere"][0]["attempts"] == 9


def test_lines_of_a_run_name_the_host() -> None:
    stream = io.StringIO()
    cluster = Cluster({"node-a": 1, "node-b": 3}, broken, num_trials=4)
    plain = Plain(Subject("a search", "score", "max"), stream)
    plain.start(RunView(cluster.scheduler))
    cluster.observers.append(plain)
    cluster.run()
    plain.close()
    text = stream.getvalue()
    assert text.count("failed on node-b, to be tried elsewhere: OSError: no device") == 1
    assert "node-b gets no more trials: 3 in a row failed there" in text


def test_a_trial_that_fails_for_good_names_its_host_in_its_line() -> None:
    stream = io.StringIO()
    cluster = Cluster({"node-a": 1}, lambda launch, host, n: at_once(), num_trials=2)
    plain = Plain(Subject("a search", "score", "max"), stream)
    plain.start(RunView(cluster.scheduler))
    cluster.observers.append(plain)
    cluster.run()
    assert "t0000 failed on node-a at user.py:3 in train: OSError: no device" in stream.getvalue()
