"""Which attempt gets which slots."""

from __future__ import annotations

from dotrain.core.events import Failed, Finished, Lost
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Launch
from dotrain.executors.bookings import Bookings, Slot
from dotrain.executors.group import Group


def launch(trial_id: str, slots: int = 1) -> Launch:
    return Launch("why", trial_id, 1, {}, None, 0, slots)


def bookings(*hosts: str) -> Bookings:
    made = Bookings()
    for index, host in enumerate(hosts):
        made.slots[f"a{index}"] = slot = Slot(f"a{index}", host, f"w{index}")
        assert made.admit(slot)
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
    (one,) = made.book(0.0)
    assert made.book(0.0) == []
    end(made, one, Finished("one", 1, 0.5))
    assert made.conclude(one) == Finished("one", 1, 0.5)
    (three,) = made.book(1.0)
    assert list(three.addresses) == ["a0", "a1", "a2"]
    assert made.book(1.0) == []


def test_a_written_off_attempt_neither_waits_nor_tells() -> None:
    made = bookings("h")
    made.ask(launch("runs"))
    (runs,) = made.book(0.0)
    made.ask(launch("waits"))
    assert made.withdraw("waits", 1) is None
    assert made.withdraw("runs", 1) is runs
    end(made, runs, Finished("runs", 1, 0.5))
    assert made.conclude(runs) is None
    assert made.book(0.0) == []


def test_a_group_without_ports_starts_again_before_all_others_and_not_for_ever() -> None:
    made = bookings("h", "h")
    made.ask(launch("pair", 2))
    made.ask(launch("other"))
    outcome = None
    for _ in range(6):
        (pair,) = made.book(0.0)
        assert pair.launch.trial_id == "pair"
        end(made, pair, Failed("pair", 1, Failure(FailureKind.PORT_TAKEN, "")))
        assert outcome is None
        outcome = made.conclude(pair)
        assert made.conclude(pair) is None
    assert outcome == Lost("pair", 1, "no free port was found")
    (other,) = made.book(0.0)
    assert other.launch.trial_id == "other"


def test_a_host_where_all_fails_at_once_is_avoided_if_another_is_sound() -> None:
    made = bookings("bad", "good")
    why = ""
    for number in range(3):
        for _ in range(2):
            made.ask(launch(f"t{number}"))
        for group in made.book(0.0):
            slot = made.slots[group.addresses[0]]
            failed = Failed("t", 1, Failure(FailureKind.EXCEPTION, ""))
            event = failed if slot.host == "bad" else Finished("t", 1, 0.5)
            end(made, group, event)
            outcome = made.conclude(group)
            assert outcome is not None
            why = made.judge(group, outcome, 1.0) or why
    assert why == "avoiding bad: trials there fail at once, elsewhere they don't"
    assert made.ready == 1
    assert not made.admit(made.slots["a0"])
