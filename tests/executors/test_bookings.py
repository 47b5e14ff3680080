"""Which attempt gets which slots."""

from __future__ import annotations

from dataclasses import replace

from dotrain.core.events import Failed, Finished, Lost
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Launch
from dotrain.executors.bookings import Bookings, Load, Slot
from dotrain.executors.group import Group


def launch(trial_id: str, slots: int = 1) -> Launch:
    return Launch("why", trial_id, 1, {}, None, 0, slots)


def bookings(*hosts: str) -> Bookings:
    made = Bookings()
    for index, host in enumerate(hosts):
        made.slots[f"a{index}"] = slot = Slot(f"a{index}", host, f"w{index}")
        made.admit(slot)
    return made


def end(made: Bookings, group: Group, event: Finished | Failed) -> None:
    for address in group.addresses:
        group.ended(address, event)
        group.gone(address, "")
        made.free(made.slots[address])


def test_nothing_overtakes_what_waits_for_more_slots() -> None:
    made = bookings("h", "h", "h")
    made.ask(launch("one"))
    made.ask(launch("three", 3))
    made.ask(launch("late"))
    (one,) = made.book()
    assert made.book() == []
    end(made, one, Finished("one", 1, 0.5))
    assert made.conclude(one) == Finished("one", 1, 0.5, host="h")
    (three,) = made.book()
    assert list(three.addresses) == ["a0", "a1", "a2"]
    assert made.book() == []


def test_a_slot_that_is_about_to_go_takes_no_ranks_though_it_gets_ready_meanwhile() -> None:
    made = Bookings()
    made.slots["a"] = slot = Slot("a", "node", leaves="its worker was told to end")
    made.admit(slot)
    assert made.ready == 0


def test_a_written_off_attempt_neither_waits_nor_tells() -> None:
    made = bookings("h")
    made.ask(launch("runs"))
    (runs,) = made.book()
    made.ask(launch("waits"))
    assert made.withdraw("waits", 1) is None
    assert made.withdraw("runs", 1) is runs
    end(made, runs, Finished("runs", 1, 0.5))
    assert made.conclude(runs) is None
    assert made.book() == []


def test_a_group_without_ports_starts_again_before_all_others_and_not_for_ever() -> None:
    made = bookings("h", "h")
    made.ask(launch("pair", 2))
    made.ask(launch("other"))
    outcome = None
    for _ in range(6):
        (pair,) = made.book()
        assert pair.launch.trial_id == "pair"
        end(made, pair, Failed("pair", 1, Failure(FailureKind.PORT_TAKEN, "")))
        assert outcome is None
        outcome = made.conclude(pair)
        assert made.conclude(pair) is None
    assert outcome == Lost("pair", 1, "no free port was found")
    (other,) = made.book()
    assert other.launch.trial_id == "other"


def test_a_launch_runs_on_no_host_that_it_avoids_and_others_take_those() -> None:
    made = bookings("a", "a", "b")
    made.ask(launch("t0"))
    made.ask(launch("t1"))
    first, _ = made.book()
    made.ask(replace(launch("t2"), avoid=("b",)))
    assert made.book() == []
    made.ask(launch("t3"))
    made.ask(launch("t4"))
    (third,) = made.book()
    assert (third.launch.trial_id, list(third.hosts)) == ("t3", ["b"])
    end(made, third, Finished("t3", 1, 0.5))
    made.conclude(third)
    end(made, first, Finished("t0", 1, 0.5))
    made.conclude(first)
    assert [(g.launch.trial_id, list(g.hosts)) for g in made.book()] == [
        ("t2", ["a"]),
        ("t4", ["b"]),
    ]


