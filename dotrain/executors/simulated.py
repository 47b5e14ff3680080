"""Virtual time: the real scheduler and policies over modelled workers, curves and faults.

For tests, forecasts ("how long would 60 trials take on 8 workers?") and scale studies. The train
function is not called; a curve and durations of the user's are, where the options name them. All else follows
from a seed: equal runs give equal journals, byte by byte. A trial that begins from another's checkpoint goes on with the
curve of its own configuration, from that step on: how long a run takes is a forecast, how good such a trial is isn't.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import Field

from dotrain.config.section import Section
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
    TrialEvent,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Instruction, Kill, Launch, Stop
from dotrain.core.seeding import derive_rng
from dotrain.executors.base import AbstractExecutor, NamedFunction, Post
from dotrain.executors.modelled import ASKED_FOR, NotModelled, load_functions
from dotrain.executors.virtual_clock import VirtualClock
from dotrain.space import Params
from dotrain.training.program import Program

#: (params, step from 0, the trial's seed) -> the metric's value.
Curve = Callable[[Params, int, int], float]
#: The same -> how long the step takes, in seconds.
Duration = Callable[[Params, int, int], float]


Probability = Annotated[float, Field(ge=0, lt=1)]


class SimulationModel(Section):
    """What a simulated run makes up: the options of ``cluster.kind: simulated``."""

    seed: int = Field(default=0, ge=0, description="Of what is made up, not of the search.")
    curve: str | None = Field(
        default=None,
        description="The metric of a configuration at a step, as path.py:function or module:function; asks for "
        "any of params, step (from 0) and seed (the trial's). By default it is made up.",
    )
    duration: str | None = Field(
        default=None,
        description="How long a step takes, in seconds (>= 0): a function like curve. By default step_s with its "
        "spread.",
    )
    steps: int = Field(default=10, ge=1, description="Steps of a trial without a budget.")
    step_s: float = Field(default=1.0, gt=0, description="Mean duration of a step, in seconds.")
    spread: float = Field(
        default=0.5, ge=0, le=1, description="Relative spread of durations between trials."
    )
    launch_s: float = Field(
        default=0.01, ge=0, description="From a launch to the function's start, in seconds."
    )
    best: float = Field(default=1.0, description="The value the best configuration tends to.")
    noise: float = Field(default=0.01, ge=0, description="Standard deviation of a report.")
    checkpoints: bool = Field(
        default=True, description="Whether a next attempt goes on where the last one was."
    )
    failing: Probability = Field(default=0.0, description="Probability that an attempt raises.")
    losing: Probability = Field(
        default=0.0, description="Probability that an attempt's worker dies."
    )
    hanging: Probability = Field(
        default=0.0, description="Probability that an attempt never reports again."
    )
    diverging: Probability = Field(
        default=0.0, description="Probability that an attempt's metric becomes NaN."
    )
    repeating: Probability = Field(
        default=0.0, description="Probability that a step is reported twice, the second time anew."
    )
    stragglers: Probability = Field(default=0.0, description="Probability that an attempt is slow.")
    straggler_factor: float = Field(
        default=10.0, ge=1, description="How many times slower a slow attempt is."
    )
    restart_s: float = Field(
        default=5.0, ge=0, description="Until a dead worker is back, in seconds."
    )
    duplicates: Probability = Field(
        default=0.0, description="Probability that a message arrives twice."
    )
    late: Probability = Field(
        default=0.0,
        description="Probability that a lost attempt goes on unseen and its messages arrive late.",
    )


@dataclass(eq=False, slots=True)
class _Attempt:
    """One running attempt: what it does next, and whether it has been told to end."""

    launch: Launch
    rng: Random
    events: Iterator[TrialEvent]
    slow: float = 1.0
    stopping: bool = False
    #: Written off by the scheduler, or its worker is gone.
    over: bool = False


class SimulatedExecutor(AbstractExecutor):
    """In virtual time: nothing is trained, durations, results and faults are made up.

    Attributes:
        curve: The metric of a configuration at a step; one that is made up, unless it is set.
        duration: How long a step of a configuration takes; by default that is made up.
    """

    concurrent = False
    is_virtual = True
    runs_on_this_machine = True

    def __init__(
        self,
        workers: int | None = None,
        options: SimulationModel = SimulationModel(),  # noqa: B008
    ) -> None:
        """Make an executor.

        Args:
            workers: How many trials run at a time; by default one.
            options: What to make up.
        """
        self._workers = self._up = workers or 1
        self._asked = workers
        self._model = options
        self.curve: Curve = self._made_up
        self.duration: Duration | None = None
        self._clock = VirtualClock()
        self._attempts: dict[tuple[str, int], _Attempt] = {}
        self._checkpoints: dict[str, int] = {}

    def named_functions(self) -> Iterator[NamedFunction]:
        """Yield the curve and the duration, if options name them."""
        for key in ("curve", "duration"):
            spec: str | None = getattr(self._model, key)
            if spec is not None:
                yield NamedFunction(key, spec, ASKED_FOR)

    def slots(self, per_trial: int) -> int:
        """Return the workers asked for, or those of one trial."""
        return self._asked or per_trial

    def prepare(self, log_dir: Path, per_trial: int, program: Any = None) -> None:
        """Have workers for one trial at least."""
        self._workers = self._up = self.slots(per_trial)

    def start(self, program: Program | None, post: Post) -> None:
        """Offer the slots."""
        if self.functions and program is not None:
            loaded = load_functions(self.functions, program)
            self.curve = loaded.get("curve", self.curve)
            self.duration = loaded.get("duration", self.duration)
        self._post = post
        post(SlotsChanged(self._workers))

    def clock_s(self) -> float:
        """Return the virtual time."""
        return self._clock.now_s

    def carry_out(self, instruction: Instruction) -> None:
        """Put what follows from an instruction into the future."""
        match instruction:
            case Launch():
                if self._model.checkpoints and instruction.begins_from:
                    self._checkpoints.setdefault(instruction.trial_id, instruction.begins_at)
                self._launch(instruction)
            case Stop():
                self._attempts[instruction.trial_id, instruction.attempt].stopping = True
            case Kill():
                attempt = self._attempts.pop((instruction.trial_id, instruction.attempt), None)
                if attempt is not None:
                    attempt.over = True

    def pump(self, timeout_s: float) -> None:
        """Go to the next event, or by `timeout_s` if nothing happens before."""
        until = self._clock.now_s + timeout_s
        if self._clock and self._clock.next_s() <= until:
            self._clock.step()
        elif timeout_s > 0 and (self._clock or math.isfinite(timeout_s)):
            self._clock.now_s = until
        elif not self._clock:
            self._post(Interrupted("nothing is left to happen in the simulation"))

    def close(self) -> None:
        """Nothing to leave behind."""

    def date(self) -> datetime:
        """Return the beginning of time: a simulation has no date."""
        return datetime.fromtimestamp(0, UTC)

    def resume_from(self, time_s: float, steps: Mapping[str, int]) -> None:
        """Set the clock and the checkpoints to where an earlier simulation was."""
        self._clock.now_s = time_s
        if self._model.checkpoints:
            self._checkpoints = dict(steps)

    def _launch(self, launch: Launch) -> None:
        rng = derive_rng(self._model.seed, launch.trial_id, launch.attempt)
        attempt = _Attempt(launch, rng, self._life(launch, rng))
        if rng.random() < self._model.stragglers:
            attempt.slow = self._model.straggler_factor
        self._attempts[launch.trial_id, launch.attempt] = attempt
        self._later(attempt, self._model.launch_s)

    def _later(self, attempt: _Attempt, mean_s: float) -> None:
        factor = 1.0 + self._model.spread * (2.0 * attempt.rng.random() - 1.0)
        when = self._clock.now_s + mean_s * factor * attempt.slow
        self._clock.at(when, lambda: self._go_on(attempt))

    def _work(self, attempt: _Attempt, done: Started | Reported) -> None:
        """Let an attempt take the step after what it has done last, if there is one."""
        if self.duration is None:
            self._later(attempt, self._model.step_s)
            return
        step = done.step + 1 if isinstance(done, Reported) else done.resume_step
        launch = attempt.launch
        duration_s = 0.0
        if step < self._last(launch):
            try:
                duration_s = self.duration(launch.varied, step, launch.seed)
            except NotModelled as error:
                failed = Failed(launch.trial_id, launch.attempt, error.failure)
                attempt.events = iter([failed])
        when = self._clock.now_s + duration_s * attempt.slow
        self._clock.at(when, lambda: self._go_on(attempt))

    def _last(self, launch: Launch) -> int:
        """Return the step before which an attempt ends."""
        return self._model.steps if launch.budget is None else int(launch.budget)

    def _go_on(self, attempt: _Attempt) -> None:
        if attempt.over:
            return
        launch = attempt.launch
        if attempt.stopping:
            self._end(attempt, Stopped(launch.trial_id, launch.attempt))
            return
        try:
            event = next(attempt.events, None)
        except NotModelled as error:
            event = Failed(launch.trial_id, launch.attempt, error.failure)
        if event is None:
            return  # it hangs
        if isinstance(event, Lost):
            self._lose(attempt, event)
        elif isinstance(event, Started | Reported):
            if isinstance(event, Reported) and self._model.checkpoints:
                self._checkpoints[launch.folder] = event.step + 1
            self._work(attempt, event)
            self._send(attempt, event)
        else:
            self._end(attempt, event)

    def _end(self, attempt: _Attempt, event: TrialEvent) -> None:
        attempt.over = True
        self._attempts.pop((attempt.launch.trial_id, attempt.launch.attempt), None)
        self._send(attempt, event)

    def _lose(self, attempt: _Attempt, event: Lost) -> None:
        if attempt.rng.random() < self._model.late:
            # The network was at fault: the attempt goes on, and its messages come too late.
            rest = [later for later in attempt.events if not isinstance(later, Lost)]
            for index, later in enumerate(rest):
                when = self._clock.now_s + (index + 1) * self._model.step_s
                self._clock.at(when, lambda later=later: self._post(later))  # type: ignore[misc]
        self._end(attempt, event)
        self._up -= 1
        self._post(SlotsChanged(self._up))
        self._clock.at(self._clock.now_s + self._model.restart_s, self._restart)

    def _restart(self) -> None:
        self._up += 1
        self._post(SlotsChanged(self._up))

    def _send(self, attempt: _Attempt, event: Event) -> None:
        self._post(event)
        if attempt.rng.random() < self._model.duplicates and not isinstance(event, Reported):
            self._post(event)

    def _life(self, launch: Launch, rng: Random) -> Iterator[TrialEvent]:
        """Yield what an attempt does, drawn from its own generator."""
        model, name = self._model, (launch.trial_id, launch.attempt)
        first = self._checkpoints.get(launch.folder, 0)
        last = self._last(launch)
        fate, moment = rng.random(), rng.randint(first, max(first, last - 1))
        if launch.begins_from and not first:
            message = f"{launch.begins_from} has no checkpoint to begin from (checkpoints: false)"
            yield Failed(*name, Failure(FailureKind.SETUP, message))
        yield Started(*name, f"simulated-{launch.trial_id}", first)
        value = self.curve(launch.varied, max(0, first - 1), launch.seed)
        for step in range(first, last):
            if step == moment:
                if fate < model.failing:
                    yield Failed(*name, Failure(FailureKind.EXCEPTION, "RuntimeError: made up"))
                elif fate < model.failing + model.losing:
                    yield Lost(*name, "its simulated worker died")
                elif fate < model.failing + model.losing + model.hanging:
                    return
                elif fate < model.failing + model.losing + model.hanging + model.diverging:
                    yield Diverged(*name, f"reported nan at step {step}")
            value = self.curve(launch.varied, step, launch.seed)
            if not math.isfinite(value):
                yield Diverged(*name, f"reported {value} at step {step}")
            if model.repeating and rng.random() < model.repeating:
                yield Reported(*name, step, value + rng.gauss(0.0, model.noise))
                yield Reported(*name, step, value, replaces=1)
            else:
                yield Reported(*name, step, value)
        yield Finished(*name, value)

    def _made_up(self, params: Params, step: int, seed: int) -> float:
        """A power law that ends at a quality which the parameters decide."""
        text: list[Any] = sorted(params.items())
        quality = derive_rng(self._model.seed, "quality", repr(text)).random()
        noise = derive_rng(seed, "noise", step).gauss(0.0, self._model.noise)
        return self._model.best * (1.0 - 0.5 * quality - 0.5 / (step + 1.0)) + noise
