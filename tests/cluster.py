"""A Dask cluster on this machine, started by hand as a user would, for the tests that need one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, start

_SETTINGS = {
    "PYTHONPATH": str(ROOT),
    # As docs/architecture.md asks for.
    "DASK_DISTRIBUTED__COMM__OFFLOAD": "False",
    # Watching itself takes a tenth of a core.
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


class Cluster:
    """A scheduler, and workers that come when they are told to.

    Attributes:
        address: The scheduler's.
        processes: The scheduler's, then those of workers.
    """

    def __init__(self, folder: Path, options: Sequence[str] = (), security: Any = None) -> None:
        """Start a scheduler.

        Args:
            folder: For its own files; not there yet.
            options: For the scheduler and the workers.
            security: Dask's, for those who ask.
        """
        folder.mkdir()
        self._file = folder / "scheduler.json"
        self._log = open(folder / "log", "w")  # noqa: SIM115
        self._folder, self._options, self._security = folder, options, security
        self.processes: list[subprocess.Popen[Any]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        self.address = self.wait_for(0)

    def _start(self, what: str, *options: str, **environment: str) -> subprocess.Popen[Any]:
        common = ["--scheduler-file", str(self._file), "--no-dashboard", *self._options]
        process = start(
            [sys.executable, "-m", "dask", what, *common, *options],
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
            env={**os.environ, **_SETTINGS, **environment},
        )
        self.processes.append(process)
        return process

    def worker(
        self, *options: str, host: str = "127.0.0.1", nanny: bool = False, **environment: str
    ) -> subprocess.Popen[Any]:
        """Start a worker of one thread.

        Args:
            options: Of ``dask worker``.
            host: Where it listens.
            nanny: Whether a process watches over it, which starts it anew.
            environment: Of it alone.
        """
        alone = [] if nanny else ["--no-nanny"]
        return self._start(
            "worker", "--host", host, "--nthreads", "1", *alone, *options, **environment
        )

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A client of it."""
        from distributed import Client

        with Client(
            scheduler_file=str(self._file),
            security=self._security,
            timeout=60,
            set_as_default=False,
        ) as client:
            yield client

    def wait_for(self, workers: int) -> str:
        """Wait for so many workers; the scheduler's address."""
        with self.client() as client:
            if workers:
                client.wait_for_workers(workers, timeout=60)
            return str(client.scheduler.address)

    def ask(self, function: Any, *arguments: Any) -> Any:
        """Run something on every worker that answers."""
        with self.client() as client:
            return client.run(function, *arguments)

    def close(self) -> None:
        """End all of it, whatever it does."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self._log.close()


@contextmanager
def cluster(folder: Path, options: Sequence[str] = (), security: Any = None) -> Iterator[Cluster]:
    """A cluster that ends with the block; for the arguments see `Cluster`."""
    found = Cluster(folder, options, security)
    try:
        yield found
    finally:
        found.close()


def at(found: Cluster, **more: Any) -> dict[str, Any]:
    """The section of a config that says so."""
    return {"kind": "address", "address": found.address, **more}
