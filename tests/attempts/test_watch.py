"""What is made of looks at an attempt's processes, in simulated time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.attempts.watch import (
    LOOK_S,
    Look,
    Memory,
    Verdict,
    VerdictKind,
    Watch,
)
from dotrain.core.events import Failed, Lost
from dotrain.core.failure import FailureKind

MB = 1_000_000
#: A process that was just forked, of one that holds 300 MB.
FORKED = Memory(private=0, shared=300 * MB)
#: One that shares nothing with the process that started it.
SPAWNED = Memory(private=300 * MB)


def busy(time_s: float, **fields: object) -> Look:
    look = Look(time_s, "S", cpu_s=time_s, moved=int(1000 * time_s), held_bytes=300 * MB)
    return look._replace(**fields)  # type: ignore[arg-type]


def idle(time_s: float, **fields: object) -> Look:
    return busy(time_s, **{"cpu_s": 1.0, "moved": 7, **fields})


def times(end_s: float, step_s: float = LOOK_S) -> Iterable[float]:
    return (step_s * n for n in range(round(end_s / step_s) + 1))


def first(watch: Watch, looks: Iterable[Look]) -> tuple[float, Verdict] | None:
    """The first verdict, and when."""
    for look in looks:
        if verdict := watch.look(look):
            return look.time_s, verdict
    return None


class TestMemory:
    def test_what_was_there_before_does_not_count(self) -> None:
        watch = Watch(FORKED)
        watch.look(busy(0.5, held_bytes=420 * MB))
        assert watch.peak_bytes == 120 * MB
        spawned = Watch(SPAWNED)
        spawned.look(busy(0.5, held_bytes=420 * MB))
        assert spawned.peak_bytes == 120 * MB

    def test_a_copy_of_what_was_shared_counts_when_it_is_weighed(self) -> None:
        watch = Watch(FORKED)
        watch.look(busy(0.5, held_bytes=310 * MB))
        assert watch.peak_bytes == 10 * MB
        watch.weigh(Memory(private=210 * MB, part=50 * MB), 0.01)
        assert watch.peak_bytes == 210 * MB

    def test_it_does_not_count_that_another_fork_has_ended(self) -> None:
        watch = Watch(FORKED)
        watch.look(busy(0.5))
        for part in (300 / 17, 300 / 3, 300 / 2):
            watch.weigh(Memory(private=5 * MB, part=round(part * MB)), 0.01)
        assert watch.peak_bytes == 5 * MB

    def test_what_processes_of_the_attempt_share_counts_once(self) -> None:
        watch = Watch(FORKED)
        watch.look(busy(0.5, held_bytes=5 * 2300 * MB, processes=5))
        assert watch.peak_bytes is None  # that is no sum of anything
        # Five hold 2000 MB together, and share 300 with the one that they come from.
        watch.weigh(Memory(private=50 * MB, part=2000 * MB + 5 * 50 * MB), 0.01)
        assert watch.peak_bytes == 2050 * MB

    def test_the_peak_is_the_most_that_was_seen(self) -> None:
        watch = Watch(FORKED)
        assert watch.peak_bytes is None
        for time_s, held in ((0.5, 310), (1.0, 900), (1.5, 305)):
            watch.look(busy(time_s, held_bytes=held * MB))
        assert watch.peak_bytes == 600 * MB

    def test_more_than_the_limit_ends_it_with_both_figures(self) -> None:
        watch = Watch(FORKED, memory_bytes=1000 * MB)
        watch.look(busy(0.5, held_bytes=1600 * MB))
        assert watch.weigh(Memory(private=1000 * MB), 0.01) is None
        verdict = watch.weigh(Memory(private=1204 * MB), 0.01)
        text = "used 1,204 MB, more than limits.trial_memory_mb allows (1,000)"
        assert verdict == Verdict(VerdictKind.MEMORY, text)

    def test_it_is_weighed_always_where_it_may_be_too_much(self) -> None:
        watch = Watch(FORKED, memory_bytes=1000 * MB)
        for time_s in times(5.0):
            watch.look(busy(time_s, held_bytes=1001 * MB))
            assert watch.is_to_weigh
            watch.weigh(Memory(private=900 * MB), 0.5)

    @given(st.lists(st.floats(0.0001, 0.05), min_size=80, max_size=80))
    def test_else_weighing_takes_little_of_the_time(self, costs: list[float]) -> None:
        watch = Watch(FORKED)
        spent_s, rounds = 0.0, 0
        for time_s, took_s in zip(times(40), costs, strict=False):
            watch.look(busy(time_s))
            if watch.is_to_weigh:
                watch.weigh(Memory(0), took_s)
                spent_s += took_s
                rounds += 1
        assert spent_s <= 0.02 * 40 + 0.05
        assert rounds > 5

    def test_nobody_weighs_before_the_first_look(self) -> None:
        assert not Watch(FORKED).is_to_weigh

    @given(
        st.lists(
            st.tuples(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 9)), min_size=1
        )
    )
    def test_no_verdict_while_what_was_written_is_within_the_limit(
        self, found: list[tuple[int, int, int]]
    ) -> None:
        """Whatever part of what was there before the kernel counts as the attempt's."""
        watch = Watch(FORKED, memory_bytes=4000 * MB)
        for number, (private, together, count) in enumerate(found):
            watch.look(busy(0.5 * number, processes=count))
            for others in (1, 3, 16):
                before = 300 * count / (count + others)
                part = round((together + before) * MB)
                assert watch.weigh(Memory(private * MB, part), 0.0) is None
        assert watch.peak_bytes is not None
        assert watch.peak_bytes <= max(p + t for p, t, _ in found) * MB + 1


