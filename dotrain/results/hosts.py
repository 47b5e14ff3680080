"""What happened on which host: attempts that were lost there, and how long the others took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, final

from dotrain.core.trial import Trial
from dotrain.results.text import count_text, number_text

#: A host is slow where attempts take so many times as long as on the others, by their medians,
_TIMES = 3.0
#: of at least so many that have ended well there, and as many elsewhere.
_LEAST = 3
#: How many hosts are named in a line; the others are counted.
_MOST_HOSTS = 10


@final
@dataclass(frozen=True)
class HostRecord:
    """What became of the attempts of one host.

    Attributes:
        host: Its name.
        ended_well: How many returned a value, were stopped, or diverged.
        failed: How many failed.
        lost: How many were lost: their process or worker died, or couldn't be reached.
        median_s: How long those that ended well were in the train function, in seconds; None if none did.
        times: How many times as long that is as on all other hosts; None where too few have ended to tell.
    """

    host: str
    ended_well: int
    failed: int
    lost: int
    median_s: float | None
    times: float | None

    @property
    def is_slow(self) -> bool:
        """Whether attempts take far longer there than elsewhere."""
        return self.times is not None and self.times >= _TIMES

    def to_json(self) -> dict[str, Any]:
        """Return what a result holds."""
        return asdict(self)


def hosts_of(trials: Iterable[Trial]) -> list[HostRecord]:
    """Return what became of attempts, by host; nothing where there is but one, or they aren't told apart."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    well: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for trial in trials:
        lost.update(trial.lost_hosts)
        for one in trial.tries:
            (well if one.error is None else failed)[one.host] += 1
            if one.error is None and one.took_s is not None:
                took[one.host].append(one.took_s)
    names = sorted(well | failed | lost)
    if len(names) < 2:
        return []
    records = []
    for name in names:
        there = took.get(name, [])
        elsewhere = [s for other, times in took.items() if other != name for s in times]
        median_s = round(median(there), 3) if there else None
        times = None
        if min(len(there), len(elsewhere)) >= _LEAST and median(elsewhere) > 0:
            times = round(median(there) / median(elsewhere), 1)
        records.append(HostRecord(name, well[name], failed[name], lost[name], median_s, times))
    return records


def host_lines(hosts: Sequence[HostRecord]) -> list[str]:
    """Return in lines what is worth telling of them: who lost attempts, and who is slow."""
    lines = []
    losers = sorted((one for one in hosts if one.lost), key=lambda one: (-one.lost, one.host))
    if losers:
        named = ", ".join(f"{one.lost} on {one.host}" for one in losers[:_MOST_HOSTS])
        rest = sum(one.lost for one in losers[_MOST_HOSTS:])
        total = count_text(sum(one.lost for one in losers), "attempt")
        lines.append(f"lost: {total}: {named}" + (f", {rest} on others" if rest else ""))
    slow = sorted((one for one in hosts if one.is_slow), key=lambda one: -(one.times or 0.0))
    for one in slow[:_MOST_HOSTS]:
        took = f"{number_text(one.median_s or 0.0)} s, {one.times:g} times as long as elsewhere"
        lines.append(f"slow: {one.host}: an attempt took {took} (medians)")
    return lines
