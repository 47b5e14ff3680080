"""What a run has cost: time, and slots held and used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dotrain.core.trial import Trial
from dotrain.store import Record


@dataclass(frozen=True)
class Cost:
    """What a run has cost so far.

    Attributes:
        elapsed_s: Time since it began, without pauses between drivers.
        busy_slot_s: Time in train functions, times the slots of the trial.
        held_slot_s: Time for which the executor had slots, times how many.
        most_slots: The most slots it had.
        attempts: Launches of trials.
        lost: Attempts that came to nothing, by no fault of the function.
    """

    elapsed_s: float
    busy_slot_s: float
    held_slot_s: float
    most_slots: int
    attempts: int
    lost: int

    @property
    def used(self) -> float | None:
        """The share of the slots' time that was spent in train functions."""
        return min(1.0, self.busy_slot_s / self.held_slot_s) if self.held_slot_s > 0 else None


def cost_of(records: Iterable[Record], trials: Sequence[Trial], now_s: float) -> Cost:
    """Add up what a run has cost.

    Args:
        records: The journal.
        trials: What the journal says of the trials.
        now_s: Time of the last record.
    """
    held_slot_s, slots, since_s, most = 0.0, 0, 0.0, 0
    for record in records:
        if record["type"] in ("SlotsChanged", "Resumed", "Finish"):
            held_slot_s += slots * (record["t"] - since_s)
            slots, since_s = record.get("slots") or 0, record["t"]
            most = max(most, slots)
    held_slot_s += slots * (now_s - since_s)
    busy_slot_s = sum(
        trial.slots * (trial.busy_s + (0.0 if trial.started_s is None else now_s - trial.started_s))
        for trial in trials
    )
    return Cost(
        elapsed_s=now_s,
        busy_slot_s=busy_slot_s,
        held_slot_s=held_slot_s,
        most_slots=most,
        attempts=sum(trial.attempt for trial in trials),
        lost=sum(trial.losses for trial in trials),
    )
