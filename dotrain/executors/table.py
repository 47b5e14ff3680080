"""The table of slots: they come and go, groups of ranks run on them.

What is done where is decided here, alike for the slots of this machine and for those of a Dask cluster;
how it is said to them is a subclass's. Everything runs on one thread.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from dotrain.attempts.launch import RankLaunch
from dotrain.core.events import Event, SlotsChanged, TrialEvent, from_record
from dotrain.core.instructions import Instruction, Kill, Launch, Stop
from dotrain.core.strategy import Seat
from dotrain.core.usage import Usage
from dotrain.executors.bookings import Bookings, Load, Slot
from dotrain.executors.group import Group

#: How long the other ranks of an attempt may take when one has come to its end, in seconds.
_ENDING_S = 5.0


class AbstractSlotTable(ABC):
    """Every slot of a run, and what runs on it."""

    def __init__(self, post: Callable[[Event], None]) -> None:
        """Make an empty table.

        Args:
            post: Where events go.
        """
        self._post = post
        self._bookings = Bookings()
        self._slots = self._bookings.slots

    # ---- what a subclass does ----

    @abstractmethod
    def _launch(self, group: Group) -> None:
        """Begin every rank of a group on its slot."""

    @abstractmethod
    def _tell(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        """Tell slots to ``stop`` or ``kill`` the rank of a group that runs there."""

    @abstractmethod
    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something after some time, in seconds."""

    def _let_part(self, slot: Slot) -> None:  # noqa: B027
        """Let a slot go that waits for that: nothing is left there."""

    # ---- slots come and go ----

    @property
    def ready(self) -> int:
        """How many slots are ready, busy ones included."""
        return self._bookings.ready

    def _changed(self, why: str | None = None) -> None:
        self._post(SlotsChanged(self.ready, why, self._bookings.changed_hosts()))

    def load(self) -> Load:
        """Return what the slots do now."""
        return self._bookings.load()

    def say(self, why: str) -> None:
        """Tell people something of the slots.

        Args:
            why: It.
        """
        self._changed(why)

    # ---- what slots tell ----

    def take(self, slot: Slot, items: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Take in what ranks on a slot have to say.

        Args:
            slot: Where they run.
            items: The token of the group, and an item as of `attempts.host.Host`.
        """
        touched = {}
        for token, item in items:
            group = self._bookings.groups.get(token)
            if group is None:
                continue
            if "event" in item:
                event = from_record(item["event"])
                self._post(group.began(event) if isinstance(event, TrialEvent) else event)
                continue
            if "leaves" in item:
                self._leave(group, slot, item["leaves"])
                continue
            touched[token] = group
            if "end" in item:
                ended = from_record(item["end"])
                assert isinstance(ended, TrialEvent)
                group.ended(slot.address, ended)
            else:
                used = item.get("usage")
                group.gone(slot.address, item["gone"], Usage.of(used) if used else None)
                self._bookings.free(slot)
        for group in touched.values():
            self._go_on(group)
        if touched:
            self._launch_pending()
        if slot.leaves and slot.group is None:
            self._let_part(slot)

    def _leaves(self, slot: Slot, why: str) -> None:
        """Use a slot no more that is about to go, and let what runs there come to its next report."""
        if slot.leaves:
            return
        slot.ready, slot.leaves = False, why
        self._changed(f"{slot.name} ({slot.address}): {why}; it gets no more trials")
        if slot.group is not None:
            self._leave(slot.group, slot, why)

    def _leave(self, group: Group, slot: Slot, why: str) -> None:
        group.leave(slot.address, why)
        self._tell(group.addresses, "stop", group.token, why)

    # ---- groups begin and end ----

    def carry_out(self, instruction: Instruction) -> None:
        """Begin to do what an instruction says."""
        match instruction:
            case Launch():
                self._bookings.ask(instruction)
                self._launch_pending()
            case Stop():
                group = self._bookings.group_of(instruction.trial_id, instruction.attempt)
                if group is not None:
                    self._tell(group.addresses, "stop", group.token, instruction.reason)
            case Kill(timeout=True):
                group = self._bookings.withdraw(instruction.trial_id, instruction.attempt)
                if group is not None:
                    self._go_on(group)

    def _launch_pending(self) -> None:
        for group in self._bookings.book():
            self._launch(group)

    def _go_on(self, group: Group) -> None:
        """Do what the state of a group asks for."""
        if group.is_over:
            self._over(group)
        elif to_end := group.to_end():
            self._tell(to_end, "kill", group.token)
        elif group.is_ending and not group.hurried:
            group.hurried = True
            self._later(_ENDING_S, lambda: self._hurry(group))

    def _hurry(self, group: Group) -> None:
        if group.token in self._bookings.groups:
            group.time_is_up()
            self._go_on(group)

    def _over(self, group: Group) -> None:
        outcome = self._bookings.conclude(group)
        if outcome is not None:
            self._post(outcome)
        self._launch_pending()


def free_addresses(host: str) -> tuple[str, str]:
    """Return two free addresses of this machine, for a rank that may run here.

    Args:
        host: The machine's own address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as both:
        servers = [
            both.enter_context(socket.create_server((host, 0), family=family)) for _ in range(2)
        ]
        first, second = (f"{host}:{server.getsockname()[1]}" for server in servers)
    return first, second


def ranks_of(group: Group, reserved: Sequence[tuple[str, str]]) -> dict[str, RankLaunch]:
    """Return what each rank of a group is to do, by the address of its slot.

    Args:
        group: The group.
        reserved: Two free addresses for each rank; one that is alone needs none.
    """
    if len(group.addresses) == 1:
        reserved = [("127.0.0.1:0", "127.0.0.1:0")]
    own, names = tuple(first for first, _ in reserved), tuple(group.names)
    return {
        address: RankLaunch(group.launch, Seat(rank, own, reserved[0][1], group.token, names))
        for rank, address in enumerate(group.addresses)
    }
