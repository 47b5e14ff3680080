"""Launches that wait for a copy: nothing else does, and nobody who lends goes on before it is made."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain.core.events import Failed, Lost
from dotrain.core.failure import FailureKind
from dotrain.core.instructions import Kill, Launch, Stop
from dotrain.executors.base import AbstractExecutor
from dotrain.runs import inheriting as module
from dotrain.runs.inheriting import Inheriting
from dotrain.store import RunDir
from dotrain.store.inheriting import NothingToInherit
from dotrain.store.kept import Kept
from dotrain.store.storage import StorageError
from dotrain.training.checkpoint import Checkpoint


class _Executor:
    """Says when it is woken."""

    def __init__(self, *, concurrent: bool = True) -> None:
        self.concurrent = concurrent
        self.woken = threading.Semaphore(0)

    def wake(self) -> None:
        self.woken.release()


def launch(trial_id: str, begins_from: str = "", attempt: int = 1) -> Launch:
    return Launch("", trial_id, attempt, {}, 4, 0, begins_from=begins_from, begins_at=2)


class _Place:
    """A run directory whose first trial has a checkpoint, and copies that wait for `go`."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run_dir = RunDir(path)
        self.go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        copy = module.inherit

        def wait(*arguments: Any) -> None:
            self.begun.release()
            self.go.acquire()
            copy(*arguments)

        monkeypatch.setattr(module, "inherit", wait)
        with Checkpoint(self.run_dir.checkpoint("t0000")).save(2):
            pass
        self.executor = _Executor()
        self.inheriting = self.make(self.executor)

    def make(self, executor: Any) -> Inheriting:
        real: AbstractExecutor = executor
        return Inheriting(self.run_dir, Kept(self.run_dir), real)

    def finish(self) -> None:
        self.go.release()
        self.executor.woken.acquire()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Place]:
    found = _Place(tmp_path, monkeypatch)
    yield found
    for _ in range(9):
        found.go.release()
    found.inheriting.close()


def test_a_launch_waits_for_its_copy_and_others_do_not(place: _Place) -> None:
    inheriting, wanted = place.inheriting, launch("t0001", "t0000")
    assert not inheriting.holds(launch("t0002"))
    assert inheriting.holds(wanted)
    assert not inheriting.holds(Stop("", "t0002", 1))
    assert inheriting.next() is None
    place.finish()
    assert inheriting.next() == wanted
    assert inheriting.next() is None
    assert Checkpoint(place.run_dir.checkpoint("t0001")).step == 2


def test_who_lends_waits_until_it_is_made(place: _Place) -> None:
    inheriting, wanted, lender = place.inheriting, launch("t0001", "t0000"), launch("t0000")
    assert inheriting.holds(wanted)
    assert inheriting.holds(lender)
    assert inheriting.next() is None
    place.finish()
    assert [inheriting.next(), inheriting.next()] == [wanted, lender]


def test_who_has_a_checkpoint_of_its_own_copies_nothing(place: _Place) -> None:
    with Checkpoint(place.run_dir.checkpoint("t0001")).save(3):
        pass
    assert not place.inheriting.holds(launch("t0001", "t0000", attempt=2))


def test_a_launch_that_is_not_wanted_any_more_is_dropped(place: _Place) -> None:
    inheriting, lender = place.inheriting, launch("t0000")
    inheriting.holds(launch("t0001", "t0000"))
    inheriting.holds(lender)
    assert inheriting.holds(Kill("", "t0001", 1))
    assert not inheriting.holds(Kill("", "t0001", 2))
    place.finish()
    assert inheriting.next() == lender
    assert inheriting.next() is None
    inheriting.holds(launch("t0002", "t0000"))
    inheriting.holds(lender)
    assert inheriting.holds(Kill("", "t0000", 1))
    place.finish()
    assert inheriting.next() == launch("t0002", "t0000")
    assert inheriting.next() is None


def test_closing_breaks_a_copy_off(place: _Place) -> None:
    (place.run_dir.checkpoint("t0000") / "step-000000002" / "weights").write_text("2")
    place.inheriting.holds(launch("t0001", "t0000"))
    place.begun.acquire()
    closing = threading.Thread(target=place.inheriting.close)
    closing.start()
    while not place.inheriting._is_closing:
        pass
    place.go.release()
    closing.join()
    assert Checkpoint(place.run_dir.checkpoint("t0001")).latest is None


def test_where_nothing_runs_meanwhile_it_is_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _Place(tmp_path, monkeypatch)
    place.go.release()
    inheriting = place.make(_Executor(concurrent=False))
    wanted = launch("t0001", "t0000")
    assert inheriting.holds(wanted)
    assert inheriting.next() == wanted
    assert inheriting._thread is None


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NothingToInherit("none"), FailureKind.SETUP),
        (RuntimeError("a bug"), FailureKind.SETUP),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), FailureKind.DISK_FULL),
        (OSError(errno.EIO, os.strerror(errno.EIO)), None),
        (StorageError("away"), None),
    ],
)
def test_what_goes_wrong_ends_the_attempt(
    place: _Place,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    expected: FailureKind | None,
) -> None:
    monkeypatch.setattr(module, "inherit", raising(error))
    place.inheriting.holds(launch("t0001", "t0000"))
    place.executor.woken.acquire()
    found = place.inheriting.next()
    if expected is None:  # it is tried again
        assert isinstance(found, Lost)
        assert "t0000's checkpoint can't be copied" in found.cause
    else:
        assert isinstance(found, Failed)
        assert found.failure.kind is expected
