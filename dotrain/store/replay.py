"""Reading a journal back: the state of a run, from its records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dotrain.core.book import TrialBook
from dotrain.core.criteria import Criteria
from dotrain.core.events import EVENTS, Freed, TrialEvent, from_record
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import INSTRUCTIONS, RunStatus
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.repeats import Repeats
from dotrain.core.trial import IllegalTransition
from dotrain.errors import JournalError
from dotrain.store.arms import read_trial
from dotrain.store.journal import VERSION, Record, newer, written_by


@dataclass
class RunState:
    """What a journal says about its run.

    Attributes:
        header: Record 0: name, metric, direction, seed, config.
        book: Every trial.
        status: How the run ended, or None if the journal doesn't say so.
        reason: Why it ended, or ``""``.
        ended_early: The same if a search had found enough before all was tried, else ``""``.
        time_s: Time of the last record, in seconds since the run began.
        slots: Slots the executor last had.
        passed_over: How many records of each type that this version doesn't know.
        writer: Who wrote it last, as of `written_by`.
    """

    header: Record
    book: TrialBook
    status: RunStatus | None = None
    reason: str = ""
    ended_early: str = ""
    time_s: float = 0.0
    slots: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    writer: Record = field(default_factory=dict)


def is_simulated(header: Mapping[str, Any]) -> bool:
    """Whether nothing was trained in a run.

    Args:
        header: The journal's header, of any version.
    """
    cluster = header.get("config", {}).get("cluster") or {}
    return bool(header.get("simulated", cluster.get("kind") == "simulated"))


def marks_of(header: Mapping[str, Any]) -> dict[Mark, str]:
    """Return what must be known of every trial of a run.

    Args:
        header: The journal's header, of any version.
    """
    marks = {}
    if is_simulated(header):
        marks[Mark.SIMULATED] = "nothing was trained; the value is made up"
    if header.get("guessed"):
        marks[Mark.GUESSED] = f"nobody said so: {', '.join(header['guessed'])}"
    return marks


def counts_from_one(header: Mapping[str, Any]) -> bool:
    """Whether the report of a checkpoint's own step is kept; see `TrialBook`."""
    return bool(header.get("version", VERSION) > 1)


def code_of(header: Mapping[str, Any]) -> str | None:
    """Return the digest of the user's code that a run began with, None where it isn't known."""
    return (header.get("code") or {}).get("digest")


def has_finished(records: Sequence[Record]) -> bool:
    """Whether nothing was left to do when a run was last driven.

    Args:
        records: The journal, header included.
    """
    last = _last(records)
    return last.get("type") == "Finish" and last["status"] == RunStatus.FINISHED


def has_more(
    records: Sequence[Record],
    limits: Limits,
    num_trials: int | None,
    added: Sequence[Mapping[str, Any]],
    space: Mapping[str, Any] | None = None,
) -> bool:
    """Whether a run that has finished goes on under other settings.

    Args:
        records: The journal, header included.
        limits: As they are to be.
        num_trials: How many configurations are to be sampled.
        added: Configurations that have been added to those to be tried first.
        space: What is to be searched, if that is another space than before.
    """
    told = [record for record in records if record["type"] in ("Run", "Resumed")]
    if _last(records).get("early"):
        return Limits.of(told[-1]["limits"]).enough != limits.enough
    known = [record["num_trials"] for record in told if record.get("num_trials") is not None]
    grows = num_trials is not None and bool(known) and num_trials > max(known)
    return grows or bool(added) or space is not None


def _last(records: Sequence[Record]) -> Record:
    """Return the last record that says how a run stands; what is freed comes after its end."""
    kinds = {*EVENTS, *INSTRUCTIONS} - {"Freed"}
    return next((record for record in reversed(records) if record["type"] in kinds), {})


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
        JournalError: If the first record is no header, or one can't be what happened.
    """
    records = iter(records)
    header = next(records, None)
    if header is None or header.get("type") != "Run":
        raise JournalError("the journal has no header; the run never began")
    limits = Limits.of(header.get("limits", {}))
    book = TrialBook(
        header["seed"],
        limits,
        code=code_of(header),
        marks=marks_of(header),
        counts_from_one=counts_from_one(header),
        criteria=Criteria.of(header),
        repeats=Repeats.of(header),
    )
    state = RunState(header, book, writer=written_by([header]))
    yield state, header
    for record in records:
        take_record(state, record)
        yield state, record


def take_record(state: RunState, record: Record) -> None:
    """Bring the state of a run up to its next record.

    Raises:
        JournalError: If that can't be what happened.
    """
    state.writer.update(written_by([record]))
    try:
        _apply(state, record)
        state.time_s = record["t"]
    except (KeyError, TypeError, ValueError, IllegalTransition) as error:
        raise _unfit(record, error, state.writer) from error


def _unfit(record: Record, error: Exception, writer: Record) -> JournalError:
    why = f"it has no {error}" if isinstance(error, KeyError) else str(error).split("\n")[0]
    return JournalError(
        f"record {record.get('n')} of the journal ({record.get('type')}) doesn't follow from those "
        f"before it: {newer(writer) or why}"
    )


def _apply(state: RunState, record: Record) -> None:
    book, kind, time_s = state.book, record["type"], record["t"]
    match kind:
        case "Launch":
            trial = book.trials.get(record["trial_id"])
            if trial is None:
                trial = read_trial(record, state.header)
                book.accept(trial)
            book.launch(trial, record["budget"], record["reason"], time_s, record["slots"])
        case "Stop":
            book.stop(book.trials[record["trial_id"]], record["reason"], time_s)
        case "Kill":
            _apply_kill(state, record)
        case "Finish":
            state.status, state.reason = RunStatus(record["status"]), record["reason"]
            state.ended_early = state.reason if record.get("early") else ""
        case "SlotsChanged":
            state.slots = record["slots"]
            book.hosts.changed(record.get("hosts") or {})
        case "SetAside" | "Ask":
            pass  # the book has seen what it follows from, or will see what follows
        case "Resumed":
            state.status, state.reason, state.ended_early, state.slots = None, "", "", 0
            limits = Limits.of(record["limits"])
            book.resume(limits, time_s, record.get("code"), record.get("began_with"))
        case _ if kind in EVENTS:
            event = from_record(record)
            if isinstance(event, TrialEvent):
                book.apply(event, time_s)
            elif isinstance(event, Freed):
                book.free(event)
        case _:
            state.passed_over[kind] += 1


def _apply_kill(state: RunState, record: Record) -> None:
    trial = state.book.active[record["trial_id"]]
    if record["timeout"]:
        state.book.fail(trial, Failure(FailureKind.TIMEOUT, record["reason"]), record["t"])
    else:
        state.book.lose(trial, record["reason"], record["t"])
