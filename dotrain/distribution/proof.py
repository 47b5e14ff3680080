"""How a rank and the chief prove to each other that they know the ranks' secret, without telling it.

Each sends something random, and what only the secret makes of both. Nothing of it is of use to whoever
listens, or for another connection; and nothing that a stranger sends is read as anything but bytes of a
known number.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
import time

from dotrain.core.strategy import Seat

_RANDOM_BYTES = 32
_PROOF_BYTES = 32
#: A rank's number, something random, a proof.
_CLAIM = struct.Struct(f"!I{_RANDOM_BYTES}s{_PROOF_BYTES}s")


class NotProved(ConnectionError):
    """Whoever is at the other end doesn't know the secret."""


def heard_rank(connection: socket.socket, key: bytes, deadline_s: float) -> tuple[int, bytes]:
    """Let whoever has connected to the chief prove that it is a rank.

    Args:
        connection: To it.
        key: The ranks' secret.
        deadline_s: When to give up, on the monotonic clock.

    Returns:
        The rank's number, and what proves to it that this is the chief.

    Raises:
        OSError: If it proves nothing.
    """
    ours = secrets.token_bytes(_RANDOM_BYTES)
    connection.settimeout(max(0.0, deadline_s - time.monotonic()))
    connection.sendall(ours)
    rank, theirs, proof = _CLAIM.unpack(_receive(connection, _CLAIM.size, deadline_s))
    if not hmac.compare_digest(proof, _proof(key, b"rank", rank, ours, theirs)):
        raise NotProved
    return int(rank), _proof(key, b"chief", rank, ours, theirs)


def prove_to_chief(connection: socket.socket, seat: Seat, deadline_s: float) -> None:
    """Prove to the chief that this is a rank, and see that it is the chief.

    Args:
        connection: To whoever listens at the chief's address.
        seat: The rank's.
        deadline_s: When to give up, on the monotonic clock.

    Raises:
        OSError: If it isn't the chief.
    """
    key = seat.token.encode()
    theirs = _receive(connection, _RANDOM_BYTES, deadline_s)
    ours = secrets.token_bytes(_RANDOM_BYTES)
    proof = _proof(key, b"rank", seat.rank, theirs, ours)
    connection.sendall(_CLAIM.pack(seat.rank, ours, proof))
    answer = _receive(connection, _PROOF_BYTES, deadline_s)
    if not hmac.compare_digest(answer, _proof(key, b"chief", seat.rank, theirs, ours)):
        raise NotProved


def _proof(key: bytes, who: bytes, rank: int, chiefs: bytes, ranks: bytes) -> bytes:
    return hmac.digest(key, b"%b %d %b%b" % (who, rank, chiefs, ranks), "sha256")


def _receive(connection: socket.socket, size: int, deadline_s: float) -> bytes:
    """Return so many bytes, however slowly they come, unless they come too late."""
    data = bytearray()
    while len(data) < size:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        part = connection.recv(size - len(data))
        if not part:
            raise NotProved
        data += part
    return bytes(data)
