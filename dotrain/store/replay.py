"""Reading a journal back: the state of a run, from its records alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dotrain.core.book import Limits, TrialBook
from dotrain.core.events import EVENTS, TrialEvent, from_record
from dotrain.core.trial import Failure, Trial
from dotrain.errors import JournalError
from dotrain.store.journal import Record


@dataclass
class RunState:
    """What a journal says about its run.

    Attributes:
        header: Record 0: name, metric, direction, seed, config.
        book: Every trial.
        status: How the run ended, or None if the journal doesn't say so.
        reason: Why it ended, or ``""``.
        time_s: Time of the last record, in seconds since the run began.
        slots: Slots the executor last had.
    """

    header: Record
    book: TrialBook
    status: str | None = None
    reason: str = ""
    time_s: float = 0.0
    slots: int = 0


def replay(records: Iterable[Record]) -> RunState:
    """Rebuild the state of a run from its records; no policy is asked.

    Raises:
        JournalError: If the first record is no header.
    """
    steps = replay_each(records)
    state, _ = next(steps)
    for _ in steps:
        pass
    return state


def replay_each(records: Iterable[Record]) -> Iterator[tuple[RunState, Record]]:
    """Yield the state of a run after each record, the header first; one state, that goes on.

    Raises:
        JournalError: If the first record is no header.
    """
    records = iter(records)
    header = next(records, None)
    if header is None or header.get("type") != "Run":
        raise JournalError("the journal has no header; the run never began")
    limits = Limits(**header.get("limits", {}))
    state = RunState(header, TrialBook(header["seed"], limits))
    yield state, header
    for record in records:
        _apply(state, record)
        state.time_s = record["t"]
        yield state, record


def _apply(state: RunState, record: Record) -> None:
    book, kind, time_s = state.book, record["type"], record["t"]
    match kind:
        case "Launch":
            trial = book.trials.get(record["trial_id"])
            if trial is None:
                trial = Trial(record["params"], seed=record["seed"])
                book.accept(trial)
            book.launch(trial, record["budget"], record["reason"], time_s, record["slots"])
        case "Stop":
            book.stop(book.trials[record["trial_id"]], record["reason"], time_s)
        case "Kill":
            _apply_kill(state, record)
        case "Finish":
            state.status, state.reason = record["status"], record["reason"]
        case "SlotsChanged":
            state.slots = record["slots"]
        case "Resumed":
            state.status, state.reason, state.slots = None, "", 0
            book.resume(Limits(**record["limits"]), time_s)
        case _ if kind in EVENTS:
            event = from_record(record)
            if isinstance(event, TrialEvent):
                book.apply(event, time_s)


def _apply_kill(state: RunState, record: Record) -> None:
    trial = state.book.active[record["trial_id"]]
    if record["timeout"]:
        state.book.fail(trial, Failure("timeout", record["reason"]), record["t"])
    else:
        state.book.lose(trial, record["reason"], record["t"])
