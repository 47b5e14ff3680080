"""What a running attempt and its executor share."""

from __future__ import annotations

from collections.abc import Callable

from dotrain.core.events import TrialEvent


class Channel:
    """The way out for events, and the way in for a stop.

    Attributes:
        send: Delivers an event to the driver; never blocks for long, keeps the order.
        stop_reason: Set by the executor, from any thread, when the attempt is to stop.
    """

    def __init__(self, send: Callable[[TrialEvent], None]) -> None:
        self.send = send
        self.stop_reason: str | None = None
