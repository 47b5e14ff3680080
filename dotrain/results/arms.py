"""What the arms of a study have come to, and what each component is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, final

from dotrain.ablation.statistics import Effect, mean_ci95
from dotrain.core.trial import Trial, TrialState
from dotrain.results.marks import marks_text

#: Verdicts as they fit into a column; every other begins "not distinguishable from noise".
_SHORT = {"": "", "helps": "helps", "hurts": "hurts", "no pair of runs to compare": "no pair"}


class WithoutPair(NamedTuple):
    """A run that gives no value, so that its seed has no pair."""

    seed: int
    trial_id: str
    message: str


@final
@dataclass(frozen=True)
class ArmResult:
    """What one arm has come to; of all but the baseline, what its component is worth.

    Attributes:
        name: Its name: of its component, or of several.
        kind: ``baseline``, ``pair``, or that of its component.
        left_out: The components that are left out in it.
        changes: What was changed in the model, for people.
        params: Parameters of the model; of all but the baseline the difference from it.
        seeds: The study's.
        runs: For each seed the trial, None if it was not launched.
        effect: How it differs from the baseline; None without a pair of runs.
        p_holm: Of the effect, adjusted for all comparisons of the study.
        verdict: What can be said of it, in words.
    """

    name: str
    kind: str
    left_out: Sequence[str]
    changes: Sequence[str]
    params: int | None
    seeds: Sequence[int]
    runs: Sequence[Trial | None] = field(repr=False)
    effect: Effect | None = None
    p_holm: float | None = None
    verdict: str = ""

    @cached_property
    def metric(self) -> Mapping[int, float]:
        """The metric by the seed's index, of the runs that have come to an end."""
        return {
            index: trial.final_metric
            for index, trial in enumerate(self.runs)
            if trial is not None
            and trial.final_metric is not None
            and trial.state in (TrialState.FINISHED, TrialState.STOPPED)
        }

    @property
    def values(self) -> list[float | None]:
        """The metric for each seed."""
        return [self.metric.get(index) for index in range(len(self.seeds))]

    @cached_property
    def mean_ci95(self) -> tuple[float | None, tuple[float, float] | None]:
        """The mean of the values, and its 95 % interval; None of a single value."""
        return mean_ci95(list(self.metric.values())) if self.metric else (None, None)

    @property
    def launched(self) -> list[tuple[int, Trial]]:
        """The runs with their seeds."""
        runs = zip(self.seeds, self.runs, strict=True)
        return [(seed, trial) for seed, trial in runs if trial is not None]

    @property
    def seconds(self) -> dict[str, float | None]:
        """The mean time ``seconds_per_step``, and ``seconds_per_run`` if no step is reported."""
        done = [trial for index, trial in enumerate(self.runs) if trial and index in self.metric]
        paces = [trial.busy_s / trial.steps_run for trial in done if trial.steps_run]
        if done and not paces:
            per_run = sum(trial.busy_s for trial in done) / len(done)
            return {"seconds_per_step": None, "seconds_per_run": per_run}
        return {"seconds_per_step": sum(paces) / len(paces) if paces else None}

    @property
    def without_pair(self) -> dict[str, list[WithoutPair]]:
        """The runs that ``failed``, and those that ``diverged``."""
        failed = [WithoutPair(s, t.trial_id, t.error.message) for s, t in self.launched if t.error]
        diverged = [(s, t.trial_id, t.divergence) for s, t in self.launched if t.divergence]
        return {"failed": failed, "diverged": [WithoutPair(*one) for one in diverged]}

    @property
    def missing(self) -> int:
        """How many runs are still to come."""
        ended = len(self.metric) + sum(map(len, self.without_pair.values()))
        return len(self.seeds) - ended

    @property
    def n(self) -> int:
        """Pairs of runs."""
        return self.effect.n if self.effect else 0

    @property
    def p(self) -> float | None:
        """Of the effect, by itself."""
        return self.effect.p if self.effect else None

    @property
    def short_verdict(self) -> str:
        """The verdict as it fits into a column."""
        return _SHORT.get(self.verdict, "unclear")

    def to_json(self) -> dict[str, Any]:
        """Return what a result holds; more of an arm that was compared with the baseline."""
        (mean, ci95), effect = self.mean_ci95, self.effect
        without = {fate: [r._asdict() for r in runs] for fate, runs in self.without_pair.items()}
        told = {
            "left_out": list(self.left_out),
            "changes": list(self.changes),
            "values": self.values,
            "mean": mean,
            "ci95": ci95 and list(ci95),
            "params": self.params,
            **self.seconds,
            "failed": without["failed"],
            "states": [trial and str(trial.state) for trial in self.runs],
            "marks": ["" if trial is None else marks_text(trial) for trial in self.runs],
            "diverged": without["diverged"],
        }
        compared = {
            "delta": effect and effect.delta,
            "delta_ci95": effect and effect.delta_ci95 and list(effect.delta_ci95),
            "p": self.p,
            "p_holm": self.p_holm,
            "n": self.n,
            "verdict": self.verdict,
        }
        return {"name": self.name, "kind": self.kind, **told, **compared} if self.verdict else told
