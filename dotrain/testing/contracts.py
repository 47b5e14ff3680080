"""What every optimizer and strategy promises, as functions that check it."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from dotrain.core.limits import Limits
from dotrain.core.policy import AbstractOptimizer, Direction, Promotion
from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.strategy import AbstractStrategy
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.none import NoStop
from dotrain.samplers.process import Learner
from dotrain.space import Categorical, Discrete, Float, Int, Params, Searchspace
from dotrain.testing.simulation import Simulation, simulate
from dotrain.training.program import Program, load_strategy
from dotrain.usercode.by_value import packed
from dotrain.usercode.function import FunctionRef, Functions

OptimizerFactory = Callable[[], AbstractOptimizer]
SamplerFactory = Callable[[], AbstractSampler]
StrategyFactory = Callable[[], AbstractStrategy]

#: A larger space is not gone through to its end.
_GONE_THROUGH = 500


def example_space() -> Searchspace:
    """Return a finite space with every kind of domain, a condition among them."""
    return Searchspace(
        lr=Float(range=(0.0, 1.0), step=0.25),
        units=Int(range=(1, 4)),
        width=Discrete(values=[8, 16]),
        kind=Categorical(values=["a", ["b", 2]]),
        extra=Int(range=(0, 1), when={"kind": [["b", 2]]}),
    )


def example_curve(params: Params, step: int, seed: int) -> float:
    """Return a made-up metric that depends on everything, with many exact ties."""
    noise = random.Random(f"{seed}/{step}").randrange(4)
    return float((params.get("units", 1) + noise) * (step + 1) + params.get("extra", 0))


def check_optimizer(
    make: OptimizerFactory, *, space: Searchspace | None = None, num_trials: int | None = 12
) -> None:
    """Check the contract of an optimizer.

    The search ends; it proposes values of the space only; equal seeds give equal suggestions,
    seed 0 included, whatever the global random state, and whether trials are repeated or not; `min` of f and `max` of -f decide alike;
    failures and losses don't stop it; trials are not written to; it promotes no trial of which it
    has said that it may not continue, nor lets another begin from its checkpoint, and being asked that changes nothing. Of a
    finite space it tries no configuration twice from the start, whatever became of the first trial, and ends when there is none left. Killed and resumed
    at any moment, with one worker, it tries what it would have tried. One that takes several metrics decides alike by `max` of
    f and `min` of g, and by `min` of -f and `max` of -g; killed and resumed as well.

    Args:
        make: Returns a new instance.
        space: What to search; by default one with every kind of domain.
        num_trials: Configurations to sample.

    Raises:
        AssertionError: If a promise is broken.
    """
    space = example_space() if space is None else space

    def run(direction: Direction = "max", seed: int = 0, **faults: Any) -> Simulation:
        sign = 1.0 if direction == "max" else -1.0
        return simulate(
            make(),
            NoStop(),
            lambda params, step, trial_seed: sign * example_curve(params, step, trial_seed),
            space=space,
            num_trials=num_trials,
            direction=direction,
            seed=seed,
            **faults,
        )

    cases = [(0, 1), (1, 1), *([] if make().lends_checkpoints else [(0, 2)])]
    for seed, repeats in cases:
        first = run(seed=seed, repeats=repeats)
        random.seed(len(first.decisions) + seed)
        again = run(seed=seed, repeats=repeats)
        assert again.decisions == first.decisions, f"seed {seed}: two runs differ"
        mirrored = run("min", seed=seed, repeats=repeats)
        assert mirrored.decisions == first.decisions, f"seed {seed}: min f and max -f differ"
        for launch in first.launches:
            assert launch.params in space, f"{launch.params} is not in the space"
        launched = {launch.trial_id for launch in first.launches}
        assert launched == set(first.scheduler.book.trials), "a trial was never launched"
        if num_trials is not None:
            assert len(launched) <= num_trials, "more configurations than num_trials"
    faulty = run(
        failing=0.2,
        losing=0.2,
        diverging=0.2,
        repeating=0.2,
        stragglers=0.2,
        duplicates=0.5,
        late=0.5,
    )
    assert faulty.scheduler.status in ("finished", "failed")
    _check_reads_only(make, space, num_trials)
    _check_may_continue(make, space, num_trials)
    _check_goes_on(make, space, num_trials)
    if make().takes_several_metrics:
        _check_several_metrics(make, space, num_trials)
    size = space.size
    if size is not None and size <= _GONE_THROUGH:
        _check_tries_once(make, space, None if num_trials is None else size + 3)


def _check_tries_once(make: OptimizerFactory, space: Searchspace, num_trials: int | None) -> None:
    for seed in (0, 1):
        run = simulate(
            make(), NoStop(), example_curve, space=space, num_trials=num_trials, seed=seed,
            failing=0.1, losing=0.1, limits=Limits(max_failures=10_000),
        )  # fmt: skip
        assert run.scheduler.status == "finished", "it doesn't end when the space is used up"
        # From another's checkpoint the same configuration is another thing.
        begun = [trial for trial in run.scheduler.book.trials.values() if not trial.begins_from]
        tried = [repr(sorted(trial.params.items())) for trial in begun]
        twice = [params for params in tried if tried.count(params) > 1]
        assert not twice, f"{twice[0]} is tried twice"


def _check_several_metrics(
    make: OptimizerFactory, space: Searchspace, num_trials: int | None
) -> None:
    def given(up: Direction, down: Direction) -> dict[str, Any]:
        sign = 1.0 if up == "max" else -1.0
        cost = lambda params, step, seed: {"cost": sign * _example_cost(params, step, seed)}  # noqa: E731
        return {"metrics": {"value": up, "cost": down}, "direction": up, "beside": cost}

    def run(up: Direction, down: Direction, seed: int, repeats: int = 1) -> Simulation:
        sign = 1.0 if up == "max" else -1.0
        curve = lambda params, step, trial_seed: sign * example_curve(params, step, trial_seed)  # noqa: E731
        return simulate(
            *(make(), NoStop(), curve), space=space, num_trials=num_trials, seed=seed,
            failing=0.1, losing=0.1, diverging=0.1, repeats=repeats, **given(up, down),
        )  # fmt: skip

    for seed in (0, 1):
        first = run("max", "min", seed)
        assert run("max", "min", seed).decisions == first.decisions, f"seed {seed}: two runs differ"
        mirrored = run("min", "max", seed)
        assert mirrored.decisions == first.decisions, (
            f"seed {seed}: by -f and -g it decides otherwise"
        )
    assert run("max", "min", 0, repeats=2).scheduler.status == "finished"
    _check_goes_on(make, space, num_trials, **given("max", "min"))


def _example_cost(params: Params, step: int, seed: int) -> float:
    """Return a made-up second metric, which is at odds with `example_curve`, the same at every step."""
    return float(params.get("units", 1) * 2 + params.get("width", 8) / 8)


def _check_goes_on(
    make: OptimizerFactory, space: Searchspace, num_trials: int | None, **more: Any
) -> None:
    given: dict[str, Any] = {"space": space, "num_trials": num_trials, "workers": 1, **more}
    # By the configuration alone: a trial that is launched again may take other steps of its own.
    curve = lambda params, step, _: example_curve(params, step, 0)  # noqa: E731
    whole = simulate(make(), NoStop(), curve, **given)
    tried = _attempts(whole)
    for after in range(1, len(whole.log), max(1, len(whole.log) // 25)):
        resumed = simulate(make(), NoStop(), curve, killed=whole, after=after, **given)
        assert _attempts(resumed) == tried, f"killed after {after} events, it tries something else"


def _attempts(run: Simulation) -> list[Any]:
    """Return every configuration with the budget that it was launched with, in order, retries left out."""
    found: list[Any] = []
    for launch in run.launches:
        begins = (launch.begins_from, launch.begins_at)
        one = (launch.trial_id, launch.params, launch.budget, *begins)
        if one not in found[-1:]:
            found.append(one)
    return found


def check_sampler(
    make: SamplerFactory,
    *,
    space: Searchspace | None = None,
    level: float | None = None,
    trials: int = 40,
    metrics: int = 1,
) -> None:
    """Check the contract of a sampler; provisional, more may be asked.

    It proposes configurations of the space; a proposal depends on what is known, and neither on the portions in
    which it was learned nor on what was asked before; equal seeds give equal proposals, other seeds others in a continuum;
    it survives being pickled before it begins; failed, diverged and stopped trials don't stop it.

    Args:
        make: Returns a new instance.
        space: What to propose from; by default one with every kind of domain.
        level: A budget of whose results it is asked; None for all.
        trials: How many it learns of.
        metrics: By how many they are judged.

    Raises:
        AssertionError: If a promise is broken.
    """
    asked = partial(_proposals, make, level, trials, metrics)
    space = example_space() if space is None else space
    one_by_one = asked(space, portion=1)
    assert all(one in space for one in one_by_one), "it proposes what is not in the space"
    assert one_by_one == asked(space, portion=1), "the same was asked twice, and answered otherwise"
    at_once = asked(space, portion=trials)
    assert at_once[-1] == one_by_one[-1], "learned at once, it proposes something else"
    # Of a few configurations the best by a model may be the same whatever was drawn.
    continuum = Searchspace(x=Float(range=(0.0, 1.0)), units=Int(range=(1, 100)))
    seeded = asked(continuum, portion=1), asked(continuum, portion=1, seed=1)
    assert seeded[0] != seeded[1], "the seed changes nothing"


def _proposals(
    make: SamplerFactory,
    level: float | None,
    trials: int,
    metrics: int,
    space: Searchspace,
    portion: int,
    seed: int = 0,
) -> list[Params]:
    rng = random.Random(0)
    params = [space.sample(rng) for _ in range(trials)]
    endings = [TrialState.FINISHED] * 7 + [
        TrialState.STOPPED,
        TrialState.DIVERGED,
        TrialState.FAILED,
    ]
    ended = [
        _outcome(number, endings[number % len(endings)], level, params[number], metrics)
        for number in range(trials - 3)
    ]
    sampler = pickle.loads(pickle.dumps(make()))
    learner = Learner(sampler, space, seed)
    found = []
    for number in range(0, trials + 1, portion):
        known = max(0, number - 3)
        since = max(0, number - portion - 3)
        new = params[max(0, number - portion) : number]
        question = Question(number, number, known, level)
        if known < 2:
            learner.learn(new, ended[since:known])
            continue
        found.append(learner.answer(new, ended[since:known], question))
    return found


def _outcome(
    number: int, state: TrialState, level: float | None, params: Params, metrics: int
) -> Outcome:
    score = example_curve(params, 3, 0)
    scores = tuple(score if metric == 0 else -score / metric for metric in range(metrics))
    if state not in (TrialState.FINISHED, TrialState.STOPPED):
        return Outcome(number, state, level, None, 3)
    return Outcome(number, state, level, score, 3, scores=scores if metrics > 1 else ())


def _check_reads_only(make: OptimizerFactory, space: Searchspace, num_trials: int | None) -> None:
    optimizer = make()
    ask = optimizer.get_suggestion

    def watched(trial: Any = None) -> Any:
        before = {i: copy.deepcopy(public(t)) for i, t in optimizer.trials.items()}
        suggestion = ask(trial)
        for trial_id, state in before.items():
            assert public(optimizer.trials[trial_id]) == state, f"it wrote to {trial_id}"
        return suggestion

    optimizer.get_suggestion = watched  # type: ignore[method-assign]
    simulate(optimizer, NoStop(), example_curve, space=space, num_trials=num_trials)


def _check_may_continue(make: OptimizerFactory, space: Searchspace, num_trials: int | None) -> None:
    faults: dict[str, Any] = {"losing": 0.2, "diverging": 0.2}
    unasked = simulate(
        make(), NoStop(), example_curve, space=space, num_trials=num_trials, **faults
    )
    optimizer = make()
    suggest = optimizer.get_suggestion
    denied: set[str] = set()
    broken: list[str] = []

    def asked(trial: Any = None) -> Any:
        suggestion = suggest(trial)
        if isinstance(suggestion, Promotion) and suggestion.trial_id in denied:
            broken.append(f"{suggestion.trial_id} may not continue, and is promoted")
        if isinstance(suggestion, Trial) and suggestion.begins_from in denied:
            broken.append(f"{suggestion.begins_from} may not continue, and lends its checkpoint")
        for trial_id, one in optimizer.trials.items():
            if one.state is TrialState.FINISHED:
                may = optimizer.may_continue(one)
                if may and trial_id in denied:
                    broken.append(f"{trial_id} may continue after all")
                denied.update(() if may else (trial_id,))
        return suggestion

    optimizer.get_suggestion = asked  # type: ignore[method-assign]
    run = simulate(optimizer, NoStop(), example_curve, space=space, num_trials=num_trials, **faults)
    assert not broken, broken[0]
    assert run.decisions == unasked.decisions, "being asked may_continue has changed a decision"


def public(trial: Any) -> dict[str, Any]:
    """Return what a trial is, by attribute."""
    return {name: getattr(trial, name) for name in trial.__slots__}


def check_strategy(make: StrategyFactory) -> None:
    """Check the contract of a strategy, as far as that goes in one process; provisional, more may be asked.

    It reaches the workers as it was made; several ranks have processes of their own; what it asks
    of the environment are words; it opens a scope only when a rank has begun.

    Args:
        make: Returns a new instance.

    Raises:
        AssertionError: If a promise is broken.
    """
    strategy = make()
    nothing = Functions(FunctionRef("train"))
    program = Program("token", nothing, "metric", {}, "/nowhere", strategy=packed(strategy))
    arrived = load_strategy(program)
    assert type(arrived).__qualname__ == type(strategy).__qualname__
    for one in (strategy, arrived):
        assert isinstance(one.slots, int), "slots is no whole number"
        assert one.slots >= 1, "slots must be 1 or more"
        words = one.environment()
        assert all(isinstance(word, str) for pair in words.items() for word in pair)
        assert not one.peer_is_gone(ValueError("a mistake of the user's")), (
            "a mistake of the user's is taken for the death of another rank"
        )
    assert arrived.slots == strategy.slots, "it loses its options on the way to a worker"
