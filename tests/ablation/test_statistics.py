"""The statistics of a study: laws, agreement with scipy, and what is found in simulated studies."""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.ablation.components import Feature
from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.statistics import (
    Effect,
    compare,
    holm,
    mean_ci95,
    seeds_needed,
    sign_flip_p,
    smallest_p,
    verdict,
)
from dotrain.ablation.study import BASELINE, Arm, Study
from dotrain.core.events import Event
from dotrain.core.instructions import RunStatus
from dotrain.core.scheduler import Scheduler
from dotrain.core.seeding import derive_rng
from dotrain.earlystop.none import NoStop
from dotrain.executors.simulated import SimulatedExecutor, SimulationModel
from dotrain.results import result_of
from dotrain.space import Searchspace

#: The first call of each function imports scipy or statsmodels, longer than any deadline.
patient = settings(deadline=None)

#: Whole numbers: their sums are exact, so ties are ties for every implementation.
whole = st.integers(-50, 50).map(float)
differences = st.lists(whole, min_size=1, max_size=9)
ps = st.lists(st.floats(0, 1), max_size=12)


@pytest.fixture(autouse=True, scope="module")
def no_collection() -> Iterator[None]:
    """Spare the thousands of calls here what statsmodels does in each: collect all garbage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: 0)
        yield


class TestMean:
    def test_known_numbers(self) -> None:
        mean, interval = mean_ci95([1.0, 2.0, 3.0])
        assert mean == 2.0
        # t with 2 degrees of freedom is 4.302653 at 0.975; the standard error is 1 / sqrt(3).
        assert interval == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)

    @patient
    @given(st.lists(st.floats(-100, 100), min_size=2, max_size=20))
    def test_agrees_with_scipy(self, values: list[float]) -> None:
        from scipy import stats

        mean, interval = mean_ci95(values)
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        expected = stats.t.ppf([0.025, 0.975], len(values) - 1) * error + np.mean(values)
        assert mean == pytest.approx(float(np.mean(values)), abs=1e-9)
        assert interval == pytest.approx(tuple(expected), abs=1e-9)

    def test_one_value_has_no_interval_and_none_is_refused(self) -> None:
        assert mean_ci95([0.5]) == (0.5, None)
        with pytest.raises(ValueError, match="at least one"):
            mean_ci95([])


class TestSignFlip:
    @patient
    @given(differences, st.randoms(use_true_random=False))
    def test_laws(self, values: list[float], random: Random) -> None:
        p = sign_flip_p(values)
        assert smallest_p(len(values)) <= p <= 1
        assert (p * 2 ** len(values)) % 1 == 0, "p is a share of all choices of signs"
        assert sign_flip_p([-value for value in values]) == p
        assert sign_flip_p([value * 0.001 for value in values]) == p, "p depends on the unit"
        shuffled = list(values)
        random.shuffle(shuffled)
        assert sign_flip_p(shuffled) == p

    @settings(patient, max_examples=60)
    @given(st.lists(whole, min_size=2, max_size=8))
    def test_agrees_with_scipy(self, values: list[float]) -> None:
        from scipy.stats import permutation_test

        expected = permutation_test(
            (np.array(values),),
            np.sum,
            permutation_type="samples",
            vectorized=False,
            n_resamples=np.inf,
        )
        assert sign_flip_p(values) == pytest.approx(expected.pvalue, abs=1e-12)

    @patient
    @given(st.lists(st.integers(1, 99).map(float), min_size=1, max_size=9))
    def test_all_of_one_sign_is_the_smallest_p(self, values: list[float]) -> None:
        assert sign_flip_p(values) == smallest_p(len(values))

    @settings(patient, max_examples=30)
    @given(st.lists(whole, min_size=1, max_size=6))
    def test_it_errs_as_rarely_as_it_says(self, sizes: list[float]) -> None:
        # Without an effect every choice of signs is as likely as any other: count them all.
        signs = itertools.product([1, -1], repeat=len(sizes))
        found = [sign_flip_p([s * size for s, size in zip(ss, sizes, strict=True)]) for ss in signs]
        for alpha in set(found):
            assert sum(p <= alpha for p in found) / len(found) == alpha

    @pytest.mark.parametrize("n", [1, 3, 12, 30])
    def test_no_difference_at_all_is_p_1(self, n: int) -> None:
        assert sign_flip_p([0.0] * n) == 1.0

    @pytest.mark.parametrize("n", [10, 20, 21, 40])
    def test_equal_sizes_are_a_binomial_test(self, n: int) -> None:
        from scipy.stats import binomtest

        plus = round(0.7 * n)
        values = [0.1 if index < plus else -0.1 for index in range(n)]
        # Up to 20 every choice of signs is counted; beyond, 100,000 are drawn.
        tolerance = 1e-12 if n <= 20 else 0.005
        assert sign_flip_p(values) == pytest.approx(binomtest(plus, n).pvalue, abs=tolerance)

    def test_drawn_signs_are_the_same_every_time_and_p_is_never_0(self) -> None:
        values = [1.0 + index / 100 for index in range(30)]
        assert sign_flip_p(values) == sign_flip_p(values) == 1e-5

    def test_ties_hold_despite_rounding(self) -> None:
        # 0.3 - 0.2 and 0.2 - 0.1 differ in the last digits; as fractions they are equal.
        values = [0.3 - 0.2, -(0.2 - 0.1), 0.8 - 0.7]
        assert len({abs(value) for value in values}) > 1
        assert sign_flip_p(values) == 1.0

    def test_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            sign_flip_p([])


class TestHolm:
    @patient
    @given(ps)
    def test_laws(self, values: list[float]) -> None:
        adjusted = [p for p in holm(values) if p is not None]
        assert len(adjusted) == len(values)
        for raw, p in zip(values, adjusted, strict=True):
            assert raw <= p <= 1 or p == pytest.approx(raw)
        in_order = [p for _, p in sorted(zip(values, adjusted, strict=True))]
        assert in_order == sorted(in_order)

    @patient
    @given(ps)
    def test_is_the_textbook(self, values: list[float]) -> None:
        # Holm (1979): the k-th smallest of m is multiplied by m - k + 1, never below those before.
        expected = [0.0] * len(values)
        highest = 0.0
        for k, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
            highest = max(highest, min(1.0, (len(values) - k) * values[index]))
            expected[index] = highest
        assert holm(values) == pytest.approx(expected)

    @patient
    @given(ps, st.sampled_from([None, math.nan]))
    def test_what_has_no_p_does_not_count(self, values: list[float], gap: float | None) -> None:
        with_gaps = [x for p in values for x in (gap, p)]
        found = holm(with_gaps)
        assert found[::2] == [None] * len(values)
        assert found[1::2] == holm(values)

    def test_nothing(self) -> None:
        assert holm([]) == []
        assert holm([None, math.nan]) == [None, None]


def test_seeds_needed() -> None:
    assert [seeds_needed(arms) for arms in (1, 3, 5, 10, 20)] == [6, 7, 8, 9, 10]
    assert [smallest_p(n) for n in (1, 3, 5)] == [1.0, 0.25, 0.0625]
    with pytest.raises(ValueError, match="arms >= 1"):
        seeds_needed(0)


@patient
@given(st.integers(1, 60), st.floats(0.001, 0.5))
def test_seeds_needed_is_the_least(arms: int, alpha: float) -> None:
    n = seeds_needed(arms, alpha)
    assert arms * smallest_p(n) <= alpha
    assert n == 1 or arms * smallest_p(n - 1) > alpha
    # So it does what it promises: all arms at their strongest are significant with n.
    assert all(p is not None and p <= alpha for p in holm([smallest_p(n)] * arms))


class TestCompare:
    def test_pairs_by_seed(self) -> None:
        effect = compare({0: 1.0, 1: 2.0, 2: 5.0}, {2: 6.0, 0: 3.0, 7: 9.0})
        assert effect is not None
        assert (effect.delta, effect.p, effect.n) == (1.5, 0.5, 2)
        # Differences 2 and 1: t with 1 degree of freedom is 12.7062, the standard error 0.5.
        assert effect.delta_ci95 == pytest.approx((1.5 - 6.353102, 1.5 + 6.353102), abs=1e-6)

    def test_one_pair_has_no_interval(self) -> None:
        assert compare({0: 1.0}, {0: 3.0}) == Effect(2.0, None, 1.0, 1)

    def test_no_pair(self) -> None:
        assert compare({0: 1.0}, {1: 1.0}) is None


class TestVerdict:
    @pytest.mark.parametrize(
        ("delta", "sign", "adds", "expected"),
        [
            (-0.1, 1.0, False, "helps"),  # accuracy falls without it
            (0.1, 1.0, False, "hurts"),
            (0.1, -1.0, False, "helps"),  # loss rises without it
            (-0.1, -1.0, False, "hurts"),
            (0.1, 1.0, True, "helps"),  # accuracy rises with it
            (-0.1, 1.0, True, "hurts"),
            (-0.1, -1.0, True, "helps"),
            (0.1, -1.0, True, "hurts"),
        ],
    )
    def test_direction(self, delta: float, sign: float, adds: bool, expected: str) -> None:
        effect = Effect(delta, (delta - 0.01, delta + 0.01), 0.01, 8)
        assert verdict(effect, 0.05, sign, adds, 3) == expected
        assert verdict(effect, 0.0501, sign, adds, 3).startswith("not distinguishable from noise")

    @pytest.mark.parametrize(
        ("n", "arms", "p_holm", "why"),
        [
            (1, 1, 1.0, "n=1: the smallest possible p is 1"),
            (3, 4, 0.9, "n=3: the smallest possible p is 0.25"),
            (5, 1, 0.0625, "n=5: the smallest possible p is 0.062"),
            (6, 3, 0.09375, "n=6, p=0.094; 3 comparisons need n=7"),
            (8, 3, 0.12, "n=8, p=0.12"),
        ],
    )
    def test_why_nothing_is_found(self, n: int, arms: int, p_holm: float, why: str) -> None:
        found = verdict(Effect(0.0, None, p_holm, n), p_holm, 1.0, False, arms)
        assert found == f"not distinguishable from noise ({why})"

    def test_no_pair(self) -> None:
        assert verdict(None, None, 1.0, False, 3) == "no pair of runs to compare"
        nothing = Effect(0.0, None, 1.0, 0)
        assert verdict(nothing, 1.0, 1.0, False, 3) == "no pair of runs to compare"


#: The simulated studies: three components, eight seeds, so the strongest effect can be found.
NAMES = ("feature:a", "feature:b", "feature:c")
SEEDS = 8
STUDIES = 1000
SHIFT = -0.02
STUDY = Study(
    {name: Feature(name.removeprefix("feature:")) for name in NAMES},
    [Arm(BASELINE), *(Arm(name, (name,)) for name in NAMES)],
    seeds=SEEDS,
)


def run_study(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a study in virtual time; return its result, and that with an effect planted in it.

    Every run's metric has noise that all arms of a seed share, and twice as much that is its own.
    The planted effect shifts the arm without the first component.

    `dotrain.testing.simulate` would validate the whole book after every event, which takes as long
    as everything else; other tests do that.
    """

    def curve(params: dict[str, Any], step: int, seed: int) -> float:
        own, shared = derive_rng(seed, params["arm"]), derive_rng(seed, "shared")
        return 0.8 + shared.gauss(0.0, 0.005) + own.gauss(0.0, 0.01)

    runner = StudyRunner(STUDY, number)
    runner.setup(Searchspace(), None, "max", number)
    runner.initialize()
    scheduler = Scheduler(runner, NoStop(), direction="max", seed=number)
    executor = SimulatedExecutor(4, SimulationModel(seed=number, steps=1))
    executor.curve = curve

    def post(event: Event) -> None:
        for instruction in scheduler.handle(event, executor.clock_s()):
            executor.carry_out(instruction)

    executor.start(None, post)
    while scheduler.status is None:
        executor.pump(math.inf)
    arms = [
        {"name": arm.name, "kind": arm.name.split(":")[0], "left_out": list(arm.left_out)}
        for arm in STUDY.arms
    ]
    header = {
        **{"name": "simulated", "metric": "score", "direction": "max", "seed": number},
        "study": {"arms": arms, "seeds": runner.seeds, "adds": False, "params": {}, "changes": {}},
    }
    trials = scheduler.book.trials.values()
    without = result_of(header, trials, RunStatus.FINISHED, 0.0, Path("/runs")).to_json()
    for trial in trials:
        if trial.arm and trial.arm.name == NAMES[0]:
            assert trial.final_metric is not None
            trial.final_metric += SHIFT
    planted = result_of(header, trials, RunStatus.FINISHED, 0.0, Path("/runs")).to_json()
    return without, planted


