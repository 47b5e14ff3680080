"""What attempts have used: in the journal, in the book, and of several ranks together."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.core import events as e
from dotrain.core.book import TrialBook
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.limits import Limits
from dotrain.core.trial import Trial, TrialState
from dotrain.core.usage import Usage, megabytes, one_after_another, together

NAME = ("t0000", 1)
ENDS: list[e.AttemptEnd] = [
    e.Finished(*NAME, 0.5),
    e.Stopped(*NAME),
    e.Diverged(*NAME, "nan"),
    e.Failed(*NAME, Failure(FailureKind.MEMORY, "used too much")),
    e.Lost(*NAME, "died"),
]
USAGES = st.builds(Usage, st.integers(0, 10**7).map(lambda n: n / 1000), st.none() | st.integers(0))


def with_usage(event: e.AttemptEnd, usage: Usage | None) -> e.AttemptEnd:
    return replace(event, usage=usage)


@given(st.sampled_from(ENDS), st.none() | USAGES)
def test_the_end_of_an_attempt_has_its_usage_in_the_journal(
    event: e.AttemptEnd, usage: Usage | None
) -> None:
    event = with_usage(event, usage)
    record = e.to_record(event)
    assert e.from_record(record) == event
    assert ("usage" in record) == (usage is not None)


@pytest.mark.parametrize("event", ENDS, ids=lambda event: type(event).__name__)
def test_a_record_says_what_is_known(event: e.AttemptEnd) -> None:
    before = e.to_record(event)
    record = e.to_record(with_usage(event, Usage(1.234, 1000)))
    assert record.pop("usage") == {"cpu_s": 1.234, "peak_bytes": 1000}
    assert record == before
    assert e.to_record(with_usage(event, Usage(0.5)))["usage"] == {"cpu_s": 0.5}
    newer = {**before, "usage": {"cpu_s": 1.0, "watts": 300}}
    assert e.from_record(newer) == with_usage(event, Usage(1.0))


def ran(*attempts: e.AttemptEnd) -> Trial:
    book = TrialBook(0, Limits(retries=10))
    trial = Trial({})
    book.accept(trial)
    for number, event in enumerate(attempts, start=1):
        book.launch(trial, None, "a sample", 0.0, 1)
        assert trial.attempt == number
        book.apply(e.Started("t0000", number), 0.0)
        book.apply(e.from_record({**e.to_record(event), "attempt": number}), 1.0)  # type: ignore[arg-type]
        book.validate()
    return trial


def test_a_trial_has_the_time_of_all_attempts_and_the_peak_of_the_largest() -> None:
    lost, finished = e.Lost(*NAME, "died"), ENDS[0]
    trial = ran(
        with_usage(lost, Usage(1.5, 700)),
        with_usage(lost, None),
        with_usage(lost, Usage(2.0)),
        with_usage(finished, Usage(0.25, 300)),
    )
    assert trial.state is TrialState.FINISHED
    assert trial.usage == Usage(3.75, 700)


def test_a_trial_that_is_resumed_from_a_journal_has_used_the_same() -> None:
    """The journal has what was added up, not what was rounded on the way."""
    thirds = [replace(ENDS[4], usage=Usage(round(n / 3, 3), n)) for n in range(7)]
    told = [e.from_record(json.loads(json.dumps(e.to_record(event)))) for event in thirds]
    assert ran(*thirds).usage == ran(*told).usage == Usage(7.0, 6)  # type: ignore[arg-type]


def test_of_a_trial_of_which_nobody_knows_it_nothing_is_said() -> None:
    trial = ran(*ENDS[-1:], ENDS[0])
    assert trial.usage is None


def test_a_late_end_adds_nothing() -> None:
    trial = ran(ENDS[0])
    book = TrialBook(0, Limits())
    book.trials["t0000"] = trial
    assert book.apply(with_usage(ENDS[0], Usage(9.0, 9)), 2.0) is None
    assert trial.usage is None


@given(st.lists(st.none() | USAGES, max_size=4))
def test_ranks_together_use_the_sum_or_nobody_knows(used: list[Usage | None]) -> None:
    found = together(used)
    if not used or None in used:
        assert found is None
        return
    known = [usage for usage in used if usage]
    assert found is not None
    assert found.cpu_s == pytest.approx(sum(usage.cpu_s for usage in known))
    peaks = [usage.peak_bytes for usage in known]
    assert found.peak_bytes == (None if None in peaks else sum(filter(None, peaks)))


@pytest.mark.parametrize(
    ("size", "text"), [(1_204_400_000, "1,204"), (12_300_000, "12"), (4_560_000, "4.56"), (0, "0")]
)
def test_megabytes(size: int, text: str) -> None:
    assert megabytes(size) == text


def test_a_peak_of_nothing_is_one() -> None:
    assert one_after_another(None, Usage(1.0), Usage(1.0, 0)) == Usage(2.0, 0)
    assert one_after_another(None, Usage(1.0), None) == Usage(1.0)
    assert one_after_another(None, None) is None


def test_a_sum_of_times_is_told_to_the_millisecond() -> None:
    assert one_after_another(Usage(0.0006), Usage(0.0003)) == Usage(0.001)
    assert one_after_another(Usage(0.1), Usage(0.2)) == Usage(0.3)
