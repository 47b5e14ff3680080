"""Whose checkpoint is kept, and freeing the others: ``checkpoints.keep`` of the config.

What is freed stands in the journal before it is deleted. So a trial that is promoted after that begins
at step 0 for a known reason, and whoever goes on with the run finishes what a crash has left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Literal, final

from dotrain.core.events import AttemptEnd, Event, Freed
from dotrain.core.instructions import Instruction, Kill
from dotrain.core.policy import Direction
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial
from dotrain.results import ranked
from dotrain.results.checkpoints import is_candidate
from dotrain.results.text import count_text
from dotrain.runs.definition import Experiment
from dotrain.store import Record, RunDir
from dotrain.store.checkpoints import checkpoints_in, clear, set_all_aside, size_of

Keep = Literal["auto", "last", "best", "all"]


def keep_of(experiment: Experiment, header: Record) -> Keep:
    """Return which checkpoints a run keeps.

    One that began before there was a choice keeps those of all trials, unless somebody says
    otherwise. One that is simulated has none.

    Args:
        experiment: What is run.
        header: The journal's.
    """
    settings = experiment.settings
    if experiment.simulated:
        return "last"
    is_said = "checkpoints" in settings.model_fields_set
    return settings.checkpoints.keep if is_said or "keep" in header else "last"


@final
class Choice:
    """Of trials whose values can't change any more: the one whose checkpoint is kept.

    It is that of the best candidate. Nothing is freed before there is one to keep.

    Attributes:
        kept: The trial, or None as long as none has a value.
    """

    def __init__(self, direction: Direction) -> None:
        self.kept: Trial | None = None
        self._direction = direction
        self._others: list[Trial] = []

    def add(self, trial: Trial) -> list[Trial]:
        """Return whose checkpoint isn't needed any more.

        Args:
            trial: Has a checkpoint, and its value will not change.
        """
        self._others.append(trial)
        if is_candidate(trial):
            best = ranked([trial, *([self.kept] if self.kept else [])], self._direction)
            if best and best[0] is trial:
                self._others.remove(trial)
                self._others += [self.kept] if self.kept else []
                self.kept = trial
        if self.kept is None:
            return []
        freed, self._others = self._others, []
        return freed


def to_free(trials: Iterable[Trial], direction: Direction) -> list[Trial]:
    """Return whose checkpoint isn't needed when a run has finished.

    Args:
        trials: Those that have one.
        direction: ``max`` or ``min``.
    """
    choice = Choice(direction)
    return [freed for trial in trials for freed in choice.add(trial)]


class _Remover:
    """Removes what was set aside, on a thread of its own: a slow disk doesn't hold up the run."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Path | None] = SimpleQueue()
        self._thread: Thread | None = None

    def add(self, directory: Path) -> None:
        """Remove what was set aside there, some time before `close`."""
        self._waiting.put(directory)
        if self._thread is None:
            # Whoever can't wait for it leaves the rest to the next who goes on.
            self._thread = Thread(target=self._run, name="dotrain-freeing", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait until all is removed."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (directory := self._waiting.get()) is not None:
            clear(directory)


class Freeing:
    """Frees checkpoints in a run directory, as the config says."""

    def __init__(
        self,
        run_dir: RunDir,
        keep: Keep,
        scheduler: Scheduler,
        direction: Direction,
        *,
        aside: bool = False,
    ) -> None:
        """Get ready; nothing is freed yet.

        Args:
            run_dir: The run directory.
            keep: What is kept.
            scheduler: Knows all trials, and which are over.
            direction: ``max`` or ``min``.
            aside: Whether a thread may delete while the run goes on; `close` waits for it.
        """
        self._run_dir = run_dir
        self._remover = _Remover() if aside else None
        self._keep = keep
        self._scheduler = scheduler
        self._trials = scheduler.book.trials
        self._direction = direction
        self._choice = Choice(direction)
        self._seen: set[str] = set()

    def finish(self) -> None:
        """Delete what counts as freed, should a driver have died, or been told no, in between."""
        self._delete(i for i, t in self._trials.items() if t.freed and t.state.ended)

    def at_start(self) -> Freed | None:
        """Return what is to be freed as soon as a run goes on."""
        return self._over(self._trials.values())

    def after(self, event: Event, instructions: Iterable[Instruction]) -> Freed | None:
        """Return what is to be freed while the run goes on.

        Args:
            event: What has happened.
            instructions: What the run does about it.
        """
        ended = [event.trial_id] if isinstance(event, AttemptEnd) else []
        ended += [one.trial_id for one in instructions if isinstance(one, Kill)]
        return self._over(self._trials[trial_id] for trial_id in ended)

    def at_end(self) -> Freed | None:
        """Return what is to be freed when the run has finished."""
        self.close()
        self.finish()  # an attempt that was killed may have written once more
        if self._keep not in ("auto", "best"):
            return None
        held = [trial for trial in self._trials.values() if self._holds(trial)]
        return self._freed(to_free(held, self._direction))

    def carry_out(self, freed: Freed) -> None:
        """Delete checkpoints, once it is in the journal: at once none is there any more."""
        self._delete(freed.sizes)

    def close(self) -> None:
        """Wait until all is deleted."""
        if self._remover is not None:
            self._remover.close()

    @property
    def note(self) -> str:
        """What must be known before a run goes on whose trials may be promoted; ``""`` if nothing."""
        is_over = self._scheduler.is_over
        freed = [t for t in self._trials.values() if t.freed and not is_over(t)]
        if not freed:
            return ""
        return (
            f"the checkpoints of {count_text(len(freed), 'trial')} were freed when the run finished "
            f"(checkpoints.keep: {freed[0].freed}); those that are promoted go on from step 0"
        )

    def _over(self, trials: Iterable[Trial]) -> Freed | None:
        """Return what isn't needed of trials, of those that are over for good."""
        if self._keep != "best":
            return None
        over = (trial for trial in trials if self._scheduler.is_over(trial))
        held = [t for t in over if t.trial_id not in self._seen and self._holds(t)]
        self._seen |= {trial.trial_id for trial in held}
        return self._freed([freed for trial in held for freed in self._choice.add(trial)])

    def _holds(self, trial: Trial) -> bool:
        return not trial.freed and bool(checkpoints_in(self._run_dir.checkpoint(trial.trial_id)))

    def _freed(self, trials: Iterable[Trial]) -> Freed | None:
        sizes = {t.trial_id: size_of(self._run_dir.checkpoint(t.trial_id)) for t in trials}
        return Freed(self._keep, sizes) if sizes else None

    def _delete(self, trial_ids: Iterable[str]) -> None:
        left: list[str] = []
        for trial_id in trial_ids:
            directory = self._run_dir.checkpoint(trial_id)
            try:
                set_all_aside(directory)
                (clear if self._remover is None else self._remover.add)(directory)
            except OSError as error:
                left.append(f"{error.filename}: {error.strerror}")
        if left:
            sys.stderr.write(
                f"warning: can't delete {count_text(len(left), 'checkpoint')} "
                f"(checkpoints.keep: {self._keep}), the first {left[0]}\n"
            )
