"""Which attempt holds which slots, and what waits for some; no clock, no I/O."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass

from dotrain.core.events import Failed, Lost, TrialEvent, Used
from dotrain.core.instructions import Launch
from dotrain.executors.group import Group
from dotrain.executors.health import HostHealth

#: How often a group is started again because another process has taken one of its ports.
_PORT_RETRIES = 5


@dataclass(eq=False)
class Slot:
    """A place where ranks run, one after another.

    Attributes:
        address: Names it.
        host: The machine, which is avoided as a whole.
        name: The worker's, for people.
        ready: Whether it takes ranks; one that is busy stays ready.
        group: The ranks of which it runs one, or None if it is free.
        sent_s: When that one was sent, in seconds on the caller's clock.
    """

    address: str
    host: str
    name: str = ""
    ready: bool = False
    group: Group | None = None
    sent_s: float = 0.0


@dataclass(frozen=True)
class Load:
    """What the slots of a run do.

    Attributes:
        idle: The workers on which nothing runs, by name.
        waits: Whether attempts wait for slots.
        ended: How many attempts have ended so far.
    """

    idle: frozenset[str] = frozenset()
    waits: bool = False
    ended: int = 0


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
        self._ended = 0
        self._health = HostHealth()

    @property
    def ready(self) -> int:
        """How many slots are ready, busy ones included."""
        return sum(slot.ready for slot in self.slots.values())

    def load(self) -> Load:
        """Return what the slots do now."""
        free = (slot.name for slot in self.slots.values() if slot.ready and slot.group is None)
        return Load(frozenset(free), bool(self._pending), self._ended)

    def ask(self, launch: Launch) -> None:
        """Let a launch wait for its slots."""
        self._pending.append((launch, 0))

    def book(self, now_s: float) -> list[Group]:
        """Return new groups for what has all its slots, in order: nothing overtakes or starves."""
        if not self._pending:
            return []
        groups = []
        free = [slot for slot in self.slots.values() if slot.ready and slot.group is None]
        while self._pending and self._pending[0][0].slots <= len(free):
            launch, retries = self._pending.popleft()
            taken, free = free[: launch.slots], free[launch.slots :]
            addresses, names = [slot.address for slot in taken], [slot.name for slot in taken]
            token = secrets.token_hex(16)
            group = Group(launch, token, addresses, names, port_retries=retries)
            self.groups[token] = group
            for slot in taken:
                slot.group, slot.sent_s = group, now_s
            groups.append(group)
        return groups

    def admit(self, slot: Slot) -> bool:
        """Let a slot take ranks unless its host is avoided; return whether it didn't and now does."""
        before, slot.ready = slot.ready, slot.host not in self._health.avoided
        return slot.ready and not before

    def free(self, slot: Slot) -> bool:
        """Note that nothing runs on a slot any more; return whether it is ready anew."""
        slot.group = None
        return not slot.ready and self.admit(slot)

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
        return outcome

    def judge(self, group: Group, outcome: TrialEvent, now_s: float) -> str:
        """Hold what a group has come to against or for the chief's host.

        Returns:
            Which hosts are avoided and why, if there is a new one; else ``""``.
        """
        slot = self.slots.get(group.addresses[0])
        if slot is None or isinstance(outcome, Lost | Used):
            return ""
        failed = isinstance(outcome, Failed)
        if not self._health.record(slot.host, failed=failed, took_s=now_s - slot.sent_s):
            return ""
        avoided = self._health.avoided
        for other in self.slots.values():
            other.ready = other.ready and other.host not in avoided
        hosts = ", ".join(sorted(avoided))
        return f"avoiding {hosts}: trials there fail at once, elsewhere they don't"
