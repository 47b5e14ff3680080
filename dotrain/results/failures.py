"""The trials of a run that failed, in groups: how many failed alike, and the first of them."""

from __future__ import annotations

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotrain.core.failure import Failure, FailureKind
from dotrain.core.trial import Trial
from dotrain.store import RunDir

_CLOCK = r"(?:\d{2}:[0-5]\d:[0-5]\d(?:[.,]\d+)?|\d:[0-5]\d:[0-5]\d[.,]\d+)"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})(?!\w))?"
_DAY = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|"
    r"Sep(?:tember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_UNIT = r"(?:[num\u00b5]?s|sec(?:ond)?s?|min(?:ute)?s?|h|hours?|[kKMGT]i?B|bytes)"

#: What differs from one attempt to the next where nothing else does.
_PASSING = re.compile(
    "|".join(
        [
            r"(?<![^\W_])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![^\W_])",  # UUIDs
            r"(?<![^\W_])[0-9a-f]{32}(?![^\W_])",
            r"(?<![^\W_])0x(?:[0-9a-fA-F]{5,}|[0-9a-fA-F]*(?=\.\.\.))",  # addresses, whole or cut off
            rf"(?<!\w)(?:{_DAY},? )?(?:\d{{1,2}} {_MONTH}|{_MONTH} {{1,2}}\d{{1,2}})(?!\w)"
            rf"(?:,? {_CLOCK})?{_ZONE}(?:,? \d{{4}}(?!\w))?(?: {_CLOCK})?",  # dates, times
            r"(?<![\w.-])\d{4}[-/]\d{2}[-/]\d{2}(?:[T ,_-]{1,2}\d{2}[:-]?\d{2}(?:[:-]?\d{2})?"
            rf"(?:[.,]\d+)?)?{_ZONE}(?!\w)",
            r"(?<![\w.-])20\d{6}[-T_]?\d{6}Z?(?!\w)",
            rf"(?<![\w.:]){_CLOCK}{_ZONE}(?!:?\w)",
            r"(?i:(?<![^\W_])(?:pids?|pid\(s\)|parent|process(?: ids?)?)[\s=:#]{1,3}"
            r"\d+(?:, ?\d+)*(?!\w|[.:]\d| of\b))",  # process ids
            r"(?<=/proc/)\d+",
            # What was measured, with its unit.
            rf"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)? ?{_UNIT}(?!\w)",
            r"(?<=\bstep )\d+",
            r"(?<=\btrials[/\\])t\d+",
            r"(?<![^\W_])tmp[a-z0-9_]{8}(?!\w)",  # folders that Python names
        ]
    )
)
_FIGURES = re.compile(r"[-\d.e+]+(,\d+)*")

#: Where systems have their temporary folders; this process's own may be another.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/private/tmp")
_MACOS = r"(?:/private)?/var/folders/[^/]+/[^/]+/T"


def masked(text: str, temporary: str) -> str:
    """Return `text` without what differs between attempts that have met the same thing.

    Addresses, temporary folders, process ids, UUIDs, dates, times, measured amounts with a unit and the step
    that was reached become ``#``. Other numbers stay: a shape, an index or a hyperparameter tells one
    failure from another.

    Args:
        text: A message, or a place in the code.
        temporary: The folder that temporary files of this machine lie in.
    """
    separator = r"[/\\]+"
    roots = sorted({*_TEMPORARY, temporary.rstrip("/\\")} - {""}, key=len, reverse=True)
    known = [separator.join(map(re.escape, re.split(separator, root))) for root in roots]
    folder = rf"(?<![\w.-])(?:{'|'.join(known)}|{_MACOS}){separator}[^/\\\s'\"`,;:<>()\[\]{{}}|]+"
    return _PASSING.sub("#", re.sub(folder, "#", text))


