"""A cluster in virtual time: the real scheduler over the real bookings, on hosts with faults of their own."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from dotrain.core import instructions
from dotrain.core.events import (
    Diverged,
    Event,
    Failed,
    Finished,
    Lost,
    Reported,
    Resumed,
    SlotsChanged,
    Started,
    TrialEvent,
    to_record,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Instruction, Launch, SetAside
from dotrain.core.limits import Limits
from dotrain.core.observer import Observer
from dotrain.core.policy import AbstractEarlyStop
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial, TrialState
from dotrain.executors.bookings import Bookings, Slot
from dotrain.executors.group import Group
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Float, Searchspace
from dotrain.store import replay
from dotrain.store.arms import write_instruction
from dotrain.store.journal import to_json
from dotrain.store.restore import restore


@dataclass
class Fate:
    """What becomes of one rank.

    Attributes:
        takes_s: For how long it runs.
        error: What it fails with; None if it doesn't.
        loss: What it is lost by, or ``""``.
        died: What has died then.
        diverges: Whether its metric does.
        starts: Whether its function is entered; a package that is missing is missed before.
    """

    takes_s: float = 20.0
    error: Failure | None = None
    loss: str = ""
    died: str | None = None
    diverges: bool = False
    starts: bool = True


def error(message: str = "OSError: no device", location: str = "user.py:3 in train") -> Failure:
    return Failure(FailureKind.EXCEPTION, message, location)


def at_once(failure: Failure | None = None) -> Fate:
    return Fate(0.03, failure or error())


#: Of a launch, the host of a rank and how many attempts have ended there before.
Life = Callable[[Launch, str, int], Fate]


class Rule(AbstractEarlyStop):
    """Stops nothing, and notes what it is told."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def on_end(self, trial: Trial) -> None:
        self.ended.append(trial.trial_id)

    def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> None:
        pass


