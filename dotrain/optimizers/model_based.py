"""Searches whose configurations a sampler proposes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from dotrain.core.policy import AbstractOptimizer, Plan, Suggestion
from dotrain.core.sampling import AbstractSampler, Proposals
from dotrain.core.trial import Trial
from dotrain.optimizers.new_trials import NewTrials
from dotrain.samplers import make_sampler


class ModelSearch(AbstractOptimizer):
    """A search by a sampler: random configurations first, then what it proposes; base of such plugins.

    A finite space is tried once each; what a model proposes a second time, is drawn at random instead.

    Attributes:
        sampler: To be set in ``__init__``.
        startup_trials: Results that must be there before it is asked; 0 asks for the first one too.
    """

    takes_other_spaces: ClassVar[bool] = True

    sampler: AbstractSampler
    startup_trials: int = 1

    def check(self) -> None:
        """Refuse what the sampler can't do."""
        self.sampler.check(self.searchspace, self.num_trials)

    def initialize(self) -> None:
        """Nothing suggested, nothing asked."""
        self._new = NewTrials(self, self.sampler, self._level)
        self.proposals = self._new.proposals

    def space_changed(self) -> None:
        """There may be configurations again."""
        self._new.reopen()

    def get_suggestion(self, trial: Trial | None = None) -> Suggestion:
        """Return a new trial, WAIT until the sampler has proposed one, or None after the last."""
        return self._new.next()

    def may_continue(self, trial: Trial) -> bool:
        """Never: a trial is launched once."""
        return False

    def plan(self) -> Plan:
        """One launch per configuration: `num_trials`, or all that there are."""
        configurations, notes = self.configurations_at_most()
        return Plan(configurations or 0, configurations or 0, notes=notes)

    def _level(self, proposals: Proposals) -> bool:
        return proposals.valued >= self.startup_trials


class TPE(ModelSearch):
    """Tree-structured Parzen estimator: optuna's sampler, multivariate, told of what runs.

    Trials that run count as bad ones (a constant liar), so that several at a time aren't alike. Trials that were
    stopped early rank below those that finished, the longer ones first. Of several metrics it seeks the Pareto front: good
    ones are those that few dominate and that add most to the volume beyond.

    Source: Bergstra, Bardenet, Bengio and Kégl, "Algorithms for Hyper-Parameter Optimization", NIPS 2011;
    multivariate as in Falkner, Klein and Hutter, "BOHB", ICML 2018; several metrics as in Ozaki, Tanigaki, Watanabe and
    Onishi, "Multiobjective Tree-Structured Parzen Estimator for Computationally Expensive Optimization Problems", GECCO 2020.

    Args:
        startup_trials: Trials with a value before the model is asked (>= 1); random until then.
        candidates: Configurations of which the most promising is taken (>= 1).
    """

    takes_several_metrics: ClassVar[bool] = True

    def __init__(
        self,
        *,
        startup_trials: Annotated[int, Ge(1)] = 10,
        candidates: Annotated[int, Ge(1)] = 24,
    ) -> None:
        self.startup_trials = startup_trials
        self.sampler = make_sampler("tpe", candidates=candidates)


class CMAES(ModelSearch):
    """CMA-ES: for many trials of numbers, a normal distribution that moves and narrows.

    Parameters are floats, whole numbers and discrete ones, without conditions. A generation is made of the next
    `population` results, in the order in which they come: nothing is waited for, so trials that run are no part of it, and
    those that fail never are. Trials that were stopped early rank below those that finished, the longer ones first;
    infeasible ones below them, diverged ones last. With many more slots than `population`, results are of distributions that were left long ago: give
    a larger one.

    Source: Hansen and Ostermeier, "Completely Derandomized Self-Adaptation in Evolution Strategies", 2001; how results
    that come late are learned, in `dotrain.samplers.evolution`.

    Args:
        population: Results of a generation (>= 4); by default 4 + 3 ln(number of parameters).
    """

    startup_trials = 0

    def __init__(self, *, population: Annotated[int, Ge(4)] | None = None) -> None:
        self.population = population
        self.sampler = make_sampler("cmaes", population=population)


class GP(ModelSearch):
    """Gaussian process with expected improvement: the fewest trials, where each is costly.

    Trials that run, and those that failed, count as having what the model expects of them; those that were stopped
    early as what they had, in the lower half; diverged and infeasible ones as the worst, and while none is feasible,
    what comes nearest to that is sought. Of more than 500 results the best half is
    modelled and any of the others; more than 1,000 trials are refused.

    Source: Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998; what
    differs from it is told where it is done, in `dotrain.samplers`.

    Args:
        startup_trials: Trials with a value before the model is asked (>= 1); random until then.
    """

    def __init__(self, *, startup_trials: Annotated[int, Ge(1)] = 10) -> None:
        self.startup_trials = startup_trials
        self.sampler = make_sampler("gp")


class QMC(ModelSearch):
    """Points that cover the space evenly: a quasi-random sequence, scrambled by the seed.

    Nothing is learned from results. Of a finite space each configuration comes once, in the order of the sequence.

    Source: Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012; Owen,
    "Randomly Permuted (t,m,s)-Nets and (t,s)-Sequences", 1995. The points are those of `scipy.stats.qmc`.

    Args:
        sequence: `sobol`, which is most even at a power of two of points, or `halton`, which is even at any.
    """

    takes_several_metrics: ClassVar[bool] = True
    startup_trials = 0

    def __init__(self, *, sequence: Literal["sobol", "halton"] = "sobol") -> None:
        self.sequence = sequence
        self.sampler = make_sampler("qmc", sequence=sequence)

    def plan(self) -> Plan:
        """One launch per configuration; with a note where Sobol's points are not quite even."""
        plan = super().plan()
        trials = plan.configurations
        if self.sequence == "halton" or plan.notes or trials & (trials - 1) == 0:
            return plan
        power = 1 << trials.bit_length()
        note = f"Sobol's points are most even at a power of two: {power // 2} or {power} trials"
        return replace(plan, notes=(note,))
