"""How the ranks of a trial agree: the chief decides, the others follow.

The n-th decision is made when the chief makes its n-th report, and is taken over by every other
rank at its own n-th report; a stop therefore ends all ranks at the same step. All ranks wait for
each other once, when they have found the checkpoint to go on from and before any can save another.
After that the chief waits for nobody, and the others only as long as they are ahead of it. A rank
that reports though the chief has ended learns that, and ends too: whatever the ranks do, none
waits for ever.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from dotrain.core.strategy import PortTaken, Seat
from dotrain.distribution.meeting import NotMet, who
from dotrain.distribution.proof import heard_rank, prove_to_chief
from dotrain.training.errors import BadSetup
from dotrain.training.place import Agreement

#: How soon a rank tries again to reach the chief, in seconds.
_RETRY_S = 0.02
#: What a rank says that has found its checkpoint.
_READY = b"."
#: How long whoever connects to the chief may take to prove that it is a rank, in seconds.
_PROOF_S = 10.0
#: How many may try at once; one more, and the one that has tried longest is dropped.
_MOST_STRANGERS = 64


def join(seat: Seat) -> Agreement:
    """Return this rank's side of the agreement.

    Raises:
        PortTaken: If the chief can't listen at the seat's address.
    """
    if seat.ranks == 1:
        return Agreement()
    return Chief(seat) if seat.rank == 0 else Follower(seat)


class Chief(Agreement):
    """Tells what it decides to whoever follows, in order and from the beginning.

    Anyone may connect, and learns and changes nothing without the ranks' secret.
    """

    def __init__(self, seat: Seat, patience_s: float = _PROOF_S) -> None:
        """Listen.

        Args:
            seat: The chief's.
            patience_s: How long whoever connects may take to prove that it is a rank, in seconds.

        Raises:
            PortTaken: If something else listens there.
        """
        self._seat = seat
        self._key = seat.token.encode()
        self._ranks = range(1, seat.ranks)
        self._patience_s = patience_s
        self._lines: list[bytes] = []
        self._more = threading.Condition()
        self._closed = False
        #: Who has come, and who has found the checkpoint to go on from.
        self._here: set[int] = set()
        self._ready: set[int] = set()
        #: Who has connected and not yet proved anything, the oldest first.
        self._strangers: deque[socket.socket] = deque()
        host, _, port = seat.agreement.rpartition(":")
        try:
            self._server = socket.create_server(
                (host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(seat.agreement) from None
            raise
        threading.Thread(target=self._accept, daemon=True).start()

    def meet(self, limit_s: float) -> None:
        """Wait until every other rank has come.

        Raises:
            NotMet: If one doesn't in time.
        """
        with self._more:
            if self._more.wait_for(lambda: len(self._here) == len(self._ranks), limit_s):
                return
            late = [who(self._seat, rank) for rank in self._ranks if rank not in self._here]
        raise NotMet(
            f"has waited {limit_s:g} s (limits.group_start_s) for {', '.join(late)} to come to "
            f"{self._seat.agreement}; the workers of a trial must reach each other at any port"
        )

    def begin(self, step: int) -> None:
        """Tell from which step the chief goes on; return when the others have theirs."""
        self._decide({"step": step})
        with self._more:
            while len(self._ready) < len(self._ranks):
                self._more.wait()

    def stop(self, reason: str | None) -> str | None:
        """Tell whether the trial stops at this report."""
        self._decide({"stop": reason})
        return reason

    def _decide(self, decision: dict[str, Any] | None) -> None:
        with self._more:
            if decision is None:
                self._closed = True
            else:
                self._lines.append(f"{json.dumps(decision)}\n".encode())
            self._more.notify_all()

    def close(self) -> None:
        """Decide nothing more."""
        self._decide(None)
        # Closing alone leaves it open for as long as a thread waits in `accept`.
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._server.accept()
            except OSError:
                # Perhaps there are too many open files, which passes.
                with self._more:
                    self._more.wait_for(lambda: self._closed, _RETRY_S)
                continue
            with self._more:
                self._strangers.append(connection)
                if len(self._strangers) > _MOST_STRANGERS:
                    # A rank needs milliseconds, so whoever is here longest is none.
                    with suppress(OSError):
                        self._strangers.popleft().shutdown(socket.SHUT_RDWR)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            rank, answer = -1, b""
            deadline_s = time.monotonic() + self._patience_s
            try:
                rank, answer = heard_rank(connection, self._key, deadline_s)
            finally:
                with self._more:
                    # A rank that has been dropped by now tries again: it has no answer.
                    is_welcome = connection in self._strangers and rank in self._ranks
                    if connection in self._strangers:
                        self._strangers.remove(connection)
            if not is_welcome:
                return
            connection.settimeout(None)
            connection.sendall(answer)
            with self._more:
                self._here.add(rank)
                self._more.notify_all()
            if not connection.recv(1):
                return
            with self._more:
                self._ready.add(rank)
                self._more.notify_all()
            told = 0
            while True:
                with self._more:
                    while len(self._lines) == told and not self._closed:
                        self._more.wait()
                    lines = self._lines[told:]
                if not lines:
                    return
                connection.sendall(b"".join(lines))
                told += len(lines)


class Follower(Agreement):
    """Takes over what the chief decides."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._connection: socket.socket | None = None
        self._file: Any = None

    def meet(self, limit_s: float) -> None:
        """Connect to the chief, whose process may be seconds behind.

        Raises:
            NotMet: If it can't be reached in time.
        """
        self._connect(limit_s)

    def begin(self, step: int) -> None:
        """Check that this rank goes on from the chief's step.

        Raises:
            BadSetup: If it doesn't: it can't see the chief's checkpoint.
        """
        assert self._connection is not None, "it has met nobody"
        with suppress(OSError):
            self._connection.sendall(_READY)
        decision = self._next()
        if decision is not None and decision["step"] != step:
            raise BadSetup(
                f"rank {self._seat.rank} finds a checkpoint of step {step}, the chief one of step "
                f"{decision['step']}: the run directory must lie on a file system that all workers "
                "of a trial share"
            )

    def stop(self, reason: str | None) -> str | None:
        """Return the chief's decision at this report, whatever this rank has heard."""
        decision = self._next()
        return "the chief has ended" if decision is None else decision["stop"]

    def _next(self) -> dict[str, Any] | None:
        try:
            line = self._file.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def _connect(self, limit_s: float) -> None:
        host, _, port = self._seat.agreement.rpartition(":")
        deadline_s = time.monotonic() + limit_s
        while True:
            left_s = max(_RETRY_S, deadline_s - time.monotonic())
            try:
                connection = socket.create_connection((host, int(port)), timeout=left_s)
                try:
                    prove_to_chief(connection, self._seat, deadline_s)
                    break
                except BaseException:
                    connection.close()
                    raise
            except OSError as error:
                # Not there yet; or another process has the port, which the chief finds out.
                if time.monotonic() > deadline_s:
                    raise NotMet(
                        f"has tried for {limit_s:g} s (limits.group_start_s) to reach "
                        f"{who(self._seat, 0)}, the chief, at {self._seat.agreement}: {error}"
                    ) from None
                time.sleep(_RETRY_S)
        connection.settimeout(None)
        self._connection, self._file = connection, connection.makefile("rb")

    def close(self) -> None:
        """Hear nothing more."""
        if self._connection is not None:
            self._file.close()
            self._connection.close()
