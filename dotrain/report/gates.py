"""Gates: what a script demands of a result, such as ``val_accuracy>=0.9``.

A gate compares one number of the result, the one that ``--json`` prints, with a bound. What it
names is looked up in a result such as the run will have, before the run, so that a slip of the pen
doesn't cost one.
"""

from __future__ import annotations

import contextlib
import math
import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from dotrain.ablation.study import BASELINE
from dotrain.core import events as e
from dotrain.core.book import TrialBook
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.limits import Limits
from dotrain.core.trial import ArmRun, Mark, Trial
from dotrain.errors import UsageError, did_you_mean
from dotrain.report.reading import summarize_run
from dotrain.space import Searchspace

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
#: Counts that a result leaves out where there was nothing to count.
_NO_COUNT = {
    "trials": {"unfinished": 0},
    "promotions": {"total": 0, "from_checkpoint": 0, "steps_saved": 0},
    "marks": {str(mark): {"count": 0} for mark in Mark},
}
_MISSING = object()


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


def check_gates(gates: Sequence[Gate], expected: Mapping[str, Any]) -> None:
    """Refuse gates that no result of the run can meet, because they name nothing or no number.

    Args:
        gates: What is demanded.
        expected: What `expected_result` returned.

    Raises:
        UsageError: With a line for each such gate.
    """
    problems = []
    for gate in gates:
        value = _find(gate.path, expected, any_index=True)
        if value is not None and not _is_number(value):
            problems.append(str(_misfit(gate.text, _no_number(gate.path, value, expected))))
    if problems:
        raise UsageError("\n".join(problems))


