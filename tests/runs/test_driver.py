"""The driver's loop on made-up time: no process, no clock, no run directory."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from dotrain.core.events import Event, Finished
from dotrain.core.instructions import Instruction
from dotrain.core.scheduler import Scheduler
from dotrain.earlystop.none import NoStop
from dotrain.executors.simulated import SimulatedExecutor, SimulationModel
from dotrain.optimizers.random import RandomSearch
from dotrain.runs.driver import Driver
from dotrain.space import Float, Searchspace
from dotrain.store import Journal

NUM_TRIALS = 3


class Watches:
    """An observer that notes what it is told, and may break at one of it."""

    def __init__(self, at: str = "", error: BaseException | None = None) -> None:
        self.at, self.error = at, error
        self.told: list[str] = []
        self.events: list[Event] = []

    def _note(self, method: str) -> None:
        self.told.append(method)
        if method == self.at and self.error is not None:
            raise self.error

    def start(self, scheduler: Scheduler) -> None:
        self._note("start")

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        self.events.append(event)
        self._note("on_event")

    def on_pulse(self, time_s: float) -> None:
        self._note("on_pulse")

    def on_interrupt(self) -> None:
        self._note("on_interrupt")

    def close(self) -> None:
        self._note("close")


class Ends(SimulatedExecutor):
    """Notes how it is ended; others do the work, so Ctrl-C breaks nothing off."""

    concurrent = True

    def __init__(self) -> None:
        super().__init__(2, SimulationModel(seed=0, steps=2))
        self.ended: list[str] = []

    def abort(self) -> None:
        self.ended.append("abort")

    def close(self) -> None:
        self.ended.append("close")


def drive(path: Path, *observers: Watches, executor: Ends | None = None) -> str:
    optimizer = RandomSearch()
    optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), NUM_TRIALS, "max", 0)
    optimizer.initialize()
    scheduler = Scheduler(optimizer, NoStop())
    executor = executor or Ends()
    program: Any = None  # nothing is trained
    with closing(Journal(path / "journal.jsonl")) as journal:
        return Driver(scheduler, executor, journal, observers).run(program)


@pytest.mark.parametrize("error", [SystemExit(1), OSError("its terminal is gone")])
@pytest.mark.parametrize("at", ["start", "on_event", "on_pulse", "close"])
def test_an_observer_that_breaks_is_not_told_again_and_harms_nobody(
    tmp_path: Path, at: str, error: BaseException
) -> None:
    before, broken, after = Watches(), Watches(at, error), Watches()
    assert drive(tmp_path, before, broken, after) == "finished"
    assert broken.told.count(at) == 1
    assert broken.told[-1] == at
    assert before.told == after.told
    assert before.told[0] == "start"
    assert before.told[-1] == "close"
    assert sum(isinstance(event, Finished) for event in after.events) == NUM_TRIALS


def test_ctrl_c_in_an_observer_still_ends_the_run(tmp_path: Path) -> None:
    broken, other = Watches("on_pulse", KeyboardInterrupt()), Watches()
    assert drive(tmp_path, broken, other) == "interrupted"
    assert other.told[-1] == "close"


class Presses(Watches):
    """Presses Ctrl-C as often as it is told to, at the first pulse of the loop."""

    def __init__(self, times: int) -> None:
        super().__init__("on_pulse")
        self.times = times

    def on_pulse(self, time_s: float) -> None:
        while self.times:
            self.times -= 1
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("times", "ended"), [(1, ["close"]), (2, ["abort", "close"])])
def test_a_second_ctrl_c_before_the_executor_closes_is_not_waited_for(
    tmp_path: Path, times: int, ended: list[str]
) -> None:
    executor = Ends()
    with pytest.raises(KeyboardInterrupt) if times > 1 else nullcontext():
        drive(tmp_path, Presses(times), executor=executor)
    assert executor.ended == ended
