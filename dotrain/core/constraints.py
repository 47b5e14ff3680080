"""What a trial's other numbers may be, for it to win."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

from dotrain.core.failure import Failure, FailureKind
from dotrain.core.marks import Mark
from dotrain.core.trial import Trial


@final
@dataclass(frozen=True)
class Constraints:
    """Bounds of metrics, all of which a trial must keep to be ranked.

    Attributes:
        bounds: The lowest and the highest value that will do, by metric; None where there is no bound.
        main: The main metric where there are several, which may be bounded too; else ``""``.
    """

    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    main: str = ""

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Self:
        """Return those of a run.

        Args:
            header: The journal's first record.
        """
        search = header.get("config", {}).get("search") or {}
        told = search.get("constraints") or {}
        bounds = {name: (one.get("min"), one.get("max")) for name, one in told.items()}
        return cls(bounds, header["metric"] if header.get("metrics") else "")

    def missing(self, metrics: Mapping[str, float] | None) -> Failure | None:
        """Return the failure of a result that lacks what is bounded; None if it has all.

        Args:
            metrics: The other numbers that the train function returned or last reported.
        """
        names = [name for name in self.bounds if name not in (metrics or {}) and name != self.main]
        if not names:
            return None
        had = ", ".join(metrics or {}) or "no other numbers"
        message = (
            f"no {', '.join(names)} (search.constraints) was returned or reported; there is {had}"
        )
        return Failure(FailureKind.BAD_RESULT, message)

    def judge(self, trial: Trial) -> None:
        """Note which bounds a trial that has a value doesn't keep.

        Args:
            trial: Has ended; what it hasn't told of, it doesn't keep.
        """
        if not self.bounds:
            return
        metrics: dict[str, float | None] = {**(trial.metrics or {}), self.main: trial.final_metric}
        amounts, told = [], []
        for name, (low, high) in self.bounds.items():
            value = metrics.get(name)
            if value is None:
                amounts.append(float("inf"))
                told.append(f"{name} wasn't known when it was {trial.state}")
                continue
            amounts.append(
                max(
                    value - high if high is not None else float("-inf"),
                    low - value if low is not None else float("-inf"),
                )
            )
            if high is not None and value > high:
                told.append(f"{name} {value:g} is over {high:g}")
            elif low is not None and value < low:
                told.append(f"{name} {value:g} is under {low:g}")
        trial.violations = tuple(amounts)
        if told:
            trial.notes[Mark.INFEASIBLE] = "; ".join(told)
        else:
            trial.notes.pop(Mark.INFEASIBLE, None)
