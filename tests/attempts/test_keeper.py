"""What a keeper tells its host, whatever comes first."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from dotrain.attempts.keeper import Closable, Keeper
from dotrain.attempts.pipe import Pipe
from dotrain.attempts.usage import Meter


@dataclass
class Host:
    """The host's end, and where children tell what they leave."""

    pipe: Pipe
    left: int

    def wait(self) -> tuple[Any, ...]:
        """Return the next message."""
        message: tuple[Any, ...] = self.pipe.wait()
        if message[0] == "child":
            os.close(self.pipe.descriptor())
        return message


@pytest.fixture
def host() -> Iterator[Host]:
    ours, theirs = Pipe.pair()
    left, told = os.pipe()

    def ends_at_once(way: Pipe, not_its_own: Sequence[Closable]) -> int:
        """Start a child that leaves a process that nobody waits for, and ends without being told to."""
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                os.setsid()
                os.write(told, struct.pack("i", os.getpid()))
                signal.pause()
            spin_s = time.process_time() + 0.02
            while time.process_time() < spin_s:
                pass
            os._exit(7)
        return pid

    pid = os.fork()
    if pid == 0:
        ours.close()
        Keeper(theirs, ends_at_once, lambda child: Meter(child, forked=True)).serve()
    theirs.close()
    os.close(told)
    yield Host(ours, left)
    ours.close()
    os.close(left)
    os.waitpid(pid, 0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux has subreapers")
def test_an_attempt_that_ends_before_its_keeper_knows_of_it_is_measured_and_cleaned_up(
    host: Host,
) -> None:
    assert host.wait()[0] == "keeper"
    _, first = host.wait()
    (orphan,) = struct.unpack("i", os.read(host.left, 4))
    # Another is made ready when the keeper has waited for the first.
    assert host.wait()[0] == "child"
    assert psutil.pid_exists(orphan)
    host.pipe.send(("begun", first))
    told = host.wait()
    while told[0] != "gone":
        told = host.wait()
    _, pid, code, usage, verdict = told
    assert (pid, code, verdict) == (first, 7, None)
    assert usage["cpu_s"] >= 0.02
    assert not psutil.pid_exists(orphan)
