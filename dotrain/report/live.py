"""A table that follows a run; for terminals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import IO

from dotrain.core.events import Event
from dotrain.core.instructions import Instruction
from dotrain.core.observer import RunView
from dotrain.core.trial import Trial, TrialState
from dotrain.report.columns import Column, fit, pack
from dotrain.report.screen import Screen
from dotrain.report.subject import Subject
from dotrain.report.text import clip, rough_duration, spark_line, steps_text, whole_duration
from dotrain.report.watching import INTERRUPTED, Kind, News, Watching
from dotrain.results.text import number_text, params_text, printable

#: The table is drawn anew no more often than this, in seconds of the clock on the wall.
_REDRAW_S = 0.1
#: Cells of a spark line.
_SPARK = 12
_STATES = {TrialState.LAUNCHED: "starting"}


class LiveTable(Watching):
    """The trials that run, and how far the run is."""

    def __init__(
        self, subject: Subject, stream: IO[str], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Get ready; see `Watching`.

        Args:
            subject: What is about to run.
            stream: The terminal.
            clock_s: The time on the wall; the run's own may be made up.
        """
        super().__init__(subject, stream)
        self._clock_s = clock_s
        self._screen: Screen | None = None
        self._drawn_s = 0.0

    def start(self, run: RunView) -> None:
        """Open the table."""
        super().start(run)
        self._screen = Screen(self.console)
        self._draw(0.0)

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Note an event; tell of trouble above the table."""
        for news in self.take_in(event, instructions, time_s):
            if self._screen and self._is_told(news):
                self._screen.above(f"[{whole_duration(time_s)}] {news.text}")
        if self.run.status is None:
            self.on_pulse(time_s)
        else:
            self._draw(time_s)  # the last time: nothing will happen any more

    def on_pulse(self, time_s: float) -> None:
        """Draw the table anew, if it has changed, and a few times a second at most."""
        if self._clock_s() - self._drawn_s >= _REDRAW_S:
            self._draw(time_s)

    def close(self) -> None:
        """Take the table off the terminal."""
        if self._screen:
            self._screen.close()
        super().close()

    def _is_told(self, news: News) -> bool:
        if news.kind is Kind.TROUBLE:
            return not self.is_known(news)
        return news.kind is Kind.END

    def _draw(self, time_s: float) -> None:
        self._drawn_s = self._clock_s()
        if self._screen:
            # The last column stays free: some terminals wrap a line that fills theirs.
            width, height = self.console.width - 1, self.console.height
            self._screen.draw(self.frame(time_s, width, height))

    # ---- what is drawn ----

    def frame(self, time_s: float, width: int, height: int) -> list[str]:
        """Return the lines to draw.

        Args:
            time_s: Now, in seconds since the run began.
            width: Cells in a line.
            height: The most lines.
        """
        head = clip(printable(self.subject.title), width)
        foot = [*self._found(width), *pack(self._counts(time_s), width)]
        if self._is_interrupted and self.run.status is None:
            foot.append(clip(INTERRUPTED, width))
        # On a small screen, half is for the trials.
        foot = foot[-max(1, height // 2) :]
        return [head, *self._table(time_s, width, height - 1 - len(foot)), *foot][:height]

    def _table(self, time_s: float, width: int, height: int) -> list[str]:
        """Return the trials that run, those that run longest first, in `height` lines."""
        active = list(self.run.active.values())
        if height < 2 or not active:
            return []
        room = height - 1
        shown = active if len(active) <= room else active[: room - 1]
        lines, _ = fit(self._columns(shown, time_s), width)
        if len(active) > len(shown):
            lines.append(clip(f"... {len(active) - len(shown)} more running", width))
        return lines

    def _columns(self, trials: Sequence[Trial], time_s: float) -> list[Column]:
        ascii_only = self.console.options.ascii_only
        running = [
            "" if t.started_s is None else whole_duration(time_s - t.started_s) for t in trials
        ]
        sparks = [spark_line(t.metric_history, _SPARK, ascii_only=ascii_only) for t in trials]
        last = [number_text(t.metric_history[-1], 5) if t.metric_history else "" for t in trials]
        return [
            Column("trial", [t.trial_id for t in trials]),
            *self._what(trials),
            Column("state", [_state(t) for t in trials], rank=5, pad=8),
            Column("steps", [_steps(t) for t in trials], rank=2, pad=7, right=True),
            Column("so far", sparks, rank=3, pad=_SPARK),
            Column(clip(printable(self.subject.metric), 16), last, rank=1, pad=9, right=True),
            Column("running for", running, rank=4, right=True),
            *self._params(trials),
        ]

    def _what(self, trials: Sequence[Trial]) -> list[Column]:
        if not self.subject.arms:
            return []
        runs = [t.arm for t in trials if t.arm]
        arms = [printable(run.name) for run in runs]
        pad = max(len(arm) for arm in self.subject.arms)
        return [
            Column("arm", arms, rank=1, least=12, pad=min(pad, 30)),
            Column("seed", [str(run.seed_index) for run in runs], rank=2, right=True),
        ]

    def _params(self, trials: Sequence[Trial]) -> list[Column]:
        if self.subject.arms:
            return []
        return [Column("parameters", [params_text(t.params) for t in trials], rank=6, least=12)]

    def _found(self, width: int) -> list[str]:
        """Return the best so far, and who runs and is ahead; of a study, the seeds of each arm."""
        if self.subject.arms:
            arms = ", ".join(self.arms_text())
            return [clip(f"{self.best_text()}: {arms}", width)]
        ahead = self.ahead_text()
        running = [clip(ahead, width)] if ahead else []
        if self.best is None:
            return running
        trial = self.best
        reached = trial.results[-1].budget if trial.results else None
        after = "" if reached is None else f" after {steps_text(reached)}"
        text = f"{self.best_text()}{after}"
        if trial.params:
            text = f"{text}: {params_text(trial.params)}"
        return [clip(text, width), *running]

    def _counts(self, time_s: float) -> list[str]:
        parts = self.tally()
        slots = self.run.slots
        virtual = " of virtual time" if self.subject.is_virtual else ""
        elapsed = f"{whole_duration(time_s)}{virtual} elapsed"
        if self.run.status is not None:
            return [*parts, elapsed, f"{self.run.status}; ending the workers"]
        busy = f"{self.run.held} of {slots} slots busy"
        parts += [busy if slots else "waiting for a worker", elapsed]
        left = self.progress.left(time_s)
        if left is not None:
            parts.append(f"{left.bound} {rough_duration(left.seconds)} left")
        return parts


def _state(trial: Trial) -> str:
    state = _STATES.get(trial.state, str(trial.state))
    before = trial.losses + bool(trial.failed_on)
    return f"{state}, try {before + 1}" if before else state


def _steps(trial: Trial) -> str:
    done = 0 if trial.last_step is None else trial.last_step + 1
    return f"{done}" if trial.budget is None else f"{done} of {trial.budget:g}"
