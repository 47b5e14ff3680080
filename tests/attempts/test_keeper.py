"""What a keeper tells its host, whatever comes first."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dotrain.attempts import kernel
from dotrain.attempts.keeper import Closable, Keeper
from dotrain.attempts.pipe import Pipe
from dotrain.attempts.usage import Meter


def ends_at_once(way: Pipe, not_its_own: Sequence[Closable]) -> int:
    """Start a child that leaves a process that nobody waits for, and ends without being told to."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            signal.pause()
        spin_s = time.process_time() + 0.02
        while time.process_time() < spin_s:
            pass
        os._exit(7)
    return pid


@pytest.fixture
def host() -> Iterator[Pipe]:
    ours, theirs = Pipe.pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        Keeper(theirs, ends_at_once, lambda child: Meter(child, forked=True)).serve()
    theirs.close()
    yield ours
    ours.close()
    os.waitpid(pid, 0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux has subreapers")
def test_an_attempt_that_ends_before_its_keeper_knows_of_it_is_measured_and_cleaned_up(
    host: Pipe,
) -> None:
    what, keeper = host.wait()
    assert what == "keeper"
    what, child = host.wait()
    os.close(host.descriptor())
    while Path(f"/proc/{child}").exists():  # until the keeper has waited for it
        time.sleep(0)
    host.send(("begun", child))
    told = host.wait()
    while told[0] != "gone":
        os.close(host.descriptor())
        told = host.wait()
    _, pid, code, usage, verdict = told
    assert (pid, code, verdict) == (child, 7, None)
    assert usage["cpu_s"] >= 0.02
    left = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    # Nothing of the attempt: what is there is a child that nobody has asked for yet, or what that has left.
    assert all(int(one) > child for one in left)
    assert kernel.children() >= {keeper}
