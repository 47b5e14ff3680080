"""The live table, the plain lines and the estimate, in virtual time."""

from __future__ import annotations

import heapq
import io
import math
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from dotrain.ablation.components import Switch
from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.study import BASELINE, Arm, Study
from dotrain.core.events import (
    Diverged,
    Event,
    Failed,
    Finished,
    Interrupted,
    Lost,
    Reported,
    SlotsChanged,
    Started,
    Stopped,
    TimePassed,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Instruction, Launch
from dotrain.core.limits import Limits
from dotrain.core.observer import Observer, RunView
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.scheduler import Scheduler
from dotrain.earlystop.median import MedianStop
from dotrain.earlystop.none import NoStop
from dotrain.executors.simulated import SimulatedExecutor, SimulationModel
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.report.columns import Column, fit, pack
from dotrain.report.live import LiveTable
from dotrain.report.plain import Plain
from dotrain.report.progress import Left, Progress
from dotrain.report.subject import Subject
from dotrain.report.text import rough_duration, spark_line
from dotrain.results.text import params_text, printable
from dotrain.space import Searchspace
from tests.conftest import Project

SPACE = Searchspace(x=("DOUBLE", [0.0, 1.0]))


@dataclass
class Watched:
    """A simulated search, and what was estimated of it."""

    scheduler: Scheduler
    end_s: float = 0.0
    estimates: list[tuple[float, Left | None]] = field(default_factory=list)

    def at(self, share: float) -> tuple[float, Left | None]:
        """Return the truth and the estimate when a share of the time had passed."""
        time_s, left = [e for e in self.estimates if e[0] <= share * self.end_s][-1]
        return self.end_s - time_s, left


def prepared(
    optimizer: AbstractOptimizer, stop: AbstractEarlyStop, num_trials: int | None, **options: Any
) -> Scheduler:
    optimizer.setup(SPACE, num_trials, "max", options.get("seed", 0))
    optimizer.initialize()
    stop.initialize()
    return Scheduler(optimizer, stop, **options)


def watch(
    optimizer: AbstractOptimizer,
    stop: AbstractEarlyStop | None = None,
    observe: Callable[[Scheduler], Observer] = lambda scheduler: Observer(),
    *,
    num_trials: int | None = 40,
    workers: int = 4,
    seed: int = 0,
    limits: Limits | None = None,
    from_s: float = 0.0,
    **model: Any,
) -> Watched:
    """Run a search in virtual time under the eyes of an observer."""
    scheduler = prepared(
        optimizer, stop or NoStop(), num_trials, seed=seed, limits=limits or Limits()
    )
    made_up = SimulationModel(**{"seed": seed, "steps": 10, **model})
    executor = SimulatedExecutor(workers, made_up)
    executor.resume_from(from_s, {})
    view = RunView(scheduler)
    progress = Progress(view, optimizer.plan())
    observer = observe(scheduler)
    watched = Watched(scheduler)
    observer.start(view)

    def post(event: Event) -> None:
        time_s = executor.clock_s()
        instructions = scheduler.handle(event, time_s)
        for instruction in instructions:
            executor.carry_out(instruction)
        news = event if scheduler.took_in else TimePassed()
        for _ in progress.on_event(news, instructions, time_s):
            pass
        observer.on_event(news, instructions, time_s)
        watched.estimates.append((time_s, progress.left(time_s)))

    executor.start(None, post)
    while scheduler.status is None:
        deadline = scheduler.next_deadline()
        executor.pump(float("inf") if deadline is None else deadline - executor.clock_s())
        if deadline is not None and deadline <= executor.clock_s():
            post(TimePassed())
        observer.on_pulse(executor.clock_s())
    observer.close()
    watched.end_s = executor.clock_s()
    return watched


def ratios(runs: Iterable[Watched], bound: str, shares: Sequence[float] = (0.25, 0.5, 0.75)):
    """Yield estimate / truth, and check what the estimates say they are."""
    for run in runs:
        for share in shares:
            truth, left = run.at(share)
            if left is not None:
                assert left.bound == bound
                yield left.seconds / truth


# ---- the estimate ----


@pytest.mark.parametrize(
    "model",
    [{}, {"steps": 1}, {"losing": 0.2}, {"failing": 0.2}, {"spread": 1.0}],
    ids=["plain", "one report", "slots come and go", "failures", "uneven"],
)
def test_the_estimate_of_a_random_search_is_within_a_factor_of_one_and_a_half(
    model: dict[str, Any],
) -> None:
    found = list(
        ratios((watch(RandomSearch(), seed=seed, **model) for seed in range(6)), bound="about")
    )
    assert len(found) == 6 * 3
    assert all(1 / 1.5 <= ratio <= 1.5 for ratio in found), found


def test_with_early_stops_it_is_within_a_factor_of_two() -> None:
    found = list(
        ratios(
            (watch(RandomSearch(), MedianStop(), seed=seed) for seed in range(6)),
            bound="about",
        )
    )
    assert len(found) == 6 * 3
    assert all(1 / 2 <= ratio <= 2 for ratio in found), found


@pytest.mark.parametrize("stop", [NoStop, MedianStop])
@pytest.mark.parametrize("checkpoints", [True, False])
def test_of_successive_halving_it_is_a_lower_bound_and_says_so(
    checkpoints: bool, stop: type[AbstractEarlyStop]
) -> None:
    runs = (
        watch(ASHA(resource_max=27), stop(), num_trials=60, seed=seed, checkpoints=checkpoints)
        for seed in range(6)
    )
    found = list(ratios(runs, bound="at least"))
    assert len(found) >= 6 * 2
    assert max(found) <= 1.25, found
    assert sorted(found)[len(found) // 2] >= 0.4, found


def test_the_time_limit_bounds_it() -> None:
    run = watch(RandomSearch(), limits=Limits(max_time_s=60.0))
    truth, left = run.at(0.5)
    assert left == Left(truth, "at most")


def test_there_is_none_before_anything_can_be_known() -> None:
    run = watch(RandomSearch())
    first_end = min(t.results and t.story[-1].time_s for t in run.scheduler.book.trials.values())
    assert all(left is None for time_s, left in run.estimates if time_s < first_end)


def test_the_time_before_a_run_goes_on_does_not_count() -> None:
    began, later = watch(RandomSearch()), watch(RandomSearch(), from_s=1e6)
    for (_, left), (_, left_later) in zip(began.estimates, later.estimates, strict=True):
        assert (left is None) == (left_later is None)
        if left and left_later:
            assert left.seconds == pytest.approx(left_later.seconds, abs=0.01)


def scripted(life: Callable[[Launch], list[tuple[float, Event]]], trials: int = 40) -> Watched:
    """Watch a search with four workers, of which every attempt does as told.

    Args:
        life: Of an attempt: what happens, and how many seconds after its launch.
        trials: How many.
    """
    optimizer = RandomSearch()
    scheduler = prepared(optimizer, NoStop(), trials, limits=Limits(max_failures=100))
    progress = Progress(RunView(scheduler), optimizer.plan())
    watched = Watched(scheduler)
    events: list[tuple[float, int, Event]] = [(0.0, 0, SlotsChanged(4))]
    count = 0
    while events:
        time_s, _, event = heapq.heappop(events)
        instructions = scheduler.handle(event, time_s)
        list(progress.on_event(event, instructions, time_s))
        watched.estimates.append((time_s, progress.left(time_s)))
        for instruction in instructions:
            if isinstance(instruction, Launch):
                for after_s, later in life(instruction):
                    count += 1
                    heapq.heappush(events, (time_s + after_s, count, later))
    assert scheduler.status == "finished"
    watched.end_s = time_s
    return watched


def quietly(name: tuple[str, int], seconds: float = 10.0) -> list[tuple[float, Event]]:
    return [(0.0, Started(*name)), (seconds, Finished(*name, 0.5))]


def some_fail(is_failing: Callable[[int], bool]) -> Callable[[Launch], list[tuple[float, Event]]]:
    def life(launch: Launch) -> list[tuple[float, Event]]:
        name = launch.trial_id, launch.attempt
        if is_failing(int(launch.trial_id[1:])):
            failed = Failed(*name, Failure(FailureKind.EXCEPTION, "ValueError"))
            return [(0.0, Started(*name)), (0.1, failed)]
        return quietly(name)

    return life


def the_first_diverge(launch: Launch) -> list[tuple[float, Event]]:
    name = launch.trial_id, launch.attempt
    if launch.trial_id < "t0012":
        return [(0.0, Started(*name)), (0.5, Diverged(*name, "reported nan at step 0"))]
    return quietly(name)


def the_first_stop(launch: Launch) -> list[tuple[float, Event]]:
    name = launch.trial_id, launch.attempt
    if launch.trial_id < "t0012":
        return [(0.0, Started(*name)), (0.5, Reported(*name, 0, 0.5)), (1.0, Stopped(*name))]
    return quietly(name)


def lost_first(launch: Launch) -> list[tuple[float, Event]]:
    """Its worker dies after eight of ten steps; the next one goes on from a checkpoint."""
    name = launch.trial_id, launch.attempt
    if launch.attempt == 1:
        return [(0.0, Started(*name)), (8.0, Lost(*name, "its worker died"))]
    return [(0.0, Started(*name, resume_step=8)), (2.0, Finished(*name, 0.5))]


@pytest.mark.parametrize(
    "life",
    [
        some_fail(lambda number: number < 12),
        some_fail(lambda number: number in (0, 1, 2)),
        some_fail(lambda number: number % 2 == 0),
        the_first_diverge,
        the_first_stop,
        lost_first,
    ],
    ids=[
        *("the first fail", "three of four fail", "every second fails"),
        *("the first diverge", "the first stop", "lost"),
    ],
)
def test_what_ends_early_is_not_how_long_a_trial_takes(
    life: Callable[[Launch], list[tuple[float, Event]]],
) -> None:
    watched = scripted(life)
    found = [
        (time_s, left.seconds / (watched.end_s - time_s))
        for time_s, left in watched.estimates
        if left is not None and time_s < 0.85 * watched.end_s
    ]
    assert len(found) > 10
    assert all(1 / 1.6 <= ratio <= 1.6 for _, ratio in found), found


def test_reports_of_running_trials_count() -> None:
    """One trial has ended; of another, ten times as slow, the reports are known."""
    optimizer = RandomSearch()
    scheduler = prepared(optimizer, NoStop(), 2)
    progress = Progress(RunView(scheduler), optimizer.plan())

    def post(event: Event, time_s: float) -> None:
        list(progress.on_event(event, scheduler.handle(event, time_s), time_s))

    post(SlotsChanged(2), 0.0)
    for name in ("t0000", "t0001"):
        post(Started(name, 1), 0.0)
    for step in range(10):
        post(Reported("t0000", 1, step, 0.5), 1.0 + step)
    post(Finished("t0000", 1, 0.5), 10.0)
    for step in range(8):
        post(Reported("t0001", 1, step, 0.5), 10.0 * (1 + step))
    left = progress.left(80.0)
    assert left is not None
    assert 10.0 <= left.seconds <= 20.0
    post(SlotsChanged(0), 81.0)
    assert progress.left(81.0) is None


# ---- plain lines ----

MODELS = st.fixed_dictionaries(
    {
        "failing": st.sampled_from([0.0, 0.3, 0.9]),
        "losing": st.sampled_from([0.0, 0.3]),
        "hanging": st.sampled_from([0.0, 0.2]),
        "duplicates": st.sampled_from([0.0, 0.2]),
        "late": st.sampled_from([0.0, 0.5]),
    }
)


def plain_lines(optimizer: AbstractOptimizer, *arguments: Any, **options: Any) -> Any:
    stream = io.StringIO()

    def observe(scheduler: Scheduler) -> Plain:
        return Plain(Subject("a search", "score", "max", optimizer.plan()), stream)

    run = watch(optimizer, *arguments, observe=observe, **options)
    return run, stream.getvalue().splitlines()


@settings(max_examples=60, deadline=None)
@given(
    model=MODELS,
    seed=st.integers(0, 1000),
    asha=st.booleans(),
    median=st.booleans(),
    num_trials=st.integers(1, 60),
)
def test_lines_are_ten_and_one_for_each_finished_trial_at_most(
    model: dict[str, float], seed: int, asha: bool, median: bool, num_trials: int
) -> None:
    run, lines = plain_lines(
        ASHA(resource_max=9) if asha else RandomSearch(),
        MedianStop() if median else NoStop(),
        seed=seed,
        num_trials=num_trials,
        limits=Limits(trial_timeout_s=200.0),
        **model,
    )
    finished = sum(bool(trial.results) for trial in run.scheduler.book.trials.values())
    assert len(lines) <= 10 + finished
    if run.scheduler.status != "finished":
        assert lines[-1].split("] ")[1].startswith(run.scheduler.status)


def test_a_calm_search_has_a_line_for_each_trial_and_the_title() -> None:
    _, lines = plain_lines(RandomSearch(), num_trials=12)
    assert len(lines) == 1 + 12
    assert "| 12 of 12 done, best " in lines[-1]


def test_promotions_are_told_to_the_end() -> None:
    _, lines = plain_lines(ASHA(resource_max=9), num_trials=60)
    assert len(lines) <= 70
    assert "finished after 9 steps" in lines[-1]
    assert "60 of 60 tried, " in lines[-1]


def test_equal_failures_are_told_once_and_counted_after_that() -> None:
    run, lines = plain_lines(RandomSearch(), failing=0.5, num_trials=60)
    failed = run.scheduler.book.counts["failed"]
    assert failed > 20
    assert sum("made up" in line for line in lines) == 1
    assert f"{failed} failed" in lines[-1] or f"{failed - 1} failed" in lines[-1]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_running_trial_that_is_ahead_is_told(direction: Direction) -> None:
    sign = 1 if direction == "max" else -1
    stream = io.StringIO()
    optimizer = RandomSearch()
    scheduler = prepared(optimizer, NoStop(), 10)
    plain = Plain(Subject("a search", "score", direction, optimizer.plan()), stream)
    plain.start(RunView(scheduler))

    def post(event: Event) -> str:
        plain.on_event(event, scheduler.handle(event, 1.0), 1.0)
        return stream.getvalue().splitlines()[-1]

    post(SlotsChanged(4))
    for name in ("t0000", "t0001", "t0002", "t0003"):
        post(Started(name, 1))
    for name, value in (("t0001", 0.5), ("t0002", 0.25), ("t0003", -1.0)):
        post(Reported(name, 1, 4, sign * value))
    failed = post(Failed("t0003", 1, Failure(FailureKind.EXCEPTION, "ValueError: no", "u.py:3")))
    assert failed.endswith(f", no result yet; running {sign * 0.5:g} (t0001, step 4)")
    assert post(Finished("t0000", 1, sign * 0.5)).endswith(f", best {sign * 0.5:g} (t0000)")
    post(Reported("t0002", 1, 5, sign * 0.75))
    ended = post(Finished("t0001", 1, sign * 0.6))
    assert ended.endswith(f"best {sign * 0.6:g} (t0001); running {sign * 0.75:g} (t0002, step 5)")


def test_a_trial_that_diverged_is_told_once_and_counted() -> None:
    stream = io.StringIO()
    optimizer = RandomSearch()
    scheduler = prepared(optimizer, NoStop(), 10)
    plain = Plain(Subject("a search", "score", "max", optimizer.plan()), stream)
    plain.start(RunView(scheduler))
    events: list[Event] = [SlotsChanged(4)]
    events += [Started(f"t000{number}", 1) for number in range(3)]
    events += [Diverged(f"t000{number}", 1, "reported nan at step 3") for number in range(2)]
    events.append(Finished("t0002", 1, 0.5))
    for event in events:
        plain.on_event(event, scheduler.handle(event, 1.0), 1.0)
    told, last = [line.split("] ")[1] for line in stream.getvalue().splitlines()[1:]]
    why = "t0000 diverged: reported nan at step 3"
    assert told == f"{why} | 1 of 10 done, 1 diverged, no result yet"
    assert last.endswith(" | 3 of 10 done, 2 diverged, best 0.5 (t0002)")


def test_an_interrupt_and_the_end_are_told_even_when_no_line_is_left() -> None:
    stream = io.StringIO()
    optimizer = RandomSearch()
    scheduler = prepared(optimizer, NoStop(), 100)
    plain = Plain(Subject("a search", "score", "max", optimizer.plan()), stream)
    plain.start(RunView(scheduler))

    def post(event: Event) -> list[Instruction]:
        out = scheduler.handle(event, 1.0)
        plain.on_event(event, out, 1.0)
        return out

    for index in range(30):
        post(SlotsChanged(1, f"worker {index} hangs"))
    plain.on_interrupt()
    post(Interrupted("interrupted by Ctrl-C"))
    plain.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert "stopping; Ctrl-C again to stop at once" in lines[-2:]
    assert any("interrupted by Ctrl-C" in line for line in lines[-2:])


def test_a_run_that_goes_on_says_from_where() -> None:
    done = watch(RandomSearch(), num_trials=3)
    stream = io.StringIO()
    plain = Plain(Subject("a search", "score", "max"), stream)
    plain.start(RunView(done.scheduler))
    plain.close()
    assert stream.getvalue().startswith("a search; going on: 3 done, best ")


# ---- the live table ----

HOSTILE = ":a: [red]\x1b[31mevil\x07\n\u202e漢字"


def live_table(workers: int = 4, *, arms: tuple[str, ...] = ()) -> tuple[LiveTable, Scheduler]:
    """Return a table in the middle of a search, and what it shows."""
    optimizer: AbstractOptimizer = RandomSearch()
    if arms:
        components = {name: Switch(name.removeprefix("component:"), {}) for name in arms}
        left_out = [Arm(BASELINE), *(Arm(name, (name,)) for name in arms)]
        optimizer = StudyRunner(Study(components, left_out, seeds=3), 0)
    scheduler = prepared(optimizer, NoStop(), None if arms else 100)
    plan = optimizer.plan()
    subject = Subject(f"a search {HOSTILE}", "val_accuracy", "max", plan)
    if arms:
        subject = replace(subject, arms=(BASELINE, *arms), seeds=3)
    table = LiveTable(subject, io.StringIO())
    table.start(RunView(scheduler))

    def post(event: Event, time_s: float) -> None:
        table.on_event(event, scheduler.handle(event, time_s), time_s)

    post(SlotsChanged(workers), 0.0)
    post(Started("t0000", 1), 1.0)
    post(Reported("t0000", 1, 0, 0.25), 2.0)
    post(Finished("t0000", 1, 0.25), 3.0)
    post(
        Failed("t0001", 1, Failure(FailureKind.EXCEPTION, f"ValueError: {HOSTILE}", "u.py:3")), 4.0
    )
    if not arms:
        scheduler.book.active["t0002"].params["text"] = HOSTILE
    post(Started("t0002", 1), 5.0)
    for step in range(30):
        post(Reported("t0002", 1, step, 0.1 * step), 6.0 + step)
    return table, scheduler


@pytest.mark.parametrize("width", [20, 40, 80, 160])
@pytest.mark.parametrize("height", [1, 2, 4, 8, 40])
@pytest.mark.parametrize("workers", [2, 4, 50])
@pytest.mark.parametrize("arms", [(), ("component:a", "component:" + "b" * 40)])
def test_the_table_fits_every_terminal(
    width: int, height: int, workers: int, arms: tuple[str, ...]
) -> None:
    table, scheduler = live_table(workers, arms=arms)
    lines = table.frame(50.0, width, height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines), lines
    assert all(line.isprintable() for line in lines), lines
    shown = [line for line in lines if line[:1] == "t" and line[1:5].isdigit()]
    # Trial ids are whole, those that run longest come first, and the rest is counted.
    active = list(scheduler.book.active)
    assert [line.split()[0] for line in shown] == active[: len(shown)]
    if height >= 8 and len(shown) < len(active):
        assert f"... {len(active) - len(shown)} more running" in lines
        assert len(lines) == height


def test_the_table_tells_what_a_person_wants_to_know() -> None:
    table, _ = live_table()
    text = "\n".join(table.frame(50.0, 160, 40))
    for part in (
        *("best 0.25 (t0000): x=", "\nrunning 2.9 (t0002, step 29)\n"),
        *("2 of 100 done | 1 failed | 4 of 4 slots busy"),
        *("50 s elapsed", "▁", "2.9", "running", "starting", "45 s"),
    ):
        assert part in text
    assert ":a: [red]\\x1b[31mevil" in text


def test_of_a_study_it_tells_the_seeds_that_are_done_instead_of_a_best() -> None:
    table, _ = live_table(arms=("component:a",))
    text = "\n".join(table.frame(50.0, 160, 40))
    assert "0 of 3 seeds done in every arm: baseline 1, component:a 0" in text
    assert "best" not in text
    assert "arm " in text


def test_trouble_is_told_above_the_table_once() -> None:
    table, scheduler = live_table()
    stream = table.console.file
    assert isinstance(stream, io.StringIO)
    assert stream.getvalue().count("[4 s] t0001 failed at u.py:3: ValueError: :a: [red]\\x1b") == 1
    before = stream.getvalue()
    event = Failed("t0003", 1, Failure(FailureKind.EXCEPTION, "ValueError: another", "u.py:3"))
    table.on_event(event, scheduler.handle(event, 60.0), 60.0)
    lost = Lost("t0004", 1, "its worker died")
    table.on_event(lost, scheduler.handle(lost, 61.0), 61.0)
    news = stream.getvalue()[len(before) :]
    assert "t0003 failed" not in news
    assert "t0004 lost: its worker died" in news


def test_nothing_is_drawn_more_often_than_it_changes_or_than_eyes_can_follow() -> None:
    now = 0.0
    optimizer = RandomSearch()
    scheduler = prepared(optimizer, NoStop(), 10)
    stream = io.StringIO()
    table = LiveTable(Subject("a", "m", "max", optimizer.plan()), stream, clock_s=lambda: now)
    table.start(RunView(scheduler))
    scheduler.handle(SlotsChanged(2), 0.0)
    sizes = []
    for pulse in range(1000):
        now += 0.002
        table.on_pulse(0.5 + pulse / 1000)
        sizes.append(len(stream.getvalue()))
    table.close()
    # Two seconds on the wall, in which the run's clock passed from 0 s to 1 s once.
    assert len(set(sizes)) <= 3


# ---- on real streams ----

SIMULATED: dict[str, Any] = {
    "search": {"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 4},
    "cluster": {"kind": "simulated", "workers": 2},
}


def on_a_terminal(project: Project, **environment: str) -> str:
    """Return what a run writes to stderr when that is a terminal."""
    project.write("user.py", "def train(x): return x")
    project.config(name="demo", **SIMULATED)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dotrain", "run", "config.yaml", "--json"],
        cwd=project.path,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # how Linux tells that nobody has the other end any more
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    assert process.wait(60) == 0
    return b"".join(parts).decode()


def test_a_terminal_gets_a_table_that_goes_away(project: Project) -> None:
    text = on_a_terminal(project, TERM="xterm")
    assert "demo: RandomSearch" in text
    assert "\x1b[?25h" in text[-40:]  # the cursor is back
    assert "\x1b[2K" in text


def test_a_dumb_terminal_gets_plain_lines(project: Project) -> None:
    text = on_a_terminal(project, TERM="dumb")
    assert "\x1b" not in text
    assert len(text.splitlines()) == 5


def test_no_color_is_honoured(project: Project) -> None:
    text = on_a_terminal(project, TERM="xterm-256color", NO_COLOR="1")
    assert not any(f"\x1b[{code}m" in text for code in range(30, 50))


def test_colour_that_is_forced_makes_no_terminal_of_a_pipe(project: Project) -> None:
    project.write("user.py", "def train(x): return x")
    project.config(name="demo", **SIMULATED)
    environment = {**os.environ, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    done = project.cli("run", "config.yaml", env=environment)
    assert len(done.stderr.splitlines()) == 5
    assert "\x1b" not in done.stderr


def test_what_libraries_say_in_this_process_is_in_the_trials_log_alone(project: Project) -> None:
    project.write(
        "user.py",
        """
        import os, subprocess
        os.write(2, b"noise at import\\n")

        def train(x):
            os.write(1, b"noise of C\\n")
            subprocess.run(["echo", "noise of a child"], check=True)
            return x
        """,
    )
    project.config(**{**SIMULATED, "cluster": {"kind": "inline"}})
    done = project.cli("run", "config.yaml", "--json")
    assert done.returncode == 0
    assert "noise" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 5
    (log,) = project.path.glob("runs/*/*/trials/t0000/output.log")
    for noise in ("noise at import", "noise of C", "noise of a child"):
        assert noise in log.read_text()


# ---- laws of the layout ----

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).map(printable)


@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), max_size=5),
    width=st.integers(0, 60),
    least=st.integers(1, 8),
)
def test_a_fitted_table_is_as_wide_as_it_may_be(
    rows: list[tuple[str, ...]], width: int, least: int
) -> None:
    cells = list(zip(*rows, strict=True)) or [()] * 4
    columns = [
        Column("id", cells[0]),
        Column("b", cells[1], rank=2, right=True),
        Column("c", cells[2], rank=1, least=least),
        Column("d", cells[3], rank=2),
    ]
    lines, left_out = fit(columns, width)
    assert len(lines) == 1 + len(rows)
    assert max(map(cell_len, lines)) <= max(width, columns[0].full_width)
    for line, row in zip(lines[1:], rows, strict=True):
        assert line.startswith(row[0].rstrip()) or not row[0].strip()
    # Of equal rank the last goes first, and nothing of a lower rank before.
    assert left_out in ([], ["d"], ["b", "d"], ["b", "c", "d"])
    assert fit(columns, None).left_out == []


