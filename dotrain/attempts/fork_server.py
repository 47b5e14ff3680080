"""The process that has imported what attempts need: it forks a keeper for each slot of its host.

Importing a framework takes seconds, a fork of a process that has done it milliseconds. Only a
process of one thread may be forked: if what the user's ``prepare`` calls leaves threads behind, this
process starts itself anew and leaves that to the children; if importing the user's modules does so (by
running an operation of a framework, say), those too; if the packages alone do, each child is an
interpreter of its own.

Started by `host`, with two descriptors: a connection to it, and the program, pickled.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, final

from dotrain.attempts import kernel
from dotrain.attempts.child import be, read_program
from dotrain.attempts.keeper import Closable, Keeper
from dotrain.attempts.pipe import Pipe, Readable, readable
from dotrain.attempts.sigterm import pass_over
from dotrain.attempts.threads import ThreadWatch, one_each
from dotrain.attempts.usage import Meter
from dotrain.core.failure import Failure
from dotrain.frameworks import registry
from dotrain.training.arguments import parameters_of
from dotrain.training.failure import print_failure
from dotrain.training.output import set_streams
from dotrain.training.program import (
    LoadedProgram,
    Program,
    load_program,
    load_strategy,
    prepared,
)
from dotrain.usercode.archive import Code
from dotrain.usercode.load import unpacked
from dotrain.usercode.unpacking import release

#: What is done beforehand: the user's modules are imported and prepared, only imported, packages are
#: imported only, nothing: then nothing is forked.
PREPARED, MODULES, PACKAGES, NOTHING = range(4)

#: Set to ``spawn``, nothing is forked anywhere, as where the system has no safe fork.
START_METHOD = "DOTRAIN_START_METHOD"


def first_level() -> int:
    """Return what to try to do beforehand."""
    method = os.environ.get(START_METHOD) or ("fork" if sys.platform == "linux" else "spawn")
    return NOTHING if method == "spawn" else PREPARED


@final
class ForkServer:
    """Serves one host.

    Messages to it: ``("level", level)`` before anything is imported, ``("ready", level)`` after. From it:
    ``("keeper", variables)`` with a descriptor: the way to the host of a new keeper, and what is set in the environment
    of its slot alone.
    """

    def __init__(self, host: Pipe, program_file: int, level: int) -> None:
        self._host = host
        self._program_file = program_file
        self._program: Program = read_program(program_file)
        self._strategy = load_strategy(self._program)
        self._level = level
        self._loaded: LoadedProgram | None = None
        #: Where the user's code has been unpacked, for all attempts.
        self._moved: Path | None = None
        self._unpacked: list[Path] = []
        with contextlib.suppress(Exception):  # a child says it, where a person sees it
            self._moved = self._hold(self._program.functions.code)
            self._hold(self._program.table_files)
        self._keepers: set[int] = set()
        #: What the user's modules have started when they were imported.
        self._servants: set[int] = set()

    def _hold(self, files: Code) -> Path | None:
        """Unpack files that this machine hasn't got, for as long as attempts may want them."""
        folder = unpacked(files)
        self._unpacked += [] if folder is None else [folder]
        return folder

    def prepare(self) -> int:
        """Do what this level asks for.

        Returns:
            The level at which this process may be forked: this one, or another to begin anew at.
        """
        self._host.send(("level", self._level))
        if self._level == NOTHING:
            return NOTHING
        watch = ThreadWatch()
        importlib.import_module("numpy.random")
        for name in self._strategy.packages:
            # A package that isn't there is the child's to report.
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        if self._level < PACKAGES:
            try:
                self._loaded = load_program(self._program, self._moved)
            except BaseException as error:
                print_failure(error)  # the child says it again, where a person sees it
        if watch.has_new():
            is_theirs = self._level < PACKAGES
            what = "the user's modules" if is_theirs else "the strategy's packages"
            _say(f"importing {what} starts", watch, "imports them")
            return PACKAGES if is_theirs else NOTHING
        if self._level == PREPARED and self._loaded is not None and self._loaded.prepare:
            with one_each():
                done = prepared(self._loaded)
                if watch.has_new():
                    _say("'prepare' leaves", watch, "calls it")
                    return MODULES
            if isinstance(done, Failure):
                print(done.traceback, file=sys.stderr, flush=True)  # a child says it again, too
            else:
                self._loaded = done
        # What is looked up once is looked up here, not in every child.
        registry.loaded()
        if self._loaded is not None:
            parameters_of(self._loaded.train)
        set_streams()
        gc.collect()
        gc.freeze()
        return self._level

    def serve(self) -> NoReturn:
        """Fork keepers until the host is gone, and end when they have."""
        self._servants = kernel.children()
        kernel.adopt_orphans()
        self._alarm = kernel.Alarm()
        with contextlib.suppress(OSError):
            self._host.send(("ready", self._level))
            while not self._host.ended:
                ends: list[Readable] = [self._host, self._alarm]
                if self._alarm in readable(ends):
                    self._alarm.clear()
                    self._reap()
                for _, variables in self._host.receive():
                    self._fork_keeper(self._host.descriptor(), variables)
        while True:
            if not self._keepers:
                self._servants.clear()
            self._reap()
            if not kernel.children():
                break
            readable([self._alarm])
            self._alarm.clear()
        self.clean_up()
        os._exit(0)

    def clean_up(self) -> None:
        """Let go of what this process has unpacked."""
        while self._unpacked:
            release(self._unpacked.pop())

    def _fork_keeper(self, descriptor: int, variables: Mapping[str, str]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                os.environ.update(variables)
                self._alarm.close()
                self._host.close()
                Keeper(Pipe.at(descriptor), self._start_child, self._meter).serve()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(descriptor)
        self._keepers.add(pid)

    def _start_child(self, way: Pipe, not_its_own: Sequence[Closable]) -> int:
        """Start a child of the keeper that this runs in."""
        keeper = os.getpid()
        if self._level == NOTHING:
            os.set_inheritable(way.fileno(), True)
            arguments = [str(number) for number in (way.fileno(), self._program_file, keeper)]
            arguments += [str(self._moved)] if self._moved else []
            command = [sys.executable, "-P", "-m", "dotrain.attempts.child", *arguments]
            return os.posix_spawn(sys.executable, command, os.environ)
        pid = os.fork()
        if pid == 0:
            for each in not_its_own:
                each.close()
            be(self._program, self._strategy, self._loaded, self._moved, way, keeper)
        return pid

    def _meter(self, pid: int) -> Meter:
        return Meter(
            pid,
            forked=self._level < NOTHING,
            memory_bytes=self._program.memory_bytes,
            silent_s=self._program.silent_s,
        )

    def _reap(self) -> None:
        """Note which keepers have ended, and end what one has left that was killed."""
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._keepers.discard(pid)
        for orphan in kernel.children() - self._keepers - self._servants:
            kernel.kill(orphan)


def _say(does: str, watch: ThreadWatch, how: str) -> None:
    of = f" of {', '.join(libraries)}" if (libraries := watch.libraries()) else ""
    text = f"dotrain: {does} threads{of}, so each attempt {how} by itself"
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Serve until the host is gone."""
    descriptor, program_file, level = (int(argument) for argument in sys.argv[1:4])
    # What hangs when it is imported must not live on without the run.
    kernel.die_with_parent(os.getppid())
    pass_over()
    host = Pipe.at(descriptor)
    server = ForkServer(host, program_file, level)
    if (possible := server.prepare()) != level:
        server.clean_up()
        arguments = [*sys.argv[1:3], str(possible)]
        command = [sys.executable, "-P", "-m", "dotrain.attempts.fork_server", *arguments]
        os.execv(sys.executable, command)
    kernel.die_with_parent(None)
    server.serve()


if __name__ == "__main__":
    main()
