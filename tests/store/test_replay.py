"""Reading a journal back, and going on from it: every kind of record, and what can't be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain.core import events as e
from dotrain.core.instructions import Instruction
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.policy import AbstractEarlyStop
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import TrialState
from dotrain.errors import JournalError, PolicyError
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Float, Searchspace
from dotrain.store import (
    Journal,
    Record,
    code_of,
    counts_from_one,
    has_finished,
    is_simulated,
    marks_of,
    needs_newer,
    newer,
    read_journal,
    replay,
    replay_each,
    restore,
    written_by,
)
from dotrain.store.journal import VERSION

LIMITS = Limits(trial_timeout_s=5.0, retries=1, max_failures=4)
HEADER: Record = {
    "name": "demo",
    "metric": "m",
    "direction": "max",
    "seed": 3,
    "limits": vars(LIMITS),
}


class StopsAtOne(AbstractEarlyStop):
    def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
        return {i: "enough" for i, trial in to_check.items() if trial.last_step == 1}


def new_scheduler(num_trials: int = 6) -> Scheduler:
    optimizer = RandomSearch()
    optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), num_trials, "max", 3)
    optimizer.initialize()
    return Scheduler(optimizer, StopsAtOne(), seed=3, limits=LIMITS)


class Run:
    """A run that is written as a driver writes it."""

    def __init__(self, path: Path, **header: Any) -> None:
        self.path, self.scheduler = path, new_scheduler()
        self.journal = Journal(path)
        self.journal.append_header({**HEADER, **header})

    def take(self, event: e.Event, time_s: float) -> list[Instruction]:
        self.journal.append_event(event, time_s)
        out = self.scheduler.handle(event, time_s)
        for instruction in out:
            self.journal.append_instruction(instruction, time_s)
        return out

    def records(self) -> list[Record]:
        return list(read_journal(self.path))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run with every kind of instruction."""
    run = Run(tmp_path / "journal.jsonl")
    run.take(e.SlotsChanged(3), 0.0)
    for number in range(3):
        run.take(e.Started(f"t000{number}", 1), 1.0)
    run.take(e.Reported("t0000", 1, 0, 0.1), 2.0)
    run.take(e.Reported("t0000", 1, 1, 0.2), 2.0)  # stops it
    run.take(e.Stopped("t0000", 1), 3.0)
    run.take(e.Finished("t0001", 1, 0.5), 4.0)
    run.take(e.TimePassed(), 6.0)  # kills the third for its time-out
    run.take(e.Interrupted("Ctrl-C"), 7.0)
    yield run
    run.journal.close()


def test_a_reader_knows_what_the_scheduler_knows(run: Run) -> None:
    state = replay(run.records())
    states = [trial.state for trial in state.book.trials.values()]
    assert states == [trial.state for trial in run.scheduler.book.trials.values()]
    assert states[:3] == [TrialState.STOPPED, TrialState.FINISHED, TrialState.FAILED]
    assert set(states[3:]) == {TrialState.WAITING}
    assert (state.status, state.reason) == ("interrupted", "Ctrl-C")
    assert (state.slots, state.time_s, state.passed_over) == (3, 7.0, {})
    error = state.book.trials["t0002"].error
    assert error is not None
    assert (error.kind, error.message) == (
        "timeout",
        "ran longer than 5 s (limits.trial_timeout_s)",
    )
    assert [t.trial_id for t in state.book.finalized] == ["t0000", "t0001"]


def test_a_reader_sees_the_run_after_each_record(run: Run) -> None:
    run.take(e.Resumed(vars(LIMITS)), 9.0)
    seen = [(state.status, state.slots) for state, _ in replay_each(run.records())]
    assert seen[0] == (None, 0)
    assert seen[1] == (None, 3)
    assert seen[-2] == ("interrupted", 3)
    assert seen[-1] == (None, 0)
    assert replay(run.records()).reason == ""


def test_records_of_unknown_types_are_counted_and_change_nothing(run: Run) -> None:
    before = replay(run.records())
    weather = {"type": "Weather", "t": 7.0}
    after = replay([*run.records(), {**weather, "n": 98}, {**weather, "n": 99}])
    assert after.passed_over == {"Weather": 2}
    assert (after.status, after.book.counts) == (before.status, before.book.counts)


