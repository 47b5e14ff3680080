"""Checkpoints that are whole or absent, whenever the process is killed."""

from __future__ import annotations

import contextlib
import operator
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from dotrain.store.checkpoints import (
    checkpoints_in,
    discard,
    name_of,
    newest_up_to,
    partial_name,
    sweep,
)
from dotrain.training.random_state import restore_state, write_state


@final
class Checkpoint:
    """Where one trial saves and restores; kept when it is promoted, retried or resumed.

    Example:
        >>> for epoch in range(checkpoint.step, budget):
        ...     ...
        ...     with checkpoint.save(step=epoch + 1) as directory:
        ...         model.save_weights(directory / "model.weights.h5")
    """

    def __init__(
        self,
        directory: Path,
        *,
        keeps_all: bool = False,
        keep_step: int = 0,
        seed: int | None = None,
        on_restored: Callable[[], None] = lambda: None,
    ) -> None:
        """Make one; nothing is written before the first `save`.

        Args:
            directory: Where they are.
            keeps_all: Whether earlier ones stay beside the newest.
            keep_step: The newest of so many steps or less stays, for another trial to begin from.
            seed: The trial's, in [0, 2**31).
            on_restored: Called when the generators have been set to a checkpoint's state.
        """
        self._directory = directory
        self._keeps_all = keeps_all
        self._keep_step = keep_step
        self._seed = seed
        self._on_restored = on_restored
        #: Whether the function has asked for what was saved.
        self.was_read = False
        #: Whether it has asked where that is.
        self.was_loaded = False

    @property
    def latest(self) -> Path | None:
        """The folder of the newest checkpoint, or None if there is none."""
        self.was_read = self.was_loaded = True
        found = checkpoints_in(self._directory)
        return found[-1].folder if found else None

    @property
    def step(self) -> int:
        """The `step` of the newest checkpoint: how many steps need not be done again."""
        self.was_read = True
        return self.found_step()

    def found_step(self) -> int:
        """Return `step`, without counting as a reader."""
        found = checkpoints_in(self._directory)
        return found[-1].step if found else 0

    def has_step_up_to(self, step: int) -> bool:
        """Whether there is a checkpoint of so many steps or less; without counting as a reader."""
        return newest_up_to(step, checkpoints_in(self._directory)) is not None

    def restore_random_state(self) -> bool:
        """Let Python's, NumPy's and each loaded framework's generators go on as when the newest one was saved.

        With weights and optimizer restored, and data from ``data_gen.batch(epoch=...)``, a loop then goes on as if
        it had never ended. The callbacks of `dotrain.callbacks` do so by themselves. Call it behind whatever draws
        random numbers once, such as ``model_gen.create()``.

        Returns:
            Whether they do: not where there is no checkpoint, one of an earlier version, or one that another trial
            has saved (``pbt``). They are seeded then by the trial's seed and the checkpoint's step.
        """
        latest = self.latest
        restored = latest is not None and restore_state(latest, self._seed)
        if restored:
            self._on_restored()
        return restored

    @contextmanager
    def save(self, step: int) -> Iterator[Path]:
        """Save a checkpoint: write files into the folder that the ``with`` block gets.

        The checkpoint appears when the block ends, in one piece, and replaces the one before
        (with ``checkpoints: {keep: all}`` in the config it comes beside it), with the states of the generators,
        for `restore_random_state`. If the block raises, or
        the process dies, the one before stays.

        Saved before the step is reported, it holds that step of a trial that is stopped, too; killed
        between the two, the trial goes on behind a step whose report was never made. Reported first,
        such a step is done once more.

        Args:
            step: How many steps are done, >= 1.

        Raises:
            ValueError: If `step` is no whole number >= 1.
        """
        number = _whole(step)
        if number is None or number < 1:
            raise ValueError(f"a checkpoint's step must be a whole number >= 1, got {step!r}")
        sweep(self._directory)
        partial = self._directory / partial_name()
        partial.mkdir(parents=True)
        try:
            yield partial
            write_state(partial, self._seed)
            before = checkpoints_in(self._directory)
            # Beside one of the same step, never in its place: between two renames lies a moment.
            again = max((one.again for one in before if one.step == number), default=-1) + 1
            os.replace(partial, self._directory / name_of(number, again))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if self._keeps_all:
            return
        lent = newest_up_to(self._keep_step, before)
        for one in before:
            if one == lent:
                continue
            with contextlib.suppress(OSError):
                discard(one.folder)
        sweep(self._directory)


def _whole(step: object) -> int | None:
    try:
        return operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        return None
