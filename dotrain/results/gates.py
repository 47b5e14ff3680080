"""Gates: what a script demands of a result, such as ``val_accuracy>=0.9``.

A gate compares one number of the result, the one that ``--json`` prints, with a bound. What it
names is looked up in a result such as the run will have, before the run, so that a slip of the pen
doesn't cost one.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, final

from dotrain.errors import UsageError
from dotrain.results.paths import Paths
from dotrain.space.values import is_number

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}

#: The last operator divides, for names may hold any of these signs.
_SYNTAX = re.compile(
    r"\s*(?P<path>.*?)\s*(?P<operator>[<>=!]+)\s*(?P<bound>[^<>=!]*?)\s*", re.DOTALL
)


@final
@dataclass(frozen=True)
class Gate:
    """A number of the result, and its bound.

    Attributes:
        text: As it was written.
        path: The metric's name, or where the number stands in the result.
        operator: One of `OPERATORS`.
        bound: What the number is compared with.
    """

    text: str
    path: str
    operator: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read a gate.

        Raises:
            UsageError: If it is none.
        """
        found = _SYNTAX.fullmatch(text)
        if not found or not found["path"]:
            raise _misfit(text, "expected a name, an operator and a number, as in 'loss<0.5'")
        sign = found["operator"]
        if sign not in OPERATORS:
            hint = "; did you mean '=='?" if sign == "=" else f"; known: {' '.join(OPERATORS)}"
            raise _misfit(text, f"unknown operator '{sign}'{hint}")
        try:
            bound = float(found["bound"])
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise _misfit(text, f"expected a number after '{sign}', got '{found['bound']}'")
        return cls(text.strip(), found["path"], sign, bound)


def parse_gates(texts: Sequence[str]) -> list[Gate]:
    """Read gates, each once.

    Raises:
        UsageError: With a line for each that is none.
    """
    gates, problems = [], []
    for text in dict.fromkeys(texts):
        try:
            gates.append(Gate.parse(text))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return gates


@final
@dataclass(frozen=True)
class GateOutcome:
    """How a gate came out.

    Attributes:
        gate: As it was written.
        value: The number that it is about; None if there is none, or none that is finite.
        met: Whether the result meets it.
        missed_by: How far the number is from the bound; None if it is met, or there is none.
        message: The same for people.
    """

    gate: str
    value: float | None
    met: bool
    missed_by: float | None
    message: str


def check_gates(gates: Sequence[Gate], expected: Paths) -> None:
    """Refuse gates that no result of the run can meet, because they name nothing or no number.

    Args:
        gates: What is demanded.
        expected: Of a result such as the run will have.

    Raises:
        UsageError: With a line for each such gate.
    """
    problems = []
    for gate in gates:
        value = expected.find(gate.path, any_index=True)
        if value is not None and not is_number(value):
            problems.append(str(_misfit(gate.text, expected.why_no_number(gate.path, value))))
    if problems:
        raise UsageError("\n".join(problems))


def judge(gates: Iterable[Gate], result: Paths) -> tuple[GateOutcome, ...]:
    """Return how each gate came out.

    A number that the result hasn't got, and one that is not finite, meets no gate.

    Args:
        gates: What is demanded.
        result: The result that is judged.
    """
    return tuple(_outcome(gate, result.find(gate.path), result) for gate in gates)


def _outcome(gate: Gate, value: Any, result: Paths) -> GateOutcome:
    known = is_number(value) and math.isfinite(value)
    met = known and OPERATORS[gate.operator](value, gate.bound)
    missed_by = _distance(value, gate.bound) if known and not met else None
    if known:
        message = f"got {_shown(value, gate, met)}"
        message += ", met" if met else f", missed by {missed_by:.6g}" if missed_by else ", missed"
    elif is_number(value):
        message = f"got {value}, which meets nothing, missed"
    elif value is None:
        message = "the run gave no such number, missed"
    else:
        message = f"{result.why_no_number(gate.path, value)}, missed"
    return GateOutcome(gate.text, value if known else None, met, missed_by, message)


def _distance(value: float, bound: float) -> float:
    """Return how far apart two numbers are as they are written: 0.9 and 0.8712 by 0.0288."""
    return float(abs(Decimal(repr(value)) - Decimal(repr(bound))))


def _shown(value: float, gate: Gate, met: bool) -> str:
    """Return a value shortened, unless that would make it look as if it came out otherwise."""
    short = f"{value:.6g}"
    return short if OPERATORS[gate.operator](float(short), gate.bound) is met else repr(value)


def _misfit(text: str, why: str) -> UsageError:
    return UsageError(f"--require '{text}': {why}")
