"""A process that waits with everything imported, and forks a rank whenever one is asked for.

Importing a framework takes seconds, a fork of a process that has done it milliseconds. Only a
process of one thread may be forked: if importing the user's modules starts threads (by running an
operation of a framework, say), this process starts itself anew and leaves them to the ranks; if the
packages alone do so, those too.

Started by `launcher`, with two file descriptors: a connection to it, and the program, pickled.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import select
import signal
import sys
import traceback
from multiprocessing import reduction
from multiprocessing.connection import Connection

import psutil

from dotrain.distribution.rank import RankLaunch, run_rank
from dotrain.training.program import LoadedProgram, Program, load_program, load_strategy

#: What is imported beforehand: the user's modules too, packages only, nothing.
EVERYTHING, PACKAGES, NOTHING = range(3)


def _threads() -> int:
    return int(psutil.Process().num_threads())


class Warm:
    """Serves one launcher."""

    def __init__(self, launcher: Connection, program: Program, level: int) -> None:
        self._launcher = launcher
        self._program = program
        self._level = level
        self._loaded: LoadedProgram | None = None
        self._children: set[int] = set()

    def prepare(self) -> bool:
        """Import what this level asks for; return whether the process may still be forked."""
        # NumPy's own threads survive a fork: its BLAS sees to that.
        importlib.import_module("numpy")
        before = _threads()
        if self._level < NOTHING:
            for name in load_strategy(self._program).packages:
                # A package that isn't there is the rank's to report.
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        if self._level < PACKAGES:
            try:
                self._loaded = load_program(self._program)
            except BaseException:
                traceback.print_exc()  # the rank says it again, where a person sees it
        gc.collect()
        gc.freeze()
        return self._level == NOTHING or _threads() <= before

    def serve(self) -> None:
        """Fork a rank for each launch and tell how each ended; return when the launcher is gone."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                ready, _, _ = select.select([self._launcher.fileno(), woken], [], [])
                if woken in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(woken, 4096)
                self._reap()
                if self._launcher.fileno() in ready:
                    self._obey(self._launcher.recv())
        except (EOFError, OSError):
            for child in self._children:
                _kill(child)
            # Who waits for this process waits for them.
            for child in self._children:
                os.waitpid(child, 0)

    def _obey(self, message: RankLaunch | int) -> None:
        if isinstance(message, int):
            if message in self._children:
                _kill(message)
            return
        channel = reduction.recv_handle(self._launcher)
        child = os.fork()
        if child == 0:
            self._become(message, Connection(channel))
        os.close(channel)
        self._children.add(child)
        self._launcher.send(("started", child))

    def _become(self, asked: RankLaunch, worker: Connection) -> None:
        """Run a rank in the process that has just been forked; never returns."""
        code = 1
        try:
            # Processes that the user's function starts end with the rank.
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._launcher.close()
            run_rank(self._program, self._loaded, asked, worker)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self) -> None:
        for child in list(self._children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                self._children.discard(child)
                # What it has started, too.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child, signal.SIGKILL)
                self._launcher.send(("ended", child, os.waitstatus_to_exitcode(status)))


def _kill(child: int) -> None:
    # Some frameworks swallow SIGTERM. The group exists a moment after the child does.
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)


def main() -> None:
    """Serve until the launcher is gone."""
    connection, program_file, level = (int(argument) for argument in sys.argv[1:4])
    os.lseek(program_file, 0, os.SEEK_SET)
    with open(program_file, "rb", closefd=False) as file:
        program: Program = pickle.load(file)
    warm = Warm(Connection(connection), program, level)
    if not warm.prepare():
        what = ("the user's modules", "the strategy's packages")[level]
        print(
            f"dotrain: importing {what} starts threads, so each rank imports them by itself",
            file=sys.stderr,
            flush=True,
        )
        arguments = [*sys.argv[1:3], str(level + 1)]
        os.execv(sys.executable, [sys.executable, "-m", "dotrain.distribution.warm", *arguments])
    warm.serve()
    os._exit(0)


if __name__ == "__main__":
    main()
