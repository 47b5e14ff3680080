"""What a running attempt and its executor share."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from dotrain.core.events import TrialEvent


class Channel:
    """The way out for events, and the way in for a stop.

    Attributes:
        send: Delivers an event to the driver; never blocks for long, keeps the order.
        closed: Set when the attempt has ended: threads that outlive it have nothing to report to.
        lock: Held while a report is made, so that threads can't mix up their steps.
        pid: The process of the attempt; a child that it forks is not the attempt.
    """

    def __init__(self, send: Callable[[TrialEvent], None]) -> None:
        self.send = send
        self._stop_reason: str | None = None
        self.closed = False
        self.lock = threading.Lock()
        self.pid = os.getpid()

    @property
    def stop_reason(self) -> str | None:
        """Why the attempt is to stop, None if it isn't."""
        return self._stop_reason

    def stop(self, reason: str) -> None:
        """Let the attempt end at its next report."""
        self._stop_reason = reason
