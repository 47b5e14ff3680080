"""Ranks find each other: past proxies, within a time, and whoever doesn't says whom it waits for, where."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Mapping
from typing import final

from dotrain.core.strategy import Seat

#: Variables by which a process is told to reach others through a proxy.
_PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
#: How long another rank's address may take to answer when it is tried, in seconds.
_TRY_S = 2.0


@final
class NotMet(Exception):
    """The ranks of a trial haven't found each other in time."""


def past_proxies(environment: Mapping[str, str], seat: Seat) -> dict[str, str]:
    """Return what to set so that ranks reach each other directly; nothing where there is no proxy.

    gRPC reads ``no_grpc_proxy`` or, where that isn't set, ``no_proxy``; others read ``no_proxy`` or,
    where that isn't set, ``NO_PROXY``.

    Args:
        environment: Of this process.
        seat: Its own; ranks are reached at the hosts of these addresses.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return {}
    hosts = [address.rpartition(":")[0].strip("[]") for address in seat.addresses]
    hosts.append(seat.agreement.rpartition(":")[0].strip("[]"))
    lower, upper = environment.get("no_proxy"), environment.get("NO_PROXY")
    plain = lower if lower is not None else upper or ""
    grpc = environment.get("no_grpc_proxy")
    wanted = {"no_proxy": plain, "no_grpc_proxy": grpc if grpc is not None else plain}
    if upper is not None:
        wanted["NO_PROXY"] = upper
    return {name: _with(value, hosts) for name, value in wanted.items()}


def _with(value: str, hosts: list[str]) -> str:
    named = [part.strip() for part in value.split(",") if part.strip()]
    return ",".join(dict.fromkeys([*named, *hosts]))


def who(seat: Seat, rank: int) -> str:
    """Return a rank's name for people.

    Args:
        seat: Any of the attempt.
        rank: Its number.
    """
    worker = seat.workers[rank] if rank < len(seat.workers) else ""
    return f"rank {rank}{f' on {worker}' if worker else ''}"


def tried(address: str) -> str:
    """Try to reach an address; return what came of it.

    Args:
        address: ``host:port``.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TRY_S).close()
    except TimeoutError:
        return f"no answer within {_TRY_S:g} s"
    except OSError as error:
        return (errno.errorcode.get(error.errno or 0) or type(error).__name__) + f" ({error})"
    return "it can be reached"


@final
class Watched:
    """Watches over a call that waits for the other ranks, however deep it hangs."""

    def __init__(
        self, seat: Seat, limit_s: float, what: str, give_up: Callable[[str], None]
    ) -> None:
        """Make it; use it in a ``with``.

        Args:
            seat: This rank's.
            limit_s: How long the call may take, in seconds.
            what: Which call it is, for people.
            give_up: Called on another thread when the time is over, with whom the rank waits for.
        """
        self._seat = seat
        self._what = f"{limit_s:g} s (limits.group_start_s) in {what}"
        self._give_up = give_up
        self._lock = threading.Lock()
        #: Whether the call has returned in time, or hasn't.
        self._returned = False
        self.gave_up = False
        self._timer = threading.Timer(limit_s, self._over)
        self._timer.daemon = True

    def __enter__(self) -> Watched:
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._returned = True

    def _over(self) -> None:
        seat = self._seat
        others = [rank for rank in range(seat.ranks) if rank != seat.rank]
        found = [
            f"{who(seat, rank)} at {seat.addresses[rank]}: {tried(seat.addresses[rank])}"
            for rank in others
        ]
        with self._lock:
            if self._returned:
                return
            self.gave_up = True
            self._give_up(
                f"has waited {self._what} for the other ranks; it is "
                f"{who(seat, seat.rank)} at {seat.addresses[seat.rank]}; {'; '.join(found)}"
            )
