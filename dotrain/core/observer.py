"""The plugin interface of those who watch a run, and what they see of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from dotrain.core.events import Event
from dotrain.core.instructions import Instruction, RunStatus
from dotrain.core.limits import Limits
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial, TrialState


@final
class RunView:
    """A run as it is now, to be read only; so are its trials."""

    def __init__(
        self,
        scheduler: Scheduler,
        run_dir: Path = Path(),
        records: Iterable[dict[str, Any]] = (),
        *,
        resumed: bool = False,
    ) -> None:
        """Make the view of a run.

        Args:
            scheduler: Has its state.
            run_dir: Its directory.
            records: What the journal holds when a driver begins, the header first.
            resumed: Whether that isn't the first driver.
        """
        self._scheduler = scheduler
        self._run_dir = run_dir
        self._records = tuple(records)
        self._header = self._records[0] if self._records else {}
        self._resumed = resumed

    @property
    def run_dir(self) -> Path:
        """Its directory, the same however often it goes on."""
        return self._run_dir

    @property
    def header(self) -> Mapping[str, Any]:
        """The journal's first record: ``name``, ``metric``, ``direction``, ``config`` and more."""
        return MappingProxyType(self._header)

    @property
    def records(self) -> Sequence[dict[str, Any]]:
        """What the journal held when this driver began, the header first; empty after `start`."""
        return self._records

    @property
    def resumed(self) -> bool:
        """Whether it goes on, under another driver than it began with."""
        return self._resumed

    @property
    def trials(self) -> Mapping[str, Trial]:
        """Every trial by id, in order of acceptance; the last may not have been launched yet."""
        return MappingProxyType(self._scheduler.book.trials)

    @property
    def active(self) -> Mapping[str, Trial]:
        """The trials that hold slots by id, those first that have done so longest."""
        return MappingProxyType(self._scheduler.book.active)

    @property
    def counts(self) -> Mapping[TrialState, int]:
        """How many trials are in each state."""
        return MappingProxyType(self._scheduler.book.counts)

    @property
    def slots(self) -> int:
        """Slots of the executor, busy ones included."""
        return self._scheduler.slots

    @property
    def held(self) -> int:
        """Slots that are busy."""
        return self._scheduler.book.held

    @property
    def limits(self) -> Limits:
        """What ends attempts and the run early."""
        return self._scheduler.limits

    @property
    def status(self) -> RunStatus | None:
        """None while the run goes on, then how it has ended."""
        return self._scheduler.status

    def let_go_of_records(self) -> None:
        """Keep nothing that was there for `start` alone; the driver calls it."""
        self._records = ()


class Observer:
    """Watches a run; this one does nothing, others override what they want to hear of.

    Subclasses take their options as keyword arguments of ``__init__``, with type annotations: these
    become the keys of their entry under ``observers`` in the config, and are validated as such. An
    instance is made whenever a config is checked, so nothing begins before `start`.

    What an observer does can't change the run. It is called on the driver's thread, which waits for
    it. One that raises is told nothing more, and the run's last words on stderr say so; a
    `DotrainError` is shown as it stands.
    """

    def start(self, run: RunView) -> None:
        """The run begins, or goes on.

        Args:
            run: What is known of it, now and at any later time.
        """

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Something has happened; `start`'s view shows the run after it.

        Args:
            event: What. News of an attempt that is over, and what comes twice, is told as
                `TimePassed`.
            instructions: What the run does about it, each with its reason.
            time_s: When, in seconds since the run began, those before a resume included.
        """

    def on_pulse(self, time_s: float) -> None:
        """A fraction of a second has passed; in a simulation, and while a trial runs in this process, more.

        Args:
            time_s: As of `on_event`.
        """

    def on_interrupt(self) -> None:
        """The run has been told to end; called in the middle of anything, so only note it here."""

    def close(self) -> None:
        """The driver ends, and the workers have; whether the run is over, its status says."""
