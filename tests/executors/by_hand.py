"""A Dask cluster started by hand, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, start


class Cluster:
    """A scheduler started by hand, and workers that come when they are told to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "scheduler.json"
        self._log = open(folder / "log", "w")  # noqa: SIM115
        self._folder = folder
        self.processes: list[subprocess.Popen[Any]] = []
        self._start("scheduler", "--port", "0")
        self.address = self.wait_for(0)

    def _start(self, what: str, *options: str, **environment: str) -> subprocess.Popen[Any]:
        common = ["--scheduler-file", str(self._file), "--host", "127.0.0.1", "--no-dashboard"]
        process = start(
            [sys.executable, "-m", "dask", what, *common, *options],
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        self.processes.append(process)
        return process

    def worker(self, *options: str, **environment: str) -> subprocess.Popen[Any]:
        return self._start("worker", "--nthreads", "1", "--no-nanny", *options, **environment)

    def wait_for(self, workers: int) -> str:
        """Wait for so many workers; the scheduler's address."""
        from distributed import Client

        with Client(scheduler_file=str(self._file), timeout=60, set_as_default=False) as client:
            if workers:
                client.wait_for_workers(workers, timeout=60)
            return str(client.scheduler.address)

    def ask(self, function: Any, *arguments: Any) -> Any:
        """Run something on every worker that answers."""
        from distributed import Client

        with Client(scheduler_file=str(self._file), timeout=60, set_as_default=False) as client:
            return client.run(function, *arguments)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self._log.close()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    found = Cluster(folder)
    try:
        yield found
    finally:
        found.close()
