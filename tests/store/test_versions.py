"""Journals of other versions: always read, gone on with where the format allows, else refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dotrain.core.instructions import Launch
from dotrain.errors import JournalError, PolicyError
from dotrain.store import Journal, read_journal, replay
from dotrain.store.journal import VERSION
from tests.conftest import Project

SEARCH = {
    "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
    "optimizer": {"name": "random"},
    "num_trials": 4,
}


@pytest.fixture
def run_dir(project: Project) -> Path:
    """A run of four trials that was cut off after the second one's start."""
    project.write("user.py", "def train(x, reporter):\n    reporter.broadcast(x)\n    return x")
    project.config(search=SEARCH, hparams={}, cluster={"kind": "inline"})
    assert project.cli("run", "config.yaml", "-q").returncode == 0
    (found,) = project.path.glob("runs/*/*")
    rewrite(found, lambda records: records[: kinds(records).index("Finished") + 2])
    return found


def kinds(records: list[dict[str, Any]]) -> list[str]:
    return [record["type"] for record in records]


def rewrite(run_dir: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Write a journal anew, with numbers and checksums of its own."""
    path = run_dir / "journal.jsonl"
    records = change([json.loads(line) for line in path.read_text().splitlines()])
    path.unlink()
    journal = Journal(path)
    for record in records:
        time_s = record.pop("t", 0.0)
        journal.append({k: v for k, v in record.items() if k not in ("crc", "n")}, time_s)
    journal.close()


def of_version(version: int, needs: int) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """A newer dotrain has written this: a field and a type more in every place."""

    def change(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        records[0].update(version=version, needs=needs, dotrain="9.1")
        records = [{**record, "mood": "good"} for record in records]
        return [*records[:3], {"type": "Weather", "t": records[2]["t"], "sun": 1}, *records[3:]]

    return change


def test_fields_and_types_that_came_later_are_passed_over_and_that_is_said(
    project: Project, run_dir: Path
) -> None:
    before = json.loads(project.cli("show", str(run_dir), "--json").stdout)
    rewrite(run_dir, of_version(VERSION + 1, needs=VERSION))
    assert json.loads(project.cli("show", str(run_dir), "--json").stdout) == before
    state = replay(read_journal(run_dir / "journal.jsonl"))
    assert state.passed_over == {"Weather": 1}
    status = project.cli("status", str(run_dir))
    assert "passed over: 1 record of a type that this version doesn't know (Weather)" in (
        status.stdout
    )


def test_a_newer_run_goes_on_where_its_format_allows(project: Project, run_dir: Path) -> None:
    rewrite(run_dir, of_version(VERSION + 1, needs=VERSION))
    gone_on = project.cli("resume", str(run_dir), "--json")
    assert gone_on.returncode == 0, gone_on.stderr
    assert json.loads(gone_on.stdout)["trials"]["finished"] == 4


def test_a_newer_run_that_needs_more_is_refused_with_the_version_to_install(
    project: Project, run_dir: Path
) -> None:
    rewrite(run_dir, of_version(VERSION + 1, needs=VERSION + 1))
    status = project.cli("status", str(run_dir))
    assert status.returncode == 0
    assert "go on with" not in status.stdout
    refused = project.cli("resume", str(run_dir))
    assert refused.returncode == 2
    assert "pip install 'dotrain>=9.1'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_whoever_went_on_last_says_what_is_needed(project: Project, run_dir: Path) -> None:
    assert project.cli("resume", str(run_dir), "-q").returncode == 0

    def change(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        resumed = next(record for record in records if record["type"] == "Resumed")
        assert resumed["version"] == resumed["needs"] == VERSION
        resumed.update(version=VERSION + 2, needs=VERSION + 2, dotrain="9.2")
        return records

    rewrite(run_dir, change)
    assert "dotrain>=9.2" in project.cli("resume", str(run_dir)).stderr


def test_a_field_that_came_later_is_nobodys_changed_decision(
    project: Project, run_dir: Path
) -> None:
    """An old journal has no `known_step`; nothing is said against the optimizer for that."""

    def change(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for record in records:
            if record["type"] == Launch.__name__:
                del record["known_step"]
        return records

    rewrite(run_dir, change)
    assert project.cli("resume", str(run_dir), "-q").returncode == 0


def test_a_decision_that_differs_is_told_by_its_fields(project: Project, run_dir: Path) -> None:
    def change(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        next(record for record in records if record["type"] == "Launch")["params"] = {"x": 2.0}
        return records

    rewrite(run_dir, change)
    refused = project.cli("resume", str(run_dir))
    assert refused.returncode == PolicyError.exit_code
    assert "decided otherwise (Launch): params was {'x': 2.0}, is now {'x': " in refused.stderr
    assert "budget" not in refused.stderr


@pytest.mark.parametrize("version", [VERSION, VERSION + 1])
def test_a_record_that_cannot_follow_is_no_traceback(
    project: Project, run_dir: Path, version: int
) -> None:
    def change(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        records[0].update(version=version, dotrain="9.1")
        stop = {"type": "Stop", "trial_id": "t0099", "attempt": 1, "reason": "", "t": 9.0}
        return [*records, stop]

    rewrite(run_dir, change)
    with pytest.raises(JournalError, match=r"record \d+ of the journal \(Stop\) doesn't follow"):
        replay(read_journal(run_dir / "journal.jsonl"))
    shown = project.cli("show", str(run_dir))
    assert shown.returncode == JournalError.exit_code
    assert "Traceback" not in shown.stderr
    assert ("dotrain>=9.1" in shown.stderr) == (version > VERSION)
