"""Which attempt holds which slots, and what waits for some; no clock, no I/O."""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dotrain.core.events import Failed, Lost, TrialEvent
from dotrain.core.failure import FailureKind
from dotrain.core.instructions import Launch
from dotrain.executors.group import Group

#: How often a group is started again because another process has taken one of its ports.
_PORT_RETRIES = 5


@dataclass(eq=False)
class Slot:
    """A place where ranks run, one after another.

    Attributes:
        address: Names it; no other has that name.
        host: The machine's name, which launches may avoid; ``""`` where machines aren't told from each other.
        name: The worker's, for people; several slots may be on one.
        ready: Whether it takes ranks; one that is busy stays ready.
        leaves: Why it is about to go, and takes no more ranks; "" if it isn't.
        group: The ranks of which it runs one, or None if it is free.
        worker: The address of its worker, where that isn't its own.
        own_disk: Whether the files of its trials lie on a disk of its host's, and not where the driver has them.
    """

    address: str
    host: str
    name: str = ""
    ready: bool = False
    leaves: str = ""
    group: Group | None = None
    worker: str = ""
    own_disk: bool = False

    @property
    def place(self) -> str:
        """Its worker and host, for people."""
        address = self.worker or self.address
        named = address if self.name in ("", address) else f"{self.name} ({address})"
        return f"{named} on {self.host}" if self.host else named

    @property
    def why_gone(self) -> str:
        """Why what runs there is lost when its worker has gone that was about to; ``""`` for any other."""
        what = "and went before the attempt had reported (limits.grace_s)"
        return f"{self.leaves}, {what}" if self.leaves else ""


@dataclass(frozen=True)
class Load:
    """What the slots of a run do.

    Attributes:
        idle: The workers on which nothing runs, by name.
        has_room: Whether a slot is free on a worker where something runs.
        waits: Whether attempts wait for slots.
        ended: How many attempts have ended so far.
        per_worker: How many slots a worker has, the most of any; None while nobody knows.
    """

    idle: frozenset[str] = frozenset()
    waits: bool = False
    ended: int = 0
    has_room: bool = False
    per_worker: int | None = 1


class Bookings:
    """The slots of a run, the groups on them, and the launches that wait.

    Attributes:
        slots: Every slot by address, the oldest first.
        groups: Every group that has slots, by token.
    """

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}
        self.groups: dict[str, Group] = {}
        #: Launches, with how often each has been started again for its ports.
        self._pending: deque[tuple[Launch, int]] = deque()
        #: How many slots of each host were ready when that was last told.
        self._told: Counter[str] = Counter()
        self._ended = 0

    @property
    def ready(self) -> int:
        """How many slots are ready, busy ones included."""
        return sum(slot.ready for slot in self.slots.values())

    def changed_hosts(self) -> dict[str, int] | None:
        """Return how many slots are ready on each host where that has changed since this was last asked.

        Returns:
            None where hosts aren't told from each other, or none has changed.
        """
        now = Counter(slot.host for slot in self.slots.values() if slot.ready and slot.host)
        told, self._told = self._told, now
        return {host: now[host] for host in told | now if told[host] != now[host]} or None

    def load(self) -> Load:
        """Return what the slots do now."""
        count = Counter(slot.name for slot in self.slots.values() if slot.ready)
        free = Counter(
            slot.name for slot in self.slots.values() if slot.ready and slot.group is None
        )
        idle = frozenset(name for name, slots in free.items() if slots == count[name])
        most = max(count.values(), default=1)
        return Load(idle, bool(self._pending), self._ended, len(free) > len(idle), most)

    def ask(self, launch: Launch) -> None:
        """Let a launch wait for its slots."""
        self._pending.append((launch, 0))

    def book(self) -> list[Group]:
        """Return new groups for what has all its slots, in order.

        Nothing overtakes or starves: what comes later gets no slot that is good for what still waits.
        """
        if not self._pending:
            return []
        groups: list[Group] = []
        free = [slot for slot in self.slots.values() if slot.ready and slot.group is None]
        left: deque[tuple[Launch, int]] = deque()
        while self._pending and free:
            launch, retries = self._pending.popleft()
            avoided = self._avoided(launch)
            good = [slot for slot in free if slot.host not in avoided]
            if launch.slots <= len(good):
                groups.append(self._group(launch, good[: launch.slots], retries))
                free = [slot for slot in free if slot.group is None]
            else:
                left.append((launch, retries))
                free = [slot for slot in free if slot.host in avoided]
        self._pending.extendleft(reversed(left))
        return groups

    def _avoided(self, launch: Launch) -> frozenset[str]:
        """Return the hosts that a launch avoids: none, if the others have too few slots by now."""
        if not launch.avoid:
            return frozenset()
        avoided = frozenset(launch.avoid)
        others = sum(slot.ready and slot.host not in avoided for slot in self.slots.values())
        return avoided if others >= launch.slots else frozenset()

    def _group(self, launch: Launch, slots: Sequence[Slot], retries: int) -> Group:
        hosts = [slot.host for slot in slots]
        group = Group(
            launch,
            secrets.token_hex(16),
            [slot.address for slot in slots],
            [slot.name for slot in slots],
            port_retries=retries,
            hosts=hosts if all(hosts) else (),
            own_disks=frozenset(slot.host for slot in slots if slot.own_disk),
        )
        self.groups[group.token] = group
        for slot in slots:
            slot.group = group
        return group

    def admit(self, slot: Slot) -> None:
        """Let a slot take ranks, unless it is about to go."""
        slot.ready = not slot.leaves

    def free(self, slot: Slot) -> None:
        """Note that nothing runs on a slot any more."""
        slot.group = None

    def group_of(self, trial_id: str, attempt: int) -> Group | None:
        """Return the group that an attempt runs as, or None if it has none."""
        for group in self.groups.values():
            if (group.launch.trial_id, group.launch.attempt) == (trial_id, attempt):
                return group
        return None

    def withdraw(self, trial_id: str, attempt: int) -> Group | None:
        """Write an attempt off: it waits no longer; return the group that still runs, if any."""
        self._pending = deque(
            (launch, retries)
            for launch, retries in self._pending
            if (launch.trial_id, launch.attempt) != (trial_id, attempt)
        )
        group = self.group_of(trial_id, attempt)
        if group is not None:
            group.write_off()
        return group

    def conclude(self, group: Group) -> TrialEvent | None:
        """Take out a group that is over, once.

        Returns:
            What it has come to; None if there is nothing to tell, or if it starts again on other ports.
        """
        if self.groups.pop(group.token, None) is None:
            return None
        self._ended += 1
        outcome, launch = group.outcome(), group.launch
        if outcome is None and group.port_taken and not group.written_off:
            if group.port_retries >= _PORT_RETRIES:
                return Lost(launch.trial_id, launch.attempt, "no free port was found")
            self._pending.appendleft((launch, group.port_retries + 1))
        if isinstance(outcome, Failed) and outcome.host in group.own_disks:
            return self._of_own_disk(outcome, launch)
        return outcome

    def _of_own_disk(self, failed: Failed, launch: Launch) -> Failed:
        """Let a disk that is full be its host's trouble, and not the run's, if there are other hosts."""
        failure = failed.failure
        others = sum(slot.ready and slot.host != failed.host for slot in self.slots.values())
        if failure.kind is not FailureKind.DISK_FULL:
            return failed
        kind = FailureKind.SETUP if others >= launch.slots else failure.kind
        message = f"the disk of {failed.host} is full: {failure.message}"
        return replace(failed, failure=replace(failure, kind=kind, message=message))