@pytest.mark.parametrize("records", [[], [{"type": "Started"}], [{"n": 0}]])
def test_without_a_header_a_run_never_began(records: list[Record]) -> None:
    with pytest.raises(JournalError, match=r"has no header"):
        replay(records)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"type": "Stop", "trial_id": "t0099", "reason": ""}, "it has no 't0099'"),
        ({"type": "Kill", "trial_id": "t0000", "timeout": False, "reason": ""}, "no 't0000'"),
        ({"type": "Stop", "trial_id": "t0001", "reason": ""}, "t0001 is finished; it can't stop"),
        ({"type": "Started", "trial_id": "t0001"}, "missing"),
    ],
)
def test_what_can_not_have_happened_is_damage_that_names_the_record(
    run: Run, record: Record, why: str
) -> None:
    records = [*run.records(), {"n": 55, "t": 8.0, **record}]
    with pytest.raises(JournalError, match=rf"record 55 of the journal \({record['type']}\)") as e:
        replay(records)
    assert why in str(e.value)
    assert "\n" not in str(e.value)
    records[0] = {**records[0], "version": VERSION + 1, "dotrain": "9.1"}
    with pytest.raises(JournalError, match=r"dotrain>=9.1"):
        replay(records)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({}, False),
        ({"config": {}}, False),
        ({"config": {"cluster": None}}, False),
        ({"config": {"cluster": {"kind": "local"}}}, False),
        ({"config": {"cluster": {"kind": "simulated"}}}, True),
        ({"simulated": True, "config": {"cluster": {"kind": "mine"}}}, True),
        ({"simulated": False, "config": {"cluster": {"kind": "simulated"}}}, False),
    ],
)
def test_what_was_simulated_is_known_of_any_version(header: Record, expected: bool) -> None:
    assert is_simulated(header) == expected
    assert (Mark.SIMULATED in marks_of(header)) == expected


def test_what_was_guessed_is_said_of_every_trial() -> None:
    assert marks_of({"guessed": []}) == {}
    assert marks_of({"guessed": ["direction max", "value last"]}) == {
        Mark.GUESSED: "nobody said so: direction max, value last"
    }


def test_a_header_tells_its_code_and_how_steps_count() -> None:
    assert [code_of({}), code_of({"code": None}), code_of({"code": {"digest": "d"}})] == [
        None,
        None,
        "d",
    ]
    assert [counts_from_one(h) for h in ({}, {"version": 1}, {"version": 2})] == [True, False, True]


# Who wrote it.


def test_who_went_on_last_has_written_it() -> None:
    first = {"type": "Run", "version": 1, "dotrain": "0.1", "needs": 1, "seed": 0}
    other = {"type": "Weather", "version": 9}
    then = {"type": "Resumed", "version": 3, "needs": 2}
    assert written_by([first, other]) == {"version": 1, "dotrain": "0.1", "needs": 1}
    assert written_by([first, other, then]) == {"version": 3, "dotrain": "0.1", "needs": 2}


def test_a_version_goes_on_with_what_needs_no_newer_one() -> None:
    needs = [{}, {"needs": VERSION}, {"needs": VERSION + 1}]
    assert [needs_newer(writer) for writer in needs] == [False, False, True]
    assert newer({}) == newer({"version": VERSION}) == ""
    assert "pip install 'dotrain>=9.1'" in newer({"version": VERSION + 1, "dotrain": "9.1"})
    assert "install a newer one" in newer({"version": VERSION + 1})


