"""A port that takes connections from this machine alone, whatever address its owner has bound it to.

Some frameworks' servers listen on all addresses, and nothing in their settings changes that. The kernel can be
told to drop what comes to a listening socket from elsewhere: by a classic filter on it, for which no
privilege is needed. Linux only.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

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
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


@contextmanager
def closed_to_others(address: str) -> Iterator[None]:
    """Close a port to other machines as soon as this process listens on it.

    Args:
        address: ``host:port``; nothing is done if it isn't on the loopback interface. Port 0 stands
            for whatever this process begins to listen on.

    What can't be done is said on stderr.
    """
    if not is_loopback(address):
        yield
        return
    port = int(address.rpartition(":")[2])
    over = threading.Event()
    # A server that a notebook has, say, or `prepare`.
    before = frozenset() if port else frozenset(name for name, _ in _listening(0))
    watcher = threading.Thread(target=_watch, args=(port, before, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    # An attempt of one rank gets port 0, and perhaps nothing listens.
    if not close_to_others(port, before) and port:
        sys.stderr.write(
            f"other machines may reach port {port}: this system can't close it to them\n"
        )


def _watch(port: int, before: Collection[str], over: threading.Event) -> None:
    while not (close_to_others(port, before) or over.wait(_LOOK_S)):
        pass


def close_to_others(port: int, but: Collection[str] = ()) -> bool:
    """Close every socket of this process that listens on a port to other machines.

    Args:
        port: The port; 0 is any.
        but: Those that are left alone, as `/proc` names them.

    Returns:
        Whether there is one, and none is open to them.
    """
    found = [_close(number) for name, number in _listening(port) if name not in but]
    return bool(found) and all(found)


def _listening(port: int) -> Iterator[tuple[str, int]]:
    """Yield each socket that listens, as `/proc` names it, and a descriptor of it for the moment."""
    with suppress(OSError):  # a system that doesn't tell
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # gone by now, or no socket
                link = os.readlink(f"/proc/self/fd/{name}")
                if not link.startswith("socket:"):
                    continue
                number = os.dup(int(name))
                try:
                    if _listens(number, port):
                        yield link, number
                finally:
                    os.close(number)


# By the C library: a socket of Python's would take over the default time-out that a script has set, and
# with it change what is not our own to one that doesn't block.
def _called(function: str, *arguments: Any) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _option(number: int, option: int) -> int:
    value, size = ctypes.c_int(), ctypes.c_uint(ctypes.sizeof(ctypes.c_int))
    at = ctypes.byref(value), ctypes.byref(size)
    _called("getsockopt", number, socket.SOL_SOCKET, option, *at)
    return value.value


def _set_option(number: int, option: int, value: bytes) -> None:
    _called("setsockopt", number, socket.SOL_SOCKET, option, value, ctypes.c_uint(len(value)))


def _listens(number: int, port: int) -> bool:
    if not _option(number, socket.SO_ACCEPTCONN):
        return False
    name, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
    _called("getsockname", number, name, ctypes.byref(size))
    family, own_port = struct.unpack("=H2s", name.raw[:4])
    is_ip = family in (socket.AF_INET, socket.AF_INET6)
    return is_ip and port in (0, int.from_bytes(own_port))


def _close(listening: int) -> bool:
    if _option(listening, _SO_LOCK_FILTER):
        return True  # done before
    code = b"".join(struct.pack("HBBI", *line) for line in _FROM_HERE)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("HL", len(_FROM_HERE), ctypes.addressof(held))
    try:
        _set_option(listening, _SO_ATTACH_FILTER, program)
        _set_option(listening, _SO_LOCK_FILTER, struct.pack("i", 1))
    except OSError:
        return False
    return True
