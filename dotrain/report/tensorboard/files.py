"""The event files of a run: one for each trial."""

from __future__ import annotations

import errno
import io
import os
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotrain.report.tensorboard.follower import COLUMNS, End, Item, Restart, Scalars, Start
from dotrain.results import kind_of
from dotrain.store import Record, RunDir

if TYPE_CHECKING:
    from dotrain.report.tensorboard.event_files import Cell, Column

#: How TensorBoard knows event files, and how we know ours.
_FILES = "events.out.tfevents.*.dotrain"


class Files:
    """The event files of one run; those of an earlier driver go.

    A file is open only while something is appended to it, so that there may be any number.
    """

    def __init__(self, run_dir: RunDir, header: Record) -> None:
        """Get ready to write.

        Raises:
            ImportError: If TensorBoard can't be imported.
            OSError: If the old files can't be removed.
        """
        from dotrain.report.tensorboard import event_files

        self._format = event_files
        self._run_dir = run_dir
        #: However its path was spelled: ``NAME/TIME`` as in the folder of runs.
        self._run = "/".join(run_dir.path.resolve().parts[-2:])
        self._began_s = datetime.fromisoformat(header["started_at"]).timestamp()
        self._columns: dict[str, Column] = {
            name: event_files.Column.of_domain(domain)
            for name, domain in kind_of(header).domains(header).items()
        }
        #: What every file begins with; a name after those of earlier drivers: TensorBoard leaves a
        #: file that it has open for it.
        self._start = event_files.encode(event_files.file_start(self._began_s))
        self._name = _FILES.replace("*", str(time.time_ns() // 1000))
        self._begun: set[str] = set()
        # Older versions had one in the run directory too, of which columns there are: the first
        # that TensorBoard found hid the columns of all other runs.
        for old in (*run_dir.path.glob(_FILES), *run_dir.trials.glob(f"*/{_FILES}")):
            old.unlink(missing_ok=True)

    def append(self, trial_id: str, items: Iterable[Item]) -> None:
        """Append what is new of a trial to its file.

        Its row comes first, and another takes its place there. A TensorBoard that has read the
        first one keeps it; a second file would leave both, or make it lose what it has read.

        Raises:
            OSError: If it can't be written.
        """
        items = list(items)
        rows = [item for item in items if isinstance(item, Start)]
        rest = self._format.encode(self._event(i) for i in items if not isinstance(i, Start))
        path = self._run_dir.trial_dir(trial_id) / self._name
        if trial_id not in self._begun:
            _append(path, self._start + self._row(rows[-1]) + rest)
            self._begun.add(trial_id)
            return
        if rows:
            with open(path, "r+b", buffering=0) as file:
                file.seek(len(self._start))
                _write(file, self._row(rows[-1]))
        _append(path, rest)

    def _row(self, row: Start) -> bytes:
        """Return a row as it stands in a file; values that their column can't hold are left out."""
        cells: dict[str, Cell | None] = {}
        for name, value in row.params.items():
            column = self._columns.setdefault(name, self._format.Column.of_value(value))
            cells[f"param.{name}" if name in COLUMNS else name] = column.value(value)
        later = {
            name: self._format.Column.of_value(value).value(value)
            for name, value in row.columns.items()
            if value is not None
        }
        return self._format.trial_start(
            self._wall_s(row.time_s),
            f"{self._run}/{row.trial_id}",
            *({n: cell for n, cell in part.items() if cell is not None} for part in (cells, later)),
        )

    def _wall_s(self, time_s: float) -> float:
        return self._began_s + round(time_s, 6)  # as the journal has it

    def _event(self, item: Scalars | Restart | End) -> Any:
        wall_s = self._wall_s(item.time_s)
        match item:
            case Scalars(step=step, values=values):
                return self._format.scalars(wall_s, step, values)
            case Restart(step=step):
                return self._format.restart(wall_s, step)
            case End(failed=failed):
                return self._format.trial_end(wall_s, failed=failed)


def _append(path: Path, data: bytes) -> None:
    try:
        # No buffer, and no fsync: the journal is the truth.
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    except FileNotFoundError:  # no worker has made the trial's folder on this disk
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    with file:
        _write(file, data)


def _write(file: io.FileIO, data: bytes) -> None:
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file.name))
