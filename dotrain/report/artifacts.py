"""The files of a run or of a trial, wherever they lie."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dotrain.report.columns import Column, fit
from dotrain.report.reading import read_run
from dotrain.report.result import print_lines, width_of
from dotrain.report.story import find_trial
from dotrain.report.text import make_console
from dotrain.results.text import bytes_text, count_text, printable
from dotrain.store import RunDir
from dotrain.store.checkpoints import is_partial
from dotrain.store.kept import Kept
from dotrain.store.manifest import Stored
from dotrain.store.run_dir import CHECKPOINT, REPORTS, TRIALS

Kind = Literal["log", "checkpoint", "reports", "tensorboard", "other"]


@dataclass(frozen=True)
class Artifact:
    """One file.

    Attributes:
        trial: Whose it is, by the name of the folder; None if it is the run's own.
        path: Relative to the trial's directory, or to the run's; of a trial with repeats to that of all trials.
        kind: What it is.
        size: In bytes.
        place: Where it lies: a path, or a URL.
        stored: The object that it is, if it lies in a storage.
    """

    trial: str | None
    path: str
    kind: Kind
    size: int
    place: str
    stored: Stored | None = None


@dataclass(frozen=True)
class Artifacts:
    """The files of a run, or of one of its trials.

    Attributes:
        run_dir: The run directory.
        trial: Whose they are; None means all of the run.
        files: By trial and path, those of the run itself first.
        left_out: What is no file that could be copied, with the reason.
        top: The directory that copies begin at.
        kept: Where the trials' files are.
    """

    run_dir: Path
    trial: str | None
    files: list[Artifact]
    left_out: list[str]
    top: Path
    kept: Kept

    def below(self, one: Artifact) -> str:
        """Return where a file is put, below the directory that it is copied to."""
        whole = one.trial is None or self.trial is not None
        return one.path if whole else f"{TRIALS}/{one.trial}/{one.path}"

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(one.size for one in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "run_dir": str(self.run_dir),
            "trial": self.trial,
            "files": [
                {
                    "trial": one.trial,
                    "path": one.path,
                    "kind": one.kind,
                    "bytes": one.size,
                    "file": one.place,
                }
                for one in self.files
            ],
            "bytes": self.size,
            "left_out": self.left_out,
        }


def read_artifacts(path: Path, trial: str | None = None) -> Artifacts:
    """Return the files of a run, or of a trial.

    Args:
        path: The run directory.
        trial: ``t0007``, or its number; None means the whole run.

    Raises:
        UsageError: If `path` is no run directory, or has no such trial.
        JournalError: If the journal is damaged or newer than this dotrain.
    """
    run = read_run(path)
    run_dir = run.run_dir
    whose = None if trial is None else find_trial(run, trial)
    folders = None if whose is None else whose.folders
    tops = [run_dir.path] if folders is None else [run_dir.trial_dir(one) for one in folders]
    left_out: list[str] = []
    kept = Kept(run_dir)
    found = [one for top in tops for one in _files(run_dir, top, left_out)]
    found = sorted([*found, *_stored(kept, folders)], key=lambda one: (one.trial or "", one.path))
    trial_id = whose and whose.trial_id
    if len(tops) == 1:
        return Artifacts(run_dir.path, trial_id, found, left_out, tops[0], kept)
    # Each repeat has a folder of its own.
    found = [replace(one, path=f"{one.trial}/{one.path}") for one in found]
    return Artifacts(run_dir.path, trial_id, found, left_out, run_dir.trials, kept)


def _stored(kept: Kept, folders: Iterable[str] | None) -> Iterator[Artifact]:
    if kept.place is None:
        return
    manifests = kept.manifests() if folders is None else {f: kept.manifest(f) for f in folders}
    for trial, manifest in manifests.items():
        for path, one in manifest.items():
            if one is not None:
                kind, place = _kind_of_trial(Path(path)), kept.place.url_of(one.key)
                yield Artifact(trial, path, kind, one.size, place, one)


def _files(run_dir: RunDir, top: Path, left_out: list[str]) -> Iterator[Artifact]:
    for place, folders, names in os.walk(top):
        folder = Path(place)
        links = [name for name in folders if (folder / name).is_symlink()]
        left_out += [f"{(folder / name).relative_to(top)}: a link to a folder" for name in links]
        folders[:] = [
            name for name in folders if not (is_partial(name) or folder / name == run_dir.storage)
        ]
        for name in names:
            file = folder / name
            # What is written at this moment is no file of the run yet.
            if file == run_dir.lock or (folder == run_dir.path and name.startswith(".")):
                continue
            try:
                info = file.stat()
            except OSError as error:
                left_out.append(f"{file.relative_to(top)}: {error.strerror}")
                continue
            if not stat.S_ISREG(info.st_mode):
                left_out.append(f"{file.relative_to(top)}: no regular file")
                continue
            yield _artifact(run_dir, file, info.st_size)


def _artifact(run_dir: RunDir, file: Path, size: int) -> Artifact:
    if not file.is_relative_to(run_dir.trials):
        own = file.relative_to(run_dir.path)
        return Artifact(None, str(own), _kind_of_run(own), size, str(file))
    trial_id, *parts = file.relative_to(run_dir.trials).parts
    if not parts:  # beside the trials' directories
        own = file.relative_to(run_dir.path)
        return Artifact(None, str(own), _kind_of_run(own), size, str(file))
    path = Path(*parts)
    return Artifact(trial_id, str(path), _kind_of_trial(path), size, str(file))


def _kind_of_run(path: Path) -> Kind:
    if "tfevents" in path.name:
        return "tensorboard"
    return "log" if path.parts[0] == "logs" else "other"


def _kind_of_trial(path: Path) -> Kind:
    if len(path.parts) > 1 and path.parts[0] == CHECKPOINT:
        return "checkpoint"
    if "tfevents" in path.name:
        return "tensorboard"
    if str(path) == REPORTS:
        return "reports"
    is_log = len(path.parts) == 1 and path.match("output*.log")
    return "log" if is_log else "other"


def print_artifacts(found: Artifacts) -> None:
    """Print what `read_artifacts` returned to stdout, for people."""
    console = make_console()
    print_lines(artifact_lines(found, width_of(console)), console)


def artifact_lines(found: Artifacts, width: int | None = None) -> list[str]:
    """Return the files, a line each, and their sum.

    Args:
        found: What `read_artifacts` returned.
        width: Cells in a line; None is as many as it takes.
    """
    files = found.files
    columns = [
        Column("trial", [one.trial or "-" for one in files]),
        Column("kind", [one.kind for one in files]),
        Column("size", [bytes_text(one.size) for one in files], right=True),
        Column("path", [printable(one.path) for one in files]),
    ]
    # One trial's need no column that says whose they are.
    lines, _ = fit(columns if found.trial is None else columns[1:], width)
    total = f"{count_text(len(files), 'file')}, {bytes_text(found.size)}, in {found.top}"
    if found.kept.place is not None:
        total += f" and {found.kept.place.url_of(found.trial or '').rstrip('/')}"
    left_out = [f"left out: {printable(what)}" for what in found.left_out]
    return [*(lines if files else []), *left_out, printable(total)]
