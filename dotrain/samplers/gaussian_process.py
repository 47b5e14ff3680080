"""A Gaussian process over configurations; importing this imports NumPy and SciPy.

Matern-5/2 kernel with a length scale for each parameter, a constant mean, and noise. Its hyperparameters are those of the
highest posterior density under the priors of optuna's `GPSampler`: length scales between a third of the space and three
times it are nearly alike, and noise is small.
"""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import erfcx, ndtr

from dotrain.samplers.packages import single_threaded

Array = NDArray[np.float64]

#: Bounds of the logarithms of length scales, signal and noise, lest a kernel be singular.
_BOUNDS = ((math.log(1e-2), math.log(1e2)), (math.log(1e-2), math.log(1e2)), (math.log(1e-6), 0.0))
#: Where the likelihood is climbed from, and how far others that are drawn are from there.
_START, _SPREAD = (math.log(0.5), 0.0, math.log(1e-3)), (1.0, 0.5, 2.0)
#: From how many points, and how far.
_STARTS = 3
_MOST_ITERATIONS = 60
_SQRT5 = math.sqrt(5)

one_thread = single_threaded()


@final
class GaussianProcess:
    """What is believed of scores, given some of them; which are standardised for it."""

    def __init__(
        self, points: Array, scores: Array, is_unordered: NDArray[np.bool_], seed: int
    ) -> None:
        """Fit it.

        Args:
            points: One row each, of coordinates in [0, 1]; of a parameter without an order, any number for each value.
            scores: Their scores, finite.
            is_unordered: Which of the coordinates say no more than whether they are alike.
            seed: Of where the climbing starts.
        """
        self._points, self._is_unordered = points, is_unordered
        scores = scores / (np.abs(scores).max() or 1.0)  # their squares are finite, too
        self._values = (scores - scores.mean()) / (scores.std() or 1.0)
        self._theta = self._fit(np.random.default_rng(seed))
        self._factor = self._factorised(points)
        self._weights = cho_solve((self._factor, True), self._values)
        self._best = float(self.mean(points).max())
        self._known = points

    def believe(self, points: Array) -> None:
        """Take it that some points have the scores that are expected of them: the mean stays, the doubt goes.

        Source: Ginsbourger, Le Riche and Carraro, "Kriging Is Well-Suited to Parallelize Optimization", 2010
        (the kriging believer).

        Args:
            points: Without a score yet, or for ever.
        """
        self._known = np.concatenate([self._points, points])
        self._factor = self._factorised(self._known)

    def log_expected_improvement(self, points: Array) -> Array:
        """Return the logarithm of how much each is expected to be better than the best point, by the mean, so far.

        Source: Ament, Daulton, Eriksson, Balandat and Bakshy, "Unexpected Improvements to Expected
        Improvement for Bayesian Optimization", NeurIPS 2023.
        """
        half = solve_triangular(self._factor, self._kernel(self._known, points), lower=True)
        variance = np.maximum(math.exp(self._theta[-2]) - (half**2).sum(axis=0), 1e-12)
        deviation = np.sqrt(variance)
        gain: Array = _log_h((self.mean(points) - self._best) / deviation) + np.log(deviation)
        return gain

    def mean(self, points: Array) -> Array:
        """Return the scores that are expected, standardised."""
        expected: Array = self._weights @ self._kernel(self._points, points)
        return expected

    def _factorised(self, points: Array) -> Array:
        kernel = self._kernel(points, points)
        kernel[np.diag_indices_from(kernel)] += math.exp(self._theta[-1])
        factor: Array = cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)
        return factor

    def _kernel(self, rows: Array, columns: Array) -> Array:
        scales = np.exp(-2 * self._theta[:-2])
        squared = np.zeros((len(rows), len(columns)))
        for distance, scale in zip(self._distances(rows, columns), scales, strict=True):
            squared += scale * distance
        kernel, _ = _matern(squared, math.exp(self._theta[-2]))
        return kernel

    def _distances(self, rows: Array, columns: Array) -> Any:
        """Yield the squared distances by each coordinate."""
        for k, is_unordered in enumerate(self._is_unordered):
            apart = rows[:, k, None] - columns[None, :, k]
            yield (apart != 0).astype(float) if is_unordered else apart**2

    def _fit(self, rng: np.random.Generator) -> Array:
        points, values = self._points, self._values
        count, dims = points.shape
        distances = np.stack(list(self._distances(points, points))).reshape(dims, -1)
        diagonal = np.diag_indices(count)

        def loss(theta: Array) -> tuple[float, Array]:
            scales, noise = np.exp(-2 * theta[:-2]), math.exp(theta[-1])
            squared = (scales @ distances).reshape(count, count)
            kernel, slope = _matern(squared, math.exp(theta[-2]))
            noisy = kernel.copy()
            noisy[diagonal] += noise
            factor = cholesky(noisy, lower=True, overwrite_a=True, check_finite=False)
            inverse = cho_solve((factor, True), np.eye(count), check_finite=False)
            weights = inverse @ values
            pull = np.outer(weights, weights) - inverse
            gradient = np.empty_like(theta)
            gradient[:-2] = scales * (distances @ (pull * slope).ravel())
            gradient[-2] = 0.5 * (pull * kernel).sum()
            gradient[-1] = 0.5 * noise * pull[diagonal].sum()
            likelihood = -0.5 * values @ weights - np.log(factor[diagonal]).sum()
            prior, slopes = _log_prior(theta)
            return -float(likelihood + prior), -gradient - slopes

        bounds = _for_each(dims, _BOUNDS)
        low, high = bounds.T
        start, spread = _for_each(dims, _START), _for_each(dims, _SPREAD)
        starts = [start] + [rng.normal(start, spread) for _ in range(_STARTS - 1)]
        found = [
            minimize(
                loss,
                np.clip(start, low, high),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": _MOST_ITERATIONS},
            )
            for start in starts
        ]
        best: Array = min(found, key=lambda result: float(result.fun)).x
        return best


