"""Whose checkpoint is kept, and freeing the others: ``checkpoints.keep`` of the config.

What is freed stands in the journal before it is deleted. So a trial that is promoted after that begins
at step 0 for a known reason, and whoever goes on with the run finishes what a crash has left.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, final

from dotrain.core.events import AttemptEnd, Event, Freed
from dotrain.core.front import Metrics
from dotrain.core.instructions import Instruction, Kill
from dotrain.core.policy import Direction
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial
from dotrain.results import ranked
from dotrain.results.checkpoints import is_candidate, newest_of
from dotrain.results.text import count_text
from dotrain.runs.definition import Experiment
from dotrain.store import Record
from dotrain.store.kept import Kept
from dotrain.store.storage import StorageError

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


class AbstractChoice(ABC):
    """Of trials whose values can't change any more: whose checkpoints are kept."""

    @abstractmethod
    def add(self, trial: Trial) -> list[Trial]:
        """Return whose checkpoint isn't needed any more.

        Args:
            trial: Has a checkpoint, and its value will not change.
        """


@final
class FrontChoice(AbstractChoice):
    """Keeps those of all trials that no other one dominates; nothing is freed before there is one to keep.

    What one of these dominates is freed for good, and rightly so: it would be dominated whatever came.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.kept: list[Trial] = []
        self._metrics = metrics
        self._others: list[Trial] = []

    def add(self, trial: Trial) -> list[Trial]:
        """As of `AbstractChoice`."""
        known = [*self.kept, trial]
        self.kept = self._metrics.front(known)
        self._others += [one for one in known if one not in self.kept]
        if not self.kept:
            return []
        freed, self._others = self._others, []
        return freed


@final
class Choice(AbstractChoice):
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


def make_choice(direction: Direction, metrics: Metrics) -> AbstractChoice:
    """Return what chooses in a run.

    Args:
        direction: ``max`` or ``min``.
        metrics: Its metrics, if there are several.
    """
    return FrontChoice(metrics) if metrics else Choice(direction)


def to_free(trials: Iterable[Trial], choice: AbstractChoice) -> list[Trial]:
    """Return whose checkpoint isn't needed when a run has finished.

    Args:
        trials: Those that have one.
        choice: Knows no trial.
    """
    return [freed for trial in trials for freed in choice.add(trial)]


class Freeing:
    """Frees checkpoints of a run, as the config says."""

    def __init__(
        self,
        kept: Kept,
        keep: Keep,
        scheduler: Scheduler,
        new_choice: Callable[[], AbstractChoice],
        *,
        meanwhile: bool = False,
    ) -> None:
        """Get ready; nothing is freed yet.

        Args:
            kept: Where the trials' files are.
            keep: Which checkpoints stay.
            scheduler: Knows all trials, and which are over.
            new_choice: Returns one that knows no trial.
            meanwhile: Whether a thread may delete while the run goes on; `close` waits for it.
        """
        self._kept = kept
        self._meanwhile = meanwhile
        self._keep = keep
        self._scheduler = scheduler
        self._trials = scheduler.book.trials
        self._new_choice = new_choice
        self._choice = new_choice()
        self._seen: set[str] = set()

    def finish(self) -> None:
        """Delete what counts as freed, should a driver have died, or been told no, in between."""
        over = [i for i, trial in self._trials.items() if trial.freed and trial.state.ended]
        self._delete(over, wait=True)

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
        return self._freed(to_free(held, self._new_choice()))

    def carry_out(self, freed: Freed) -> None:
        """Delete checkpoints, once it is in the journal: at once none is there any more."""
        # A disk or a storage may take its time, and a run that goes on has better things to do.
        self._delete(freed.sizes, wait=not self._meanwhile or self._scheduler.status is not None)

    def close(self) -> None:
        """Wait until all is deleted."""
        self._kept.finish_removing()

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
        return not trial.freed and newest_of(trial, self._kept) is not None

    def _freed(self, trials: Iterable[Trial]) -> Freed | None:
        sizes = {t.trial_id: sum(map(self._kept.checkpoint_bytes, t.folders)) for t in trials}
        return Freed(self._keep, sizes) if sizes else None

    def _delete(self, trial_ids: Iterable[str], *, wait: bool) -> None:
        left: list[str] = []
        for trial_id in trial_ids:
            try:
                for folder in self._trials[trial_id].folders:
                    self._kept.free_checkpoints(folder)
            except OSError as error:
                left.append(f"{error.filename}: {error.strerror}")
        try:
            self._kept.remove_unneeded(wait=wait)
        except StorageError as error:
            left.append(str(error))
        if left:
            sys.stderr.write(
                f"warning: can't delete {count_text(len(left), 'checkpoint')} "
                f"(checkpoints.keep: {self._keep}), the first {left[0]}\n"
            )


def freeing_of(experiment: Experiment, kept: Kept, header: Record, scheduler: Scheduler) -> Freeing:
    """Return what frees a run's checkpoints.

    Args:
        experiment: What is run.
        kept: Where the trials' files are.
        header: The journal's.
        scheduler: Knows all trials.
    """
    keep, concurrent = keep_of(experiment, header), experiment.executor.concurrent
    new_choice = partial(make_choice, experiment.direction, Metrics.of(header))
    return Freeing(kept, keep, scheduler, new_choice, meanwhile=concurrent)
