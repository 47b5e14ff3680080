"""What the kernel does for the processes of attempts, where it does; elsewhere these do nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from typing import final

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: What the kernel's out-of-memory killer adds to a trial's badness, of 1000.
_OOM_SCORE = b"800"

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0


def adopt_orphans() -> None:
    """Become the parent of whatever this process's descendants leave behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int | None) -> None:
    """End this process, whatever it does, when its parent ends.

    Args:
        parent: The parent's process id, which may have ended by now; None to live on from here.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if parent is not None else 0, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def be_first_to_go() -> None:
    """Let the kernel pick this process, and what it starts, where memory runs out."""
    with contextlib.suppress(OSError):
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        try:
            os.write(file, _OOM_SCORE)
        finally:
            os.close(file)


def children() -> set[int]:
    """Return the processes that have this one, of one thread, for a parent."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", "rb") as file:
            return {int(word) for word in file.read().split()}
    except OSError:
        return {child.pid for child in psutil.Process().children()}


def cleans_up(pid: int) -> bool:
    """Whether a process is a resource tracker: it removes what dead ones have left, then ends."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"resource_tracker" in file.read()
    except OSError:
        return False


def threads() -> set[int]:
    """Return the ids of this process's threads."""
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:
        return {thread.id for thread in psutil.Process().threads()}


def kill(pid: int) -> None:
    """Kill a process, and its group if it leads one; some frameworks swallow SIGTERM."""
    kill_group(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def kill_group(leader: int) -> None:
    """Kill what is left of a process's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


@final
class Alarm:
    """Something to wait for: a child of this process has ended."""

    def __init__(self) -> None:
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def fileno(self) -> int:
        """Return a descriptor that can be read from when one has."""
        return self._woken

    def clear(self) -> None:
        """Wait for the next."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def close(self) -> None:
        """Wait for none, in a process that has been forked meanwhile."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._woken)
        os.close(self._wake)
