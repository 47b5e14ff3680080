"""The driver and a scripted executor: what it is asked, in which order, and how long it may wait."""

from __future__ import annotations

import gc
import math
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dotrain.core.events import (
    Event,
    Failed,
    Finished,
    Interrupted,
    Reported,
    Resumed,
    SlotsChanged,
    Started,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Instruction
from dotrain.core.limits import Limits
from dotrain.core.observer import Observer, RunView
from dotrain.core.scheduler import Scheduler
from dotrain.earlystop.none import NoStop
from dotrain.errors import ClusterGone, DiskFull, Interrupt, JournalError
from dotrain.executors.base import AbstractExecutor, Post
from dotrain.optimizers.random import RandomSearch
from dotrain.runs.driver import Driver
from dotrain.space import Float, Searchspace
from dotrain.store import Journal, read_journal
from dotrain.training.program import Program
from dotrain.usercode.function import FunctionRef, Functions

Step = Callable[["Scripted"], None]


PROGRAM = Program("token", Functions(FunctionRef("train")), "score", {}, "/nowhere")


class Scripted(AbstractExecutor):
    """Does at each `pump` what the next step of a script says, on a clock of its own."""

    def __init__(self, journal: Path, steps: Sequence[Step], *, slots: int = 1) -> None:
        self.journal, self.steps, self.at_first = journal, list(steps), slots
        self.now = 100.0
        self.asked: list[Any] = []

    def slots(self, per_trial: int) -> int:
        return self.at_first

    def clock_s(self) -> float:
        return self.now

    def resume_from(self, time_s: float, steps: Mapping[str, int]) -> None:
        self.asked.append(("resume_from", time_s, dict(steps)))

    def start(self, program: Any, post: Post) -> None:
        self.post = post
        self.asked.append(("start", program))
        post(SlotsChanged(self.at_first))

    def carry_out(self, instruction: Instruction) -> None:
        kind = type(instruction).__name__
        # Whatever it does now must be known to whoever goes on with the run.
        assert kind in [r["type"] for r in read_journal(self.journal)]
        self.asked.append(kind)

    def pump(self, timeout_s: float) -> None:
        self.asked.append(("pump", timeout_s))
        assert self.steps, "the script has come to its end"
        self.steps.pop(0)(self)

    def close(self) -> None:
        self.asked.append("close")

    def interrupt(self) -> None:
        self.asked.append("interrupt")

    def abort(self) -> None:
        self.asked.append("abort")

    @property
    def waits(self) -> list[float]:
        return [what[1] for what in self.asked if what[0] == "pump"]


class InThisThread(Scripted):
    """Runs attempts inside `pump`."""

    concurrent = False


def posts(*events: Event, after_s: float = 0.0) -> Step:
    def step(executor: Scripted) -> None:
        executor.now += after_s
        for event in events:
            executor.post(event)

    return step


def raises(error: BaseException) -> Step:
    def step(executor: Scripted) -> None:
        raise error

    return step


def signals(*numbers: int) -> Step:
    def step(executor: Scripted) -> None:
        for number in numbers:
            signal.raise_signal(number)

    return step


WHOLE = [posts(Started("t0000", 1)), posts(Finished("t0000", 1, 0.5))]


class Stage:
    """A driver with all that it needs."""

    def __init__(
        self,
        folder: Path,
        steps: Sequence[Step],
        *observers: Observer,
        num_trials: int = 1,
        kind: type[Scripted] = Scripted,
        journal: type[Journal] = Journal,
        **limits: Any,
    ) -> None:
        self.path = folder / "journal.jsonl"
        optimizer = RandomSearch()
        optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), num_trials, "max", 0)
        optimizer.initialize()
        self.scheduler = Scheduler(optimizer, NoStop(), limits=Limits(**limits))
        self.executor = kind(self.path, steps)
        self.journal = journal(self.path)
        view = RunView(self.scheduler, folder, [])
        self.driver = Driver(self.scheduler, self.executor, self.journal, view, observers)

    def run(self, **options: Any) -> str:
        with closing(self.journal):
            program: Any = PROGRAM
            return self.driver.run(program, **options)

    @property
    def records(self) -> list[Any]:
        """Types of the journal's records, each with its time."""
        return [(record["type"], record["t"]) for record in read_journal(self.path)]


