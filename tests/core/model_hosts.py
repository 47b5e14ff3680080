"""What must be known of hosts, as plainly as can be: everything is counted anew from what has happened."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

#: What has happened on a host, or become known of what happened there.
WELL, FAILED, ALIKE, ACQUITTED, REFUTED = "well", "failed", "failed alike", "acquitted", "refuted"
#: A worker has gone there, together with one that counts as a failure.
TOO = "went too"
#: What is alike of all losses.
DIED = ("lost", "", "")


@dataclass
class KnownHost:
    """A host, by all that has happened."""

    slots: int = 0
    died_s: float | None = None
    past: list[str] = field(default_factory=list)

    def since(self, what: str) -> int:
        """Count since the last good end, or since others have failed alike."""
        recent: list[str] = []
        for one in self.past:
            recent = [] if one in (WELL, ACQUITTED) else [*recent, one]
        return recent.count(what)

    @property
    def proven(self) -> bool:
        return WELL in self.past

    @property
    def failing(self) -> bool:
        here = [one for one in self.past if one in (WELL, FAILED, ALIKE, TOO)]
        return bool(here) and here[-1] != WELL


class ModelHosts:
    """All hosts."""

    def __init__(self) -> None:
        self.hosts: dict[str, KnownHost] = {}
        self.questions: dict[str, dict[str, Any]] = {}
        self.known: set[Any] = set()
        self.aside: set[str] = set()

    def of(self, name: str) -> KnownHost:
        return self.hosts.setdefault(name, KnownHost())

    def slots_but(self, avoided: Collection[str]) -> int:
        return sum(host.slots for name, host in self.hosts.items() if name not in avoided)

    def shunned(self, needed: int) -> set[str]:
        return set(self.aside) if self.slots_but(self.aside) >= needed else set()

    def failing(self) -> set[str]:
        return {name for name, host in self.hosts.items() if host.failing}

    def waits(self, name: str) -> bool:
        open_ones = [q for q in self.questions.values() if q["host"] == name]
        host = self.of(name)
        fast = any(q["fast"] for q in open_ones) and not host.proven
        return bool(open_ones) and (fast or host.since(FAILED) >= 3)

    def closed(self, needed: int) -> set[str]:
        return self.shunned(needed) | {name for name in self.hosts if self.waits(name)}

    def judge(self, name: str, needed: int) -> None:
        host = self.of(name)
        bad = host.since(FAILED) >= 3 and host.since(REFUTED) > 0
        if bad and self.slots_but(self.aside | {name}) >= needed:
            self.aside.add(name)

    def well(self, trial_id: str, hosts: Collection[str], needed: int) -> None:
        for name in hosts:
            self.of(name).past.append(WELL)
            self.aside.discard(name)
        question = self.questions.pop(trial_id, None)
        if question is not None and question["host"] not in hosts:
            host = self.of(question["host"])
            if host.since(REFUTED) < host.since(FAILED):
                host.past.append(REFUTED)
            self.judge(question["host"], needed)

    def fails(
        self, trial_id: str, name: str, like: Any, took_s: float, needed: int, *, last: bool
    ) -> bool:
        question = self.questions.pop(trial_id, None)
        if like[0] not in ("exception", "setup"):
            return False
        host = self.of(name)
        if question is not None and question["host"] != name and question["like"] == like:
            host.past.append(ALIKE)
            self.of(question["host"]).past.append(ACQUITTED)
            self.known.add(like)
            return False
        host.past.append(FAILED)
        self.judge(name, needed)
        others = self.shunned(needed) | {name}
        if last or self.slots_but(others) < needed:
            return False
        sound_elsewhere = self.slots_but(self.shunned(needed) | self.failing()) >= needed
        strict = host.since(FAILED) >= 3 and sound_elsewhere
        if like in self.known and not strict:
            return False
        self.questions[trial_id] = {
            "host": name,
            "like": like,
            "fast": took_s < 60,
            "strict": strict,
        }
        return True

    def dies(
        self, trial_id: str, name: str, what: str, began_s: float, now_s: float, needed: int
    ) -> bool:
        fast = now_s - began_s < 60
        if what == "worker" and not fast:
            return False
        host, question = self.of(name), self.questions.get(trial_id)
        asked_of = None if question is None else (question["host"], question["like"] == DIED)
        if asked_of is not None and asked_of[1] and asked_of[0] != name:
            host.past.append(ALIKE)
            self.of(asked_of[0]).past.append(ACQUITTED)
            self.questions.pop(trial_id)
            return False
        together = what == "worker" and host.died_s is not None and began_s < host.died_s
        host.past.append(TOO if together else FAILED)
        host.died_s = now_s
        if not together:
            self.judge(name, needed)
        if asked_of is not None and not asked_of[1]:
            return False
        if self.slots_but(self.shunned(needed) | {name}) < needed:
            return False
        sound_elsewhere = self.slots_but(self.shunned(needed) | self.failing()) >= needed
        strict = host.since(FAILED) >= 3 and sound_elsewhere
        self.questions[trial_id] = {"host": name, "like": DIED, "fast": fast, "strict": strict}
        return True