@given(st.lists(TEXTS), st.integers(1, 40))
def test_packed_lines_fit(parts: list[str], width: int) -> None:
    assert all(cell_len(line) <= width for line in pack(parts, width))


@given(st.lists(st.floats()), st.integers(1, 30), st.booleans())
@example([0.0, 1.0, math.inf, -math.inf], 3, False)
@example([-1.7e308, 1.7e308, 0.0], 3, False)
@example([1.7e308] * 4, 2, False)
def test_a_spark_line_fits(values: list[float], width: int, ascii_only: bool) -> None:
    line = spark_line(values, width, ascii_only=ascii_only)
    assert len(line) == min(width, len(values))
    assert line.isascii() or not ascii_only
    if len(values) <= width:
        # What is larger is no lower, and what is no number is seen.
        bars = "_.:-=+*#" if ascii_only else "▁▂▃▄▅▆▇█"
        shown = zip(values, line, strict=True)
        levels = [(v, bars.index(bar)) for v, bar in shown if not math.isnan(v)]
        assert [level for _, level in sorted(levels)] == sorted(level for _, level in levels)
        assert line.count("?") == sum(map(math.isnan, values))


def test_spark_lines_go_from_the_smallest_to_the_largest() -> None:
    assert spark_line([0, 1, 2, 3], 10) == "▁▃▆█"
    assert spark_line([3, 0], 10) == "█▁"
    assert spark_line([5.0] * 3, 10) == "▄▄▄"
    assert spark_line([-1.7e308, 0.0, 1.7e308], 10) == "▁▅█"
    assert spark_line([1.7e308] * 3 + [-1.7e308] * 3, 2) == "█▁"
    assert spark_line([0, 1, math.inf, math.nan, -math.inf], 10) == "▁██?▁"
    assert spark_line([0, 1, math.inf, -math.inf], 3) == "▁█?"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "5 s"),
        (43.0, "45 s"),
        (200.0, "3 min"),
        (3700.0, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
    ],
)
def test_estimates_have_few_digits(seconds: float, text: str) -> None:
    assert rough_duration(seconds) == text


def test_parameters_keep_the_terminal_as_it_is() -> None:
    assert params_text({"a": 0.123456, "b": "x\ty\x1b[2J"}) == "a=0.1235 b=x\\ty\\x1b[2J"
