"""What the benchmarks train: nothing, in several ways. Configs name these functions by path."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dotrain import AbstractEarlyStop, EarlyStop, Trial
from dotrain.core.policy import Direction
from dotrain.training.reporter import Reporter

#: The step at which `StopAt` stops a trial of `until_stopped`.
STOP_STEP = 5


def empty(x: float, reports: int, reporter: Reporter) -> float:
    """Report a few times and return."""
    for _ in range(reports):
        reporter.broadcast(x)
    return x


def sleep(x: float, seconds: float) -> dict[str, float]:
    """Take a known time, and tell when."""
    began = time.monotonic()
    time.sleep(seconds)
    return {"metric": x, "began": began, "ended": time.monotonic()}


def first_report(reporter: Reporter) -> dict[str, float]:
    """Report once, and tell when."""
    now = time.monotonic()
    reporter.broadcast(0.0)
    return {"metric": 0.0, "at": now}


def until_stopped(x: float, reporter: Reporter, trial_dir: Path) -> None:
    """Report every millisecond; write down how long the stop took to come."""
    step = 0
    began = 0.0
    try:
        while True:
            if step == STOP_STEP:
                began = time.monotonic()
            reporter.broadcast(x, step)
            step += 1
            time.sleep(0.001)
    except EarlyStop:
        (trial_dir / "latency").write_text(repr(time.monotonic() - began))
        raise


class StopAt(AbstractEarlyStop):
    """Stop every trial at the same step."""

    def earlystop_check(
        self, to_check: Mapping[str, Trial], finalized_trials: Sequence[Trial], direction: Direction
    ) -> Collection[str]:
        """Return the trials that have got there."""
        return [name for name, trial in to_check.items() if trial.step_history[-1] >= STOP_STEP]