def judge(gates: Sequence[Gate], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how each gate came out, for ``gates`` in the result.

    A number that the result hasn't got, and one that is not finite, meets no gate.

    Args:
        gates: What is demanded.
        result: What `summarize_run` returned.
    """
    return [_outcome(gate, _find(gate.path, result), result) for gate in gates]


def print_gates(outcomes: Sequence[Mapping[str, Any]], *, quiet: bool = False) -> None:
    """Print a line for each gate to stderr.

    Args:
        outcomes: What `judge` returned.
        quiet: Only those that were missed.
    """
    with contextlib.suppress(OSError):  # whoever reads may have left; the exit code tells
        for outcome in outcomes:
            if not (quiet and outcome["met"]):
                sys.stderr.write(f"{outcome['gate']}: {outcome['message']}\n")


def _outcome(gate: Gate, value: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    known = _is_number(value) and math.isfinite(value)
    met = known and OPERATORS[gate.operator](value, gate.bound)
    missed_by = _distance(value, gate.bound) if known and not met else None
    if known:
        message = f"got {_shown(value, gate, met)}"
        message += ", met" if met else f", missed by {missed_by:.6g}" if missed_by else ", missed"
    elif _is_number(value):
        message = f"got {value}, which meets nothing, missed"
    elif value is None:
        message = "the run gave no such number, missed"
    else:
        message = f"{_no_number(gate.path, value, result)}, missed"
    return {
        "gate": gate.text,
        "value": value if known else None,
        "met": met,
        "missed_by": missed_by,
        "message": message,
    }


def _distance(value: float, bound: float) -> float:
    """Return how far apart two numbers are as they are written: 0.9 and 0.8712 by 0.0288."""
    return float(abs(Decimal(repr(value)) - Decimal(repr(bound))))


def _shown(value: float, gate: Gate, met: bool) -> str:
    """Return a value shortened, unless that would make it look as if it came out otherwise."""
    short = f"{value:.6g}"
    return short if OPERATORS[gate.operator](float(short), gate.bound) is met else repr(value)


def _misfit(text: str, why: str) -> UsageError:
    return UsageError(f"--require '{text}': {why}")


# Looking a path up. Names may hold dots, so a path is no list of keys, and may lead to several
# places: at each, the longest key that fits is tried first, and a number is what was meant.


def _find(path: str, result: Mapping[str, Any], *, any_index: bool = False) -> Any:
    """Return what a path leads to, None where there will be a number, or `_MISSING`.

    Args:
        path: The metric's name, or a path.
        result: Where to look.
        any_index: Whether every index of a list leads to what the list's last item is like.
    """
    if path == result["metric"]:
        path = f"{BASELINE}.mean" if "components" in result else "best.value"
    places = [*_walk(path, result, any_index), *_walk(path, _NO_COUNT, any_index)]
    numbers = (place for place in places if place is None or _is_number(place))
    return next(numbers, places[0] if places else _MISSING)


def _walk(rest: str, node: Any, any_index: bool) -> Iterator[Any]:
    if node is None:
        yield None
    for key, child in sorted(_children(node), key=lambda item: -len(item[0])):
        if rest == key:
            yield child
        if rest.startswith(f"{key}."):
            yield from _walk(rest[len(key) + 1 :], child, any_index)
    index, _, further = rest.partition(".")
    if any_index and _grows(node) and index.isdecimal():
        yield from _walk(further, node[-1], any_index) if further else [node[-1]]


def _grows(node: Any) -> bool:
    """Whether it is a list that may get longer; one whose items have names may not."""
    if not isinstance(node, list) or not node:
        return False
    return not (isinstance(node[-1], Mapping) and "name" in node[-1])


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a path may go on with; the items of a list by name, if they have one, and index."""
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield str(key), child
    elif isinstance(node, list):
        named = (child for child in node if isinstance(child, Mapping) and "name" in child)
        yield from ((str(child["name"]), child) for child in named)
        yield from ((str(index), child) for index, child in enumerate(node))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_number(path: str, value: Any, result: Mapping[str, Any]) -> str:
    """Return why a path leads to no number, and which one was meant."""
    numbers = [result["metric"], *dict.fromkeys(_numbers(result))]
    if value is not _MISSING:
        below = [name for name in numbers if name.startswith(f"{path}.")]
        return f"'{path}' is no number" + (f"; known: {_some(below)}" if below else "")
    hint = did_you_mean(path, numbers)
    if not hint.startswith("; did"):
        # All there is would be a page; what begins alike is enough.
        head = path.partition(".")[0]
        alike = [name for name in numbers if name.startswith(f"{head}.")]
        hint = f"; known: {_some(alike or [n for n in numbers if n.count('.') < 2])}"
    return f"there is no '{path}' in the result{hint}"


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _numbers(node: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every number."""
    if node is None or _is_number(node):
        yield path
    children = list(_children(node))
    named = {id(child) for key, child in children if not key.isdecimal()}
    for key, child in children:
        if not (isinstance(node, list) and key.isdecimal() and id(child) in named):
            yield from _numbers(child, f"{path}.{key}" if path else key)


# A result such as the run will have, made as every result is.


def expected_result(header: Mapping[str, Any], space: Searchspace) -> dict[str, Any]:
    """Return a result of the shape that a run's will have; its numbers mean nothing.

    Args:
        header: The journal's, as the run will begin with.
        space: What is searched.
    """
    book = TrialBook(0, Limits())
    if "study" in header:
        study = header["study"]
        # With two seeds there are intervals already. Beyond them a run that fails, and one to come.
        seeds = min(2, len(study["seeds"]))
        for index in range(seeds + 1):
            for arm in study["arms"]:
                trial = Trial({}, arm=ArmRun(arm["name"], index))
                _run(book, trial, float(len(book.trials)), fails=index == seeds)
        header = {**header, "study": {**study, "seeds": list(range(seeds + 2))}}
        book.accept(Trial({}, arm=ArmRun(BASELINE, seeds + 1)))
    else:
        params = {name: _example(domain) for name, domain in space.domains.items()}
        trial = Trial(params)
        _run(book, trial, 1.0)
        _run(book, trial, 1.0)  # promoted
        _run(book, Trial(params), 1.0, fails=True)
        book.accept(Trial(params))
    return summarize_run(header, book, "finished", 1.0, Path("RUN_DIR"))


def _example(domain: Any) -> Any:
    """Return a value of a domain, a number if it has one."""
    values = getattr(domain, "values", None) or [domain.from_unit(0.5)]
    return next((value for value in values if _is_number(value)), values[0])


def _run(book: TrialBook, trial: Trial, value: float, *, fails: bool = False) -> None:
    if not trial.trial_id:
        book.accept(trial)
    book.launch(trial, 1.0, "", 0.0, 1)
    key = (trial.trial_id, trial.attempt)
    book.apply(e.Started(*key, "", 0), 0.0)
    if fails:
        book.apply(e.Failed(*key, Failure(FailureKind.EXCEPTION, "")), 1.0)
    else:
        book.apply(e.Finished(*key, value), 1.0)
