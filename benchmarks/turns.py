"""Two trainings that live at once and train by turns."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

#: The longest wait for the other training's epoch, in seconds.
_TURN_TIMEOUT_S = 120.0


class Turns:
    """Epochs by turns with another training, so that both see the same machine.

    One waits for its turn before an epoch, in rank 0, for which the others wait; it does nothing
    meanwhile. What is measured goes to a file for each model.
    """

    def __init__(self, folder: Path, me: str, other: str, is_chief: bool) -> None:
        """Take part.

        Args:
            folder: Holds the file `turn`, with the name of whose turn it is.
            me: The name of this training.
            other: The name of the other one.
            is_chief: Whether this process is rank 0.
        """
        self._turn, self._me, self._other = folder / "turn", me, other
        self._is_chief = is_chief

    def wait(self) -> None:
        """Wait for the turn."""
        deadline_s = time.monotonic() + _TURN_TIMEOUT_S
        while self._is_chief and self._turn.read_text() != self._me:
            assert time.monotonic() < deadline_s, "the other training has gone"
            time.sleep(0.001)

    def give(self) -> None:
        """Give the turn to the other one."""
        if self._is_chief:
            ready = self._turn.with_name(f"turn-of-{self._other}")
            ready.write_text(self._other)
            ready.replace(self._turn)

    def keep(self, kind: str, rates: Sequence[float]) -> None:
        """Write what was measured."""
        if self._is_chief:
            self._turn.with_name(f"{self._me}-{kind}.json").write_text(json.dumps(rates))
