"""Which code a run goes on with: as it lies now, or as the run has kept it."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dotrain.errors import UsageError
from dotrain.results.resuming import is_from_config, resume_command
from dotrain.runs.changes import added_first
from dotrain.runs.definition import Experiment
from dotrain.runs.spaces import other_space
from dotrain.runs.stopped import StoppedRun
from dotrain.store import (
    RanLast,
    Unpacked,
    config_folders,
    has_finished,
    has_more,
    keeps_to_its_archive,
    ran_last,
    unpacked,
)
from dotrain.temporary import Kind
from dotrain.usercode.archive import Code
from dotrain.usercode.closure import find_closure
from dotrain.usercode.target import Target, find_target

#: What a user may say: the code as it is now, whatever ran; or as it ran last, whatever is there.
Which = Literal["current", "archived"]


@dataclass(frozen=True)
class Chosen:
    """What a run that goes on is loaded from.

    Attributes:
        folder: Where paths in its config start from.
        ran: What ran last.
        which: What was asked for; None if it may only be what ran last.
        kept: What ran last, unpacked, if that is to run; else what lies in the folder.
        note: What a person should know of it, or ``""``.
        unchanged: Another folder, in which what ran last lies unchanged, if there is one.
    """

    folder: Path
    ran: RanLast
    which: Which | None
    kept: Unpacked | None = None
    note: str = ""
    unchanged: Path | None = None

    @property
    def archived(self) -> bool | None:
        """Whether the run is told to keep to its own archive; None if nothing was said."""
        return None if self.which is None else self.which == "archived"


@dataclass(frozen=True)
class _Place:
    """What of a run's code is found from one folder.

    Attributes:
        folder: Where paths in the config start from.
        files: The SHA-256 of each file, by its name in an archive.
        is_whole: Whether all that the config names is found.
    """

    folder: Path
    files: Mapping[str, str]
    is_whole: bool

    @classmethod
    def of(cls, folder: Path, config: Mapping[str, Any]) -> _Place:
        """Look from a folder; nothing is imported."""
        found: list[Target] = []
        is_whole = True
        for spec in _names(config):
            try:
                found.append(find_target(spec, folder))
            except UsageError:
                is_whole = False
        return cls(folder, Code.of(find_closure(found).files).files, is_whole)


def choose_code(
    stopped: StoppedRun, which: str | None = None, code_dir: Path | None = None
) -> Chosen:
    """Find the code that a run goes on with; none of it is imported.

    It lies where it did as seen from the run directory, or at its old place, or where `code_dir`
    says. Where it is gone, the run's own archive of it is unpacked.

    Args:
        stopped: The run.
        which: ``current`` or ``archived``; by default what ran last, wherever it is found.
        code_dir: The folder that paths in the config start from, if the user names one.

    Raises:
        UsageError: If the run was not started from a config; if its code can't be had, or what is
            there lacks some of it.
    """
    records, path = stopped.contents.records, stopped.run_dir.path
    if not is_from_config(stopped.header):
        command = resume_command(path, stopped.header)
        raise UsageError(f"{path} was not started from a config; go on with: {command}")
    asked = _asked(which, keeps_to_its_archive(records))
    ran = ran_last(stopped.run_dir, records)
    config = stopped.header.get("config", {})
    folders = _folders(stopped, code_dir)

    def archived(note: str) -> Chosen:
        kept = unpacked(ran.archive, ran.digest)
        return Chosen(with_other_files(folders, config), ran, asked, kept, note)

    if asked == "archived":
        how = "--code current runs what is there now"
        return archived(f"the run's own code is run ({ran.archive.name}); {how}")
    if not ran.files:  # all of it is installed, or nobody knows
        return Chosen(with_other_files(folders, config), ran, asked)
    places = [_Place.of(folder, config) for folder in folders]
    there = next((place for place in places if place.files.keys() & ran.files.keys()), None)
    if there is None and asked == "current":
        return Chosen(folders[0], ran, asked)
    if there is None and code_dir is None:
        gone = f"the code is found no more from {' nor '.join(map(str, folders))}"
        if ran.archive.is_file():
            return archived(f"{gone}; the run's own is run ({ran.archive.name})")
        raise UsageError(
            f"{path}: {gone}, and the run has kept none ({ran.archive.name}); say where it is: "
            "--code-dir DIR"
        )
    there = there or places[0]
    others = (place.folder for place in places if place.files == ran.files)
    chosen = Chosen(there.folder, ran, asked, unchanged=next(others, None))
    if asked is None and not there.is_whole and (changed := ran.changes(there.files, "other")):
        # To load it would tell what is missing, and not how to go on without.
        if has_finished(records) and ran.archive.is_file():
            return archived(f"{', '.join(changed)}; the run's own code is taken")
        raise _refusal(path, chosen, changed)
    return chosen


def refuse_other_code(stopped: StoppedRun, experiment: Experiment, chosen: Chosen) -> None:
    """Refuse to train on with code that isn't what ran last, unless that is asked for.

    Args:
        stopped: The run.
        experiment: As it would go on.
        chosen: What it was loaded from.

    Raises:
        UsageError: With the files that differ, and the ways to go on.
    """
    code = experiment.functions.code
    changed = chosen.ran.changes(code.files, code.digest)
    if chosen.which is None and changed and is_to_train(stopped, experiment):
        raise _refusal(stopped.run_dir.path, chosen, changed)


def is_to_train(stopped: StoppedRun, experiment: Experiment) -> bool:
    """Whether something is left to train, as far as the journal tells.

    Args:
        stopped: The run.
        experiment: As it is now.

    Raises:
        UsageError: As of `added_first` and `other_space`.
    """
    records = stopped.contents.records
    other = other_space(stopped.header, records, experiment)
    added = added_first(stopped.run_dir.path, records, experiment)
    space = None if other is None else other.new
    more = has_more(records, experiment.limits, experiment.num_trials, added, space)
    return more or not has_finished(records)


def with_other_files(folders: Sequence[Path], config: Mapping[str, Any]) -> Path:
    """Return the folder from which a config's files are found that are no code: tables, certificates.

    Args:
        folders: Where it may be.
        config: The config.
    """
    data, tls = config.get("data"), (config.get("cluster") or {}).get("tls")
    names = [data["file"]] if isinstance(data, Mapping) and "file" in data else []
    feast = data.get("feast") if isinstance(data, Mapping) else None
    names += (
        [feast[key] for key in ("repo", "entities") if feast.get(key)]
        if isinstance(feast, Mapping)
        else []
    )
    names += [name for name in (tls or {}).values() if name]
    names = [name for name in names if isinstance(name, str) and "://" not in name]
    whole = (folder for folder in folders if all(_is_there(folder / name) for name in names))
    return next(whole, folders[0])


def _is_there(path: Path) -> bool:
    return path.exists() or bool(glob.glob(str(path), recursive=True))


def homes_of(files: Iterable[str], folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return where the user knows files from that a run has kept: where they lie, or would.

    Args:
        files: Their names in the archive.
        folder: Where paths in the config start from.
        config: The config.
    """
    specs = [Path(name.rpartition(":")[0]) for name in _names(config)]
    # As `find_target` looks; what is named by a path that leads elsewhere is kept by its name alone.
    folders = [folder, *folder.parents, *(folder / spec.parent for spec in specs if spec.suffix)]
    kept = Kind.ARCHIVED.beginning  # of another run that this process has gone on with
    folders += [Path(entry) for entry in sys.path if entry and not entry.startswith(kept)]
    homes = {}
    for name in files:
        there = (place for place in folders if (place / name).is_file())
        homes[name] = os.path.abspath(next(there, folder) / name)
    return homes


