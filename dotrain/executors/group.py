"""One attempt on one or several slots: what its ranks tell, put together to one event.

No clock, no I/O: the slot table asks after each step which ranks to end and whether it is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

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
from dotrain.core.usage import Usage, together


class Rank(Enum):
    """What is known of a rank."""

    RUNNING = "running"
    ENDED = "ended"  # it has told how its train function ended; its process may linger
    GONE = "gone"


@dataclass
class Group:
    """The ranks of one attempt.

    Attributes:
        launch: The attempt.
        token: Of this start of it; one whose ports were taken is started again.
        addresses: The slot of each rank, by number.
        names: The workers' names, for people.
        verdict: What the attempt has come to, once that is known.
        port_taken: Whether it has come to nothing for want of a port.
        written_off: Whether nobody waits for the verdict any more.
        hurried: Whether its ranks have been given a time to end by.
        port_retries: How often it has been started again for that.
        hosts: Of each rank, by number; empty where hosts aren't told from each other.
        own_disks: Of these, those on whose own disks the trial's files lie meanwhile.
    """

    launch: Launch
    token: str
    addresses: Sequence[str]
    names: Sequence[str]
    verdict: AttemptEnd | None = None
    port_taken: bool = False
    written_off: bool = False
    hurried: bool = False
    port_retries: int = 0
    hosts: Sequence[str] = ()
    own_disks: frozenset[str] = frozenset()
    _ranks: dict[str, Rank] = field(init=False)
    #: A rank that has lost touch with another, until it is known which and why.
    _suspicion: Failed | None = None
    _told_to_end: set[str] = field(default_factory=set)
    #: How it is lost if it ends because a rank can't stay, where it would have gone on.
    _parting: Lost | None = None
    #: What each rank that is gone has used, as far as anybody knows.
    _usage: dict[str, Usage | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ranks = dict.fromkeys(self.addresses, Rank.RUNNING)

    @property
    def is_over(self) -> bool:
        """Whether every rank's process is gone, so that its slots are free."""
        return all(state is Rank.GONE for state in self._ranks.values())

    @property
    def is_settled(self) -> bool:
        """Whether nothing that its ranks may still do matters."""
        failed = isinstance(self.verdict, Failed | Lost)
        ended = all(state is not Rank.RUNNING for state in self._ranks.values())
        return failed or ended or self.port_taken or self.written_off

    @property
    def is_ending(self) -> bool:
        """Whether the other ranks should soon come to their end."""
        return self.verdict is not None or self._suspicion is not None

    def to_end(self) -> list[str]:
        """Return the slots whose ranks are to be ended now; each of them once."""
        if not self.is_settled:
            return []
        left = [address for address, state in self._ranks.items() if state is not Rank.GONE]
        new = [address for address in left if address not in self._told_to_end]
        self._told_to_end.update(new)
        return new

    def ended(self, address: str, event: TrialEvent) -> None:
        """Note how a rank's train function ended."""
        if self._ranks.get(address) is not Rank.RUNNING:
            return
        self._ranks[address] = Rank.ENDED
        if isinstance(event, Failed) and event.failure.kind.starts_again:
            self.port_taken = True
        elif isinstance(event, Failed) and event.failure.kind.blames_peer:
            self._suspicion = self._suspicion or event
        elif isinstance(event, Failed):
            message = self._of_rank(address, event.failure.message)
            failure = replace(event.failure, message=message)
            self._settle(replace(event, failure=failure, host=self._host_of(address)))
        elif isinstance(event, Lost):
            self._settle(self._loss(address, event.cause, event.died))
        elif isinstance(event, Diverged) or (
            isinstance(event, Finished | Stopped) and address == self.addresses[0]
        ):
            self._settle(replace(event, host=self._host_of(address)))

    def leave(self, address: str, why: str) -> None:
        """Note that a rank can't stay for long: when it has stopped, the attempt is lost, not stopped."""
        self._parting = self._parting or self._loss(address, why)

    def began(self, event: TrialEvent) -> TrialEvent:
        """Return what a rank tells while it runs, with what only is known here."""
        if isinstance(event, Started) and self.hosts:
            return replace(event, hosts=tuple(self.hosts))
        return event

    def gone(
        self,
        address: str,
        cause: str,
        usage: Usage | None = None,
        died: str | None = "process",
    ) -> None:
        """Note that a rank's process is gone, or its worker.

        Args:
            address: The rank's slot.
            cause: What it died of, where it has not told how its train function ended.
            usage: What it has used; None where nobody knows.
            died: What has died, as of `Lost`.
        """
        before, self._ranks[address] = self._ranks[address], Rank.GONE
        self._usage[address] = usage
        if before is Rank.RUNNING and not self.port_taken:
            self._settle(self._loss(address, cause, None if self._parting else died))

    def never_began(self, address: str) -> None:
        """Note that a rank was not even started."""
        self._ranks[address] = Rank.GONE

    def no_room(self, address: str, what: str) -> None:
        """Note that a rank's disk has no room for the files that the attempt goes on from.

        Args:
            address: Of the rank's worker.
            what: Which file, and what the disk says.
        """
        failure = Failure(FailureKind.DISK_FULL, what)
        self.ended(address, Failed(self.launch.trial_id, self.launch.attempt, failure))

    def files_lost(self, cause: str) -> None:
        """Note that the trial's files can't come to where they belong: then it has not ended well.

        Args:
            cause: Why not.
        """
        if self.verdict is None or isinstance(self.verdict, Finished | Stopped):
            self.verdict = self._loss(self.addresses[0], cause)

    def write_off(self) -> None:
        """Note that the attempt is to end, and that nobody waits for how."""
        self.written_off = True

    def time_is_up(self) -> None:
        """End it as it stands: the ranks have had time enough to end by themselves."""
        for address, state in self._ranks.items():
            if state is Rank.RUNNING:
                self._ranks[address] = Rank.ENDED

    def outcome(self) -> AttemptEnd | Used | None:
        """Return what the attempt has come to; None if it starts again.

        When it is over, that has the usage of all ranks that began; where nobody waits for its end,
        that is all that is told of it.
        """
        if self.verdict is None and self._suspicion is not None:
            cause = f"a rank lost touch with the others: {self._suspicion.failure.message}"
            self._settle(Lost(self.launch.trial_id, self.launch.attempt, cause))
        self._part()
        usage = together(self._usage.values()) if self.is_over else None
        if self.written_off and usage is not None:
            return Used(self.launch.trial_id, self.launch.attempt, usage)
        if self.written_off or self.verdict is None:
            return None
        return replace(self.verdict, usage=usage)

    def _part(self) -> None:
        """Tell a stop that nobody wanted, and a failure as everything was being ended around it, for what it is."""
        match self._parting, self.verdict:
            case Lost() as loss, Stopped():
                self.verdict = loss
            case Lost() as loss, Failed(failure=failure) if failure.kind.may_be_the_hosts:
                self.verdict = replace(loss, cause=f"{loss.cause}, and then: {failure.message}")

    def _settle(self, verdict: AttemptEnd) -> None:
        if self.verdict is None:
            self.verdict = verdict

    def _loss(self, address: str, cause: str, died: str | None = None) -> Lost:
        named = self._of_rank(address, cause, always=True)
        host = self._host_of(address)
        return Lost(self.launch.trial_id, self.launch.attempt, named, died, host=host)

    def _host_of(self, address: str) -> str | None:
        return self.hosts[self.addresses.index(address)] if self.hosts else None

    def _of_rank(self, address: str, message: str, *, always: bool = False) -> str:
        rank = self.addresses.index(address)
        named = len(self.addresses) > 1 if always else rank > 0
        return f"rank {rank}: {message}" if named else message
