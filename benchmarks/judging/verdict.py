"""What a judgement says: as JSON, as tables of Markdown, and whether what is wanted is met."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from judging import lcbench, tables
from judging.running import POINTS, Outcome
from judging.searchers import BY_NAME
from judging.statistics import Difference, Regrets

MARKS = {
    tables.GROUP: tables.MARKS,
    lcbench.GROUP: lcbench.MARKS,
    lcbench.TUNING: lcbench.MARKS,
}
_UNITS = {tables.GROUP: "trials", lcbench.GROUP: "full trainings", lcbench.TUNING: "full trainings"}
#: (group, searcher, against whom)
COMPARED = (
    (tables.GROUP, "tpe", "optuna TPE"),
    (tables.GROUP, "tpe", "random"),
    (tables.GROUP, "gp", "tpe"),
    (tables.GROUP, "qmc", "random"),
    (lcbench.GROUP, "asha", "random"),
    (lcbench.GROUP, "asha + tpe", "asha"),
    (lcbench.GROUP, "asha + tpe", "optuna TPE"),
    (lcbench.GROUP, "asha + tpe", "optuna TPE + SHA"),
    (lcbench.GROUP, "asha + tpe", "optuna TPE + Hyperband"),
    (lcbench.GROUP, "asha + gp", "asha + tpe"),
    (lcbench.GROUP, "asha + gp", "optuna TPE"),
    (lcbench.GROUP, "asha + gp", "optuna TPE + Hyperband"),
    (lcbench.GROUP, "gp", "tpe"),
    (lcbench.GROUP, "gp", "optuna TPE"),
    (lcbench.GROUP, "bohb", "asha + tpe"),
    (lcbench.GROUP, "bohb", "hyperband"),
)
#: At which mark, and which ratio of the mean regrets at most.
_ASHA_RATIOS = {20: 0.8, 40: 0.7}
#: On how large a part of the data sets `asha + tpe` is to be ahead of `asha`.
_AHEAD = 13 / 17


@dataclass(frozen=True)
class Wanted:
    """Something that is wanted of a searcher, and whether it is so."""

    what: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Verdict:
    """All that a judgement says.

    Attributes:
        groups: Regrets by group.
    """

    groups: dict[str, Regrets]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], *, climbed: bool = False) -> Verdict:
        """Return what some searches say.

        Args:
            outcomes: What they have come to.
            climbed: As of `Scale.regret`.
        """
        by_group: defaultdict[str, list[Outcome]] = defaultdict(list)
        for one in outcomes:
            by_group[one.group].append(one)
        return cls({group: Regrets(found, climbed=climbed) for group, found in by_group.items()})

    def compared(self) -> Iterator[tuple[str, str, str, list[Difference]]]:
        """Yield (group, searcher, the other one, the differences at each mark)."""
        for group, one, other in COMPARED:
            for name in (group, lcbench.TUNING) if group == lcbench.GROUP else (group,):
                regrets = self.groups.get(name)
                if regrets and {one, other} <= set(regrets.searchers):
                    yield name, one, other, regrets.against(one, other)

    def wanted(self) -> Iterator[Wanted]:
        """Yield what is wanted, as far as it was measured."""
        for group, one, other, differences in self.compared():
            for mark, found in zip(MARKS[group], differences, strict=True):
                said = f"{_said(found)}, ratio {found.ratio:.2f}, ahead on {found.ahead} of {found.problems}"
                if (one, other) == ("asha + tpe", "asha") and mark in _ASHA_RATIOS:
                    most = _ASHA_RATIOS[mark]
                    is_met = (
                        found.difference.high < 0
                        and found.ratio <= most
                        and found.ahead >= _AHEAD * found.problems
                    )
                    what = f"{group}: {one} below {other} at {mark}, ratio <= {most}, ahead on 13 of 17"
                    yield Wanted(what, said, is_met)
                if (one, other) == ("tpe", "optuna TPE"):
                    what = f"{group}: {one} not worse than {other} at {mark}"
                    yield Wanted(what, said, found.difference.low <= 0)

    def to_data(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        groups = {}
        for group, regrets in self.groups.items():
            groups[group] = {
                "marks": MARKS[group],
                "unit": _UNITS[group],
                "searchers": {
                    name: {
                        "peer": BY_NAME[name].is_peer,
                        "problems": len(regrets.problems(name)),
                        "searches": len(regrets.outcomes(name)),
                        "regret": [asdict(one) for one in regrets.mean(name)],
                        "trials": mean(one.trials for one in regrets.outcomes(name)),
                        "curve": regrets.curve(name),
                    }
                    for name in _in_order(regrets)
                },
            }
        return {
            "groups": groups,
            "points_of_a_curve": POINTS,
            "compared": [
                {
                    "group": group,
                    "searcher": one,
                    "against": other,
                    "at": [
                        {"mark": mark, **asdict(found)}
                        for mark, found in zip(MARKS[group], differences, strict=True)
                    ],
                }
                for group, one, other, differences in self.compared()
            ],
            "wanted": [asdict(one) for one in self.wanted()],
        }

    def to_markdown(self) -> str:
        """Return the tables."""
        return "\n\n".join(filter(None, [*self._tables(), self._comparisons()]))

    def _tables(self) -> Iterator[str]:
        for group, regrets in self.groups.items():
            names = _in_order(regrets)
            most = max(len(regrets.problems(name)) for name in names)
            head = [f"{group}, {_UNITS[group]}", *map(str, MARKS[group]), "trials", "searches"]
            rows = []
            for name in names:
                few = len(regrets.problems(name))
                outcomes = regrets.outcomes(name)
                cells = [
                    f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})"
                    for one in regrets.mean(name)
                ]
                shown = name if few == most else f"{name} (on {few} of {most})"
                trials = f"{mean(one.trials for one in outcomes):.0f}"
                rows.append([shown, *cells, trials, str(len(outcomes))])
            yield _table(head, rows)

    def _comparisons(self) -> str:
        rows = [
            [
                f"{group}: {one} against {other}",
                str(mark),
                _said(found),
                f"{found.ratio:.2f}",
                f"{found.ahead} of {found.problems}",
                str(found.repeats),
            ]
            for group, one, other, differences in self.compared()
            for mark, found in zip(MARKS[group], differences, strict=True)
        ]
        head = ["compared", "at", "difference", "ratio", "ahead", "repeats"]
        return _table(head, rows) if rows else ""


def _said(found: Difference) -> str:
    one = found.difference
    return f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})"


def _in_order(regrets: Regrets) -> list[str]:
    """Return the searchers as they are registered."""
    return [name for name in BY_NAME if name in regrets.searchers]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
