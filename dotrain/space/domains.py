"""The kinds of hyperparameters: ranges of numbers, and lists of values."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from dotrain.space.base import Domain, index_of, require_in
from dotrain.space.values import (
    Key,
    SpaceError,
    is_number,
    is_plain,
    plain_if_possible,
    plain_value,
    same_value,
    value_key,
    value_text,
)

#: Two bounds within this have a finite distance.
_LARGEST = sys.float_info.max / 2


@dataclass(frozen=True, kw_only=True)
class _Range(Domain):
    """What `Float` and `Int` share: two ends, a scale and a step."""

    range: tuple[float, float]
    scale: Literal["linear", "log"] = "linear"

    def _check_range(self) -> None:
        self._take("range")
        if len(self.range) != 2:
            raise SpaceError(f"expected [low, high], got {list(self.range)}", "range")
        low, high = self.range
        if not (is_number(low) and is_number(high)):
            raise SpaceError(f"expected two numbers, got {list(self.range)}", "range")
        if not all(-_LARGEST <= bound <= _LARGEST for bound in self.range):
            raise SpaceError(f"expected finite bounds, got {list(self.range)}", "range")
        if low > high:
            raise SpaceError(f"lower bound {low} is over upper bound {high}", "range")
        if self.scale not in ("linear", "log"):
            raise SpaceError(f"expected linear or log, got {self.scale!r}", "scale")
        if self.scale == "log" and low <= 0:
            raise SpaceError(f"log scale needs a lower bound > 0, got {low}", "range")

    def _check_step(self) -> None:
        self._take("step")
        step: float | None = getattr(self, "step")  # noqa: B009 - the kinds have it
        if step is None:
            return
        if not is_number(step) or not 0 < step < math.inf:
            raise SpaceError(f"expected a number > 0, got {step!r}", "step")
        if self.scale == "log":
            raise SpaceError("a step goes with the linear scale only", "step")
        if step > (self.range[1] - self.range[0]) * (1 + 1e-9):  # 0.3 - 0.2 is less than 0.1
            raise SpaceError(f"step {step} is wider than the range {list(self.range)}", "step")

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number."""
        return self.range

    def __str__(self) -> str:
        scale = ", log" if self.scale == "log" else ""
        step = getattr(self, "step", None)
        low, high = (f"{bound:g}" if type(self) is Float else str(bound) for bound in self.range)
        what = f"{type(self).__name__.lower()}[{low}, {high}{scale}]"
        return what + ("" if step is None else f" step {step:g}") + self._condition()


@final
@dataclass(frozen=True, kw_only=True)
class Float(_Range):
    """A real number of ``[low, high]``, both ends included.

    Attributes:
        range: Lower and upper bound.
        scale: ``log`` spreads equal ratios evenly; it needs a lower bound > 0.
        step: Distance of neighbouring values, counted from the lower bound; linear scale only.
    """

    step: float | None = None
    type: Literal["float"] = "float"

    def __post_init__(self) -> None:
        self._check_when()
        self._check_range()
        self._check_step()

    @property
    def size(self) -> int | None:
        """Number of values on the steps, or None without a step."""
        low, high = self.range
        if low == high:
            return 1
        return None if self.step is None else math.floor((high - low) / self.step + 1e-9) + 1

    def from_unit(self, u: float) -> float:
        """Map `u` in [0, 1] to a float of the range."""
        low, high = map(float, self.range)
        if self.step is not None and self.size is not None:
            # Rounding keeps 0.1 + 2 * 0.1 from reading 0.30000000000000004 in every table.
            digits = 12 - math.floor(math.log10(self.step))
            value = round(low + index_of(u, self.size) * self.step, digits)
            return min(max(value, low), high)
        if self.scale == "log":
            value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        else:
            value = low + u * (high - low)
        return min(max(value, low), high)

    def to_unit(self, value: Any) -> float:
        """Map a float of the range to [0, 1]."""
        require_in(self, value)
        low, high = self.range
        if low == high:
            return 0.5
        if self.step is not None and self.size is not None:
            return float((round((value - low) / self.step) + 0.5) / self.size)
        if self.scale == "log":
            width = math.log(high) - math.log(low)
            u = (math.log(value) - math.log(low)) / width if width else 0.5
        else:
            u = (value - low) / (high - low)
        return min(max(u, 0.0), 1.0)

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        low, high = self.range
        if not low <= value <= high:
            return False
        if self.step is None:
            return True
        steps = (value - low) / self.step
        return abs(steps - round(steps)) < 1e-6


