"""A port that takes connections from this machine alone, whatever address its owner has bound it to.

Some frameworks' servers listen on all addresses, and nothing in their settings changes that. The kernel can be
told to drop what comes to a listening socket from elsewhere: by a classic filter on it, for which no
privilege is needed. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Linux's numbers of options of a socket; Python's module has no names for them.
_SO_ATTACH_FILTER, _SO_LOCK_FILTER = 26, 44
#: How often to look for a socket that isn't there yet, in seconds.
_LOOK_S = 0.002

# The language of the kernel's packet filters: load a byte or a word of the packet, and, shift, jump if
# equal (by how many lines if it is, and if not), return how much of the packet to let through.
_BYTE, _WORD, _AND, _SHIFT, _JUMP, _RETURN = 0x30, 0x20, 0x54, 0x74, 0x15, 0x06
#: Where the header of IP begins, for a filter.
_IP = 0xFFF00000
_ALL, _NOTHING = 0xFFFFFFFF, 0
_FROM_HERE = (
    (_BYTE, 0, 0, _IP),
    (_SHIFT, 0, 0, 4),
    (_JUMP, 0, 3, 4),  # not version 4: look for version 6
    (_WORD, 0, 0, _IP + 12),  # its source: 127.0.0.0/8 only
    (_AND, 0, 0, 0xFF000000),
    (_JUMP, 9, 10, 0x7F000000),
    (_JUMP, 0, 9, 6),
    (_WORD, 0, 0, _IP + 8),  # its source, in four words: ::1 only
    (_JUMP, 0, 7, 0),
    (_WORD, 0, 0, _IP + 12),
    (_JUMP, 0, 5, 0),
    (_WORD, 0, 0, _IP + 16),
    (_JUMP, 0, 3, 0),
    (_WORD, 0, 0, _IP + 20),
    (_JUMP, 0, 1, 1),
    (_RETURN, 0, 0, _ALL),
    (_RETURN, 0, 0, _NOTHING),
)


def is_loopback(address: str) -> bool:
    """Whether ``host:port``, or a host alone, is an address that only this machine has."""
    host = address.strip("[]") if address.count(":") != 1 else address.partition(":")[0]
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    return host in ("localhost", "::1") or host.startswith("127.")


@contextmanager
def closed_to_others(address: str) -> Iterator[None]:
    """Close a port to other machines as soon as this process listens on it.

    Args:
        address: ``host:port``; nothing is done if it isn't on the loopback interface. Port 0 stands
            for whatever this process listens on.

    What can't be done is said on stderr.
    """
    if not is_loopback(address):
        yield
        return
    port = int(address.rpartition(":")[2])
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(port, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    # An attempt of one rank gets port 0, and perhaps nothing listens.
    if not close_to_others(port) and port:
        sys.stderr.write(
            f"other machines may reach port {port}: this system can't close it to them\n"
        )


def _watch(port: int, over: threading.Event) -> None:
    while not (close_to_others(port) or over.wait(_LOOK_S)):
        pass


def close_to_others(port: int) -> bool:
    """Close every socket of this process that listens on a port to other machines.

    Returns:
        Whether there is one, and none is open to them.
    """
    found = [_close(one) for one in _listening(port)]
    return bool(found) and all(found)


def _listening(port: int) -> Iterator[socket.socket]:
    with suppress(OSError):  # a system that doesn't tell
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # gone by now, or no socket
                if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                    continue
                with socket.socket(fileno=os.dup(int(name))) as one:
                    if _listens(one) and port in (0, one.getsockname()[1]):
                        yield one


def _listens(one: socket.socket) -> bool:
    is_ip = one.family in (socket.AF_INET, socket.AF_INET6)
    return is_ip and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _close(listening: socket.socket) -> bool:
    if listening.getsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER):
        return True  # done before
    code = b"".join(struct.pack("HBBI", *line) for line in _FROM_HERE)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("HL", len(_FROM_HERE), ctypes.addressof(held))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        listening.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
    except OSError:
        return False
    return True
