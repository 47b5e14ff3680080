"""How an experiment went, and what is demanded of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from dotrain.core.instructions import RunStatus
from dotrain.core.trial import Trial
from dotrain.errors import DotrainError
from dotrain.results import RunResult
from dotrain.results.gates import Gate


@dataclass(frozen=True)
class Demands:
    """What a caller wants of a run besides its result.

    Attributes:
        gates: What the result has to meet.
        at_end: Called with the result when the run is over; each may raise a `DotrainError`.
    """

    gates: Sequence[Gate] = ()
    at_end: Sequence[Callable[[RunResult], None]] = ()


@final
@dataclass(frozen=True, repr=False)
class Result:
    """How an experiment went; in a notebook it shows itself as a table.

    Attributes:
        found: What it has come to, in dotrain's own terms.
        error: What ended the run against the user's will, or None.
    """

    found: RunResult
    error: DotrainError | None = None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return self.found.to_json()

    @property
    def trials(self) -> Sequence[Trial]:
        """Every trial, with its parameters, values and story."""
        return self.found.trials

    @property
    def status(self) -> str:
        """``finished``, ``time_limit``, ``failed`` or ``interrupted``."""
        return str(self.found.status)

    @property
    def best(self) -> dict[str, Any] | None:
        """``trial_id``, ``value``, ``params``, ``marks`` and ``checkpoint`` of the best trial, or None.

        An ablation has none, nor has a search by several metrics, which has a `front`.
        """
        best: dict[str, Any] | None = self.summary.get("best")
        return best

    @property
    def front(self) -> list[dict[str, Any]]:
        """The trials on the Pareto front of a search by several metrics, else none.

        Of each ``trial_id``, ``values``, ``params``, ``marks`` and ``checkpoint``; the best by the main metric first.
        """
        front: list[dict[str, Any]] = self.summary.get("front", [])
        return front

    @property
    def is_usable(self) -> bool:
        """Whether the run has given what it was for: a best trial, a front, or a difference."""
        return self.found.is_usable

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A flat dict for each trial, all with the same keys: ``pandas.DataFrame(result.rows)``."""
        return self.found.rows

    @property
    def gates(self) -> list[dict[str, Any]]:
        """How each gate came out: ``gate``, ``value``, ``met``, ``missed_by`` and ``message``."""
        return [asdict(outcome) for outcome in self.found.gates]

    @property
    def run_dir(self) -> Path:
        """The run directory."""
        return self.found.run_dir

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 0 done, 1 no usable result, 4 a gate missed, 130 interrupted.

        A missed gate is the last to count: it judges a result, so there must be one, and the run
        must have come to its end.
        """
        if self.error is not None:
            return self.error.exit_code
        if self.found.status is RunStatus.INTERRUPTED:
            return 130
        if not self.is_usable or self.found.status is RunStatus.FAILED:
            return 1
        return 0 if all(gate.met for gate in self.found.gates) else 4

    def __getitem__(self, key: str) -> Any:
        """Return a part of the summary, as ``result["best"]``."""
        return self.summary[key]

    def __repr__(self) -> str:
        return f"<Result {self.status}: {self.found.headline}; {self.run_dir}>"

    def _repr_html_(self) -> str:
        from dotrain.report.notebook import to_html

        return to_html(self.found)
