"""The event files of a run: a trial's, and the experiment's."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotrain.report.reading import domains_of
from dotrain.report.tensorboard.follower import End, Item, Restart, Scalars, Start
from dotrain.store import Record, RunDir
from dotrain.training.failure import plain_text

if TYPE_CHECKING:
    from dotrain.report.tensorboard.event_files import Column

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
        self._header = header
        self._began_s = datetime.fromisoformat(header["started_at"]).timestamp()
        self._columns: dict[str, Column] = {
            name: event_files.Column.of_domain(name, domain)
            for name, domain in domains_of(header).items()
        }
        #: What every file begins with.
        self._start = event_files.encode(event_files.file_start(self._began_s))
        self._name = _new_name()
        self._begun: set[str] = set()
        self._experiment: Path | None = None
        for old in (*run_dir.path.glob(_FILES), *run_dir.trials.glob(f"*/{_FILES}")):
            old.unlink(missing_ok=True)

    def append(self, trial_id: str, items: Iterable[Item]) -> None:
        """Append what is new of a trial to its file.

        Raises:
            OSError: If it can't be written.
        """
        data = self._format.encode(map(self._event, items))
        if trial_id not in self._begun:
            data = self._start + data
        _append(self._run_dir.trial_dir(trial_id) / self._name, data)
        self._begun.add(trial_id)

    def write_experiment(self, params: Mapping[str, Any], metrics: Mapping[str, str]) -> None:
        """Write what the table of trials consists of, in place of what was written before.

        A TensorBoard that shows the run already keeps the first it has read.

        Args:
            params: Hyperparameters that were seen, with a value of each.
            metrics: The names of the table's numbers by tag.

        Raises:
            OSError: If it can't be written.
        """
        header = self._header
        columns = {**self._columns, **{name: self._column(name, v) for name, v in params.items()}}
        experiment = self._format.experiment(
            self._began_s,
            plain_text(header["name"]),
            plain_text(f"{header['direction']} {header['metric']}"),
            columns.values(),
            metrics,
        )
        path = self._run_dir.path / _new_name()
        _append(path, self._start + self._format.encode([experiment]))
        if self._experiment is not None:
            self._experiment.unlink(missing_ok=True)
        self._experiment = path

    def _column(self, name: str, value: Any) -> Column:
        if name not in self._columns:
            self._columns[name] = self._format.Column.of_value(name, value)
        return self._columns[name]

    def _event(self, item: Item) -> Any:
        wall_s = self._began_s + round(item.time_s, 6)  # as the journal has it
        match item:
            case Scalars(step=step, values=values):
                return self._format.scalars(wall_s, step, values)
            case Restart(step=step):
                return self._format.restart(wall_s, step)
            case Start(trial_id=trial_id, params=params):
                columns = {name: self._column(name, value) for name, value in params.items()}
                return self._format.trial_start(wall_s, trial_id, columns, params)
            case End(failed=failed):
                return self._format.trial_end(wall_s, failed=failed)


def _new_name() -> str:
    """Return a file name after those before: TensorBoard leaves a file that it has open for it."""
    return _FILES.replace("*", str(time.time_ns() // 1000))


def _append(path: Path, data: bytes) -> None:
    try:
        # No buffer, and no fsync: the journal is the truth.
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    except FileNotFoundError:  # no worker has made the trial's folder on this disk
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    with file:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
