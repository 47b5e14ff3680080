"""Who is judged: one line each, ours and peers'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dotrain import plugins
from dotrain.config.choosing import chosen
from dotrain.earlystop.none import NoStop
from dotrain.optimizers.auto import Auto, Facts
from dotrain.space import Categorical
from judging import ours
from judging.problems import Problem, Trace

#: Makes options from a problem's rungs: the lowest, the highest, and their ratio.
Options = Callable[[int, int, int], Mapping[str, Any]]


@dataclass(frozen=True)
class Searcher:
    """One who is judged.

    Attributes:
        name: As the table has it.
        run: Runs a search with a seed.
        needs_rungs: Whether it is for trainings of many steps only.
        is_peer: Whether it is somebody else's.
        fits: Whether a problem is one for it at all.
    """

    name: str
    run: Callable[[Problem, int], Trace]
    needs_rungs: bool = False
    is_peer: bool = False
    fits: Callable[[Problem], bool] = lambda _: True

    def takes(self, problem: Problem) -> bool:
        """Whether it is judged on a problem."""
        return (problem.rungs is not None or not self.needs_rungs) and self.fits(problem)


def _ours(
    name: str,
    optimizer: str,
    early_stop: str = "none",
    *,
    rungs: Options | None = None,
    fits: Callable[[Problem], bool] = lambda _: True,
    most_trials: int | None = None,
    **options: Any,
) -> Searcher:
    """Return one of ours.

    Args:
        name: As the table has it.
        optimizer: As a config names it.
        early_stop: The rule, likewise.
        rungs: What of the optimizer's options follows from the problem.
        fits: As of `Searcher`.
        most_trials: The most that it takes, if that is limited.
        **options: The optimizer's others.
    """

    def run(problem: Problem, seed: int) -> Trace:
        given = {**options, **(rungs(*problem.rungs) if rungs and problem.rungs else {})}
        made = plugins.load_plugin(plugins.OPTIMIZERS, optimizer)(**given)
        rule = plugins.load_plugin(plugins.EARLY_STOP, early_stop)()
        return ours.search(made, rule, problem, seed, most_trials)

    return Searcher(name, run, rungs is not None or early_stop != "none", fits=fits)


def _optuna(name: str, sampler: str, pruner: str = "NopPruner", **options: Any) -> Searcher:
    """Return one of optuna's.

    Args:
        name: As the table has it.
        sampler: Its class, with the defaults.
        pruner: Its class; is given the rungs, unless it is ``NopPruner``.
        **options: The pruner's others.
    """
    is_plain = pruner == "NopPruner"

    def run(problem: Problem, seed: int) -> Trace:
        import optuna

        from judging import theirs

        given = dict(options)
        if not is_plain and problem.rungs is not None:
            low, high, factor = problem.rungs
            given |= {"min_resource": low, "reduction_factor": factor}
            given |= {"max_resource": high} if pruner == "HyperbandPruner" else {}
        made = getattr(optuna.samplers, sampler)(seed=seed)
        return theirs.search(made, getattr(optuna.pruners, pruner)(**given), problem)

    return Searcher(name, run, not is_plain, is_peer=True)


def _auto() -> Searcher:
    """Return ours that are chosen, by what a config would tell of a problem."""

    def run(problem: Problem, seed: int) -> Trace:
        low, high, factor = problem.rungs or (None, None, 3)
        facts = Facts(
            parameters=len(problem.space.names),
            size=problem.space.size,
            is_numeric=not any(
                isinstance(one, Categorical) or one.when for one in problem.space.domains.values()
            ),
            # About as many as halving has time for, in the table.
            num_trials=problem.num_trials or 300,
            slots=problem.workers,
            takes_budget=problem.rungs is not None,
            takes_checkpoint=True,
            may_promote=True,
            has_earlier=False,
            packages=frozenset({"optuna", "scipy", "cmaes"}),
        )
        auto = Auto(resource_max=high, resource_min=low, reduction_factor=factor)
        return ours.search(chosen(auto.choose(facts)), NoStop(), problem, seed, 1000)

    return Searcher("auto", run)


def _rungs(low: int, high: int, factor: int) -> Mapping[str, Any]:
    return {"resource_min": low, "resource_max": high, "reduction_factor": factor}


def _small_grid(problem: Problem) -> bool:
    """Whether a grid of two values each can be tried as a whole."""
    size = problem.space.configurations(2).size
    return problem.num_trials is not None and size <= problem.num_trials


def _only_numbers(problem: Problem) -> bool:
    """Whether no parameter is a choice, which CMA-ES refuses."""
    return not any(isinstance(one, Categorical) for one in problem.space.domains.values())


#: A new plugin is a line here.
SEARCHERS = (
    _ours("random", "random"),
    _ours("grid", "grid", points=2, fits=_small_grid),
    _ours("tpe", "tpe"),
    _ours("random + median", "random", "median"),
    _ours("tpe + median", "tpe", "median"),
    _ours("gp", "gp", most_trials=1000),
    _ours("cmaes", "cmaes", fits=_only_numbers),
    _ours("qmc", "qmc"),
    _ours("asha", "asha", rungs=_rungs),
    _ours("asha + tpe", "asha", rungs=_rungs, sampler="tpe"),
    _ours("asha + gp", "asha", rungs=_rungs, sampler="gp", most_trials=1000),
    _ours("hyperband", "hyperband", rungs=_rungs),
    _ours("bohb", "bohb", rungs=_rungs),
    _auto(),
    _optuna("optuna random", "RandomSampler"),
    _optuna("optuna TPE", "TPESampler"),
    _optuna("optuna random + SHA", "RandomSampler", "SuccessiveHalvingPruner"),
    _optuna("optuna TPE + SHA", "TPESampler", "SuccessiveHalvingPruner"),
    _optuna("optuna TPE + Hyperband", "TPESampler", "HyperbandPruner"),
)
BY_NAME = {one.name: one for one in SEARCHERS}
