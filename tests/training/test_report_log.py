"""The reports of a trial, kept beside its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from dotrain.training.report_log import Kept, ReportLog


@pytest.fixture
def log(tmp_path: Path) -> ReportLog:
    return ReportLog(tmp_path / "reports.jsonl")


def steps(log: ReportLog, after: int, before: int) -> list[int]:
    return [kept.step for kept in log.between(after, before)]


def test_nothing_is_kept_at_first(log: ReportLog) -> None:
    assert list(log.between(-1, 9)) == []


def test_what_lies_between_is_given_in_the_order_of_the_steps(log: ReportLog) -> None:
    for step in (2, 0, 1, 3):
        log.append(step, step / 10, {"f1": 0.5} if step else None)
    assert list(log.between(-1, 2)) == [Kept(0, 0.0, None), Kept(1, 0.1, {"f1": 0.5})]
    assert [steps(log, 0, 3), steps(log, 1, 9), steps(log, 3, 9), steps(log, -1, 0)] == [
        [1, 2],
        [2, 3],
        [],
        [],
    ]


def test_a_function_that_counts_from_one_has_done_the_step_of_its_checkpoint(
    log: ReportLog,
) -> None:
    for step in (1, 2, 3):
        log.append(step, 0.1, None)
    assert steps(log, -1, 2) == [1, 2]


def test_of_a_step_the_last_report_counts(log: ReportLog) -> None:
    for value in (0.1, 0.2):
        log.append(0, value, None)
    assert list(log.between(-1, 1)) == [Kept(0, 0.2, None)]


def test_a_line_torn_at_any_byte_hides_no_other(tmp_path: Path) -> None:
    log = ReportLog(tmp_path / "log")
    log.append(0, 0.1, {"f1": 0.5})
    whole = (tmp_path / "log").read_text()
    for end in range(len(whole)):
        (tmp_path / "log").write_text(whole[:end])
        log.append(1, 0.2, None)
        assert Kept(1, 0.2, None) in list(log.between(-1, 2))