def failure_key(error: Failure, temporary: str) -> tuple[str, str]:
    """Return what failures in the same place in the same way have in common.

    Args:
        error: A failure.
        temporary: As of `masked`.

    Returns:
        The place, and the kind of error: an exception's name, else the message `masked`, of a wrong report
        or result also without the figures of the value.
    """
    what = masked(error.message, temporary)
    if error.kind.names_exception:
        what = error.message.split(":")[0]
    elif error.kind in (FailureKind.BAD_REPORT, FailureKind.BAD_RESULT):
        what = _FIGURES.sub("#", what)
    return masked(error.location, temporary), what


#: How many hosts are named; the others are together.
_MOST_HOSTS = 3


class FailureGroup(NamedTuple):
    """Attempts that failed in the same place in the same way: of how many trials, and the first of them.

    Attributes:
        size: How many trials ended so; none, if all that failed so were tried elsewhere and ended otherwise.
        trial: The first.
        error: Its failure.
        log: Its log.
        failed: Attempts that failed so, by host; empty where hosts aren't told from each other.
        ended: All attempts that have ended, by host.
    """

    size: int
    trial: Trial
    error: Failure
    log: Path
    failed: Mapping[str, int] = {}
    ended: Mapping[str, int] = {}

    @property
    def attempts(self) -> int:
        """How many attempts failed so."""
        return sum(self.failed.values()) or self.size

    @property
    def where(self) -> list[tuple[str, int, int]]:
        """Where they failed, the most first: the host, how many failed so there, of how many.

        Where that was on some hosts of several, the last is ``elsewhere``.
        """
        hosts = sorted(self.failed, key=lambda host: (-self.failed[host], host))
        named, rest = hosts[:_MOST_HOSTS], set(self.ended) - set(hosts[:_MOST_HOSTS])
        where = [(host, self.failed[host], self.ended[host]) for host in named]
        if named and rest:
            failed = sum(self.failed.get(host, 0) for host in rest)
            where.append(("elsewhere", failed, sum(self.ended[host] for host in rest)))
        return where

    @property
    def where_text(self) -> str:
        """The same for people: ``9 of 9 on node-b, 0 of 31 elsewhere``; ``""`` where hosts aren't known."""
        return ", ".join(
            f"{failed} of {ended} {'' if host == 'elsewhere' else 'on '}{host}"
            for host, failed, ended in self.where
        )

    @property
    def last_lines(self) -> list[str]:
        """Of the log, where no line of the user's code is to blame: they come closest."""
        return _last_lines(self.log) if self.error.kind.was_cut_off else []

    def _where_json(self) -> list[dict[str, Any]]:
        return [
            {"host": None if host == "elsewhere" else host, "failed": failed, "ended": ended}
            for host, failed, ended in self.where
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what a result holds."""
        error = self.error
        return {
            "count": self.size,
            "kind": error.kind,
            "message": error.message,
            "location": error.location,
            "trial_id": self.trial.trial_id,
            "params": self.trial.varied,
            "log": str(self.log),
            **({"attempts": self.attempts, "where": self._where_json()} if self.failed else {}),
            **({"last_lines": self.last_lines} if error.kind.was_cut_off else {}),
        }


def failure_groups(trials: Iterable[Trial], run_dir: Path) -> list[FailureGroup]:
    """Group failures by place and kind of error, the group of most trials first."""
    found: dict[tuple[str, str], FailureGroup] = {}
    hosts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    ended: Counter[str] = Counter()
    folder = tempfile.gettempdir()
    for trial in trials:
        log = RunDir(run_dir).trial_log(trial.folder)
        for host, error, _ in trial.tries:
            ended[host] += 1
            if error is not None:
                key = failure_key(error, folder)
                hosts[key][host] += 1
                found.setdefault(key, FailureGroup(0, trial, error, log))
        if trial.error is not None:
            key = failure_key(trial.error, folder)
            group = found.get(key)
            if group is None or not group.size:  # the first that has ended so
                group = FailureGroup(0, trial, trial.error, log)
            found[key] = group._replace(size=group.size + 1)
    groups = [group._replace(failed=hosts[key], ended=ended) for key, group in found.items()]
    return sorted(groups, key=lambda group: (-group.size, -group.attempts))


def _last_lines(log: Path, count: int = 3) -> list[str]:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
