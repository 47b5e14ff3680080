"""A file system in memory that breaks one promise: ``python fuse.py FOLDER [FAULT]``.

It talks to the kernel itself, which takes root. It ends when it is unmounted, or killed.

Faults: ``no-locks`` and ``free-locks`` (a lock is refused, or given to everybody), ``own-ends`` (each
descriptor appends where it left off), ``no-replace`` (a file is never put in the place of another),
``no-sync``. Without one, it keeps all of them.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
import stat
import struct
import sys
from dataclasses import dataclass, field

_HEADER = struct.Struct("<IIQQIIIHH")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_ENTRY = struct.Struct("<QQQQII")


class Code(enum.IntEnum):
    """What the kernel asks for."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    OPEN = 14
    READ = 15
    WRITE = 16
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    SETLK = 32
    SETLKW = 33
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    RENAME2 = 45


_SILENT = (Code.FORGET, Code.BATCH_FORGET, Code.INTERRUPT)
_TRUNCATE, _FLOCK_LOCKS, _UNLOCK = 1 << 3, 1 << 10, 2


@dataclass
class Node:
    """A file, or a folder."""

    number: int
    mode: int
    data: bytearray = field(default_factory=bytearray)
    names: dict[bytes, Node] = field(default_factory=dict)
    holder: int | None = None


class FileSystem:
    """Answers the kernel's requests."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.nodes = {1: Node(1, stat.S_IFDIR | 0o755)}
        self.ends: dict[int, int] = {}

    def new(self, mode: int) -> Node:
        node = Node(max(self.nodes) + 1, mode)
        self.nodes[node.number] = node
        return node

    def attributes(self, node: Node) -> bytes:
        size = len(node.data)
        times = (0, 0, 0, 0, 0, 0)
        return _ATTRIBUTES.pack(
            *(node.number, size, size, *times[:3], *times[3:], node.mode, 1, 0, 0, 0, 4096, 0)
        )

    def entry(self, node: Node) -> bytes:
        return _ENTRY.pack(node.number, 0, 0, 0, 0, 0) + self.attributes(node)

    def opened(self, node: Node) -> bytes:
        handle = len(self.ends) + 1
        self.ends[handle] = len(node.data)
        return struct.pack("<QII", handle, 1, 0)  # 1: reads and writes come as they are made

    def answer(self, code: int, node: Node, body: bytes) -> bytes:
        """Return the answer to a request; an `OSError` is one."""
        match code:
            case Code.INIT:
                (ahead, flags) = struct.unpack_from("<II", body, 8)
                flags &= _FLOCK_LOCKS if "locks" in self.fault or not self.fault else 0
                return struct.pack("<IIIIHHIIHHI28x", 7, 31, ahead, flags, 9, 9, 65536, 1, 0, 0, 0)
            case Code.LOOKUP:
                name = body.rstrip(b"\0")
                if name not in node.names:
                    raise OSError(errno.ENOENT, "")
                return self.entry(node.names[name])
            case Code.GETATTR:
                return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
            case Code.SETATTR:
                valid, _, _, size = struct.unpack_from("<IIQQ", body)
                if valid & _TRUNCATE:
                    node.data[:] = node.data[:size].ljust(size, b"\0")
                return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
            case Code.MKDIR:
                made = node.names[body[8:].rstrip(b"\0")] = self.new(stat.S_IFDIR | 0o755)
                return self.entry(made)
            case Code.CREATE:
                made = node.names[body[16:].rstrip(b"\0")] = self.new(stat.S_IFREG | 0o644)
                return self.entry(made) + self.opened(made)
            case Code.UNLINK | Code.RMDIR:
                name = body.rstrip(b"\0")
                if node.names[name].names:
                    raise OSError(errno.ENOTEMPTY, "")
                del node.names[name]
                return b""
            case Code.RENAME | Code.RENAME2:
                start = 8 if code == Code.RENAME else 16
                target = self.nodes[struct.unpack_from("<Q", body)[0]]
                old, new = body[start:].rstrip(b"\0").split(b"\0")
                if self.fault == "no-replace" and new in target.names:
                    raise OSError(errno.EEXIST, "")
                target.names[new] = node.names.pop(old)
                return b""
            case Code.OPEN | Code.OPENDIR:
                return self.opened(node)
            case Code.READ:
                _, offset, size = struct.unpack_from("<QQI", body)
                return bytes(node.data[offset : offset + size])
            case Code.WRITE:
                handle, offset, size = struct.unpack_from("<QQI", body)
                offset = self.ends[handle] if self.fault == "own-ends" else offset
                node.data[:] = node.data.ljust(offset, b"\0")
                node.data[offset : offset + size] = body[40 : 40 + size]
                self.ends[handle] = offset + size
                return struct.pack("<II", size, 0)
            case Code.READDIR:
                _, offset, _ = struct.unpack_from("<QQI", body)
                return b"" if offset else self.listing(node)
            case Code.FSYNC if self.fault == "no-sync":
                raise OSError(errno.EINVAL, "")
            case Code.SETLK | Code.SETLKW:
                return self.lock(node, body)
            case Code.RELEASE:
                node.holder = (
                    None if node.holder == struct.unpack_from("<QIIQ", body)[3] else node.holder
                )
                return b""
            case Code.FSYNC | Code.FSYNCDIR | Code.FLUSH | Code.RELEASEDIR | Code.DESTROY:
                return b""
        raise OSError(errno.ENOSYS, "")

    def lock(self, node: Node, body: bytes) -> bytes:
        _, owner, _, _, kind, _ = struct.unpack_from("<QQQQII", body)
        if self.fault == "no-locks":
            raise OSError(errno.ENOLCK, "")
        if kind == _UNLOCK:
            node.holder = None
        elif node.holder not in (None, owner) and self.fault != "free-locks":
            raise OSError(errno.EAGAIN, "")
        else:
            node.holder = owner
        return b""

    @staticmethod
    def listing(node: Node) -> bytes:
        text = b""
        for place, (name, child) in enumerate(node.names.items(), 1):
            one = struct.pack("<QQII", child.number, place, len(name), child.mode >> 12) + name
            text += one.ljust((len(one) + 7) // 8 * 8, b"\0")
        return text


def serve(device: int, files: FileSystem) -> None:
    """Answer until the file system is unmounted."""
    while True:
        try:
            request = os.read(device, 1 << 20)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            raise
        _, code, unique, number, *_ = _HEADER.unpack_from(request)
        if code in _SILENT:
            continue
        try:
            body, wrong = (
                files.answer(code, files.nodes.get(number, files.nodes[1]), request[40:]),
                0,
            )
        except OSError as error:
            body, wrong = b"", -(error.errno or errno.EIO)
        os.write(device, struct.pack("<IiQ", 16 + len(body), wrong, unique) + body)


def main() -> None:
    """Mount, say so, and serve."""
    folder, fault = sys.argv[1], "".join(sys.argv[2:])
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    c = ctypes.CDLL(None, use_errno=True)
    if c.mount(b"fuse", folder.encode(), b"fuse", 0, options.encode()):
        print(os.strerror(ctypes.get_errno()), flush=True)
        return
    print("mounted", flush=True)
    serve(device, FileSystem(fault))


if __name__ == "__main__":
    main()