def _for_each(dims: int, given: Any) -> Array:
    """Return what is given for length scales, signal and noise, for each of the hyperparameters."""
    return np.array([given[0]] * dims + [given[1], given[2]])


def _log_prior(theta: Array) -> tuple[float, Array]:
    """Return the logarithm of the priors' density, without its constant, and its derivatives."""
    widened, (signal, noise) = np.exp(2 * theta[:-2]), np.exp(theta[-2:])
    density = (
        -0.1 * (widened + 1 / widened).sum() + theta[-2] - signal + 0.1 * theta[-1] - 30 * noise
    )
    slopes = np.append(-0.2 * (widened - 1 / widened), [1 - signal, 0.1 - 30 * noise])
    return float(density), slopes


def _matern(squared: Array, signal: float) -> tuple[Array, Array]:
    """Return the kernel at squared distances, and what its derivative by a length scale has in common."""
    root = _SQRT5 * np.sqrt(squared)
    decay = signal * np.exp(-root)
    return (1 + root + 5 / 3 * squared) * decay, 5 / 6 * (1 + root) * decay


def _log_h(z: Array) -> Array:
    """Return ``log(phi(z) + z * Phi(z))``, however small that is."""
    density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    near, far = np.maximum(z, -1.0), np.minimum(z, -1.0)
    log_near = np.log(np.exp(-0.5 * near**2) / math.sqrt(2 * math.pi) + near * ndtr(near))
    # Far out the difference is lost to rounding, and is 1 / z**2.
    left = 1 + far * math.sqrt(math.pi / 2) * erfcx(-far / math.sqrt(2))
    log_far = np.log(np.where(far > -1e4, np.maximum(left, 1e-300), far**-2))
    return np.asarray(np.where(z > -1, log_near, density + log_far))