def test_a_group_that_avoids_a_host_waits_for_all_its_slots_elsewhere() -> None:
    made = bookings("a", "b", "a", "b")
    made.ask(launch("t0"))
    (first,) = made.book()
    made.ask(replace(launch("pair", 2), avoid=("b",)))
    made.ask(launch("t1"))
    (other,) = made.book()
    assert (other.launch.trial_id, list(other.hosts)) == ("t1", ["b"])
    end(made, first, Finished("t0", 1, 0.5))
    made.conclude(first)
    (pair,) = made.book()
    assert list(pair.hosts) == ["a", "a"]


def test_where_no_other_host_is_left_a_launch_avoids_none() -> None:
    made = bookings("a", "b")
    made.ask(replace(launch("t0"), avoid=("b",)))
    made.ask(replace(launch("t1"), avoid=("b",)))
    (first,) = made.book()
    assert list(first.hosts) == ["a"]
    del made.slots["a0"]
    (second,) = made.book()
    assert list(second.hosts) == ["b"]


def test_hosts_are_told_where_their_slots_have_changed() -> None:
    made = bookings("a", "b", "a")
    assert made.changed_hosts() == {"a": 2, "b": 1}
    assert made.changed_hosts() is None
    del made.slots["a0"]
    made.slots["a3"] = slot = Slot("a3", "c")
    assert made.changed_hosts() == {"a": 1}
    made.admit(slot)
    assert made.changed_hosts() == {"c": 1}
    del made.slots["a1"]
    assert made.changed_hosts() == {"b": 0}


def test_machines_that_are_not_told_from_each_other_have_no_hosts() -> None:
    made = bookings("", "")
    assert made.changed_hosts() is None
    made.ask(launch("pair", 2))
    (pair,) = made.book()
    assert pair.hosts == ()


def test_a_worker_is_idle_when_nothing_runs_on_any_of_its_slots() -> None:
    made = bookings("h", "h", "h")
    for slot, worker in zip(made.slots.values(), ("w", "w", "v"), strict=True):
        slot.name = worker
    assert made.load() == Load(frozenset({"w", "v"}), per_worker=2)
    made.ask(launch("one"))
    made.book()
    assert made.load() == Load(frozenset({"v"}), per_worker=2, has_room=True)
    made.ask(launch("two", 2))
    made.book()
    assert made.load() == Load(frozenset(), per_worker=2)


def end_for_want_of_room(made: Bookings) -> Failed:
    (group,) = made.book()
    full = Failure(FailureKind.DISK_FULL, "OSError: no space")
    end(made, group, Failed(group.launch.trial_id, 1, full))
    outcome = made.conclude(group)
    assert isinstance(outcome, Failed)
    return outcome


def test_a_full_disk_of_one_host_of_several_is_its_trouble() -> None:
    made = bookings("full", "other")
    made.slots["a0"].own_disk = True
    made.ask(launch("one"))
    failed = end_for_want_of_room(made)
    assert failed.host == "full"
    assert failed.failure.kind is FailureKind.SETUP
    assert failed.failure.message == "the disk of full is full: OSError: no space"


def test_a_full_disk_ends_the_run_where_no_other_host_has_room_for_the_trial() -> None:
    for hosts, per_trial in ((("full", "full"), 1), (("full", "full", "other"), 2)):
        made = bookings(*hosts)
        for slot in made.slots.values():
            slot.own_disk = True
        made.ask(launch("one", per_trial))
        failed = end_for_want_of_room(made)
        assert failed.failure.kind is FailureKind.DISK_FULL
        assert "the disk of full is full" in failed.failure.message


def test_a_full_disk_that_all_share_ends_the_run() -> None:
    made = bookings("a", "b")
    made.ask(launch("one"))
    failed = end_for_want_of_room(made)
    assert failed.failure == Failure(FailureKind.DISK_FULL, "OSError: no space")


def test_a_worker_s_place_names_it_once() -> None:
    assert Slot("tcp://h:1", "node-a", "tcp://h:1").place == "tcp://h:1 on node-a"
    assert Slot("tcp://h:1", "node-a", "w1").place == "w1 (tcp://h:1) on node-a"
    assert Slot("tcp://h:1", "").place == "tcp://h:1"
