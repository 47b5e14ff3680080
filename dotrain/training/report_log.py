"""The reports of a trial, kept beside its checkpoints.

A report that was made, and lost on its way with the worker or the driver, is sent once more when
the trial goes on from a checkpoint beyond it: that step will not be trained again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Kept(NamedTuple):
    """One report."""

    step: int
    value: float
    metrics: dict[str, float] | None


class ReportLog:
    """A file of reports, one JSON list a line; whole lines count, whatever happened to the last."""

    def __init__(self, path: Path, begins_at: int = 0) -> None:
        """Make one; nothing is written before the first `append`.

        Args:
            path: The file.
            begins_at: The step at which the trial began.
        """
        self._path = path
        self._begins_at = begins_at

    def append(self, step: int, value: float, metrics: dict[str, float] | None) -> None:
        """Keep a report."""
        with open(self._path, "a", encoding="utf-8") as file:
            # The line break comes first, so that a torn line never swallows the next.
            file.write("\n" + json.dumps([step, value, metrics]))

    def between(self, after: int, before: int) -> Iterator[Kept]:
        """Yield the reports after one step and before another, the last one made of each step.

        A function that counts its steps from 1 has done the step of its checkpoint, too.

        Args:
            after: The last step that is known; -1 if none is.
            before: The step at which the trial goes on.
        """
        found: dict[int, Kept] = {}
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                kept = Kept(*json.loads(line))
            except (ValueError, TypeError):
                continue
            found[kept.step] = kept
        last = before if min(found, default=0) > self._begins_at else before - 1
        for step in sorted(found):
            if after < step <= last:
                yield found[step]