@pytest.fixture(autouse=True)
def handlers() -> Any:
    """Whoever had the signals before has them again."""
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_from_its_start_to_its_end(tmp_path: Path) -> None:
    stage = Stage(
        tmp_path,
        [posts(Started("t0000", 1), after_s=2.0), posts(Finished("t0000", 1, 0.5), after_s=3.0)],
    )
    assert stage.run() == "finished"
    assert stage.executor.asked == [
        ("resume_from", 0.0, {}),
        ("start", PROGRAM),
        "Launch",
        ("pump", 0.2),
        ("pump", 0.2),
        "Finish",
        "close",
    ]
    assert stage.records == [
        ("SlotsChanged", 0.0),
        ("Launch", 0.0),
        ("Started", 2.0),
        ("Finished", 5.0),
        ("Finish", 5.0),
    ]
    assert stage.driver.elapsed_s == 5.0
    assert gc.get_freeze_count() == 0


def test_a_run_has_taken_as_long_as_its_journal_says(tmp_path: Path) -> None:
    def ends(executor: Scripted) -> None:
        posts(Started("t0000", 1), Finished("t0000", 1, 0.5), after_s=3.0)(executor)
        executor.now += 1.0  # before the loop looks again

    stage = Stage(tmp_path, [ends])
    assert stage.run() == "finished"
    assert stage.driver.elapsed_s == 3.0
    assert stage.records[-1] == ("Finish", 3.0)


def test_a_run_that_is_broken_off_before_an_event_has_taken_what_it_had_before(
    tmp_path: Path,
) -> None:
    class Impatient(Told):
        def start(self, view: RunView) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    stage = Stage(tmp_path, WHOLE, Impatient())
    with pytest.raises(KeyboardInterrupt):
        stage.run(from_s=3.0)
    assert (stage.path.read_text(), stage.driver.elapsed_s) == ("", 3.0)


def test_the_loop_wakes_for_the_next_deadline_and_passes_it_on(tmp_path: Path) -> None:
    stage = Stage(
        tmp_path,
        [
            posts(Started("t0000", 1)),
            posts(after_s=0.95),
            posts(after_s=0.04),
            posts(after_s=0.01),
        ],
        trial_timeout_s=1.0,
    )
    assert stage.run() == "finished"
    assert stage.executor.waits == [0.2, 0.2, pytest.approx(0.05), pytest.approx(0.01)]
    assert [kind for kind, _ in stage.records][-4:] == ["Started", "TimePassed", "Kill", "Finish"]
    assert stage.executor.asked[-3:] == ["Kill", "Finish", "close"]


def test_where_attempts_run_inside_pump_only_a_deadline_bounds_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WHOLE, kind=InThisThread)
    assert stage.run() == "finished"
    assert stage.executor.waits == [math.inf, math.inf]
    late = [posts(Started("t0000", 1), after_s=7.0), posts(Finished("t0000", 1, 0.5))]
    other = tmp_path / "limited"
    other.mkdir()
    stage = Stage(other, late, kind=InThisThread, max_time_s=30.0)
    assert stage.run() == "finished"
    assert stage.executor.waits == [30.0, 23.0]


def test_a_wait_is_never_negative_and_a_passed_limit_ends_the_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [posts(after_s=9.0)], max_time_s=5.0)
    assert stage.run(from_s=7.0) == "time_limit"
    assert stage.records[0] == ("SlotsChanged", 7.0)
    assert stage.executor.waits == []
    assert stage.executor.asked[0] == ("resume_from", 7.0, {})


