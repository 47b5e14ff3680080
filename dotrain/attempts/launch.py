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
        run_dir: Where its files are to lie, if not in the program's run directory.
    """

    launch: Launch
    seat: Seat
    run_dir: str | None = None
