"""Is it the host or the configuration? What attempts have come to, weighed by where they ran.

A configuration that fails is tried once more, on another host, for nobody can tell by one failure whose it
is. What the second attempt comes to says it:

- it fails alike: it is the configuration's, and so, from then on, are failures of that kind at that place;
- it ends well: it was the host's, which gets no more trials when that has gone on (`STREAK`).

Until that is known, a host that has shown nothing but failures gets no new trial. An attempt whose process dies is
such a failure, but for one thing: it is tried again as often as losses are. So is one whose worker goes, if that was at
once: later a job has ended, or a machine was taken back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

from dotrain.core.events import Lost
from dotrain.core.failure import Failure, FailureKind

#: So many failures in a row on a host, which nobody else has confirmed, tell something of it.
STREAK = 3

#: What losses are alike by.
_LOST = FailureKind.LOST, "", ""

#: What fails within this time of its launch, in seconds, has failed at once: an import or a device, say, and
#: not hours of training, after which nobody is in a hurry to be given the next trial.
AT_ONCE_S = 60.0


class Try(NamedTuple):
    """How an attempt has ended on a host: its failure, or None if it has ended well.

    `took_s` is how long it was in the train function, in seconds; None if it never was.
    """

    host: str
    error: Failure | None
    took_s: float | None = None


def likeness_of(failure: Failure) -> tuple[FailureKind, str, str]:
    """Return what failures have in common that have one cause, as far as that can be told."""
    rank, _, told = failure.message.partition(": ")
    # Which rank of a group it was makes no difference.
    message = told if rank.startswith("rank ") and rank[5:].isdigit() else failure.message
    named = message.split(":")[0] if failure.kind.names_exception else message
    return failure.kind, failure.location, named


@dataclass
class _Host:
    """What is known of a host.

    Attributes:
        slots: That it has, busy ones included.
        busy: Of these, those that are known to be busy.
        is_proven: An attempt has ended well there.
        is_failing: The last one that ended there failed.
        in_a_row: Attempts that have failed or died there one after the other, but for what others have confirmed.
        died: Of these, those that have died.
        refuted: Of these, those whose configuration has ended well elsewhere.
        died_s: When the last one died there, in seconds.
    """

    slots: int = 0
    busy: int = 0
    is_proven: bool = False
    is_failing: bool = False
    in_a_row: int = 0
    died: int = 0
    refuted: int = 0
    died_s: float = -1.0

    def acquit(self) -> None:
        """Hold nothing against it any more."""
        self.in_a_row = self.died = self.refuted = 0


class _Question(NamedTuple):
    """A failure of which nobody knows yet whose it is: where, what, and whether the host waits for the answer."""

    host: str
    like: tuple[FailureKind, str, str]
    at_once: bool
    #: Only a host that stands well can answer it.
    strict: bool


@final
class Hosts:
    """Every host of a run; where executors don't name any, there are none.

    Attributes:
        aside: Those that get no more trials, as long as there are others.
    """

    def __init__(self) -> None:
        """Know of no host."""
        self.aside: set[str] = set()
        self._hosts: dict[str, _Host] = {}
        #: By the trial that asks it.
        self._questions: dict[str, _Question] = {}
        #: What has failed alike on two hosts.
        self._known: set[tuple[FailureKind, str, str]] = set()

    # ---- where they are ----

    def changed(self, slots: Mapping[str, int]) -> None:
        """Take in how many slots some hosts have now; the others have what they had."""
        for name, count in slots.items():
            self._of(name).slots = count

    def held(self, hosts: Iterable[str], change: int) -> None:
        """Take in that a slot of each of these hosts is busy from now on (1), or not any more (-1)."""
        for name in hosts:
            self._of(name).busy += change

    @property
    def busy(self) -> int:
        """How many slots are known to be busy."""
        return sum(host.busy for host in self._hosts.values())

    def free(self, avoided: Collection[str]) -> int:
        """Return how many slots aren't known to be busy, but for those of some hosts."""
        return sum(
            max(0, host.slots - host.busy)
            for name, host in self._hosts.items()
            if name not in avoided
        )

    def but(self, avoided: Collection[str]) -> frozenset[str]:
        """Return the hosts that aren't among those."""
        return frozenset(name for name, host in self._hosts.items() if host.slots) - set(avoided)

    def _of(self, name: str) -> _Host:
        return self._hosts.setdefault(name, _Host())

    def _enough(self, avoided: Collection[str], needed: int) -> bool:
        left = (host.slots for name, host in self._hosts.items() if name not in avoided)
        return sum(left) >= needed

    # ---- who gets what ----

    def set_aside(self, needed: int) -> frozenset[str]:
        """Return the hosts that get no more trials, unless without them no trial could run.

        Args:
            needed: How many slots a trial takes.
        """
        return frozenset(self.aside) if self._enough(self.aside, needed) else frozenset()

    def closed(self, needed: int) -> frozenset[str]:
        """Return the hosts that get no new trial now: those set aside, and those that wait.

        Args:
            needed: How many slots a trial takes.
        """
        if self.are_all_open:
            return frozenset()
        waiting = {question.host for question in self._questions.values() if self._waits(question)}
        return self.set_aside(needed) | waiting

    def _waits(self, question: _Question) -> bool:
        host = self._of(question.host)
        return (question.at_once and not host.is_proven) or host.in_a_row >= STREAK

    def elsewhere(self, trial_id: str, failed_on: str, needed: int) -> frozenset[str]:
        """Return the hosts to avoid when a trial is tried once more.

        Best is a host that stands well, if it has room; then any other; and where there is none left, all are good.

        Args:
            trial_id: The trial.
            failed_on: The host where it failed.
            needed: How many slots it takes.
        """
        others = self.set_aside(needed) | {failed_on}
        if not self._enough(others, needed):
            return self.set_aside(needed)
        doubtful = others | {name for name, host in self._hosts.items() if host.is_failing}
        question = self._questions.get(trial_id)
        is_strict = question is not None and question.strict
        if self._enough(doubtful, needed) and (is_strict or self.free(doubtful) >= needed):
            return doubtful
        return others

    # ---- what is known of them ----

    def restart(self) -> None:
        """Begin anew, under a new driver: nothing is there, and what was wrong may have been mended."""
        self.aside.clear()
        self._hosts.clear()
        self._questions.clear()
        self._known.clear()

    def ended_well(self, trial_id: str, hosts: Collection[str], needed: int) -> None:
        """Take in that an attempt has ended without a failure.

        Args:
            trial_id: Of which trial.
            hosts: Where its ranks ran.
            needed: How many slots a trial takes.
        """
        for name in hosts:
            host = self._of(name)
            host.is_proven, host.is_failing = True, False
            host.acquit()
            self.aside.discard(name)
        question = self._questions.pop(trial_id, None)
        if question is not None and question.host not in hosts:
            host = self._of(question.host)
            host.refuted += host.in_a_row > host.refuted
            self._judge(question.host, needed)

    def failed(
        self, trial_id: str, host: str, failure: Failure, took_s: float, needed: int, *, again: bool
    ) -> bool:
        """Take in that an attempt has failed; return whether it is tried once more, elsewhere.

        Args:
            trial_id: Of which trial.
            host: The host of the rank that failed.
            failure: How.
            took_s: How long after its launch, in seconds.
            needed: How many slots a trial takes.
            again: Whether it has been tried elsewhere already, or isn't to be: then this is its end.
        """
        question = self._questions.pop(trial_id, None)
        if not failure.kind.may_be_the_hosts:
            return False
        where, like = self._of(host), likeness_of(failure)
        where.is_failing = True
        if question is not None and question.host != host and question.like == like:
            self._known.add(like)
            self._of(question.host).acquit()
            return False
        where.in_a_row += 1
        self._judge(host, needed)
        if again or not self._enough(self.set_aside(needed) | {host}, needed):
            return False
        strict = self._is_strict(where, needed)
        if like in self._known and not strict:
            return False
        self._questions[trial_id] = _Question(host, like, took_s < AT_ONCE_S, strict)
        return True

    def lost(self, event: Lost, launched_s: float, time_s: float, needed: int) -> str:
        """Take in that an attempt was lost; return the host that it is to be tried apart from, or ``""``.

        Args:
            event: How.
            launched_s: When it was launched, in seconds.
            time_s: Now.
            needed: How many slots a trial takes.
        """
        trial_id, host = event.trial_id, event.host
        is_worker, at_once = event.died == "worker", time_s - launched_s < AT_ONCE_S
        if not host or not event.died or (is_worker and not at_once):
            return ""
        question, where = self._questions.get(trial_id), self._of(host)
        where.is_failing = True
        if question is not None and question.host != host and question.like == _LOST:
            del self._questions[trial_id]
            self._of(question.host).acquit()
            return ""
        # The workers of a host may well go together, which counts once.
        if not is_worker or launched_s >= where.died_s:
            where.in_a_row += 1
            where.died += 1
            self._judge(host, needed)
        where.died_s = time_s
        asked_already = question is not None and question.like != _LOST
        if asked_already or not self._enough(self.set_aside(needed) | {host}, needed):
            return ""
        strict = self._is_strict(where, needed)
        self._questions[trial_id] = _Question(host, _LOST, at_once, strict)
        return host

    def _is_strict(self, where: _Host, needed: int) -> bool:
        """Whether only a host that stands well can say whose the failures of a host are."""
        failing = {name for name, one in self._hosts.items() if one.is_failing}
        return where.in_a_row >= STREAK and self._enough(self.set_aside(needed) | failing, needed)

    def _judge(self, name: str, needed: int) -> None:
        host = self._of(name)
        is_bad = host.in_a_row >= STREAK and host.refuted > 0
        if is_bad and self._enough(self.aside | {name}, needed):
            self.aside.add(name)

    def drop(self, trial_id: str) -> None:
        """Take in that a trial has ended in a way that says nothing of any host."""
        self._questions.pop(trial_id, None)

    @property
    def are_all_open(self) -> bool:
        """Whether every host takes every trial."""
        return not (self._questions or self.aside)

    def why(self, name: str) -> str:
        """Return why a host has been set aside, or why it isn't any more; for people."""
        count = self._of(name).in_a_row
        if name not in self.aside:
            return f"{name} gets trials again: one has ended well there"
        died = self._of(name).died
        if died:
            what = "died" if died == count else "failed or died"
            return f"{name} gets no more trials: {count} in a row {what} there, and not elsewhere"
        return (
            f"{name} gets no more trials: {count} in a row failed there, and elsewhere the same "
            "configurations don't"
        )
