"""The process of one rank of one attempt: it gets ready, waits to be told which, and runs that.

Forked from the keeper, which has what can be imported beforehand; where nothing may be forked, this
module is run by an interpreter of its own, which imports everything while another attempt runs.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import traceback
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from dotrain.attempts import kernel
from dotrain.attempts.launch import RankLaunch
from dotrain.attempts.pipe import Pipe, readable
from dotrain.attempts.sigterm import WHY, Termination, hear
from dotrain.attempts.usage import held_bytes
from dotrain.core.events import Failed, Lost, TrialEvent, to_record
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Launch
from dotrain.core.strategy import AbstractStrategy, PortTaken, Seat
from dotrain.distribution.agreement import join
from dotrain.distribution.meeting import NotMet, Watched, past_proxies
from dotrain.store import RunDir
from dotrain.training.attempt import run_attempt
from dotrain.training.channel import Channel
from dotrain.training.failure import describe_failure
from dotrain.training.output import redirect
from dotrain.training.place import Place
from dotrain.training.program import (
    LoadedProgram,
    Program,
    load_program,
    load_strategy,
    prepared,
)

#: How long a child waits to be asked before it warms up, in seconds.
_SETTLE_S = 0.03


def be(
    program: Program,
    strategy: AbstractStrategy,
    loaded: LoadedProgram | None,
    moved: Path | None,
    host: Pipe,
    keeper: int,
) -> NoReturn:
    """Be the process of a rank, to its end.

    Messages to the host: ``{"event": record}`` as things happen, ``{"leaves": why}`` if it can't stay for long,
    ``{"end": record, "held_bytes": n}`` once, at last, with how much more memory this process holds by then.
    From it: a `RankLaunch`, then perhaps the reason for a stop.

    Args:
        program: What the attempt runs.
        strategy: Its strategy, which nobody has begun with.
        loaded: The program, if the user's modules are imported already.
        moved: Where the user's code has been unpacked, if it has.
        host: The way to whoever wants the attempt.
        keeper: The process id of this one's parent.
    """
    code = 1
    try:
        os.setsid()
        # Ours are no arguments of the function's script.
        del sys.argv[1:]
        kernel.die_with_parent(keeper)
        kernel.be_first_to_go()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        hear()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _Rank(program, strategy, loaded, moved, host).run()
        code = 0
    except EOFError:
        pass  # nobody wants it any more
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with suppress(Exception):  # it may be closed, or None
                stream.flush()  # type: ignore[union-attr]
        os._exit(code)


class _Rank:
    def __init__(
        self,
        program: Program,
        strategy: AbstractStrategy,
        loaded: LoadedProgram | None,
        moved: Path | None,
        host: Pipe,
    ) -> None:
        self._program = program
        self._moved = moved
        self._strategy = strategy
        self._host = host
        self._loaded = loaded
        self._code: LoadedProgram | Failure | None = None
        if self._strategy.slots == 1:
            # Nobody else has a part in it, so it needn't wait for its seat.
            self._code = self._get_ready(Seat())
            # Not while the attempt before begins; where that is over at once, there's no time for it.
            if isinstance(self._code, LoadedProgram) and not readable([host], _SETTLE_S):
                _warm_up(self._code.program, self._strategy)
            if loaded is None:
                gc.freeze()

    def run(self) -> None:
        """Wait to be told what to do, do it, and tell how it ended."""
        held = held_bytes(os.getpid())
        asked: RankLaunch = self._host.wait()
        channel = _HostChannel(self._host, asked.seat)
        run_dir = RunDir(Path(asked.run_dir or self._program.run_dir))
        log = run_dir.trial_log(asked.launch.folder, asked.seat.rank)
        end = self._attempt(asked.launch, asked.seat, channel, log)
        held = max(0, held_bytes(os.getpid()) - held)
        self._host.send({"end": to_record(end), "held_bytes": held})
        if asked.seat.ranks > 1:
            # The chief holds what the others still need to end in order: its end comes from outside.
            while True:
                self._host.wait()

    def _attempt(self, launch: Launch, seat: Seat, channel: Channel, log: Path) -> TrialEvent:
        try:
            # What can't be run has a log, too: messages name it.
            if self._strategy.slots > 1 or isinstance(self._code, Failure):
                log.parent.mkdir(parents=True, exist_ok=True)
                redirect(log)
            os.environ.update(past_proxies(os.environ, seat) if seat.ranks > 1 else {})
            agreement = join(seat)
            agreement.meet(self._program.group_start_s)
            if self._strategy.slots > 1:
                self._code = self._get_ready(seat, launch)
            place = Place(self._strategy, seat, agreement)
        except NotMet as error:
            return Lost(launch.trial_id, launch.attempt, str(error))
        except PortTaken as error:
            failure = Failure(FailureKind.PORT_TAKEN, str(error))
            return Failed(launch.trial_id, launch.attempt, failure)
        except BaseException as error:
            return Failed(launch.trial_id, launch.attempt, describe_failure(error))
        assert self._code is not None
        event = run_attempt(
            self._code,
            launch,
            channel,
            worker=", ".join(seat.workers),
            place=place,
            capture=_captured if self._strategy.slots == 1 else _as_it_is,
            log=log,
        )
        place.agreement.close()
        return event

    def _get_ready(self, seat: Seat, launch: Launch | None = None) -> LoadedProgram | Failure:
        """Begin with the strategy, then import and prepare what hasn't been.

        Raises:
            PortTaken: If the strategy can't have its port.
        """
        try:
            if launch is None or seat.ranks == 1:
                self._strategy.begin(seat)
            else:
                self._begin_together(seat, launch)
            return prepared(self._loaded or load_program(self._program, self._moved))
        except PortTaken:
            raise
        except BaseException as error:
            return describe_failure(error)

    def _begin_together(self, seat: Seat, launch: Launch) -> None:
        """Begin with the strategy, which may wait for the other ranks: for some time."""

        def give_up(why: str) -> None:
            end = Lost(launch.trial_id, launch.attempt, why)
            self._host.send({"end": to_record(end), "held_bytes": 0})

        what = f"{type(self._strategy).__name__}.begin"
        with Watched(seat, self._program.group_start_s, what, give_up) as watched:
            self._strategy.begin(seat)
        while watched.gave_up:
            self._host.wait()  # it has been told how this ended, and ends it


class _HostChannel(Channel):
    """The chief's events go to the host; what it has to say is heard when somebody asks.

    So no thread waits for it, and a process that the function forks has nothing to inherit from one.
    """

    def __init__(self, host: Pipe, seat: Seat) -> None:
        super().__init__(self._report)
        self._host = host
        self._is_chief = seat.rank == 0
        self._heard: str | None = None
        self._termination = Termination()
        self._leaves = False

    def _report(self, event: TrialEvent) -> None:
        if not self._is_chief:
            return
        try:
            self._host.send({"event": to_record(event)})
        except OSError:
            if self._host.is_ours:
                os._exit(1)  # nobody is there any more
            raise

    @property
    def stop_reason(self) -> str | None:
        """Why to stop, or None."""
        for reason in self._host.receive():
            self._heard = reason
        if self._host.ended:
            os._exit(1)
        if self._termination.came and not self._leaves:
            self._leaves = True
            self._host.send({"leaves": WHY})
        return self._heard or (WHY if self._leaves else None)


def _captured(log: Path) -> nullcontext[None]:
    redirect(log)
    return nullcontext()


def _written(event: TrialEvent) -> None:
    pickle.dumps({"event": to_record(event)}, pickle.HIGHEST_PROTOCOL)


def _as_it_is(log: Path) -> nullcontext[None]:
    return nullcontext()


def _warm_up(program: Program, strategy: AbstractStrategy) -> None:
    """Go the way of an attempt once, with a function that does nothing and leaves no file.

    What this process shares with the one it was forked from, it copies when it first writes to it:
    better before anybody waits for it.
    """
    asked = RankLaunch(Launch("a warm-up", "t0", 1, {}, None, 0), Seat())
    asked = pickle.loads(pickle.dumps(asked, pickle.HIGHEST_PROTOCOL))
    run_attempt(
        LoadedProgram(replace(program, study=None, hparams={}), lambda: 0.0, None, None),
        asked.launch,
        Channel(_written),
        log=Path(os.devnull),
        worker="",
        place=Place(strategy, asked.seat),
        capture=_as_it_is,
    )


def main() -> NoReturn:
    """Be a rank's process, by descriptors, the keeper's process id and a folder on the command line."""
    host, program_file, keeper = (int(argument) for argument in sys.argv[1:4])
    moved = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    program = read_program(program_file)
    os.close(program_file)
    be(program, load_strategy(program), None, moved, Pipe.at(host), keeper)


def read_program(file: int) -> Program:
    """Return the program in an open file, which other processes read too."""
    program: Program = pickle.loads(os.pread(file, os.fstat(file).st_size, 0))
    return program


if __name__ == "__main__":
    main()