def test_a_run_that_goes_on_begins_with_that_and_its_steps_and_time_so_far(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WHOLE)
    for event in (
        SlotsChanged(1),
        Started("t0000", 1),
        Reported("t0000", 1, 0, 0.1),
        Reported("t0000", 1, 1, 0.2),
        Interrupted("Ctrl-C"),
    ):
        stage.scheduler.handle(event, 4.0)
    stage.executor.steps = [
        posts(Started("t0000", 2)),
        posts(Finished("t0000", 2, 0.5)),
    ]
    assert stage.run(resumed=Resumed({"retries": 0}), from_s=4.0) == "finished"
    assert stage.records[0] == ("Resumed", 4.0)
    assert stage.executor.asked[:3] == [
        ("resume_from", 4.0, {"t0000": 2}),
        ("start", PROGRAM),
        "Launch",
    ]


def test_a_run_that_is_over_when_it_goes_on_starts_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WHOLE)
    for event in (SlotsChanged(1), Started("t0000", 1), Finished("t0000", 1, 0.5)):
        stage.scheduler.handle(event, 1.0)
    assert stage.run(resumed=Resumed({})) == "finished"
    assert [what for what in stage.executor.asked if what != "Finish"] == [
        ("resume_from", 0.0, {}),
        "close",
    ]


def test_what_comes_after_the_end_is_not_recorded(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [WHOLE[0], posts(Finished("t0000", 1, 0.5), SlotsChanged(9))])
    assert stage.run() == "finished"
    assert stage.records[-1][0] == "Finish"
    assert stage.scheduler.slots == 1


# What goes wrong.


def test_a_lost_cluster_interrupts_the_run_with_the_reason(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [raises(ClusterGone("the scheduler is gone"))])
    with pytest.raises(ClusterGone):
        stage.run()
    assert [kind for kind, _ in stage.records][-3:] == ["Interrupted", "Kill", "Finish"]
    last = list(read_journal(stage.path))[-3]
    assert last["reason"] == "the scheduler is gone"
    assert stage.executor.asked[-1] == "close"
    assert gc.get_freeze_count() == 0


def test_a_trial_without_room_on_the_disk_ends_the_run_and_is_not_recorded(tmp_path: Path) -> None:
    full = Failed("t0000", 1, Failure(FailureKind.DISK_FULL, "No space left"))
    stage = Stage(tmp_path, [posts(Started("t0000", 1)), posts(full)])
    with pytest.raises(DiskFull, match="t0000 can't go on: No space left"):
        stage.run()
    kinds = [kind for kind, _ in stage.records]
    assert "Failed" not in kinds
    assert kinds[-3:] == ["Interrupted", "Kill", "Finish"]
    assert stage.scheduler.status == "interrupted"


def test_any_other_failure_is_the_trials_own(tmp_path: Path) -> None:
    failed = Failed("t0000", 1, Failure(FailureKind.SETUP, "no data"))
    stage = Stage(tmp_path, [posts(failed)])
    assert stage.run() == "finished"
    assert ("Failed", 0.0) in stage.records


def test_a_journal_that_can_not_be_written_ends_everything(tmp_path: Path) -> None:
    class Full(Journal):
        def append_event(self, event: Event, time_s: float) -> None:
            if isinstance(event, Started):
                raise JournalError("no room")
            super().append_event(event, time_s)

    stage = Stage(tmp_path, WHOLE, journal=Full)
    with pytest.raises(JournalError, match="no room"):
        stage.run()
    assert stage.executor.asked[-1] == "close"
    assert stage.scheduler.book.trials["t0000"].state == "launched"


def test_its_state_is_asserted_after_every_event_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in ("1", "0", ""):
        monkeypatch.setenv("DOTRAIN_VALIDATE", asked)
        folder = tmp_path / f"asked-{asked}"
        folder.mkdir()
        stage = Stage(folder, WHOLE)
        calls: list[str] = []
        stage.scheduler.validate = lambda calls=calls: calls.append("")  # type: ignore[method-assign,misc]
        stage.run()
        assert len(calls) == (3 if asked == "1" else 0)


