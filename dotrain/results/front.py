"""What a search by several metrics has come to: the trials that no other one dominates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

from dotrain.core.front import Metrics
from dotrain.core.trial import Trial
from dotrain.results.checkpoints import Checkpoints, checkpoint_of
from dotrain.results.paths import Paths
from dotrain.results.search import AbstractSearchResult
from dotrain.results.text import count_text, number_text
from dotrain.results.trials import trial_rows, values_of, values_text


@final
@dataclass(frozen=True)
class FrontResult(AbstractSearchResult):
    """What a search by several metrics has come to, as far as it has got."""

    main_path: ClassVar[str] = "best_values"

    @cached_property
    def several(self) -> Metrics:
        """The metrics."""
        return Metrics.of(self.header)

    @cached_property
    def front(self) -> list[Trial]:
        """The feasible trials that no other one dominates, the best by the main metric first."""
        return self.several.front(self.trials)

    @cached_property
    def front_first(self) -> list[Trial]:
        """All trials: those on the front, then the others in the order of sampling."""
        return [*self.front, *(trial for trial in self.trials if not self.stands_out(trial))]

    @property
    def best(self) -> None:
        """None: of those on the front none is better than another."""

    @property
    def best_values(self) -> Mapping[str, float | None]:
        """The best value of each metric; that of another one goes with another trial, as a rule."""
        ends = {"max": max, "min": min}
        columns = zip(*(trial.values for trial in self.front), strict=True)
        best = dict(zip(self.metrics, columns, strict=False))
        return {
            name: ends[direction](best[name]) if name in best else None
            for name, direction in self.metrics.items()
        }

    @property
    def candidates(self) -> list[Trial]:
        """The trials on the front."""
        return self.front

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """What has become of the checkpoints."""
        return Checkpoints.of(
            self.trials, self.front, self.run_dir, self.freed_now, are_all_kept=True
        )

    @property
    def is_usable(self) -> bool:
        """Whether there is a front."""
        return bool(self.front)

    @property
    def headline(self) -> str:
        """How large the front is, and what it reaches from and to."""
        if not self.front:
            return self._no_result
        if self.counts.total == 1:
            return f"{values_text(self.front[0], self.metrics)} ({self.front[0].trial_id})"
        total = count_text(self.counts.total, "trial")
        return f"{len(self.front)} of {total} on the Pareto front: {self.ranges_text}"

    @property
    def ranges_text(self) -> str:
        """From where to where the front reaches by each metric: ``accuracy 0.91 to 0.97, latency_ms 1.2 to 8.4``."""
        columns = zip(*(trial.values for trial in self.front), strict=True)
        return ", ".join(
            f"{name} {_range_text(min(values), max(values))}"
            for name, values in zip(self.metrics, columns, strict=True)
        )

    def stands_out(self, trial: Trial) -> bool:
        """Whether it is on the front."""
        return trial in self._on_front

    @cached_property
    def _on_front(self) -> frozenset[Trial]:
        return frozenset(self.front)

    def dominating(self, trial: Trial) -> list[Trial]:
        """Return the trials on the front that dominate one; none if it has no values, or isn't feasible."""
        several = self.several
        return several.dominating(trial, self.front) if several.may_win(trial) else []

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A flat row for each trial, those on the front first, which ``front`` says too."""
        return trial_rows(self.front_first, self.metrics, self._on_front)

    @property
    def paths(self) -> Paths:
        """The numbers that gates may be about; a metric's name is its best value."""
        names = {name: f"{self.main_path}.{name}" for name in self.metrics}
        return Paths(self._unjudged, names)

    def _repeats_of(self, trial: Trial) -> dict[str, Any]:
        """Return what each repeat has come to, where trials are repeated."""
        if trial.repeated is None:
            return {}
        _, *others = self.metrics
        each = zip(trial.repeated.values, trial.repeated.metrics, strict=True)
        repeats = [
            {self.metric: value, **{name: beside[name] for name in others}}
            for value, beside in each
        ]
        return {"repeats": repeats}

    @cached_property
    def _unjudged(self) -> dict[str, Any]:
        front = [
            {
                "trial_id": trial.trial_id,
                "values": values_of(trial, self.metrics),
                "params": trial.params,
                **self._repeats_of(trial),
                "marks": [str(mark) for mark in trial.marks],
                "checkpoint": checkpoint_of(trial, self.run_dir, self.direction),
            }
            for trial in self.front
        ]
        found = {
            "metrics": dict(self.metrics),
            "front_size": len(front),
            "best_values": dict(self.best_values),
            "front": front,
        }
        return self._told_of_search(found)


def _range_text(low: float, high: float) -> str:
    ends = dict.fromkeys((number_text(low), number_text(high)))
    return " to ".join(ends)
