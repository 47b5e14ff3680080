"""Checkpoints that are whole or absent, whenever the process is killed."""

from __future__ import annotations

import contextlib
import operator
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from dotrain.store.files import CHECKPOINT, PARTIAL


@final
class Checkpoint:
    """Where one trial saves and restores; kept when it is promoted, retried or resumed.

    Example:
        >>> for epoch in range(checkpoint.step, budget):
        ...     ...
        ...     with checkpoint.save(step=epoch + 1) as directory:
        ...         model.save_weights(directory / "model.weights.h5")
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        #: Whether the function has asked for what was saved.
        self.was_read = False

    @property
    def latest(self) -> Path | None:
        """The folder of the newest checkpoint, or None if there is none."""
        self.was_read = True
        found = self._all()
        return found[-1][2] if found else None

    @property
    def step(self) -> int:
        """The `step` of the newest checkpoint: how many steps need not be done again."""
        self.was_read = True
        return self.found_step()

    def found_step(self) -> int:
        """Return `step`, without counting as a reader."""
        found = self._all()
        return found[-1][0] if found else 0

    @contextmanager
    def save(self, step: int) -> Iterator[Path]:
        """Save a checkpoint: write files into the folder that the ``with`` block gets.

        The checkpoint appears when the block ends, in one piece, and replaces the one before. If
        the block raises, or the process dies, the one before stays.

        Args:
            step: How many steps are done, >= 1.

        Raises:
            ValueError: If `step` is no whole number >= 1.
        """
        number = _whole(step)
        if number is None or number < 1:
            raise ValueError(f"a checkpoint's step must be a whole number >= 1, got {step!r}")
        self._sweep()
        partial = self._directory / f"{PARTIAL}{uuid.uuid4().hex[:8]}"
        partial.mkdir(parents=True)
        try:
            yield partial
            before = self._all()
            # Beside one of the same step, never in its place: between two renames lies a moment.
            again = max((times for done, times, _ in before if done == number), default=-1) + 1
            name = f"step-{number:09d}" + (f".{again}" if again else "")
            os.replace(partial, self._directory / name)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        for *_, folder in before:
            # Aside first: removing it takes several steps, and half of it is no checkpoint.
            with contextlib.suppress(OSError):
                os.replace(folder, self._directory / f"{PARTIAL}{uuid.uuid4().hex[:8]}")
        self._sweep()

    def _sweep(self) -> None:
        """Remove what is no checkpoint: leftovers of a process that died, or the one before."""
        for leftover in self._directory.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _all(self) -> list[tuple[int, int, Path]]:
        """Return (step, times it was saved again, folder) of each, the newest last."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        found = (match for name in names if (match := CHECKPOINT.fullmatch(name)))
        return sorted((int(m[1]), int(m[2] or 0), self._directory / m[0]) for m in found)


def _whole(step: object) -> int | None:
    try:
        return operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        return None
