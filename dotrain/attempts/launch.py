"""What a process is to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dotrain.core.instructions import Launch
from dotrain.core.strategy import Seat


@final
@dataclass(frozen=True)
class RankLaunch:
    """What a rank is to do.

    Attributes:
        launch: The attempt.
        seat: Which rank of it.
    """

    launch: Launch
    seat: Seat
