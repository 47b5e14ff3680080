"""Is it the host or the configuration? Whole runs on hosts with faults, in virtual time."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.failure import Failure, FailureKind
from dotrain.core.hosts import STREAK
from dotrain.core.instructions import Launch
from dotrain.executors.dask.site import host_name
from tests.executors.virtual import Cluster, Fate, at_once, error


def fails_on(*bad: str, **fate: object):  # type: ignore[no-untyped-def]
    def life(launch: Launch, host: str, ended: int) -> Fate:
        return at_once() if host in bad else Fate()

    return life


def test_ten_failures_of_one_host_before_the_others_first_trial_ends_burn_nothing() -> None:
    """Fault 2 as it was seen."""
    cluster = Cluster({"node-a": 1, "node-b": 1}, fails_on("node-b")).run()
    assert cluster.scheduler.status == "finished"
    assert cluster.states() == {"finished": 40}
    assert cluster.ran["node-b"] <= STREAK + 1
    (aside,) = cluster.told
    assert aside.reason == (
        "node-b gets no more trials: 3 in a row failed there, and elsewhere the same "
        "configurations don't"
    )


def test_before_any_trial_has_ended_a_host_that_fails_at_once_waits_for_another() -> None:
    cluster = Cluster({"node-a": 2, "node-b": 4}, fails_on("node-b")).run(until_s=19.0)
    assert cluster.ran == {"node-a": 2, "node-b": 4}, "one for each slot, and then no more"
    cluster.run(until_s=41.0)
    assert cluster.ran["node-b"] == 4
    assert not cluster.burnt()
    assert cluster.run().states() == {"finished": 40}


def test_a_package_that_is_missing_on_one_host_burns_nothing() -> None:
    missing = Fate(0.5, error("ModuleNotFoundError: No module named 'x'", ""), starts=False)
    cluster = Cluster(
        {"node-a": 2, "node-b": 2}, lambda launch, host, n: missing if host == "node-b" else Fate()
    ).run()
    assert cluster.states() == {"finished": 40}
    assert cluster.ran["node-b"] <= STREAK + 1


def test_a_host_that_breaks_in_mid_run_burns_nothing() -> None:
    def life(launch: Launch, host: str, ended: int) -> Fate:
        return at_once() if host == "node-b" and ended >= 5 else Fate()

    cluster = Cluster({"node-a": 1, "node-b": 1}, life).run()
    assert cluster.states() == {"finished": 40}
    assert cluster.ran["node-b"] <= 5 + STREAK + 1


def test_a_mistake_of_the_function_fails_everywhere_and_quickly() -> None:
    for hosts in ({"a": 1, "b": 1}, {"a": 4, "b": 4}, {f"h{n}": 1 for n in range(16)}):
        cluster = Cluster(hosts, lambda launch, host, n: at_once(), num_trials=100).run()
        slots = sum(hosts.values())
        assert cluster.scheduler.status == "failed"
        assert len(cluster.burnt()) == max(10, slots)
        assert cluster.further <= slots, "each is tried once more at most, and only the first few"
        assert not cluster.told


def test_a_mistake_with_another_message_each_time_is_known_by_its_place() -> None:
    def life(launch: Launch, host: str, ended: int) -> Fate:
        return at_once(error(f"ValueError: {launch.params}"))

    cluster = Cluster({"a": 1, "b": 1}, life).run()
    assert (cluster.scheduler.status, len(cluster.burnt())) == ("failed", 10)
    assert cluster.further <= 2


def test_some_configurations_fail_everywhere_and_cost_no_further_try_once_that_is_known() -> None:
    def life(launch: Launch, host: str, ended: int) -> Fate:
        return at_once() if launch.params["x"] < 0.3 else Fate()

    cluster = Cluster({"a": 2, "b": 2}, life, num_trials=200).run()
    assert cluster.scheduler.status == "finished"
    failed = [t for t in cluster.scheduler.book.trials.values() if t.params["x"] < 0.3]
    assert cluster.burnt() == [t.trial_id for t in failed]
    assert cluster.further <= 0.2 * len(failed)
    assert not cluster.told


@pytest.mark.parametrize("kind", FailureKind)
def test_one_host_alone_decides_as_ever(kind: FailureKind) -> None:
    def life(launch: Launch, host: str, ended: int) -> Fate:
        return at_once(Failure(kind, "no"))

    cluster = Cluster({"a": 3}, life).run()
    if kind.starts_again or kind.blames_peer:
        return  # these never come to the scheduler
    assert cluster.scheduler.status == "failed"
    assert (cluster.further, len(cluster.burnt())) == (0, 10)
    assert not any(launch.avoid for launch in cluster.launches)


@pytest.mark.parametrize("kind", FailureKind)
def test_only_what_may_be_the_hosts_is_tried_elsewhere(kind: FailureKind) -> None:
    def life(launch: Launch, host: str, ended: int) -> Fate:
        is_bad = launch.trial_id == "t0001" and launch.attempt == 1
        return at_once(Failure(kind, "no")) if is_bad else Fate()

    cluster = Cluster({"a": 1, "b": 1}, life, num_trials=4)
    if kind.starts_again or kind.blames_peer:
        return
    elsewhere = kind in (FailureKind.EXCEPTION, FailureKind.SETUP)
    assert cluster.run().further == elsewhere
    assert cluster.burnt() == ([] if elsewhere else ["t0001"])


def test_of_a_group_the_host_of_the_rank_that_failed_is_blamed() -> None:
    hosts = {"node-a": 2, "node-b": 1, "node-c": 2}
    cluster = Cluster(hosts, fails_on("node-b"), per_trial=2, num_trials=20).run()
    assert cluster.states() == {"finished": 20}
    assert [one.host for one in cluster.told] == ["node-b"]
    assert {t.host for t in cluster.scheduler.book.trials.values()} == {"node-a", "node-c"}


def test_a_group_that_has_no_room_elsewhere_fails_where_it_is() -> None:
    cluster = Cluster({"node-a": 1, "node-b": 1}, fails_on("node-b"), per_trial=2).run()
    assert (cluster.scheduler.status, cluster.further) == ("failed", 0)


def test_two_hosts_of_three_without_a_device_leave_the_run_to_the_third() -> None:
    cluster = Cluster({"a": 1, "b": 1, "c": 1}, fails_on("b", "c")).run()
    assert cluster.scheduler.status == "finished"
    assert len(cluster.burnt()) < 10
    assert {one.host for one in cluster.told} == {"b", "c"}


def test_where_the_others_leave_what_is_left_goes_on() -> None:
    cluster = Cluster({"a": 1, "b": 1}, fails_on("b")).run(until_s=100.0)
    assert [one.host for one in cluster.told] == ["b"]
    cluster.leave("a")
    assert cluster.run().scheduler.status == "failed", "all there is fails, and that is said"


def test_what_waits_for_a_host_that_leaves_is_tried_where_there_is_one() -> None:
    def life(launch: Launch, host: str, ended: int) -> Fate:
        return at_once() if host == "b" and launch.attempt == 1 else Fate()

    cluster = Cluster({"a": 1, "b": 1}, life, num_trials=4).run(until_s=1.0)
    cluster.leave("a")
    assert cluster.run().scheduler.status == "finished"


def test_a_host_is_taken_back_when_a_trial_ends_well_there() -> None:
    def mixed(launch: Launch, host: str, ended: int) -> Fate:
        if host == "b" and launch.trial_id == "t0001":
            return Fate(300.0)
        return at_once() if host == "b" and ended < 6 else Fate()

    cluster = Cluster({"a": 1, "b": 2}, mixed).run()
    assert [(one.host, one.back) for one in cluster.told][:2] == [("b", False), ("b", True)]
    assert cluster.told[1].reason == "b gets trials again: one has ended well there"
    assert cluster.states() == {"finished": 40}


def dies_on(bad: str, died: str = "process", takes_s: float = 0.03, well: int = 0):  # type: ignore[no-untyped-def]
    def life(launch: Launch, host: str, ended: int) -> Fate:
        is_lost = host == bad and ended >= well
        return Fate(takes_s, loss="it died", died=died) if is_lost else Fate()

    return life


@pytest.mark.parametrize("died", ["process", "worker"])
@pytest.mark.parametrize("well", [0, 5])
def test_a_host_on_which_attempts_die_and_not_elsewhere_gets_no_more(died: str, well: int) -> None:
    """Each was tried on it up to three times in a row, and failed for good: ten of these, and the run ended."""
    cluster = Cluster({"node-a": 1, "node-b": 1}, dies_on("node-b", died, well=well)).run()
    assert cluster.states() == {"finished": 40}
    assert cluster.ran["node-b"] <= well + STREAK + 1
    (aside,) = cluster.told
    assert aside.reason == ("node-b gets no more trials: 3 in a row died there, and not elsewhere")
    assert max(launch.attempt for launch in cluster.launches) == 2


def test_what_dies_long_after_its_launch_speaks_against_its_host_if_the_worker_lives() -> None:
    cluster = Cluster({"a": 1, "b": 1}, dies_on("b", takes_s=600.0), num_trials=150).run()
    assert [one.host for one in cluster.told] == ["b"]
    assert cluster.states() == {"finished": 150}


def test_workers_that_go_after_a_while_say_nothing_of_their_host() -> None:
    """Jobs come to their wall time again and again, on sound hosts."""
    cluster = Cluster({"a": 1, "b": 1}, dies_on("b", "worker", takes_s=600.0), retries=99).run()
    assert not cluster.told
    assert cluster.ran["b"] > 1


def test_workers_of_a_host_that_go_together_count_once() -> None:
    cluster = Cluster({"a": 4, "b": 4}, lambda launch, host, n: Fate(), num_trials=60)
    cluster.run(until_s=30.0)
    cluster.leave("b")
    for _ in range(4):
        cluster.add("b")
    cluster.change()
    assert cluster.run().states() == {"finished": 60}
    assert not cluster.told
    assert cluster.ran["b"] > 8, "what came in their place is used"


def test_a_configuration_that_dies_on_two_hosts_is_no_fault_of_theirs() -> None:
    def life(launch: Launch, host: str, ended: int) -> Fate:
        return Fate(0.03, loss="killed", died="process") if launch.params["x"] < 0.3 else Fate()

    cluster = Cluster({"a": 2, "b": 2}, life, num_trials=100).run()
    assert not cluster.told
    trials = cluster.scheduler.book.trials.values()
    assert cluster.burnt() == [t.trial_id for t in trials if t.params["x"] < 0.3]
    assert all(t.attempt == 3 for t in trials if t.error), "as often as limits.retries says"


def test_an_attempt_that_was_told_to_end_is_no_failure_of_its_host() -> None:
    def life(launch: Launch, host: str, ended: int) -> Fate:
        return Fate(0.03, loss="its worker was told to end") if host == "b" else Fate()

    cluster = Cluster({"a": 1, "b": 1}, life, num_trials=10, retries=2).run()
    assert not cluster.told
    assert {str(t.error.kind) for t in cluster.scheduler.book.trials.values() if t.error} == {
        "lost"
    }


# Laws, whatever the order.

names = st.sampled_from("abcde")
clusters = st.dictionaries(names, st.integers(1, 3), min_size=2, max_size=5)


@given(
    clusters, st.data(), st.integers(0, 5), st.integers(0, 99), st.sampled_from([0.0, 3.0, 50.0])
)
@settings(max_examples=30, deadline=None)
def test_one_bad_host_costs_no_configuration_and_few_attempts(
    hosts: dict[str, int], data: st.DataObject, well: int, seed: int, spread_s: float
) -> None:
    bad = data.draw(st.sampled_from(sorted(hosts)))
    draw = Random(seed)

    def life(launch: Launch, host: str, ended: int) -> Fate:
        if host == bad and ended >= well:
            return at_once(error(f"OSError: {draw.random()}"))
        return Fate(0.05 + spread_s * draw.random(), diverges=draw.random() < 0.1)

    cluster = Cluster(hosts, life, num_trials=25, seed=seed).run()
    assert cluster.scheduler.status == "finished"
    assert not cluster.burnt()
    trials = cluster.scheduler.book.trials.values()
    failed = sum(one.error is not None for trial in trials for one in trial.tries)
    # What ran there when it broke may end well after that, and speaks for it.
    speak = hosts[bad] if well else 0
    assert failed <= (STREAK - 1 + hosts[bad]) * (1 + speak)
    assert cluster.told == [] or [one.host for one in cluster.told if not one.back][-1] == bad


@given(clusters, st.integers(0, 99), st.sampled_from([0.0, 0.1, 50.0]), st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_what_fails_everywhere_fails_and_is_tried_once_more_at_most(
    hosts: dict[str, int], seed: int, spread_s: float, per_trial: int
) -> None:
    draw = Random(seed)

    def life(launch: Launch, host: str, ended: int) -> Fate:
        return Fate(0.05 + spread_s * draw.random(), error(f"ValueError: {draw.random()}"))

    cluster = Cluster(hosts, life, num_trials=100, per_trial=per_trial, seed=seed).run()
    assert cluster.scheduler.status == "failed"
    slots = sum(hosts.values())
    assert len(cluster.burnt()) == max(10, slots)
    assert cluster.further <= slots
    assert max(launch.attempt for launch in cluster.launches) <= 2
    assert not cluster.told


@given(clusters, st.data(), st.integers(0, 99), st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_whatever_happens_a_run_ends_and_nobody_is_tried_elsewhere_twice(
    hosts: dict[str, int], data: st.DataObject, seed: int, per_trial: int
) -> None:
    draw = Random(seed)
    rate = {host: data.draw(st.sampled_from([0.0, 0.2, 0.9])) for host in sorted(hosts)}

    def life(launch: Launch, host: str, ended: int) -> Fate:
        takes_s = draw.choice([0.02, 5.0, 100.0])
        if draw.random() < rate[host]:
            return Fate(takes_s, error(draw.choice(["OSError: a", "ValueError: b"])))
        if draw.random() < 0.1:
            return Fate(takes_s, loss="it died", died=draw.choice([None, "process", "worker"]))
        return Fate(takes_s)

    cluster = Cluster(hosts, life, num_trials=20, per_trial=per_trial, seed=seed, retries=2)
    for host in data.draw(st.lists(st.sampled_from(sorted(hosts)), max_size=len(hosts) - 1)):
        cluster.run(until_s=cluster.now_s + data.draw(st.sampled_from([0.1, 30.0])))
        cluster.leave(host)
        if data.draw(st.booleans()):
            cluster.add(host)
            cluster.change()
    while cluster.bookings.ready < per_trial:
        cluster.add("z")
        rate["z"] = 0.2
    cluster.change()
    cluster.run()
    for trial in cluster.scheduler.book.trials.values():
        assert sum(one.error is not None for one in trial.tries) <= 2
    for host in cluster.scheduler.book.hosts.but(()):
        assert cluster.scheduler.book.hosts.free(()) >= 0, host


def test_machines_have_the_names_that_they_give_themselves_and_none_is_two() -> None:
    known: dict[str, str] = {}
    assert host_name("10.0.0.1", "node", known) == "node"
    assert host_name("10.0.0.2", "node", known) == "node (10.0.0.2)"
    assert host_name("10.0.0.3", "other", known) == "other"
    assert host_name("10.0.0.4", "", known) == "10.0.0.4"
    assert host_name("10.0.0.1", "renamed", known) == "node"
    assert len(set(known.values())) == len(known) == 4
