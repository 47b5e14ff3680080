"""The Dask worker's side of rank processes: start one, pass its events on, end it."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing import Pipe, reduction
from multiprocessing.connection import Connection, wait
from typing import Any

from dotrain.distribution.rank import RankLaunch
from dotrain.training.program import Program, load_strategy

#: Against threads that packages start when they are imported and that do nothing then: a process
#: that has any is not forked. pyarrow's allocator, which pandas imports if it is there.
_NO_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}


class Launcher:
    """Runs ranks one after another, each in a fresh process forked from a warm one."""

    def __init__(self, program: Program) -> None:
        """Start the warm process; it imports what ranks need while others get ready."""
        self._program = program
        self._lock = threading.Lock()
        #: The rank that runs: its process, and the way to it.
        self._rank: tuple[int, Connection] | None = None
        #: The group that runs, and the one that is not to, by their tokens.
        self._running = ""
        self._killed = ""
        self._closed = False
        self._warm_up()

    def _warm_up(self) -> None:
        ours, theirs = Pipe()
        # What the user has set, stays.
        environment = {
            **_NO_THREADS,
            **load_strategy(self._program).environment(),
            **os.environ,
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with tempfile.TemporaryFile() as file:
            pickle.dump(self._program, file)
            file.flush()
            passed = (theirs.fileno(), file.fileno())
            arguments = [str(number) for number in (*passed, 0)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dotrain.distribution.warm", *arguments],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        theirs.close()
        self._warm = ours

    def run(self, asked: RankLaunch, emit: Callable[[dict[str, Any]], None]) -> int:
        """Run one rank to its end.

        Args:
            asked: Which rank of which attempt.
            emit: Gets ``{"event": record}`` and ``{"end": record}`` as the rank sends them.

        Returns:
            The exit code of its process, when that is gone; a signal is negative.
        """
        code = None
        while code is None and not self._closed:
            if self._process.poll() is not None:
                self._warm.close()
                self._warm_up()
            code = self._run(asked, emit)
        return code or 0

    def _run(self, asked: RankLaunch, emit: Callable[[dict[str, Any]], None]) -> int | None:
        ours, theirs = Pipe()
        try:
            with self._lock:
                if self._killed == asked.seat.token:
                    return 0
                self._running = asked.seat.token
                self._warm.send(asked)
                reduction.send_handle(self._warm, theirs.fileno(), self._process.pid)
            theirs.close()
            _, pid = self._warm.recv()
            with self._lock:
                self._rank = pid, ours
                if self._killed == asked.seat.token:
                    self._warm.send(pid)
            return self._listen(ours, emit)
        except (EOFError, OSError):
            # The warm process has died, and its ranks with it.
            self._process.wait()
            return self._process.returncode if self._rank is not None else None
        finally:
            with self._lock:
                self._running, self._rank = "", None
            ours.close()
            theirs.close()

    def _listen(self, rank: Connection, emit: Callable[[dict[str, Any]], None]) -> int:
        sources = [rank, self._warm]
        while True:
            ready = wait(sources)
            if rank in ready:
                try:
                    emit(rank.recv())
                    continue
                except (EOFError, OSError, pickle.UnpicklingError):
                    sources.remove(rank)
            if self._warm in ready:
                _, _, code = self._warm.recv()
                # What it sent before it died.
                with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
                    while rank in sources and rank.poll():
                        emit(rank.recv())
                return int(code)

    def stop(self, token: str, reason: str) -> None:
        """Let the rank of a group end at its next report."""
        with self._lock, contextlib.suppress(OSError):
            if self._rank is not None and self._running == token:
                self._rank[1].send(reason)

    def kill(self, token: str) -> None:
        """End the rank of a group now, whatever it does, or don't begin it."""
        with self._lock, contextlib.suppress(OSError):
            self._killed = token
            if self._rank is not None and self._running == token:
                self._warm.send(self._rank[0])

    def end(self) -> None:
        """End the warm process and whatever rank still runs; return when they have ended."""
        self._closed = True
        # Not closed: another thread may be waiting for it, and learns of the end by this.
        with (
            contextlib.suppress(OSError),
            socket.fromfd(self._warm.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as way,
        ):
            way.shutdown(socket.SHUT_RDWR)
        self._process.wait()

    def close(self) -> None:
        """End whatever runs; called on the thread that runs ranks, when it does no more."""
        self.end()
        self._warm.close()
