"""Numbers around a middle: normally distributed, and those whose logarithm is."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal, final

from dotrain.space.base import Domain, require_in
from dotrain.space.values import SpaceError, is_number

_STANDARD = NormalDist()
#: The ends of the unit interval stand for what lies beyond 8.2 sigma, once in 10^16 draws.
_LEAST = 2.0**-53
_FARTHEST = 9.0
#: A range must hold this share of what would be drawn without it.
_LEAST_SHARE = 1e-6
#: Logarithms of the smallest and of the largest normal float.
_LOGS = (-708.0, 709.0)
_LARGEST = 1e300


@dataclass(frozen=True, kw_only=True)
class _Bell(Domain):
    """What `Normal` and `LogNormal` share: the bell of the numbers or of their logarithms."""

    mu: float
    sigma: float
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self._take("when")
        self._check_when()
        for key in ("mu", "sigma"):
            value = getattr(self, key)
            if not is_number(value) or not math.isfinite(value):
                raise SpaceError(f"expected a finite number, got {value!r}", key)
        if self.sigma <= 0:
            raise SpaceError(f"expected a number > 0, got {self.sigma!r}", "sigma")
        self._check_spread()
        self._take("range")
        if self.range is not None:
            self._check_range(self.range)

    def _check_range(self, bounds: Any) -> None:
        if not isinstance(bounds, tuple) or len(bounds) != 2 or not all(map(is_number, bounds)):
            shown = list(bounds) if isinstance(bounds, tuple) else bounds
            raise SpaceError(f"expected [low, high], two numbers, got {shown!r}", "range")
        if not all(map(math.isfinite, bounds)):
            raise SpaceError(f"expected finite bounds, got {list(bounds)}", "range")
        low, high = bounds
        if low >= high:
            raise SpaceError(f"lower bound {low} is not under upper bound {high}", "range")
        self._check_lower(low)
        start, end = self._ends_of_p
        if end - start < _LEAST_SHARE:
            raise SpaceError(
                f"{list(bounds)} has less than one in a million of what mu {self.mu:g} and sigma "
                f"{self.sigma:g} give; use float for a range of its own",
                "range",
            )

    @abstractmethod
    def _check_spread(self) -> None: ...

    def _check_lower(self, low: float) -> None:
        """Refuse a lower bound that can't be."""

    @abstractmethod
    def _value(self, on_bell: float) -> float:
        """Return the value of a number on the bell."""

    @abstractmethod
    def _on_bell(self, value: float) -> float:
        """Return the number on the bell of a value."""

    @cached_property
    def _ends_of_p(self) -> tuple[float, float]:
        """The shares of all draws that lie below the range, and below its end."""
        if self.range is None:
            return 0.0, 1.0
        low, high = self.range
        return self._p(low), self._p(high)

    def _p(self, value: float) -> float:
        # Of small shares this keeps all digits, which 0.5 + erf(...) / 2 doesn't.
        return 0.5 * math.erfc(-(self._on_bell(value) - self.mu) / (self.sigma * math.sqrt(2)))

    @property
    def size(self) -> None:
        """None: a continuum."""
        return None

    @property
    @abstractmethod
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number, which may be infinite."""

    def from_unit(self, u: float) -> float:
        """Map `u` in [0, 1] to the number that a share `u` of all draws are below."""
        start, end = self._ends_of_p
        p = min(max(start + u * (end - start), _LEAST), 1 - _LEAST)
        value = self._value(self.mu + self.sigma * _STANDARD.inv_cdf(p))
        low, high = self.ends
        return min(max(value, low), high)

    def to_unit(self, value: Any) -> float:
        """Map a number to the share of all draws that are below it."""
        require_in(self, value)
        start, end = self._ends_of_p
        return min(max((self._p(value) - start) / (end - start), 0.0), 1.0)

    def grid(self, points: int | None = None) -> list[Any]:
        """Return the middles of `points` parts that are equally likely; the ends may be anywhere."""
        if points is None:
            return super().grid(points)
        return [self.from_unit((i + 0.5) / points) for i in range(points)]

    def __contains__(self, value: object) -> bool:
        if not is_number(value) or not math.isfinite(value):  # type: ignore[arg-type]
            return False
        low, high = self.ends
        return low <= value <= high  # type: ignore[operator]

    def __str__(self) -> str:
        within = "" if self.range is None else f" in [{self.range[0]:g}, {self.range[1]:g}]"
        return f"{self._told()}{within}{self._condition()}"

    def _told(self) -> str:
        return f"{getattr(self, 'type')}[mu {self.mu:g}, sigma {self.sigma:g}]"  # noqa: B009


@final
@dataclass(frozen=True, kw_only=True)
class Normal(_Bell):
    """A real number around `mu`, normally distributed.

    Attributes:
        mu: The mean.
        sigma: The standard deviation (> 0): two thirds of all draws lie within one of the mean.
        range: Lower and upper bound, of which nothing lies beyond; by default none.
    """

    type: Literal["normal"] = "normal"

    def _check_spread(self) -> None:
        if abs(self.mu) + _FARTHEST * self.sigma > _LARGEST:
            raise SpaceError("such numbers are larger than a float can be", "sigma")

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number, which may be infinite."""
        return (-math.inf, math.inf) if self.range is None else self.range

    def _value(self, on_bell: float) -> float:
        return on_bell

    def _on_bell(self, value: float) -> float:
        return value


@final
@dataclass(frozen=True, kw_only=True)
class LogNormal(_Bell):
    """A real number > 0 whose natural logarithm is normally distributed.

    Attributes:
        mu: The mean of the logarithm: the median is e^mu, -6.9 for 0.001.
        sigma: The standard deviation of the logarithm (> 0): 2.3 for a factor of ten.
        range: Lower and upper bound of the number itself, of which nothing lies beyond; by default none.
    """

    type: Literal["log_normal"] = "log_normal"

    def _check_spread(self) -> None:
        least, largest = _LOGS
        reach = _FARTHEST * self.sigma
        if self.mu - reach < least or self.mu + reach > largest:
            raise SpaceError(
                "e^mu is smaller or larger than a float can be, 9 sigma away; mu and sigma are those of the "
                "logarithm",
                "mu" if not least < self.mu < largest else "sigma",
            )

    def _check_lower(self, low: float) -> None:
        if low < 0:
            raise SpaceError(f"log_normal has no number below 0, got {low}", "range")

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number, which may be infinite."""
        return (0.0, math.inf) if self.range is None else self.range

    def _value(self, on_bell: float) -> float:
        return math.exp(on_bell)

    def _on_bell(self, value: float) -> float:
        return math.log(value) if value > 0 else -math.inf

    def __contains__(self, value: object) -> bool:
        return super().__contains__(value) and value != 0

    def _told(self) -> str:
        # Whoever has taken mu for the number's own mean sees it here.
        low, middle, high = (f"{self.from_unit(u):.3g}" for u in (0.025, 0.5, 0.975))
        what = super()._told().removesuffix("]")
        return f"{what}: median {middle}, 95 % from {low} to {high}]"