def found(components: list[dict[str, Any]]) -> bool:
    return any(component["verdict"] in ("helps", "hurts") for component in components)


@pytest.fixture(scope="module")
def studies() -> list[tuple[Any, Any]]:
    """The components of every study, without an effect and with one."""
    results = [run_study(number) for number in range(STUDIES)]
    components = [(without["components"], planted["components"]) for without, planted in results]
    assert all(c["n"] == SEEDS for pair in components for both in pair for c in both)
    return components


class TestCalibration:
    """Fixed seeds, chosen before any was run."""

    def test_studies_without_effect_find_one_in_5_percent_at_most(
        self, studies: list[tuple[Any, Any]]
    ) -> None:
        false = sum(found(without) for without, _ in studies)
        # p goes in steps, so the rate is 4.7 % at most; far less would be a test that sees nothing.
        assert 0.02 * STUDIES <= false <= 0.05 * STUDIES

    def test_the_interval_covers_a_planted_effect_in_95_percent(
        self, studies: list[tuple[Any, Any]]
    ) -> None:
        intervals = [planted[0]["delta_ci95"] for _, planted in studies]
        covered = sum(low <= SHIFT <= high for low, high in intervals)
        assert 0.93 * STUDIES <= covered <= 0.97 * STUDIES

    def test_a_planted_effect_is_found_and_little_else(
        self, studies: list[tuple[Any, Any]]
    ) -> None:
        verdicts = [planted[0]["verdict"] for _, planted in studies]
        assert "hurts" not in verdicts
        assert verdicts.count("helps") >= 0.65 * STUDIES
        # Holm's bound of 5 % holds beside a true effect too. The rate is so close to it (2 of 256
        # signs a step: 4.7 %) that a thousand studies may well show more; 3 of their deviations.
        false = sum(found(planted[1:]) for _, planted in studies)
        assert false <= (0.05 + 3 * math.sqrt(0.05 * 0.95 / STUDIES)) * STUDIES
