"""A group's ranks tell many things in any order; together they are one event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.core.events import (
    AttemptEnd,
    Diverged,
    Failed,
    Finished,
    Lost,
    Started,
    Stopped,
    TrialEvent,
    Used,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Launch
from dotrain.core.usage import Usage
from dotrain.executors.group import Group

A, B, C = "tcp://a", "tcp://b", "tcp://c"
FINISHED = Finished("t0000", 1, 0.5)
STOPPED = Stopped("t0000", 1)


def failed(kind: FailureKind = FailureKind.EXCEPTION, message: str = "ValueError: no") -> Failed:
    return Failed("t0000", 1, Failure(kind, message))


def group(ranks: int = 2, hosts: Sequence[str] = ()) -> Group:
    addresses = [A, B, C][:ranks]
    launch = Launch("why", "t0000", 1, {}, None, 0, ranks)
    names = [f"worker-{n}" for n in range(ranks)]
    return Group(launch, "token", addresses, names, hosts=hosts)


def test_the_chiefs_result_counts_and_ranks_are_ended_when_all_have_told() -> None:
    one = group()
    one.ended(A, FINISHED)
    assert one.to_end() == []
    assert one.is_ending
    one.ended(B, Finished("t0000", 1, 0.7))
    assert one.to_end() == [A, B]
    assert one.to_end() == []
    one.gone(A, "killed")
    assert not one.is_over
    one.gone(B, "killed")
    assert one.is_over
    assert one.outcome() == FINISHED


def test_an_exception_on_any_rank_ends_the_others_and_names_the_rank() -> None:
    one = group(3)
    one.ended(B, failed())
    assert one.to_end() == [A, B, C]
    for address in (A, B, C):
        one.gone(address, "killed")
    outcome = one.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "rank 1: ValueError: no"


def test_a_failure_and_a_loss_name_the_host_of_that_rank_and_a_result_the_chiefs() -> None:
    hosts = ["node-a", "node-b", "node-b"]
    for tell, host in [
        (lambda one: one.ended(B, failed()), "node-b"),
        (lambda one: one.ended(A, failed()), "node-a"),
        (lambda one: one.gone(C, "its worker died"), "node-b"),
        (lambda one: one.ended(C, Lost("t0000", 1, "its worker died", "process")), "node-b"),
        (lambda one: one.ended(A, FINISHED), "node-a"),
        (lambda one: one.ended(B, Diverged("t0000", 1, "reported nan")), "node-b"),
        (lambda one: one.files_lost("the worker has gone"), "node-a"),
    ]:
        one = group(3, hosts)
        tell(one)
        outcome = one.outcome()
        assert isinstance(outcome, AttemptEnd)
        assert outcome.host == host
    peers = group(3, hosts)
    peers.ended(A, failed(FailureKind.PEER, "lost touch with rank 2"))
    peers.ended(C, failed())
    outcome = peers.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.host == "node-b", "who lost touch has the worse reason"
    began = one.began(Started("t0000", 1, "worker-0"))
    assert began == Started("t0000", 1, "worker-0", hosts=tuple(hosts))
    assert group(3).began(Started("t0000", 1)) == Started("t0000", 1)


def test_a_lost_rank_ends_the_others() -> None:
    one = group()
    one.gone(B, "its process was killed by SIGKILL")
    assert one.to_end() == [A]
    one.gone(A, "killed")
    assert one.outcome() == Lost("t0000", 1, "rank 1: its process was killed by SIGKILL", "process")


def test_who_loses_touch_waits_for_the_cause() -> None:
    one = group()
    one.ended(B, failed(FailureKind.PEER, "UnavailableError: gone"))
    assert one.to_end() == []
    assert one.is_ending
    one.gone(A, "its process was killed by SIGKILL")
    one.to_end()
    one.gone(B, "killed")
    assert one.outcome() == Lost("t0000", 1, "rank 0: its process was killed by SIGKILL", "process")


def test_the_user_s_error_is_the_cause_even_if_the_chief_loses_touch_first() -> None:
    one = group()
    one.ended(A, failed(FailureKind.PEER, "UnavailableError: gone"))
    one.ended(B, failed())
    assert one.to_end() == [A, B]
    one.gone(A, "killed")
    one.gone(B, "killed")
    outcome = one.outcome()
    assert isinstance(outcome, Failed)
    assert "ValueError" in outcome.failure.message


def test_touch_lost_for_no_known_cause_is_a_loss() -> None:
    one = group()
    one.ended(A, failed(FailureKind.PEER, "UnavailableError: gone"))
    one.time_is_up()
    assert one.to_end() == [A, B]
    one.gone(A, "killed")
    one.gone(B, "killed")
    outcome = one.outcome()
    assert isinstance(outcome, Lost)
    assert "UnavailableError: gone" in outcome.cause


def test_a_taken_port_ends_all_and_is_no_outcome() -> None:
    one = group()
    one.ended(B, failed(FailureKind.PORT_TAKEN))
    assert one.to_end() == [A, B]
    one.gone(A, "killed")
    one.gone(B, "killed")
    assert one.port_taken
    assert one.outcome() is None


def test_nobody_is_told_of_an_attempt_that_is_written_off() -> None:
    one = group()
    one.write_off()
    assert one.to_end() == [A, B]
    one.gone(A, "killed")
    one.gone(B, "killed")
    assert one.is_over
    assert one.outcome() is None
    other = group()
    other.write_off()
    assert other.outcome() is None
    other.gone(A, "killed", Usage(1.5, 200))
    assert other.outcome() is None
    other.gone(B, "killed", Usage(0.5, 100))
    assert other.outcome() == Used("t0000", 1, Usage(2.0, 300))


def test_ranks_have_used_what_they_have_used_together() -> None:
    one = group()
    one.ended(A, FINISHED)
    one.ended(B, FINISHED)
    one.gone(A, "killed", Usage(1.5, 200))
    assert one.outcome() == FINISHED  # what the others have used isn't known yet
    one.gone(B, "killed", Usage(0.25, 100))
    assert one.outcome() == replace(FINISHED, usage=Usage(1.75, 300))


def test_what_one_rank_has_used_is_not_what_the_attempt_has() -> None:
    one = group()
    one.gone(A, "its worker left the cluster")
    one.gone(B, "killed", Usage(0.25, 100))
    assert one.outcome() == Lost("t0000", 1, "rank 0: its worker left the cluster", "process")


def test_a_rank_that_never_began_has_used_nothing() -> None:
    one = group()
    one.never_began(A)
    one.gone(B, "killed", Usage(0.25, 100))
    assert one.outcome() == Lost("t0000", 1, "rank 1: killed", "process", usage=Usage(0.25, 100))


def test_a_rank_that_is_to_be_ended_from_outside_ends_the_others() -> None:
    one = group()
    one.ended(B, Lost("t0000", 1, "it stood still"))
    assert one.to_end() == [A, B]
    one.gone(A, "killed", Usage(1.0))
    one.gone(B, "killed", Usage(1.0, 7))
    assert one.outcome() == Lost("t0000", 1, "rank 1: it stood still", usage=Usage(2.0))
    alone = group(1)
    alone.ended(A, failed(FailureKind.MEMORY, "used too much"))
    alone.gone(A, "killed", Usage(1.0, 9))
    outcome = alone.outcome()
    assert outcome == replace(failed(FailureKind.MEMORY, "used too much"), usage=Usage(1.0, 9))


ENDS = st.sampled_from(
    [
        *(FINISHED, STOPPED, Lost("t0000", 1, "it stood still")),
        *(failed(), failed(FailureKind.PEER), failed(FailureKind.PORT_TAKEN)),
    ]
)


STEPS = st.lists(
    st.tuples(st.sampled_from(["end", "gone", "time", "obey"]), st.integers(0, 2), ENDS),
    max_size=20,
)


@given(st.integers(1, 3), STEPS)
def test_whatever_ranks_tell_a_group_comes_to_one_end(
    ranks: int, steps: list[tuple[str, int, TrialEvent]]
) -> None:
    one = group(ranks)
    alive = list(one.addresses)
    told: set[str] = set()
    verdicts: list[TrialEvent] = []
    for what, index, event in [*steps, *[("gone", 0, FINISHED)] * ranks]:
        if not alive:
            break
        address = alive[index % len(alive)]
        if what == "end" and address not in told:
            told.add(address)
            one.ended(address, event)
        elif what == "gone":
            alive.remove(address)
            one.gone(address, "died")
        elif what == "time" and one.is_ending:
            one.time_is_up()
        elif what == "obey":
            for ended in one.to_end():
                alive.remove(ended)
                one.gone(ended, "ended")
        assert one.is_over == (not alive)
        if one.verdict is not None:
            verdicts.append(one.verdict)
    # Once known, it doesn't change; and there is one, or a reason to start again.
    assert all(verdict is verdicts[0] for verdict in verdicts)
    outcome = one.outcome()
    assert outcome is not None or one.port_taken
    if not told:
        assert isinstance(outcome, Lost)


@pytest.mark.parametrize("event", [FINISHED, STOPPED])
def test_a_rank_that_is_not_the_chief_decides_nothing(event: TrialEvent) -> None:
    one = group()
    one.ended(B, event)
    assert not one.is_ending
    assert one.verdict is None


def parted(*told: TrialEvent, stays: bool = False) -> AttemptEnd | Used | None:
    """What an attempt on two ranks has come to, of which the second can't stay: `told` by the chief."""
    one = group(hosts=["node-a", "node-b"])
    if not stays:
        one.leave(B, "its worker was told to end")
    for event in told:
        one.ended(A, event)
    for address in (A, B):
        one.gone(address, "killed")
    return one.outcome()


def test_a_rank_that_cant_stay_makes_a_stop_a_loss_and_leaves_a_result_what_it_is() -> None:
    cause = "rank 1: its worker was told to end"
    assert parted(STOPPED) == Lost("t0000", 1, cause, host="node-b")
    assert parted(STOPPED, stays=True) == replace(STOPPED, host="node-a")
    assert parted(FINISHED) == replace(FINISHED, host="node-a")
    diverged = Diverged("t0000", 1, "reported nan")
    assert parted(diverged) == replace(diverged, host="node-a")


def test_what_may_have_failed_because_its_processes_were_told_to_end_is_lost() -> None:
    lost = parted(failed(message="RuntimeError: a loader was terminated"))
    assert isinstance(lost, Lost)
    assert lost.cause == (
        "rank 1: its worker was told to end, and then: RuntimeError: a loader was terminated"
    )
    own = parted(failed(FailureKind.BAD_REPORT, "it reported a text"))
    assert isinstance(own, Failed)
