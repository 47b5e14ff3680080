"""Looks at processes that really are there."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from dotrain.attempts import usage
from dotrain.attempts.usage import Meter, held_bytes, look_at, weigh, with_descendants
from dotrain.attempts.watch import VerdictKind
from tests.attempts.test_prepare import SIX
from tests.conftest import Project, make_cluster, start

MB = 1_000_000

#: One that holds 60 MB, and obeys; told to, it forks first, and its child obeys in its place.
OBEYS = """
import os, sys, time
before = bytearray(b"x" * 60_000_000)
children = []
if sys.argv[1] == "forked" and (child := os.fork()):
    sys.exit(os.waitpid(child, 0)[1])
print(os.getpid(), flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""
FORKS = """
ready, ends = os.pipe(), os.pipe()
for _ in range(3):
    if not os.fork():
        os.close(ends[1])
        os.write(ready[1], b".")
        os.read(ends[0], 1)
        os._exit(0)
for _ in range(3):
    os.read(ready[0], 1)
"""


class Obeys:
    def __init__(self, how: str) -> None:
        self.process = start(
            [sys.executable, "-c", OBEYS, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.pid = int(self.process.stdout.readline())

    def do(self, code: str) -> None:
        """Let it do something; return when it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"exec({code!r})\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        self.process.kill()
        for pid in with_descendants([self.pid]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def obeys() -> Iterator[Callable[[str], Obeys]]:
    started: list[Obeys] = []

    def begin(how: str = "forked") -> Obeys:
        started.append(Obeys(how))
        return started[-1]

    yield begin
    for one in started:
        one.end()


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.5
        return self.now_s


def peak_of(meter: Meter) -> float:
    """In MB."""
    peak = meter.usage().peak_bytes
    assert peak is not None
    return peak / MB


@pytest.mark.parametrize("how", ["forked", "spawned"])
def test_the_peak_is_what_came_after_the_beginning(obeys: Callable[[str], Obeys], how: str) -> None:
    one = obeys(how)
    meter = Meter(one.pid, forked=how == "forked", clock_s=Clock())
    one.do("mine = b'x' * 50_000_000")
    assert meter.look() is None
    one.do("del mine")
    meter.look()
    assert 49 < peak_of(meter) < 60


def test_a_copy_of_what_the_fork_has_inherited_counts(obeys: Callable[[str], Obeys]) -> None:
    one = obeys("forked")
    meter = Meter(one.pid, forked=True, clock_s=Clock())
    meter.look()
    assert peak_of(meter) < 10
    one.do("before[::1024] = b'y' * len(before[::1024])")
    meter.look()
    assert 59 < peak_of(meter) < 75


def test_what_children_inherit_counts_once(obeys: Callable[[str], Obeys]) -> None:
    one = obeys("forked")
    meter = Meter(one.pid, forked=True, clock_s=Clock())
    one.do("mine = b'x' * 50_000_000")
    one.do(FORKS)
    assert len(with_descendants([one.pid])) == 4
    meter.look()
    assert 40 < peak_of(meter) < 65


def test_more_than_the_limit_is_told_with_its_figures(obeys: Callable[[str], Obeys]) -> None:
    one = obeys("forked")
    meter = Meter(one.pid, forked=True, memory_bytes=30 * MB, clock_s=Clock())
    assert meter.look() is None
    one.do("mine = b'x' * 50_000_000")
    verdict = meter.look()
    assert verdict is not None
    assert verdict.kind is VerdictKind.MEMORY
    assert verdict.text.endswith("MB, more than limits.trial_memory_mb allows (30)")


def test_a_process_that_stops_itself_is_found_frozen(obeys: Callable[[str], Obeys]) -> None:
    one = obeys("spawned")
    meter = Meter(one.pid, forked=False, clock_s=Clock())
    assert meter.look() is None
    os.kill(one.pid, signal.SIGSTOP)
    os.waitpid(one.pid, os.WUNTRACED)
    verdicts = [meter.look() for _ in range(12)]
    assert verdicts[:10] == [None] * 10
    assert verdicts[-1] is not None
    assert verdicts[-1].kind is VerdictKind.FROZEN


def test_it_computes_and_reads_or_it_does_not(obeys: Callable[[str], Obeys]) -> None:
    one = obeys("spawned")

    def look() -> usage.Look:
        return look_at([one.pid], 0.0)

    before = look()
    one.do("while time.process_time() < 0.3: pass")
    after = look()
    assert after.cpu_s >= 0.29
    assert before.moved is not None
    assert after.moved is not None
    assert after.moved > before.moved
    # It waits to be told what to do, once the kernel has counted its last word.
    while (last := look()) != look():
        pass
    one.do("open(os.devnull, 'w').write('12345')")
    now = look().moved
    assert now is not None
    assert last.moved is not None
    assert now > last.moved


def test_the_time_of_children_that_have_ended_is_kept(obeys: Callable[[str], Obeys]) -> None:
    one = obeys("spawned")
    meter = Meter(one.pid, forked=False, clock_s=Clock())
    one.do(
        "if not (child := os.fork()):\n"
        "    while time.process_time() < 0.3: pass\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)"
    )
    meter.look()
    assert meter.usage().cpu_s >= 0.28
    assert meter.usage(cpu_s=12.5).cpu_s == 12.5


def test_orphans_count_if_they_are_named(obeys: Callable[[str], Obeys]) -> None:
    one, other = obeys("forked"), obeys("forked")
    meter = Meter(one.pid, forked=True, clock_s=Clock())
    other.do("mine = b'x' * 50_000_000")
    meter.look()
    assert peak_of(meter) < 10
    meter.look(orphans=[other.pid])
    assert peak_of(meter) > 49


def test_a_process_that_is_gone_is_nothing(obeys: Callable[[str], Obeys]) -> None:
    one = obeys("spawned")
    meter = Meter(one.pid, forked=False, silent_s=0.1, clock_s=Clock())
    one.process.kill()
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    assert [meter.look() for _ in range(30)] == [None] * 30  # it is there, as a zombie
    one.process.wait()
    assert [meter.look() for _ in range(30)] == [None] * 30
    assert with_descendants([one.pid]) == [one.pid]
    assert look_at([one.pid], 0.0) == (0.0, "", 0.0, 0, 0, 0)
    assert (held_bytes(one.pid), weigh([one.pid]).private, weigh([]).private) == (0, 0, 0)
    assert meter.usage().peak_bytes is None


def test_without_proc_it_is_found_out_too(
    obeys: Callable[[str], Obeys], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_is_linux", "_tells_children", "_tells_memory"):
        monkeypatch.setattr(usage, name, lambda: False)
    one = obeys("spawned")
    meter = Meter(one.pid, forked=False, memory_bytes=30 * MB, silent_s=0.1, clock_s=Clock())
    one.do(FORKS)
    assert len(with_descendants([one.pid])) == 4
    assert all(meter.look() is None for _ in range(30))  # nobody can tell whether it reads
    one.do("mine = b'x' * 50_000_000")
    verdict = meter.look()
    assert verdict is not None
    assert verdict.kind is VerdictKind.MEMORY
    os.kill(one.pid, signal.SIGSTOP)
    os.waitpid(one.pid, os.WUNTRACED)
    assert look_at([one.pid], 0.0).state == "T"


@pytest.mark.parametrize("kind", ["local", "address"])
def test_an_attempt_that_takes_too_much_memory_fails_with_the_figures(
    project: Project, kind: str, request: pytest.FixtureRequest
) -> None:
    result = project.run(
        """
        import threading

        def train(n):
            if n == 3:
                mine = bytearray(b"x") * 300_000_000
                threading.Event().wait()
            return n
        """,
        search=SIX,
        cluster=make_cluster(kind, request),
        limits={"trial_memory_mb": 200},
    )
    assert result.summary["trials"]["failed"] == 1, result.summary
    error = result.trials[3].error
    assert error is not None
    assert re.search(r"\d MB.*limits\.trial_memory_mb", error.message), error
    assert result.trials[3].usage is not None
    assert (result.trials[3].usage.peak_bytes or 0) > 200_000_000
    for trial in result.trials:
        assert trial.usage is not None
        assert trial.usage.peak_bytes is not None


def test_an_attempt_that_took_too_long_has_its_usage_too(project: Project) -> None:
    result = project.run(
        """
        import threading

        def train(n):
            if n == 0:
                mine = bytearray(b"x") * 100_000_000
                threading.Event().wait()
            return n
        """,
        search=SIX,
        cluster={"kind": "local", "workers": 1},
        limits={"trial_timeout_s": 1.0},
    )
    late = result.trials[0]
    assert late.error is not None
    assert "trial_timeout_s" in late.error.message
    assert late.usage is not None
    assert (late.usage.peak_bytes or 0) > 90_000_000
