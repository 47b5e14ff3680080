"""One rank of one attempt, in a process that runs nothing else."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dotrain.core.events import Failed, TrialEvent, to_record
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Launch
from dotrain.core.strategy import AbstractStrategy, PortTaken, Seat
from dotrain.distribution.agreement import join
from dotrain.store import RunDir
from dotrain.training.attempt import run_attempt
from dotrain.training.channel import Channel
from dotrain.training.failure import describe_failure
from dotrain.training.output import captured
from dotrain.training.place import Place
from dotrain.training.program import LoadedProgram, Program, load_program, load_strategy


@dataclass(frozen=True)
class RankLaunch:
    """What a rank is to do.

    Attributes:
        launch: The attempt.
        seat: Which rank of it.
    """

    launch: Launch
    seat: Seat


def run_rank(
    program: Program, loaded: LoadedProgram | None, asked: RankLaunch, worker: Connection
) -> None:
    """Run one rank to its end, and wait to be ended; never returns.

    Messages to the worker: ``{"event": record}`` as things happen, ``{"end": record}`` once, at
    last. From the worker: the reason for a stop. The end of that connection ends this process.

    Args:
        program: What the attempt runs.
        loaded: The same, if the user's modules are imported already.
        asked: Which rank of which attempt.
        worker: The way to the worker.
    """
    launch, seat = asked.launch, asked.seat
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with lock:
            worker.send(message)

    def report(event: TrialEvent) -> None:
        if seat.rank == 0:
            send({"event": to_record(event)})

    channel = Channel(report)
    ended = threading.Event()
    threading.Thread(target=_listen, args=(worker, channel, ended), daemon=True).start()
    send({"end": to_record(_run(program, loaded, launch, seat, channel))})
    # The chief holds what the others still need to end in order: its end comes from outside.
    ended.wait()


def _listen(worker: Connection, channel: Channel, ended: threading.Event) -> None:
    """Take stops; end this process when the worker, or its process, is gone."""
    try:
        while True:
            channel.stop_reason = worker.recv()
    except (EOFError, OSError):
        os._exit(1)
    finally:
        ended.set()


def _run(
    program: Program,
    loaded: LoadedProgram | None,
    launch: Launch,
    seat: Seat,
    channel: Channel,
) -> TrialEvent:
    log = RunDir(Path(program.run_dir)).trial_log(launch.trial_id, seat.rank)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        strategy = load_strategy(program)
        with captured(log, whole_process=True):
            code = _begin(program, loaded, strategy, seat)
            place = Place(strategy, seat, join(seat))
    except PortTaken as error:
        failure = Failure(FailureKind.PORT_TAKEN, str(error))
        return Failed(launch.trial_id, launch.attempt, failure)
    except BaseException as error:
        failure = describe_failure(error)
        return Failed(launch.trial_id, launch.attempt, failure)
    event = run_attempt(
        code,
        launch,
        channel,
        run_dir=program.run_dir,
        worker=", ".join(seat.workers),
        whole_process=True,
        place=place,
    )
    place.agreement.close()
    return event


def _begin(
    program: Program, loaded: LoadedProgram | None, strategy: AbstractStrategy, seat: Seat
) -> LoadedProgram | Failure:
    strategy.begin(seat)
    if loaded is not None:
        return loaded
    try:
        return load_program(program)
    except BaseException as error:
        return describe_failure(error)
