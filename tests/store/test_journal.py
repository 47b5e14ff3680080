"""The journal: whole records in order, whatever happened to the end of the file."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core import events as e
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.marks import Mark
from dotrain.core.usage import Usage
from dotrain.errors import JournalError
from dotrain.store import Journal, read_journal, replay

SAMPLE = Path(__file__).parent / "journal-v1.jsonl"

numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)
metrics = st.none() | st.dictionaries(texts, numbers, min_size=1, max_size=3)
names = {"trial_id": texts, "attempt": st.integers(0, 9)}
any_event = st.one_of(
    st.builds(e.SlotsChanged, st.integers(0, 99)),
    st.builds(e.TimePassed),
    st.builds(e.Interrupted, texts),
    st.builds(e.Started, **names, worker=texts, resume_step=st.integers(0, 9)),
    st.builds(
        e.Reported,
        **names,
        step=st.integers(0),
        value=numbers,
        metrics=metrics,
        kept=st.none() | st.just(True),
        replaces=st.none() | st.integers(1, 9),
    ),
    st.builds(e.Noted, **names, mark=st.sampled_from([*map(str, Mark)]), what=texts),
    st.builds(e.Used, **names, usage=st.builds(Usage, numbers, st.none() | st.integers(0))),
    st.builds(
        e.Finished, **names, value=numbers, metrics=metrics, taken=st.none() | st.just("last")
    ),
    st.builds(e.Stopped, **names),
    st.builds(e.Diverged, **names, what=texts),
    st.builds(
        e.Resumed,
        st.just({"max_time_s": None, "retries": 2}),
        code=st.none() | texts,
        version=st.integers(1, 9),
    ),
    st.builds(
        e.Failed,
        **names,
        failure=st.builds(Failure, texts.map(FailureKind), texts, texts, texts, texts),
    ),
    st.builds(e.Lost, **names, cause=texts),
)


def write(path: Path, count: int = 5) -> Journal:
    journal = Journal(path)
    journal.append_header({"name": "demo", "seed": 0})
    for number in range(count):
        journal.append_event(e.Reported(f"t{number}", 1, number, 0.1 * number), float(number))
    return journal


@given(st.lists(any_event, max_size=20))
@settings(max_examples=100, deadline=None)
def test_every_event_comes_back_as_it_was(tmp_path_factory, written) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    for event in written:
        journal.append_event(event, 1.5)
    journal.close()
    assert [e.from_record(record) for record in read_journal(path)] == written


def test_lines_are_json_numbered_and_timed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path).close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["n"] for record in records] == list(range(6))
    assert records[0]["type"] == "Run"
    assert records[3]["t"] == 2.0


def test_a_reader_sees_a_journal_that_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = write(path)
    assert len(list(read_journal(path))) == 6
    journal.append_event(e.TimePassed(), 9.0)
    assert len(list(read_journal(path))) == 7
    journal.close()


def test_a_last_line_torn_at_any_byte_is_cut_off_and_never_glued_to_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path).close()
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert [record["n"] for record in read_journal(path)] == list(range(5))
        journal = Journal(path)
        journal.append_event(e.Stopped("t1", 1), 7.0)
        journal.close()
        records = list(read_journal(path))
        assert [record["n"] for record in records] == list(range(6))
        assert e.from_record(records[-1]) == e.Stopped("t1", 1)


def test_damage_before_the_end_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path).close()
    lines = path.read_bytes().splitlines(keepends=True)
    damages = {
        "flipped": [*lines[:2], lines[2].replace(b"0.1", b"0.2"), *lines[3:]],
        "missing": [*lines[:2], *lines[3:]],
        "doubled": [*lines[:3], *lines[2:]],
        "garbage": [*lines[:2], b"\x00\xff\n", *lines[3:]],
    }
    for name, damaged in damages.items():
        path.write_bytes(b"".join(damaged))
        with pytest.raises(JournalError, match=r"journal\.jsonl:[34]: damaged record"):
            list(read_journal(path))
        with pytest.raises(JournalError, match="damaged record"):
            Journal(path)
        assert path.read_bytes() == b"".join(damaged), f"{name}: the file was changed"


def test_a_missing_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="can't read the journal"):
        list(read_journal(tmp_path / "no.jsonl"))


def test_an_empty_journal_never_began(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.touch()
    with pytest.raises(JournalError, match="has no header"):
        replay(read_journal(path))


def test_a_record_that_fits_only_in_part_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = write(path)
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(JournalError, match="what is in it is safe"):
            journal.append_event(e.Interrupted("x" * 100), 9.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.stat().st_size == size
    journal.append_event(e.TimePassed(), 10.0)
    journal.close()
    assert [record["n"] for record in read_journal(path)] == list(range(7))


def test_a_full_disk_is_an_error_and_what_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = write(path)
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    kept, journal._file = journal._file, full
    with pytest.raises(JournalError, match="No space left on device; what is in it is safe"):
        journal.append_event(e.TimePassed(), 9.0)
    full.close()
    kept.close()
    assert len(list(read_journal(path))) == 6


def test_the_released_format_can_still_be_read() -> None:
    """The sample was written by the first version; it is never to be written anew."""
    state = replay(read_journal(SAMPLE))
    state.book.validate()
    assert (state.header["name"], state.status) == ("sample", "finished")
    trials = list(state.book.trials.values())
    short = {"finished": "F", "stopped": "s", "failed": "x"}
    assert "".join(short[t.state] for t in trials) == "FxFFFsssFxss"
    assert sum(t.promotions for t in trials) == 3
    assert sum(t.steps_saved for t in trials) == 6
    assert sum(t.steps_run for t in trials) == 31