def _asked(which: str | None, keeps_to_it: bool) -> Which | None:
    if which in (None, "archived"):
        return "archived" if which or keeps_to_it else None
    if which != "current":
        raise UsageError(f"code: expected current or archived, got '{which}'")
    return "current"


def _folders(stopped: StoppedRun, code_dir: Path | None) -> list[Path]:
    if code_dir is None:
        return config_folders(stopped.run_dir.path, stopped.header)
    if not code_dir.is_dir():
        raise UsageError(f"--code-dir {code_dir}: there is no such folder")
    return [Path(os.path.abspath(code_dir))]


def _names(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the functions and classes that a config names and a resume can't change."""
    search, ablation = config.get("search") or {}, config.get("ablation") or {}
    named = [config.get(key) for key in ("train", "model", "data", "prepare")]
    named += (ablation.get("models") or {}).values()
    for section in (search, ablation):
        plugins = (section.get(key) for key in ("optimizer", "ablator", "early_stop"))
        named += (plugin.get("name") for plugin in plugins if isinstance(plugin, Mapping))
    yield from (name for name in named if isinstance(name, str) and ":" in name)


def _refusal(path: Path, chosen: Chosen, changed: Sequence[str]) -> UsageError:
    archive = chosen.ran.archive
    lines = [
        f"{path}: the code isn't what ran last, as found from {chosen.folder}:",
        *(f"  {change}" for change in changed),
        "say which is to run, for trials of both would stand in one table:",
        "  --code current     what is there now (a bug was mended); trials from here on are marked "
        "'other code'",
    ]
    if archive.is_file():
        lines.append(f"  --code archived    what ran last ({archive.name})")
    if chosen.unchanged is not None:
        lines.append(f"  --code-dir {chosen.unchanged}    where what ran last lies unchanged")
    return UsageError("\n".join(lines))
