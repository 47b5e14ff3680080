"""Messages between the processes of a host, and descriptors with them."""

from __future__ import annotations

import math
import os
import pickle
import select
import socket
import struct
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar, final

_HEAD = struct.Struct("!I")
_CHUNK_BYTES = 1 << 16
_INT = struct.Struct("i")
#: Room for some descriptors.
_EXTRA_BYTES = socket.CMSG_SPACE(4 * _INT.size)


class Readable(Protocol):
    """What can be waited for."""

    def fileno(self) -> int:
        """Return its descriptor."""


_R = TypeVar("_R", bound=Readable)


def readable(ends: Iterable[_R], timeout_s: float | None = None) -> list[_R]:
    """Wait until something has come, however many descriptors are open; return where.

    Args:
        ends: Where something may come.
        timeout_s: The longest to wait, in seconds; None is for ever.
    """
    watched = {end.fileno(): end for end in ends}
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    # Rounded up, so that nobody comes back just before his time.
    timeout_ms = None if timeout_s is None else math.ceil(1000.0 * max(0.0, timeout_s))
    return [watched[descriptor] for descriptor, _ in poll.poll(timeout_ms)]


@final
class Pipe:
    """One end of a pair of connected sockets.

    Attributes:
        ended: Whether the other end is gone, and all that came from it has been received.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._identity = _identity(end)
        self._buffer = bytearray()
        self._descriptors: deque[int] = deque()
        self.ended = False

    @staticmethod
    def pair() -> tuple[Pipe, Pipe]:
        """Return both ends of a new pair."""
        one, other = socket.socketpair()
        return Pipe(one), Pipe(other)

    @staticmethod
    def at(descriptor: int) -> Pipe:
        """Return the end that this process has as an open descriptor."""
        return Pipe(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Return its descriptor; -1 when it is closed."""
        return self._socket.fileno()

    @property
    def is_ours(self) -> bool:
        """Whether the descriptor still is this end: other code may have closed and reused it."""
        try:
            return _identity(self._socket) == self._identity
        except OSError:
            return False

    def send(self, message: Any, *descriptors: int) -> None:
        """Send a message; waits while the other end is far behind.

        Args:
            message: Anything that can be pickled.
            *descriptors: Open ones of this process, of which the other end gets copies.

        Raises:
            OSError: If the other end is gone.
        """
        if not self.is_ours:
            raise BrokenPipeError("the connection has been closed")
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        data = _HEAD.pack(len(data)) + data
        if descriptors:
            data = data[socket.send_fds(self._socket, [data], descriptors) :]
        self._socket.sendall(data)

    def receive(self) -> list[Any]:
        """Return the messages that have come; waits for none."""
        if not self.ended and self.is_ours:
            self._read(socket.MSG_DONTWAIT)
        return self._messages()

    def wait(self) -> Any:
        """Wait for a message, and return it.

        Raises:
            EOFError: If the other end is gone.
        """
        while (size := self._next_size()) is None:
            if self.ended:
                raise EOFError
            self._read(0)
        return self._take(size)

    def descriptor(self) -> int:
        """Return the next descriptor that has come with the messages received."""
        return self._descriptors.popleft()

    def _read(self, flags: int) -> None:
        try:
            # `socket.recv_fds` ignores its flags.
            data, extra, _, _ = self._socket.recvmsg(_CHUNK_BYTES, _EXTRA_BYTES, flags)
        except BlockingIOError:
            return
        except OSError:
            data, extra = b"", []
        self._buffer += data
        for level, kind, descriptors in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = len(descriptors) // _INT.size * _INT.size
                for (one,) in _INT.iter_unpack(descriptors[:whole]):
                    os.set_inheritable(one, False)  # as any that Python opens
                    self._descriptors.append(one)
        self.ended = not data

    def _next_size(self) -> int | None:
        """Return the size of the next message; None if not all of it is here."""
        if len(self._buffer) < _HEAD.size:
            return None
        size = int(_HEAD.unpack_from(self._buffer)[0])
        return size if len(self._buffer) >= _HEAD.size + size else None

    def _take(self, size: int) -> Any:
        end = _HEAD.size + size
        data = bytes(self._buffer[_HEAD.size : end])
        del self._buffer[:end]
        return pickle.loads(data)

    def _messages(self) -> list[Any]:
        messages = []
        while (size := self._next_size()) is not None:
            messages.append(self._take(size))
        return messages

    def hang_up(self) -> None:
        """Let the other end know that this one sends nothing more; what it sends still comes."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """Close this end in this process; safe to call twice."""
        if self.is_ours:
            self._socket.close()
        else:
            self._socket.detach()
        while self._descriptors:
            os.close(self._descriptors.popleft())


def _identity(end: socket.socket) -> tuple[int, int]:
    status = os.fstat(end.fileno())
    return status.st_dev, status.st_ino