class TestFrozen:
    def test_it_is_told_within_ten_seconds_and_not_before_five(self) -> None:
        watch = Watch(FORKED)
        looks = [busy(t) for t in times(20.0)]
        looks += [idle(t, state="T") for t in times(20.0)]
        looks = [look._replace(time_s=0.5 * n) for n, look in enumerate(looks)]
        found = first(watch, looks)
        assert found is not None
        time_s, verdict = found
        assert verdict.kind is VerdictKind.FROZEN
        assert verdict.text == "its process was stopped by a signal, and stood still for 5 s"
        assert 5.0 <= time_s - 20.5 <= 10.0

    @pytest.mark.parametrize("state", ["t", "S", "R", "D"])
    def test_a_debugger_and_a_wait_are_left_alone(self, state: str) -> None:
        assert first(Watch(FORKED), [idle(t, state=state) for t in times(1000.0)]) is None

    def test_one_that_goes_on_in_time_is_left_alone(self) -> None:
        looks = [idle(t, state="S" if t % 5 == 4.5 else "T") for t in times(1000.0)]
        assert first(Watch(FORKED), looks) is None

    def test_that_the_watcher_stood_still_is_no_fault_of_the_attempt(self) -> None:
        looks = [busy(0.0), idle(0.5, state="T"), idle(600.0, state="T"), busy(600.5)]
        assert first(Watch(FORKED), looks) is None


class TestSilent:
    def test_nothing_computed_and_nothing_read_for_so_long_ends_it(self) -> None:
        watch = Watch(FORKED, silent_s=60.0)
        looks = [busy(t) if t <= 10 else idle(t, cpu_s=10.0) for t in times(200.0)]
        found = first(watch, looks)
        assert found is not None
        time_s, verdict = found
        assert verdict.kind is VerdictKind.SILENT
        assert verdict.text == "it computed, read and wrote nothing for 60 s (limits.silent_s: 60)"
        assert 70.0 <= time_s <= 71.0

    def test_it_is_off_by_default(self) -> None:
        assert first(Watch(FORKED), [idle(t) for t in times(10_000.0, 1.0)]) is None

    @pytest.mark.parametrize(
        "alive",
        [
            lambda t: {"moved": int(t / 50)},  # a report, a batch from a slow disk
            lambda t: {"cpu_s": 0.1 * int(t / 50)},  # a moment of work now and then
            lambda t: {"moved": None},  # nobody can tell
        ],
    )
    def test_any_sign_of_life_begins_the_count_anew(self, alive: object) -> None:
        watch = Watch(FORKED, silent_s=60.0)
        looks = [idle(t, **alive(t)) for t in times(1000.0)]  # type: ignore[operator]
        assert first(watch, looks) is None

    def test_threads_that_only_look_whether_there_is_something_to_do_are_none(self) -> None:
        watch = Watch(FORKED, silent_s=60.0)
        # Half a thousandth of a core, in ticks.
        looks = [idle(t, cpu_s=int(0.05 * t) / 100) for t in times(1000.0)]
        assert first(watch, looks) is not None

    def test_that_the_watcher_stood_still_is_no_silence(self) -> None:
        looks = [idle(0.0), idle(0.5), idle(5000.0), idle(5000.5)]
        assert first(Watch(FORKED, silent_s=60.0), looks) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.5, 0.5, 0.6, 1.9, 30.0]),
            st.sampled_from("RSDTtZ"),
            st.sampled_from([0.0, 0.0, 0.01, 0.4]),
            st.sampled_from([0, 0, 512, None]),
        ),
        max_size=60,
    )
)
def test_whatever_is_seen_a_verdict_has_its_reason(
    steps: list[tuple[float, str, float, int | None]],
) -> None:
    watch = Watch(FORKED, silent_s=10.0)
    look = idle(0.0)
    seen: list[Look] = []
    for passed_s, state, cpu_s, moved in steps:
        look = look._replace(
            time_s=look.time_s + passed_s,
            state=state,
            cpu_s=look.cpu_s + cpu_s,
            moved=None if moved is None else (look.moved or 0) + moved,
        )
        seen.append(look)
        verdict = watch.look(look)
        assert watch.cpu_s == max(one.cpu_s for one in seen)
        if verdict is None:
            continue
        least_s = 5.0 if verdict.kind is VerdictKind.FROZEN else 10.0
        span = [one for one in seen if one.time_s >= look.time_s - least_s]
        if verdict.kind is VerdictKind.FROZEN:
            assert {one.state for one in span} == {"T"}
        else:
            assert {one.moved for one in span} == {look.moved}
            assert look.cpu_s - span[0].cpu_s <= 0.05
        return


def test_what_would_happen_again_is_a_failure_and_the_rest_a_loss() -> None:
    verdict = Verdict(VerdictKind.MEMORY, "used too much")
    failed = verdict.event("t0001", 2)
    assert isinstance(failed, Failed)
    assert (failed.trial_id, failed.attempt) == ("t0001", 2)
    assert (failed.failure.kind, failed.failure.message) == (FailureKind.MEMORY, "used too much")
    for kind in (VerdictKind.FROZEN, VerdictKind.SILENT):
        assert replace(verdict, kind=kind).event("t0001", 2) == Lost(
            "t0001", 2, "used too much", "process"
        )