class Cluster:
    """One run.

    Attributes:
        launches: Every launch, in order.
        told: Every `SetAside`.
        ran: How many attempts began on each host.
        log: Every event and instruction, with its time.
        observers: Are told of everything, as a driver does.
    """

    def __init__(
        self,
        hosts: Mapping[str, int],
        life: Life,
        *,
        num_trials: int = 40,
        per_trial: int = 1,
        seed: int = 0,
        **limits: Any,
    ) -> None:
        self.life, self.draw = life, Random(seed)
        self.settings = {"num_trials": num_trials, "per_trial": per_trial, "limits": limits}
        self.rule = Rule()
        self.scheduler = self.make()
        self.bookings = Bookings()
        self.now_s, self.count = 0.0, 0
        self.due: list[tuple[float, float, int, Callable[[], None]]] = []
        self.launches: list[Launch] = []
        self.told: list[SetAside] = []
        self.log: list[tuple[float, Event | Instruction]] = []
        self.observers: list[Observer] = []
        self.ran: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        header = {"type": "Run", "version": 3, "seed": 0, "limits": limits}
        self.records: list[dict[str, Any]] = []
        self.note(header)
        for name, count in hosts.items():
            for _ in range(count):
                self.add(name)
        self.change()

    def make(self) -> Scheduler:
        optimizer = RandomSearch()
        space = Searchspace(x=Float(range=(0.0, 1.0)))
        optimizer.setup(space, self.settings["num_trials"], "max", 0)
        optimizer.initialize()
        limits = Limits(**self.settings["limits"])
        return Scheduler(
            optimizer, self.rule, limits=limits, slots_per_trial=self.settings["per_trial"]
        )

    # ---- what happens ----

    def add(self, host: str) -> Slot:
        self.count += 1
        name = f"w{self.count}"
        self.bookings.slots[name] = slot = Slot(name, host, name, ready=True)
        return slot

    def change(self) -> None:
        self.post(SlotsChanged(self.bookings.ready, hosts=self.bookings.changed_hosts()))
        self.book()

    def leave(self, host: str) -> None:
        """Take all slots of a host away, with what runs there."""
        for slot in [slot for slot in self.bookings.slots.values() if slot.host == host]:
            del self.bookings.slots[slot.address]
            if slot.group is not None:
                slot.group.gone(slot.address, "its worker left the cluster", died="worker")
                self.go_on(slot.group)
        self.change()

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.due, (self.now_s + delay_s, self.draw.random(), self.count, call))

    def run(self, until_s: float = 1e9) -> Cluster:
        while self.scheduler.status is None and self.due and self.due[0][0] <= until_s:
            self.now_s, _, _, call = heapq.heappop(self.due)
            call()
        if until_s == 1e9:
            assert self.scheduler.status is not None, "nothing happens any more, and it isn't over"
            self.check_journal()
        return self

    def post(self, event: Event) -> None:
        if self.scheduler.status is not None and not isinstance(event, Resumed):
            return
        self.note(to_record(event))
        out = self.scheduler.handle(event, self.now_s)
        self.scheduler.validate()
        self.log += [(self.now_s, event), *((self.now_s, one) for one in out)]
        for observer in self.observers:
            observer.on_event(event, out, self.now_s)
        for instruction in out:
            self.note(write_instruction(instruction))
            assert instruction.reason
            if isinstance(instruction, SetAside):
                self.told.append(instruction)
            if isinstance(instruction, Launch):
                self.launches.append(instruction)
                self.bookings.ask(instruction)
        self.book()

    def book(self) -> None:
        for group in self.bookings.book():
            fates = {
                address: self.life(group.launch, host, self.ended[host])
                for address, host in zip(group.addresses, group.hosts, strict=True)
            }
            self.ran.update(set(group.hosts))
            chief = fates[group.addresses[0]]
            name = (group.launch.trial_id, group.launch.attempt)
            if chief.starts:
                self.later(0.01, lambda name=name, group=group: self.start(name, group))  # type: ignore[misc]
            for address, fate in fates.items():
                self.later(
                    fate.takes_s,
                    lambda group=group, address=address, fate=fate: self.end(group, address, fate),  # type: ignore[misc]
                )

    def start(self, name: tuple[str, int], group: Group) -> None:
        if group.token in self.bookings.groups:
            self.post(group.began(Started(*name, "w")))
            self.post(Reported(*name, 0, 0.5))

    def end(self, group: Group, address: str, fate: Fate) -> None:
        if group.token not in self.bookings.groups:
            return
        name = (group.launch.trial_id, group.launch.attempt)
        event: TrialEvent = Finished(*name, 0.5)
        if fate.error is not None:
            event = Failed(*name, fate.error)
        elif fate.diverges:
            event = Diverged(*name, "reported nan")
        elif fate.loss:
            event = Lost(*name, fate.loss, fate.died)
        group.ended(address, event)
        for ending in group.to_end():
            group.gone(ending, "killed")
            if (slot := self.bookings.slots.get(ending)) is not None:
                self.ended[slot.host] += 1
                self.bookings.free(slot)
        self.go_on(group)

    def go_on(self, group: Group) -> None:
        for ending in group.to_end():
            group.gone(ending, "killed")
            if (slot := self.bookings.slots.get(ending)) is not None:
                self.bookings.free(slot)
        if group.is_over:
            outcome = self.bookings.conclude(group)
            if outcome is not None:
                self.post(outcome)
            self.book()

    # ---- what is known ----

    def note(self, record: Mapping[str, Any]) -> None:
        full = {"n": len(self.records), "t": self.now_s, **record}
        self.records.append(json.loads(to_json(full)))

    def check_journal(self) -> None:
        """Whoever reads the journal knows the same, and whoever goes on decides alike."""
        state = replay(self.records)
        ended, self.rule.ended = self.rule.ended, []
        again = self.make()
        restored = restore(again, self.records[1:])
        assert restored.unwritten == []
        assert self.rule.ended == ended
        assert len(set(ended)) == len(ended), "a policy was told of an end twice"
        for book in (state.book, again.book):
            for trial_id, trial in book.trials.items():
                known = self.scheduler.book.trials[trial_id]
                for name in (
                    "state",
                    "attempt",
                    "error",
                    "host",
                    "failed_on",
                    "lost_on",
                    "tries",
                    "story",
                ):
                    assert getattr(trial, name) == getattr(known, name), (trial_id, name)
            assert book.hosts.aside == self.scheduler.book.hosts.aside
        kinds = {record["type"] for record in self.records}
        assert kinds <= {"Run", *instructions.INSTRUCTIONS, *_EVENTS}

    def states(self) -> Counter[str]:
        return Counter(str(trial.state) for trial in self.scheduler.book.trials.values())

    def burnt(self) -> list[str]:
        failed = TrialState.FAILED
        return [t.trial_id for t in self.scheduler.book.trials.values() if t.state is failed]

    @property
    def further(self) -> int:
        """How many attempts were further tries."""
        return sum(launch.attempt > 1 for launch in self.launches)


_EVENTS = (
    "SlotsChanged",
    "Started",
    "Reported",
    "Finished",
    "Failed",
    "Lost",
    "Diverged",
    "Resumed",
)
