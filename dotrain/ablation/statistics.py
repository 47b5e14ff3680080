"""The statistics of a study: what a component is worth, and how sure that is.

Every arm runs with the seeds of the baseline, so arms are compared pair by pair: what two runs of
one seed share cancels out (Bouthillier et al., Accounting for Variance in Machine Learning
Benchmarks, MLSys 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The share of studies without any effect in which a component may be said to have one.
ALPHA = 0.05

#: Up to this many pairs all 2^n signs are enumerated; that takes milliseconds.
_MAX_EXACT = 20
#: Signs drawn for more pairs than that: p is then known to 0.0007 near 0.05.
_DRAWS = 99_999
#: Sums that differ by less, relative to the sum of all sizes, are ties. Far above rounding, which
#: differences of nearly equal metrics inherit, and far below any difference that matters.
_TIE = 1e-9


def mean_ci95(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Return the mean, and its 95 % confidence interval from Student's t.

    Args:
        values: At least one.

    Returns:
        (mean, (low, high)), or (mean, None) for a single value.

    Raises:
        ValueError: If there is no value.
    """
    if not values:
        raise ValueError("expected at least one value")
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None
    from scipy.special import stdtrit

    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stdtrit(n - 1, 0.975)) * deviation / math.sqrt(n)
    return mean, (mean - half, mean + half)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of the sign-flip test on the mean of paired differences.

    If leaving a component out changed nothing, each difference could as well have had the other
    sign. p is the share of all 2^n choices of signs whose mean lies at least as far from zero as
    the one seen; no assumption is made about the shape of the noise. It is exact up to 20 pairs;
    beyond that the choices are drawn, with a fixed seed, and the one seen counts as one of them.

    Source: Fisher, The Design of Experiments (1935), section 21; for drawn choices, Phipson and
    Smyth, Permutation P-values Should Never Be Zero (2010).

    Args:
        differences: At least one.

    Raises:
        ValueError: If there is no difference.
    """
    if not differences:
        raise ValueError("expected at least one difference")
    import numpy as np

    values = np.asarray(differences, dtype=float)
    threshold = abs(values.sum()) - _TIE * np.abs(values).sum()
    if len(values) > _MAX_EXACT:
        signs = np.random.default_rng(0).choice(np.array([-1.0, 1.0]), (_DRAWS, len(values)))
        return float((1 + np.count_nonzero(np.abs(signs @ values) >= threshold)) / (1 + _DRAWS))
    return float(np.mean(np.abs(_half_of_sums(values)) >= threshold))


def _half_of_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums under all signs of all values but the first.

    The other half of the sums are these with the sign turned, as far from zero.
    """
    import numpy as np

    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def smallest_p(n: int) -> float:
    """Return the least p that `sign_flip_p` can find with `n` pairs: 2 of 2^n choices of signs."""
    return 2.0 / 2.0**n


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for being many, so that together they err as rarely as one would.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).

    Args:
        ps: None or NaN where there is none; such a one isn't counted.

    Returns:
        As many; None where there was none.
    """
    known = [index for index, p in enumerate(ps) if p is not None and not math.isnan(p)]
    adjusted: list[float | None] = [None] * len(ps)
    if known:
        from statsmodels.stats.multitest import multipletests

        _, corrected, _, _ = multipletests([ps[index] for index in known], method="holm")
        for index, p in zip(known, corrected, strict=True):
            adjusted[index] = float(p)
    return adjusted


def seeds_needed(arms: int, alpha: float = ALPHA) -> int:
    """Return the least number of seeds with which any of `arms` comparisons can be significant.

    With fewer even the strongest effect fails the first step of Holm's procedure.

    Args:
        arms: Without the baseline.
        alpha: The level of significance.

    Raises:
        ValueError: If there is nothing to compare, or alpha is no probability.
    """
    if arms < 1 or not 0.0 < alpha <= 1.0:
        raise ValueError(f"expected arms >= 1 and 0 < alpha <= 1, got {arms} and {alpha}")
    n = 1
    while arms * smallest_p(n) > alpha:
        n += 1
    return n


@dataclass(frozen=True)
class Effect:
    """How an arm differs from the baseline.

    Attributes:
        delta: The mean of the paired differences, arm minus baseline, in the metric's units.
        delta_ci95: Its 95 % interval; None for a single pair.
        p: Of the sign-flip test.
        n: Pairs.
    """

    delta: float
    delta_ci95: tuple[float, float] | None
    p: float
    n: int


def compare(baseline: Mapping[int, float], arm: Mapping[int, float]) -> Effect | None:
    """Compare an arm with the baseline, pair by pair.

    Args:
        baseline: The metric by the seed's index, of the runs that have one.
        arm: The same of the arm.

    Returns:
        The effect, or None if no seed has both.
    """
    differences = [arm[seed] - baseline[seed] for seed in sorted(baseline.keys() & arm.keys())]
    if not differences:
        return None
    delta, interval = mean_ci95(differences)
    return Effect(delta, interval, sign_flip_p(differences), len(differences))


def verdict(effect: Effect | None, p_holm: float | None, sign: float, adds: bool, arms: int) -> str:
    """Return what can be said of a component, in words.

    Args:
        effect: Of its arm.
        p_holm: Its adjusted p.
        sign: 1 if a larger metric is better, else -1.
        adds: Whether the arm adds the component instead of leaving it out.
        arms: How many were compared.

    Returns:
        ``helps``: the metric is significantly better with the component than without it;
        ``hurts``: it is worse; or that the difference can't be told from noise, with the reason.
        Never that there is no effect: no number of runs shows that.
    """
    if effect is None or p_holm is None or effect.n == 0:
        return "no pair of runs to compare"
    if p_holm <= ALPHA:
        better_with_it = (effect.delta * sign > 0) == adds
        return "helps" if better_with_it else "hurts"
    return f"not distinguishable from noise ({_why_not(effect.n, p_holm, arms)})"


def _why_not(n: int, p_holm: float, arms: int) -> str:
    if smallest_p(n) > ALPHA:
        return f"n={n}: the smallest possible p is {smallest_p(n):.2g}"
    needed = seeds_needed(arms)
    if n < needed:
        return f"n={n}, p={p_holm:.2g}; {arms} comparisons need n={needed}"
    return f"n={n}, p={p_holm:.2g}"
