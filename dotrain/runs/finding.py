"""Which run is meant: the one place that knows what a user may call a run."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dotrain.errors import JournalError, UsageError, did_you_mean
from dotrain.store import RunDir, read_journal

#: What the newest run of all is called.
LATEST = "latest"

#: How `RunDir.create` begins the name of a directory.
_TIME = "%Y-%m-%dT%H-%M-%S"
_BEGINS_WITH_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d")


class Begun(NamedTuple):
    """A run that has begun, as its directory tells without being read.

    Attributes:
        path: The directory.
        began: When, to be compared: local time, then nanoseconds.
    """

    path: Path
    began: tuple[str, int]

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.path.parent.name


def find_run(
    called: str | os.PathLike[str],
    runs_dir: str | os.PathLike[str] = "runs",
    *,
    searches_first: bool = False,
    quiet: bool = False,
) -> Path:
    """Return the directory of a run, and say on stderr which it is where that isn't spelled out.

    Args:
        called: The directory; a name, which means its newest run; ``latest``, the newest of all; or a
            config, which means the newest run of its name. What exists as a path is meant as a path,
            and the config of a run directory means that run.
        runs_dir: Where runs are looked for by name.
        searches_first: Take the newest that isn't an ablation, if there is any.
        quiet: Say nothing.

    Raises:
        UsageError: If there is no such run; names what there is.
        ConfigError: If the config can't be read.
    """
    path, place = Path(called), Path(runs_dir)
    if path.is_dir():
        return _opened(path, place)
    if path.is_file() and path.name == RunDir(path.parent).config.name and _has_run(path.parent):
        found = path.parent
    else:
        name = str(called)
        if path.is_file():
            from dotrain.config.naming import read_run_name  # reads YAML, which is slow to load

            name = read_run_name(path)
        meant = choose(str(called), name, runs_in(place), place)
        searches = (run for run in meant if _is_search(run.path)) if searches_first else iter(meant)
        found = next(searches, meant[0]).path
    if not quiet:
        sys.stderr.write(f"note: {called} is {found}\n")
    return found


def choose(called: str, name: str, runs: Sequence[Begun], place: Path) -> list[Begun]:
    """Return the runs that may be meant, the newest first; pure.

    Args:
        called: What the user typed, which is no directory.
        name: The same, or the name that a config has.
        runs: All that have begun, the oldest first.
        place: Where they are, for messages.

    Raises:
        UsageError: If there is none, or no telling.
    """
    newest_first = list(reversed(runs))
    named = [run for run in newest_first if run.name == name]
    if called == LATEST:
        if not runs:
            raise UsageError(f"there is no run in {place} yet")
        if named and named[0] is not newest_first[0]:
            raise UsageError(
                f"{LATEST} may mean the newest run of all, {newest_first[0].path}, or the newest of "
                f"that name, {named[0].path}; give the directory"
            )
        return newest_first
    if named:
        return named
    hint = did_you_mean(name, list({run.name for run in runs}))
    if name != called:
        raise UsageError(f"{called} has no run: {place} has none of the name '{name}'{hint}")
    or_name = "" if "/" in called else f", and {place} has no run of that name{hint}"
    raise UsageError(f"{called} is no run directory: it is no directory{or_name}")


def runs_in(runs_dir: Path) -> list[Begun]:
    """Return the runs below a folder that have begun, the oldest first."""
    return _begun(runs_dir.glob("*/*/journal.jsonl"))


def _begun(journals: Iterable[Path]) -> list[Begun]:
    runs = [journal.parent for journal in journals if RunDir(journal.parent).has_begun]
    return sorted((Begun(path, _began(path)) for path in runs), key=lambda run: run.began)


def _began(path: Path) -> tuple[str, int]:
    """Return when a run began; two may have begun within a second, and a directory may be renamed."""
    try:
        written_ns = RunDir(path).config.stat().st_mtime_ns  # once, when it begins
    except OSError:
        written_ns = 0
    told = _BEGINS_WITH_TIME.match(path.name)
    return told[0] if told else time.strftime(_TIME, time.localtime(written_ns / 1e9)), written_ns


def _opened(path: Path, place: Path) -> Path:
    try:
        RunDir.open(path)
    except UsageError as error:
        runs = _begun(path.glob("*/journal.jsonl"))
        runs = runs or [run for run in runs_in(place) if run.name == str(path)]
        hint = f"; the newest run of that name is {runs[-1].path}" if runs else ""
        raise UsageError(f"{error}{hint}") from None
    return path


def _has_run(path: Path) -> bool:
    return RunDir(path).journal.is_file()


def _is_search(path: Path) -> bool:
    from dotrain.results import kind_of  # for this alone; the shell's Tab asks this module too

    try:
        return kind_of(next(read_journal(RunDir(path).journal), {})).command == "run"
    except JournalError:
        return True