# Signals.


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGINT, "interrupted by Ctrl-C"), (signal.SIGTERM, "interrupted by SIGTERM")],
)
def test_a_first_signal_ends_the_run_cleanly(tmp_path: Path, number: int, reason: str) -> None:
    told = Told()
    stage = Stage(tmp_path, [posts(Started("t0000", 1)), signals(number)], told)
    assert stage.run() == "interrupted"
    assert stage.executor.asked[-4:] == ["interrupt", "Kill", "Finish", "close"]
    assert next(read_journal_backwards(stage))["reason"] == reason
    assert told.told.count("on_interrupt") == 1


def read_journal_backwards(stage: Stage) -> Any:
    return reversed(list(read_journal(stage.path)))


class Told(Observer):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        self.told.append("on_event")

    def on_pulse(self, time_s: float) -> None:
        self.told.append(f"on_pulse {time_s:g}")

    def on_interrupt(self) -> None:
        self.told.append("on_interrupt")

    def close(self) -> None:
        self.told.append("close")


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [signals(signal.SIGINT, signal.SIGTERM)])
    with pytest.raises(Interrupt):
        stage.run()
    assert stage.executor.asked[-4:] == ["Kill", "Finish", "abort", "close"]
    assert stage.scheduler.status == "interrupted"


def test_a_signal_while_the_executor_closes_aborts_it(tmp_path: Path) -> None:
    class Slow(Scripted):
        def close(self) -> None:
            self.asked.append("close")
            raise KeyboardInterrupt

    told = Told()
    stage = Stage(tmp_path, WHOLE, told, kind=Slow)
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert stage.executor.asked[-2:] == ["close", "abort"]
    assert told.told[-1] == "close"


def test_a_function_on_this_thread_is_broken_off(tmp_path: Path) -> None:
    reached = []

    def step(executor: Scripted) -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append("behind the signal")

    stage = Stage(tmp_path, [step], kind=InThisThread)
    assert stage.run() == "interrupted"
    assert reached == []
    (tmp_path / "b").mkdir()
    stage = Stage(tmp_path / "b", [step])
    assert stage.run() == "interrupted"
    assert reached == ["behind the signal"]


def test_a_signal_in_the_middle_of_an_event_waits_until_it_is_taken_in(tmp_path: Path) -> None:
    class Early(Journal):
        def append_event(self, event: Event, time_s: float) -> None:
            super().append_event(event, time_s)
            if isinstance(event, Started):
                signal.raise_signal(signal.SIGINT)

    stage = Stage(tmp_path, WHOLE, kind=InThisThread, journal=Early)
    assert stage.run() == "interrupted"
    assert [kind for kind, _ in stage.records][-4:] == ["Started", "Interrupted", "Kill", "Finish"]
    assert len(stage.executor.waits) == 1


def test_on_another_thread_the_signals_are_left_alone(tmp_path: Path) -> None:
    seen: list[Any] = []

    def step(executor: Scripted) -> None:
        seen.append(signal.getsignal(signal.SIGINT))
        WHOLE[0](executor)

    for name, on_main in (("main", True), ("other", False)):
        (tmp_path / name).mkdir()
        stage = Stage(tmp_path / name, [step, WHOLE[1]])
        if on_main:
            stage.run()
        else:
            thread = threading.Thread(target=stage.run)
            thread.start()
            thread.join(30)
        assert stage.scheduler.status == "finished"
    assert getattr(seen[0], "__name__", "") == "_on_signal"
    assert seen[1] is signal.getsignal(signal.SIGINT)


def test_pulses_are_told_with_the_time_of_the_run(tmp_path: Path) -> None:
    told = Told()
    Stage(tmp_path, [posts(after_s=1.0), posts(after_s=0.5), *WHOLE], told).run(from_s=10.0)
    assert [what for what in told.told if what.startswith("on_pulse")] == [
        "on_pulse 11",
        *["on_pulse 11.5"] * 3,
    ]
    assert told.told[-1] == "close"
