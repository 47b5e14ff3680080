"""What an ablation study has come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, final

from dotrain.ablation.statistics import compare, holm, verdict
from dotrain.ablation.study import BASELINE
from dotrain.core.arm import ArmRun
from dotrain.core.book import TrialBook
from dotrain.core.policy import sign_of
from dotrain.core.trial import Trial
from dotrain.results.arms import ArmResult
from dotrain.results.base import RunResult
from dotrain.results.cases import Case, arm_case
from dotrain.results.checkpoints import is_candidate
from dotrain.results.example import carry_out
from dotrain.results.numbers import Numbers
from dotrain.results.search import ranked
from dotrain.space import Categorical, Discrete, Domain, Searchspace


@final
@dataclass(frozen=True)
class StudyResult(RunResult):
    """What a study has come to, as far as it has got.

    The header's ``study`` has arms, seeds, ``adds`` and, by the arm's name, the parameters of the
    models (``params``) and what was changed in them (``changes``).
    """

    command: ClassVar[Literal["run", "ablate"]] = "ablate"
    main_path: ClassVar[str] = f"{BASELINE}.mean"
    libraries: ClassVar[Mapping[str, str]] = {"scipy": "scipy", "statsmodels": "statsmodels"}

    @property
    def kind(self) -> str:
        """``ablation``."""
        return "ablation"

    @property
    def adds(self) -> bool:
        """Whether arms add a component to the baseline, instead of leaving it out."""
        return bool(self.header["study"]["adds"])

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every arm runs with."""
        return tuple(self.header["study"]["seeds"])

    @cached_property
    def arms(self) -> list[ArmResult]:
        """All arms, in the study's order, not yet compared."""
        study, seeds = self.header["study"], self.seeds
        runs: dict[str, list[Trial | None]] = {
            a["name"]: [None] * len(seeds) for a in study["arms"]
        }
        for trial in self.trials:
            if trial.arm:
                runs[trial.arm.name][trial.arm.seed_index] = trial
        changes, params = study.get("changes", {}), study.get("params", {})
        return [
            ArmResult(
                *((name := arm["name"]), arm["kind"], arm["left_out"], changes.get(name, ())),
                *(params.get(name), seeds, runs[name]),
            )
            for arm in study["arms"]
        ]

    @property
    def baseline(self) -> ArmResult:
        """The arm that all others are compared with."""
        return next(arm for arm in self.arms if arm.name == BASELINE)

    @cached_property
    def components(self) -> list[ArmResult]:
        """Every other arm against the baseline; the first time this takes a second."""
        arms = [arm for arm in self.arms if arm.name != BASELINE]
        effects = [compare(self.baseline.metric, arm.metric) for arm in arms]
        adjusted = holm([effect.p if effect else None for effect in effects])
        said = sign_of(self.direction), self.adds, sum(effect is not None for effect in effects)
        return [
            replace(arm, effect=effect, p_holm=p, verdict=verdict(effect, p, *said))
            for arm, effect, p in zip(arms, effects, adjusted, strict=True)
        ]

    @property
    def shown(self) -> list[ArmResult]:
        """The baseline and the components, as tables have them."""
        return [self.baseline, *self.components]

    @cached_property
    def numbers(self) -> Numbers:
        """Writes the metric with as many digits as the noise leaves sense in."""
        return Numbers(self.shown)

    @property
    def best(self) -> None:
        """None: the arm with the best run tells nothing."""

    @property
    def candidates(self) -> list[Trial]:
        """The runs of the baseline that have a value."""
        return ranked(filter(is_candidate, self.trials), self.direction)

    @property
    def is_usable(self) -> bool:
        """Whether there is a pair of runs to compare."""
        return any(component.n for component in self.components)

    @property
    def largest(self) -> ArmResult | None:
        """The component whose absence costs most, or None if nothing costs anything."""
        sign = sign_of(self.direction) * (1.0 if self.adds else -1.0)
        costs = {c.name: sign * c.effect.delta for c in self.components if c.effect}
        dear = [c for c in self.components if costs.get(c.name, 0.0) > 0]
        return max(dear, key=lambda c: costs[c.name], default=None)

    @property
    def headline(self) -> str:
        """Which component is worth most."""
        largest = self.largest
        if largest is None:
            usable = self.is_usable
            return "no component is worth anything" if usable else "nothing can be compared yet"
        change = f"{self.numbers.change(largest)}, {largest.short_verdict}"
        return f"largest {'gain with' if self.adds else 'loss without'} {largest.name}: {change}"

    def stands_out(self, trial: Trial) -> bool:
        """Whether it is a run of the baseline."""
        return trial.arm is not None and trial.arm.name == BASELINE

    def so_far(self) -> dict[str, Any]:
        """Return what ``status`` tells: how many seeds of each arm have a value."""
        first, counted = {"seed": self.header["seed"]}, {"steps": self.steps}
        return {**self._told(first, counted, self._setting), "arms": self.seeds_done}

    @property
    def seeds_done(self) -> dict[str, int]:
        """How many runs of each arm have a value."""
        return {
            arm.name: sum(trial.final_metric is not None for _, trial in arm.launched)
            for arm in self.arms
        }

    @cached_property
    def _unjudged(self) -> dict[str, Any]:
        found = {
            "adds": self.adds,
            "seeds": list(self.seeds),
            "baseline": self.baseline.to_json(),
            "components": [arm.to_json() for arm in self.components],
        }
        return self._told(found, {}, {})

    def _own_cases(self) -> list[Case]:
        return [arm_case(arm, self.metric) for arm in self.shown]

    @classmethod
    def domains(cls, header: Mapping[str, Any]) -> dict[str, Domain]:
        """Return the arms and the numbers of the seeds."""
        study = header["study"]
        return {
            "arm": Categorical(values=tuple(arm["name"] for arm in study["arms"])),
            "seed": Discrete(values=tuple(range(len(study["seeds"])))),
        }

    @classmethod
    def example(
        cls, header: Mapping[str, Any], space: Searchspace, book: TrialBook
    ) -> Mapping[str, Any]:
        """Fill a book: with two seeds there are intervals; beyond them one fails, one is to come."""
        study = header["study"]
        seeds = min(2, len(study["seeds"]))
        for index in range(seeds + 1):
            for arm in study["arms"]:
                value = float(len(book.trials)) if index < seeds else None
                carry_out(book, Trial({}, arm=ArmRun(arm["name"], index)), value)
        return {**header, "study": {**study, "seeds": list(range(seeds + 2))}}