def test_journals_are_written_in_the_version_that_this_one_is(tmp_path: Path) -> None:
    """Raised with the format only; a sample run of each version lies in tests/samples."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append_header(HEADER)
    journal.close()
    (header,) = read_journal(path)
    assert (header["type"], header["version"], header["needs"]) == ("Run", 3, 3)
    assert (header["n"], header["t"]) == (0, 0.0)


# Going on.


@pytest.mark.parametrize("without", [1, 2, 3, 4])
def test_what_a_crash_kept_from_the_journal_is_still_to_be_written(run: Run, without: int) -> None:
    records = run.records()
    assert [record["type"] for record in records[-4:]] == ["Kill", "Kill", "Kill", "Finish"]
    scheduler = new_scheduler()
    restored = restore(scheduler, records[1:-without])
    assert restored.time_s == 7.0
    assert [type(one).__name__ for one in restored.unwritten] == [
        record["type"] for record in records[-without:]
    ]
    assert scheduler.status == "interrupted"


def test_a_journal_without_events_is_a_run_that_has_not_begun() -> None:
    restored = restore(new_scheduler(), [])
    assert (restored.time_s, restored.unwritten) == (0.0, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("another value", r"decided otherwise \(Launch\): slots was 2, is now 1\."),
        ("left out", r"did {'type': 'Started'.*gives {'type': 'Launch'"),
        ("one more", r"did {'type': 'Launch'.*replaying it gives nothing"),
        ("another type", r"decided otherwise \(Stop\): type was 'Stop', is now 'Launch'"),
    ],
)
def test_a_decision_that_differs_is_told(run: Run, change: str, message: str) -> None:
    records = run.records()[1:]
    index = max(i for i, r in enumerate(records[:8]) if r["type"] == "Launch")
    launch = records[index]
    changed = {
        "another value": [{**launch, "slots": 2}],
        "left out": [],
        "one more": [launch, launch],
        "another type": [{**launch, "type": "Stop"}],
    }[change]
    with pytest.raises(PolicyError, match=message) as caught:
        restore(new_scheduler(), [*records[:index], *changed, *records[index + 1 :]])
    number = launch["n"] + (change == "left out")
    assert f"can't resume: at record {number} of the journal" in str(caught.value)


def test_reasons_of_decisions_that_were_nobodys_are_no_difference(run: Run) -> None:
    records = [
        {k: v for k, v in record.items() if k not in ("known_step", "crc")}
        for record in run.records()[1:]
    ]
    assert restore(new_scheduler(), [{"type": "Weather", "t": 0.0}, *records]).unwritten == []


# The journal's file.


def test_what_json_does_not_know_is_written_as_what_it_does(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    whole = journal.append({"type": "x", "path": Path("a")}, 1.23456789)
    journal.close()
    journal.close()
    (record,) = read_journal(path)
    assert (record["path"], record["t"], whole["n"]) == ("a", 1.234568, 0)


def test_a_record_is_with_the_operating_system_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for number in range(3):
        journal.append({"type": "x"}, 0.0)
        assert path.read_bytes().count(b"\n") == number + 1
    journal.close()
    again = Journal(path)
    again.append({"type": "y"}, 0.0)
    again.close()
    assert [record["n"] for record in read_journal(path)] == [0, 1, 2, 3]


def test_a_record_with_a_wrong_number_is_damage_even_if_its_checksum_is_right(
    tmp_path: Path,
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path, count in ((one, 2), (two, 4)):
        journal = Journal(path)
        for _ in range(count):
            journal.append({"type": "x"}, 0.0)
        journal.close()
    lines = two.read_bytes().splitlines(keepends=True)
    one.write_bytes(one.read_bytes() + lines[3] + b"what follows\n")
    with pytest.raises(JournalError, match=r"it is numbered 3, expected 2"):
        list(read_journal(one))


def test_what_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"can't read the journal .*Is a directory"):
        Journal(tmp_path)
    with pytest.raises(JournalError, match=r"can't read the journal .*Is a directory"):
        list(read_journal(tmp_path))
    with pytest.raises(JournalError, match=r"can't open the journal .*No such file"):
        Journal(tmp_path / "no" / "journal.jsonl")


@pytest.mark.parametrize(
    ("later", "finished"),
    [
        ([], False),
        ([{"type": "Finish", "status": "finished"}], True),
        ([{"type": "Finish", "status": "interrupted"}], False),
        ([{"type": "Finish", "status": "finished"}, {"type": "Weather"}], True),
        ([{"type": "Finish", "status": "finished"}, {"type": "Resumed"}], False),
    ],
)
def test_whether_anything_was_left_is_told_by_what_was_decided_last(
    later: list[Record], finished: bool
) -> None:
    assert has_finished([{"type": "Run"}, *later]) is finished
