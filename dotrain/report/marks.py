"""What must be known of a value wherever it is shown: simulated, continued, guessed, ..."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from dotrain.core.trial import Mark, Trial
from dotrain.store import is_simulated

#: What the terminal and the page say of a run that is simulated.
SIMULATED = "simulated: nothing was trained, every value is made up"


def marks_text(trial: Trial) -> str:
    """Return a trial's marks as they fit into a cell: ``continued, replaced``; ``""`` if none."""
    return ", ".join(trial.marks)


def marks_in(header: Mapping[str, Any], trials: Iterable[Trial]) -> dict[str, Any]:
    """Return the marks of a run as its result holds them.

    Args:
        header: The journal's header.
        trials: All trials.

    Returns:
        ``simulated``; ``guessed``, what nobody has said about the run; and ``marks``: for each
        mark that any trial bears how many do, which is the first, and what it means there.
    """
    counts: Counter[Mark] = Counter()
    first: dict[Mark, Trial] = {}
    for trial in trials:
        for mark in trial.marks:
            counts[mark] += 1
            first.setdefault(mark, trial)
    return {
        "simulated": is_simulated(header),
        "guessed": list(header.get("guessed", ())),
        "marks": {
            str(mark): {
                "count": counts[mark],
                "trial_id": first[mark].trial_id,
                "what": first[mark].notes[mark],
            }
            for mark in Mark
            if counts[mark]
        },
    }


def mark_lines(result: Mapping[str, Any]) -> list[str]:
    """Return a line for each mark, for people.

    Args:
        result: What holds `marks_in`; one that an older version wrote has none.
    """
    lines = [SIMULATED] if result.get("simulated") else []
    for mark, told in result.get("marks", {}).items():
        if mark != Mark.SIMULATED:
            lines.append(f"{mark}: {_who(told, result)}: {told['what']}")
    return lines


def _who(told: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    count, total = told["count"], result["trials"]["total"]
    if count == total and count > 1:
        return f"all {count} trials"
    return told["trial_id"] if count == 1 else f"{count} trials, the first {told['trial_id']}"