@final
@dataclass(frozen=True, kw_only=True)
class Int(_Range):
    """A whole number of ``[low, high]``, both ends included.

    Attributes:
        range: Lower and upper bound, whole numbers.
        scale: ``log`` spreads equal ratios evenly; it needs a lower bound > 0.
        step: Distance of neighbouring values, counted from the lower bound; linear scale only.
    """

    range: tuple[int, int]
    step: int | None = None
    type: Literal["int"] = "int"

    def __post_init__(self) -> None:
        self._check_when()
        self._check_range()
        self._check_step()
        for key, numbers in (("range", self.range), ("step", (self.step or 1,))):
            if any(not isinstance(n, int) for n in numbers):
                raise SpaceError(f"expected whole numbers, got {list(numbers)}", key)

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.range[1] - self.range[0]) // (self.step or 1) + 1

    def from_unit(self, u: float) -> int:
        """Map `u` in [0, 1] to an integer of the range."""
        low, high = self.range
        if self.scale == "log":
            # Half a unit of room on both sides gives the ends the same share as the rest.
            value = round(math.exp(_lerp(math.log(low - 0.5), math.log(high + 0.5), u)))
            return min(max(value, low), high)
        return low + index_of(u, self.size) * (self.step or 1)

    def to_unit(self, value: Any) -> float:
        """Map an integer of the range to [0, 1]."""
        require_in(self, value)
        low, high = self.range
        if self.scale == "log":
            start, end = math.log(low - 0.5), math.log(high + 0.5)
            return (math.log(value) - start) / (end - start)
        return float(((value - low) // (self.step or 1) + 0.5) / self.size)

    def at(self, index: int) -> int:
        """Return the value at an index; there are no gaps on a log scale either."""
        return self.range[0] + index * (self.step or 1)

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        low, high = self.range
        return low <= value <= high and (value - low) % (self.step or 1) == 0


@dataclass(frozen=True, kw_only=True)
class _Choice(Domain):
    """What `Discrete` and `Categorical` share: a list of values."""

    values: Sequence[Any]

    def _check_values(self) -> None:
        self._take("values")
        values = self.values
        # Of a set, the order would be another one in every process.
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            shown = list(values) if isinstance(values, tuple) else values
            raise SpaceError(f"expected a list of values, got {shown!r}", "values")
        seen: set[Key] = set()
        for value in values:
            if not is_plain(value):
                raise SpaceError(f"expected plain values, got {value!r}", "values")
            if value_key(value) in seen:
                raise SpaceError(f"{value!r} stands twice", "values")
            seen.add(value_key(value))

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    def at(self, index: int) -> Any:
        """Return the value at an index; a list or a mapping as a copy, which is the trial's own."""
        return plain_value(self.values[index])

    def from_unit(self, u: float) -> Any:
        """Map `u` in [0, 1] to one of the values."""
        return self.at(index_of(u, self.size))

    def to_unit(self, value: Any) -> float:
        """Map one of the values to [0, 1]."""
        require_in(self, value)
        value = plain_if_possible(value)
        index = next(i for i, known in enumerate(self.values) if same_value(known, value))
        return (index + 0.5) / self.size

    def __contains__(self, value: object) -> bool:
        value = plain_if_possible(value)
        return any(same_value(known, value) for known in self.values)

    def __str__(self) -> str:
        what = f"{type(self).__name__.lower()}[{', '.join(map(value_text, self.values))}]"
        return what + self._condition()


@final
@dataclass(frozen=True, kw_only=True)
class Discrete(_Choice):
    """One of a list of numbers, whose order means something.

    Attributes:
        values: Numbers, each once; they are sorted.
    """

    type: Literal["discrete"] = "discrete"

    def __post_init__(self) -> None:
        self._check_when()
        self._check_values()
        wrong = [value for value in self.values if not is_number(value)]
        if wrong:
            raise SpaceError(f"expected numbers, got {wrong[0]!r}; use categorical", "values")
        object.__setattr__(self, "values", tuple(sorted(self.values)))


@final
@dataclass(frozen=True, kw_only=True)
class Categorical(_Choice):
    """One of a list of values without an order.

    Attributes:
        values: Strings, numbers, booleans, null (None), lists or mappings of them, each once.
    """

    type: Literal["categorical"] = "categorical"

    def __post_init__(self) -> None:
        self._check_when()
        self._check_values()
        object.__setattr__(self, "values", tuple(self.values))


def _lerp(start: float, end: float, u: float) -> float:
    return start + u * (end - start)
