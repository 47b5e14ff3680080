"""How an experiment went, and what is demanded of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from dotrain.core.trial import Trial
from dotrain.errors import DotrainError
from dotrain.report.gates import Gate
from dotrain.report.reading import trial_rows


@dataclass(frozen=True)
class Demands:
    """What a caller wants to be told of a run besides its result.

    Attributes:
        gates: What the result has to meet.
        junit: Where to write a JUnit file, or None.
    """

    gates: Sequence[Gate] = ()
    junit: Path | None = None


@final
@dataclass(frozen=True, repr=False)
class Result:
    """How an experiment went; in a notebook it shows itself as a table.

    Attributes:
        summary: What ``--json`` prints.
        trials: Every trial, with its parameters, values and story.
        error: What ended the run against the user's will, or None.
    """

    summary: dict[str, Any]
    trials: Sequence[Trial]
    error: DotrainError | None = None

    @property
    def status(self) -> str:
        """``finished``, ``time_limit``, ``failed`` or ``interrupted``."""
        return str(self.summary["status"])

    @property
    def best(self) -> dict[str, Any] | None:
        """``trial_id``, ``value`` and ``params`` of the best trial, or None; an ablation has none."""
        best: dict[str, Any] | None = self.summary.get("best")
        return best

    @property
    def is_usable(self) -> bool:
        """Whether the run has given what it was for: a best trial, or a difference."""
        if "components" in self.summary:
            return any(component["n"] for component in self.summary["components"])
        return self.best is not None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A flat dict for each trial, all with the same keys: ``pandas.DataFrame(result.rows)``."""
        return trial_rows(self.trials, self.summary["metric"])

    @property
    def gates(self) -> list[dict[str, Any]]:
        """How each gate came out: ``gate``, ``value``, ``met``, ``missed_by`` and ``message``."""
        gates: list[dict[str, Any]] = self.summary.get("gates", [])
        return gates

    @property
    def run_dir(self) -> Path:
        """The run directory."""
        return Path(self.summary["run_dir"])

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 0 done, 1 no usable result, 4 a gate missed, 130 interrupted.

        A missed gate is the last to count: it judges a result, so there must be one, and the run
        must have come to its end.
        """
        if self.error is not None:
            return self.error.exit_code
        if self.status == "interrupted":
            return 130
        if not self.is_usable or self.status == "failed":
            return 1
        return 0 if all(gate["met"] for gate in self.gates) else 4

    def __getitem__(self, key: str) -> Any:
        """Return a part of the summary, as ``result["best"]``."""
        return self.summary[key]

    def __repr__(self) -> str:
        from dotrain.report.notebook import to_line

        return f"<Result {to_line(self.summary)}>"

    def _repr_html_(self) -> str:
        from dotrain.report.notebook import to_html

        return to_html(self.summary, self.trials)
