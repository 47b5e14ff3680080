"""Where an attempt runs: on its own, or as one rank of several."""

from __future__ import annotations

from dataclasses import dataclass, field

from dotrain.core.strategy import AbstractStrategy, Seat


class Agreement:
    """What the ranks of an attempt must do alike; a rank on its own agrees with itself."""

    def meet(self, limit_s: float) -> None:
        """Find the other ranks.

        Args:
            limit_s: How long that may take, in seconds.
        """

    def begin(self, step: int) -> None:
        """Agree on the step that the attempt goes on from.

        Args:
            step: That of the checkpoint this rank has found.
        """

    def stop(self, reason: str | None) -> str | None:
        """Agree, at a report, on whether to stop.

        Args:
            reason: Why this rank should stop, or None.

        Returns:
            The same for all ranks: why to stop, or None.
        """
        return reason

    def close(self) -> None:
        """Say that this rank takes no further part."""


@dataclass
class Place:
    """Where an attempt runs.

    Attributes:
        strategy: How its training spans devices and workers; `AbstractStrategy.begin` is done.
        seat: This rank's place among the ranks.
        agreement: What it shares with the others.
    """

    strategy: AbstractStrategy
    seat: Seat = field(default_factory=Seat)
    agreement: Agreement = field(default_factory=Agreement)

    @property
    def is_chief(self) -> bool:
        """Whether this rank reports and writes the trial's files."""
        return self.seat.rank == 0
