"""The driver's loop on made-up time: no process, no clock, no run directory."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dotrain.core.events import Event, Finished, TimePassed, TrialEvent
from dotrain.core.instructions import Instruction
from dotrain.core.limits import Limits
from dotrain.core.observer import Observer, RunView
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import TrialState
from dotrain.earlystop.none import NoStop
from dotrain.errors import DotrainError
from dotrain.executors.base import Post
from dotrain.executors.simulated import SimulatedExecutor, SimulationModel
from dotrain.optimizers.random import RandomSearch
from dotrain.runs.driver import Driver
from dotrain.space import Float, Searchspace
from dotrain.store import Journal
from dotrain.training.environment import Environment

NUM_TRIALS = 3
#: Of a program, what drivers ask for; nothing is trained.
NOTHING = SimpleNamespace(environment=Environment())


class Watches(Observer):
    """An observer that notes what it is told, and may break at one of it."""

    def __init__(self, at: str = "", error: BaseException | None = None) -> None:
        self.at, self.error = at, error
        self.told: list[str] = []
        self.events: list[Event] = []

    def _note(self, method: str) -> None:
        self.told.append(method)
        if method == self.at and self.error is not None:
            raise self.error

    def start(self, run: RunView) -> None:
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


def drive(
    path: Path,
    *observers: Observer,
    executor: Ends | None = None,
    records: Sequence[dict[str, Any]] = (),
) -> str:
    path.mkdir(exist_ok=True)
    optimizer = RandomSearch()
    optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), NUM_TRIALS, "max", 0)
    optimizer.initialize()
    scheduler = Scheduler(optimizer, NoStop())
    executor = executor or Ends()
    program: Any = NOTHING
    with closing(Journal(path / "journal.jsonl")) as journal:
        view = RunView(scheduler, path, records)
        return Driver(scheduler, executor, journal, view, observers).run(program)


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


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("no server"), "warning: Watches watched no longer: OSError: no server\n"),
        (DotrainError("its files are incomplete"), "warning: its files are incomplete\n"),
    ],
)
def test_at_the_end_it_is_said_once_which_observer_broke(
    tmp_path: Path, error: Exception, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drive(tmp_path, Watches("on_event", error), Watches()) == "finished"
    assert capsys.readouterr().err == told


class Repeats(Ends):
    """Posts every event twice."""

    def start(self, program: Any, post: Post) -> None:
        super().start(program, lambda event: [post(event) for _ in range(2)])


def test_an_observer_is_told_what_happens_once(tmp_path: Path) -> None:
    once, twice = Watches(), Watches()
    drive(tmp_path / "once", once)
    drive(tmp_path / "twice", twice, executor=Repeats())
    trial_events = [[e for e in w.events if isinstance(e, TrialEvent)] for w in (once, twice)]
    assert trial_events[0] == trial_events[1] != []
    assert TimePassed() in twice.events


class Looks(Observer):
    """Notes what it sees when it is told."""

    def start(self, run: RunView) -> None:
        self.run = run
        self.records = list(run.records)
        self.states: list[dict[str, TrialState]] = []

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        self.states.append({i: trial.state for i, trial in self.run.trials.items()})
        assert self.run.held == len(self.run.active) <= self.run.slots
        assert sum(self.run.counts.values()) == len(self.run.trials)


def test_the_view_shows_the_run_as_it_is_and_can_not_change_it(tmp_path: Path) -> None:
    looks = Looks()
    drive(tmp_path, looks, records=[{"type": "Run", "name": "mine"}])
    run: Any = looks.run
    assert looks.states[0] != looks.states[-1] == dict.fromkeys(run.trials, TrialState.FINISHED)
    assert (run.status, run.slots, run.limits, run.resumed) == ("finished", 2, Limits(), False)
    assert run.header["name"] == looks.records[0]["name"] == "mine"
    assert list(run.records) == []
    assert run.counts[TrialState.FAILED] == 0
    for mapping in (run.trials, run.active, run.counts, run.header):
        with pytest.raises(TypeError):
            mapping["t0000"] = None
    for name in vars(type(run)):
        if not name.startswith("_") and isinstance(vars(type(run))[name], property):
            with pytest.raises(AttributeError):
                setattr(run, name, None)


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
