"""Checkpoints that are whole or absent, whenever the process is killed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "step-"
_PARTIAL = ".partial-"


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

    @property
    def latest(self) -> Path | None:
        """The folder of the newest checkpoint, or None if there is none."""
        found = self._all()
        return found[-1][1] if found else None

    @property
    def step(self) -> int:
        """The `step` of the newest checkpoint: how many steps need not be done again."""
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
        if not isinstance(step, int) or step < 1:
            raise ValueError(f"a checkpoint's step must be a whole number >= 1, got {step!r}")
        partial = self._directory / f"{_PARTIAL}{uuid.uuid4().hex[:8]}"
        partial.mkdir(parents=True)
        try:
            yield partial
            before = self._all()
            target = self._directory / f"{_PREFIX}{step:09d}"
            if target.exists():
                shutil.rmtree(target)
            os.replace(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        for _, folder in before:
            if folder != target:
                shutil.rmtree(folder, ignore_errors=True)

    def _all(self) -> list[tuple[int, Path]]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return sorted(
            (int(name.removeprefix(_PREFIX)), self._directory / name)
            for name in names
            if name.startswith(_PREFIX)
        )
