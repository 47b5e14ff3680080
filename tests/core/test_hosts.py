"""What is known of hosts; whole runs are in tests/executors/test_hosts.py."""

from __future__ import annotations

from dotrain.core.failure import Failure, FailureKind
from dotrain.core.hosts import STREAK, Hosts, likeness_of

BROKEN = Failure(FailureKind.EXCEPTION, "OSError: no device", "user.py:3 in train")


def hosts(**slots: int) -> Hosts:
    made = Hosts()
    made.changed(slots)
    return made


def fail(
    made: Hosts,
    trial_id: str,
    host: str,
    error: Failure = BROKEN,
    took_s: float = 0.1,
    **more: bool,
) -> bool:
    return made.failed(trial_id, host, error, took_s, 1, again=more.get("again", False))


def test_a_trial_that_waits_for_others_has_any_host_when_they_are_gone() -> None:
    made = hosts(a=1, b=1)
    assert fail(made, "t0", "b")
    assert made.elsewhere("t0", "b", 1) == {"b"}
    made.changed({"a": 0})
    assert made.elsewhere("t0", "b", 1) == frozenset()
    assert made.elsewhere("t0", "b", 2) == frozenset()


def test_failing_twice_on_one_host_says_nothing_of_the_function() -> None:
    made = hosts(a=1, b=1)
    assert fail(made, "t0", "b")
    assert not fail(made, "t0", "b", again=True)
    assert fail(made, "t1", "b"), "nobody has seen it on another host"
    assert not fail(made, "t1", "a", again=True)
    assert not fail(made, "t2", "b"), "now somebody has"


def test_failing_otherwise_on_another_host_says_nothing_of_the_function() -> None:
    made = hosts(a=1, b=1)
    assert fail(made, "t0", "b")
    assert not fail(made, "t0", "a", Failure(FailureKind.EXCEPTION, "ValueError: no"), again=True)
    assert fail(made, "t1", "b")


def test_failures_are_alike_by_exception_and_place_whichever_rank_it_was() -> None:
    def like(message: str, kind: FailureKind = FailureKind.EXCEPTION, where: str = "") -> object:
        return likeness_of(Failure(kind, message, where))

    assert like("ValueError: 1") == like("ValueError: 2") == like("rank 12: ValueError: 3")
    assert like("ValueError: 1") != like("OSError: 1")
    assert like("ValueError: 1") != like("ValueError: 1", where="user.py:3 in train")
    assert like("rank mismatch: ValueError: 1") != like("ValueError: 1")
    assert like("line 12: ValueError: 1") != like("ValueError: 1")
    assert like("a: 1", FailureKind.SETUP) != like("a: 2", FailureKind.SETUP)


def test_a_host_waits_if_it_has_failed_at_once_and_shown_nothing_else() -> None:
    made = hosts(a=1, b=1, c=1)
    fail(made, "t0", "b")
    assert made.closed(1) == {"b"}
    fail(made, "t1", "c", took_s=60.0)
    assert made.closed(1) == {"b"}, "what took long has not failed at once"
    made.ended_well("t0", ["a"], 1)
    assert made.closed(1) == frozenset()


def test_a_host_that_has_ended_a_trial_well_waits_after_three_failures() -> None:
    made = hosts(a=1, b=1)
    made.ended_well("t0", ["b"], 1)
    for number in range(1, STREAK + 1):
        assert made.closed(1) == frozenset()
        assert fail(made, f"t{number}", "b")
    assert made.closed(1) == {"b"}
    assert made.are_all_open is False
    made.ended_well("t1", ["a"], 1)
    assert made.aside == {"b"}
    assert "b gets no more trials: 3 in a row failed there" in made.why("b")
    assert made.elsewhere("t2", "b", 1) == {"b"}


def test_without_a_host_that_stands_well_nobody_is_set_aside() -> None:
    made = hosts(a=1, b=1)
    for number in range(STREAK):
        fail(made, f"t{number}", "b")
    made.changed({"a": 0})
    made.ended_well("t0", ["a"], 1)
    assert made.aside == set()
    made.changed({"a": 1})
    made.ended_well("t1", ["a"], 1)
    assert made.aside == {"b"}
    assert made.set_aside(1) == {"b"}
    assert made.set_aside(2) == frozenset(), "a trial of two slots has no room without it"


def test_a_known_failure_is_asked_again_of_a_host_that_alone_fails() -> None:
    made = hosts(a=1, b=1)
    fail(made, "t0", "b")
    fail(made, "t0", "a", again=True)
    made.ended_well("t1", ["a"], 1)
    asked = [fail(made, f"t{number}", "b") for number in range(2, 2 + STREAK)]
    assert asked == [False] * (STREAK - 1) + [True]
    assert made.elsewhere(f"t{1 + STREAK}", "b", 1) == {"b"}
    made.ended_well(f"t{1 + STREAK}", ["a"], 1)
    assert made.aside == {"b"}


def test_what_is_tried_once_more_goes_to_a_host_that_stands_well_if_that_has_room() -> None:
    made = hosts(a=1, b=1, c=1)
    fail(made, "t0", "b")
    fail(made, "t1", "c")
    assert made.elsewhere("t0", "b", 1) == {"b", "c"}
    made.held(["a"], 1)
    assert made.elsewhere("t0", "b", 1) == {"b"}
    assert (made.busy, made.free(()), made.free({"b"})) == (1, 2, 1)
    assert made.but({"b"}) == {"a", "c"}


def test_a_new_driver_has_no_opinion() -> None:
    made = hosts(a=1, b=1)
    for number in range(STREAK):
        fail(made, f"t{number}", "b")
    made.ended_well("t0", ["a"], 1)
    made.restart()
    assert made.aside == set()
    assert made.are_all_open
    assert made.but(()) == frozenset()
    made.changed({"a": 1, "b": 1})
    assert fail(made, "t0", "b")
    made.drop("t0")
    assert made.are_all_open
