"""What must be known of a value wherever it is shown: simulated, continued, guessed, ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from dotrain.core.marks import Mark
from dotrain.core.trial import Trial
from dotrain.store import is_simulated

#: What the terminal and the page say of a run that is simulated.
SIMULATED = "simulated: nothing was trained, every value is made up"


def marks_text(trial: Trial) -> str:
    """Return a trial's marks as they fit into a cell: ``continued, replaced``; ``""`` if none."""
    return ", ".join(trial.marks)


class Marked(NamedTuple):
    """How many trials bear a mark, which is the first, and what it means there."""

    size: int
    trial_id: str
    what: str

    def to_json(self) -> dict[str, Any]:
        """Return what a result holds."""
        return {"count": self.size, "trial_id": self.trial_id, "what": self.what}


@final
@dataclass(frozen=True)
class Caveats:
    """What must be known of a run's values.

    Attributes:
        simulated: Whether nothing was trained.
        guessed: What nobody has said about the run.
        marks: Each mark that any trial bears.
        total: How many trials there are.
    """

    simulated: bool
    guessed: tuple[str, ...]
    marks: Mapping[Mark, Marked]
    total: int

    @classmethod
    def of(cls, header: Mapping[str, Any], trials: Iterable[Trial]) -> Caveats:
        """Collect them from the journal's header and all trials."""
        trials = list(trials)
        bearers = {mark: [trial for trial in trials if mark in trial.notes] for mark in Mark}
        marks = {
            mark: Marked(len(borne), borne[0].trial_id, borne[0].notes[mark])
            for mark, borne in bearers.items()
            if borne
        }
        return cls(is_simulated(header), tuple(header.get("guessed", ())), marks, len(trials))

    @property
    def lines(self) -> list[str]:
        """A line for each, for people."""
        lines = [SIMULATED] if self.simulated else []
        for mark, marked in self.marks.items():
            if mark is not Mark.SIMULATED:
                lines.append(f"{mark}: {self._who(marked)}: {marked.what}")
        return lines

    def _who(self, marked: Marked) -> str:
        if marked.size == self.total and marked.size > 1:
            return f"all {marked.size} trials"
        first = marked.trial_id
        return first if marked.size == 1 else f"{marked.size} trials, the first {first}"

    def to_json(self) -> dict[str, Any]:
        """Return what a result holds."""
        return {
            "simulated": self.simulated,
            "guessed": list(self.guessed),
            "marks": {str(mark): marked.to_json() for mark, marked in self.marks.items()},
        }
