"""Runs of released versions are read, shown and gone on with as they were; `tests/samples` has them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from dotrain import experiment
from dotrain.store import read_journal, replay
from tests.samples import changes
from tests.samples.changes import Change, unexplained
from tests.samples.reading import (
    AFTER,
    MISSING,
    TOLD,
    Difference,
    came_to,
    go_on,
    holds,
    placed,
    records,
    said,
    told,
    without_place,
)

HERE = Path(__file__).parents[1] / "samples"
SAMPLES = sorted(file.parent for file in HERE.glob("v*/*/journal.jsonl"))


#: The result of a run that was broken off may count a trial that was drawn and never launched.
FINISHED = [
    sample
    for sample in SAMPLES
    if json.loads((sample / TOLD).read_text())["status"]["status"] == "finished"
]


def name_of(sample: Path) -> str:
    return sample.relative_to(HERE).as_posix()


each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=name_of)


def expected(sample: Path, name: str) -> Any:
    return json.loads((sample / name).read_text())


def test_there_is_a_sample_of_every_kind() -> None:
    kinds = {"ablation", "asha", "behind", "group", "lagom", "random", "simulated"}
    assert {sample.name for sample in SAMPLES if sample.parent.name == "v1"} == kinds
    headers = [records(sample)[0] for sample in SAMPLES]
    assert all(
        f"v{header['version']}" == s.parent.name for header, s in zip(headers, SAMPLES, strict=True)
    )


@each_sample
def test_no_machine_is_named(sample: Path) -> None:
    for file in sample.rglob("*"):
        text = file.read_text() if file.suffix in (".json", ".jsonl", ".yaml") else ""
        for path in re.findall(r"(?<=\")/\w[^\"\\]*", text):
            assert path.startswith("/tmp/dotrain-samples"), (file, path)
    environment = records(sample)[0]["environment"]
    assert environment["platform"] == "Linux"


@each_sample
def test_what_is_told_of_a_run_stays(sample: Path, tmp_path: Path) -> None:
    run_dir = placed(sample, tmp_path)
    differences = list(holds(expected(sample, TOLD), told(run_dir)))
    assert unexplained(name_of(sample), "told", differences) == []
    replay(read_journal(run_dir / "journal.jsonl")).book.validate()


@pytest.mark.parametrize("sample", FINISHED, ids=name_of)
def test_the_result_that_was_written_is_what_the_journal_says(sample: Path, tmp_path: Path) -> None:
    found = expected(sample, "result.json")
    del found["elapsed_s"]  # the driver ends a little later than its last record
    found = without_place(found, found["run_dir"])
    differences = list(holds(found, told(placed(sample, tmp_path))["summary"]))
    assert unexplained(name_of(sample), "result", differences) == []


@each_sample
def test_a_page_and_event_files_can_be_made(sample: Path, tmp_path: Path) -> None:
    run_dir = placed(sample, tmp_path)
    journal = records(run_dir)
    said("report", str(run_dir))
    assert journal[0]["name"] in (run_dir / "report.html").read_text()
    said("report", str(run_dir), "--tensorboard")
    reported = {record["trial_id"] for record in journal if record["type"] == "Reported"}
    assert reported <= {file.parent.name for file in run_dir.rglob("*tfevents*")}


@pytest.mark.slow
@each_sample
def test_a_run_goes_on_to_the_same_end(sample: Path, tmp_path: Path) -> None:
    after = expected(sample, AFTER)
    run_dir = placed(sample, tmp_path)
    before = (run_dir / "journal.jsonl").read_bytes()
    done = go_on(run_dir, after.pop("how"))
    assert done.returncode == 0, done.stderr
    whole = before[: before.rindex(b"\n") + 1]
    assert (run_dir / "journal.jsonl").read_bytes().startswith(whole)
    differences = list(holds(after, came_to(run_dir)))
    assert unexplained(name_of(sample), "after", differences) == []


@pytest.mark.parametrize("name", ["asha", "behind", "simulated"])
def test_a_run_whose_code_is_gone_goes_on_to_the_same_end_with_its_archive(
    name: str, tmp_path: Path
) -> None:
    sample = HERE / "v1" / name
    after = expected(sample, AFTER)
    run_dir = placed(sample, tmp_path)
    shutil.rmtree(tmp_path / "code")
    experiment.resume(run_dir, after.pop("how")["set"], quiet=True)
    differences = list(holds(after, came_to(run_dir)))
    assert unexplained(name_of(sample), "after", differences) == []


def test_what_is_added_holds_and_nothing_else() -> None:
    said_before = {"rows": [{"a": 1}, {"a": 2.5}], "status": "finished"}
    added = {"rows": [{"a": 1, "b": 0}, {"a": 2.5}], "status": "finished", "new": []}
    assert list(holds(said_before, added)) == []
    for where, other in {
        "rows.1.a": {**added, "rows": [{"a": 1}, {"a": 2}]},
        "rows.0.a": {**added, "rows": [{"a": True}, {"a": 2.5}]},
        "rows": {**added, "rows": [{"a": 1}]},
        "status": {"rows": added["rows"]},
    }.items():
        (difference,) = holds(said_before, other)
        assert difference.where == where
    assert difference == Difference("status", "finished", MISSING)


def test_a_change_by_name_explains_its_field_only(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = [Difference("show.0.steps", 6, 4), Difference("show.1.steps", 6, 5)]
    one = Change("v1/x", "told.show.0.*", 4, "why")
    all_ = Change("v1/x", "told.show.*.steps", ..., "why")
    for known, left in [
        ((), differences),
        ((one,), differences[1:]),
        ((all_,), []),
        ((one._replace(sample="v1/y"),), differences),
        ((one._replace(now=6),), [*differences, one._replace(now=6)]),
        (
            (all_, one._replace(where="told.status.reason")),
            [one._replace(where="told.status.reason")],
        ),
    ]:
        monkeypatch.setattr(changes, "CHANGES", known)
        assert unexplained("v1/x", "told", differences) == left
