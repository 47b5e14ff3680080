"""Local worker processes: started, watched, restarted, and ended with the driver.

Dask's own LocalCluster starts workers with `multiprocessing`, which runs the user's script once
more in each; a script that calls `lagom` at its top level, as in the deck, can't live with that.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, TimeoutExpired

from dotrain.executors.dask.environment import available_cores, local_worker_environment
from dotrain.executors.deaths import cause_of_death, oom_kills

#: How long workers may take to end by themselves, in seconds.
_GRACE_S = 3.0

#: A worker that dies within this time is not replaced before it has passed, in seconds.
_TOO_SOON_S = 0.5


@dataclass
class _Process:
    name: str
    popen: Popen[bytes]
    log: Path
    started_s: float
    #: How many processes the kernel had killed for want of memory when this one began.
    oom_kills: int


class LocalWorkers:
    """A fixed number of worker processes.

    Attributes:
        names: The workers' names.
        restart: Whether a worker that dies is replaced.
    """

    def __init__(self, count: int, log_dir: Path) -> None:
        """Start the processes at once; they import what they need and wait for an address.

        Args:
            count: How many.
            log_dir: Where their own output goes, a file each.
        """
        self.names = [f"worker-{index}" for index in range(count)]
        self._log_dir = log_dir
        self._scratch = tempfile.TemporaryDirectory(prefix="dotrain-")
        self._environment = local_worker_environment(count, available_cores())
        self._processes = {name: self._spawn(name) for name in self.names}
        self.restart = True

    def _spawn(self, name: str) -> _Process:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        log = self._log_dir / f"{name}.log"
        with open(log, "ab") as file:
            popen = Popen(
                [
                    sys.executable,
                    "-m",
                    "dotrain.executors.dask.worker_main",
                    name,
                    self._scratch.name,
                ],
                stdin=PIPE,
                stdout=file,
                stderr=STDOUT,
                env=self._environment,
                # Ctrl-C is for the driver alone.
                start_new_session=True,
            )
        return _Process(name, popen, log, time.monotonic(), oom_kills())

    async def serve(self, address: str, on_death: Callable[[str, str], None]) -> None:
        """Give the workers the scheduler's address, and restart those that die.

        Args:
            address: Of the scheduler.
            on_death: Called with a worker's name and what ended it.
        """
        await asyncio.gather(*(self._watch(name, address, on_death) for name in self.names))

    async def _watch(self, name: str, address: str, on_death: Callable[[str, str], None]) -> None:
        while self.restart:
            process = self._processes[name]
            assert process.popen.stdin
            # One that is dead already breaks the pipe; its exit code says why.
            with contextlib.suppress(BrokenPipeError):
                process.popen.stdin.write(f"{address}\n".encode())
                process.popen.stdin.flush()
            code = await asyncio.to_thread(process.popen.wait)
            with contextlib.suppress(BrokenPipeError):
                process.popen.stdin.close()
            if self._is_closing():
                return
            on_death(name, cause_of_death(code, oom_kills() > process.oom_kills))
            if time.monotonic() - process.started_s < _TOO_SOON_S:
                await asyncio.sleep(_TOO_SOON_S)
            self._respawn(name)

    def _is_closing(self) -> bool:
        return not self.restart

    def _respawn(self, name: str) -> None:
        if self.restart:
            self._processes[name] = self._spawn(name)

    def kill(self, name: str) -> None:
        """Kill a worker, whatever it does; a new one takes its place."""
        self._processes[name].popen.kill()

    def kill_all(self) -> None:
        """Kill every worker; none takes its place."""
        self.restart = False
        for process in self._processes.values():
            process.popen.kill()

    def last_words(self) -> str:
        """Return the end of the workers' logs, for an error message."""
        texts = []
        for process in self._processes.values():
            lines = process.log.read_text(errors="replace").splitlines()[-5:]
            texts += [f"  {process.log}:", *(f"    {line}" for line in lines)]
        return "\n".join(texts)

    def close(self) -> None:
        """End every process: ask by closing its standard input, then kill."""
        self.restart = False
        for process in self._processes.values():
            if process.popen.stdin:
                with contextlib.suppress(BrokenPipeError):
                    process.popen.stdin.close()
        for process in self._processes.values():
            try:
                process.popen.wait(_GRACE_S)
            except TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
        self._scratch.cleanup()
