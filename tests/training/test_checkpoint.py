"""Checkpoints are whole or absent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.training.checkpoint import Checkpoint


def test_there_is_nothing_at_first(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    assert (checkpoint.latest, checkpoint.step) == (None, 0)
    assert not (tmp_path / "checkpoint").exists()


def test_who_asks_what_was_saved_has_read_it(tmp_path: Path) -> None:
    for ask in (lambda one: one.latest, lambda one: one.step):
        checkpoint = Checkpoint(tmp_path)
        with checkpoint.save(step=1):
            assert checkpoint.found_step() in (0, 1)
        assert not checkpoint.was_read
        ask(checkpoint)
        assert checkpoint.was_read


def test_the_newest_replaces_the_one_before(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    for step in (1, 5, 12):
        with checkpoint.save(step=step) as directory:
            (directory / "weights").write_text(str(step))
            assert checkpoint.step < step, "it appeared before it was whole"
    assert checkpoint.step == 12
    assert checkpoint.latest is not None
    assert (checkpoint.latest / "weights").read_text() == "12"
    assert len(os.listdir(tmp_path)) == 1


def test_a_step_may_be_saved_again(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    for text, again in (("old", ""), ("new", ".1"), ("newer", ".2")):
        with checkpoint.save(step=3) as directory:
            (directory / "weights").write_text(text)
        assert checkpoint.latest is not None
        assert (checkpoint.latest / "weights").read_text() == text
        assert checkpoint.latest.name == f"step-000000003{again}"


def test_an_exception_while_saving_keeps_the_one_before(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    with checkpoint.save(step=1):
        pass
    with pytest.raises(RuntimeError), checkpoint.save(step=2):
        raise RuntimeError
    assert checkpoint.step == 1
    assert len(os.listdir(tmp_path)) == 1


def test_a_process_killed_while_saving_leaves_the_one_before(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from dotrain.training.checkpoint import Checkpoint\n"
        "c = Checkpoint(Path(sys.argv[1]))\n"
        "with c.save(step=1): pass\n"
        "with c.save(step=2) as d:\n"
        "    (d / 'half').write_text('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.step == 1
    with checkpoint.save(step=2):
        pass
    assert checkpoint.step == 2


@pytest.mark.parametrize(("before", "after"), [(3, 3), (5, 3), (3, 5)])
def test_a_process_killed_while_removing_the_one_before_leaves_no_half(
    tmp_path: Path, before: int, after: int
) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from dotrain.training.checkpoint import Checkpoint\n"
        "c = Checkpoint(Path(sys.argv[1]))\n"
        "def save(step):\n"
        "    with c.save(step=step) as d:\n"
        "        for name in 'abc': (d / name).write_text(str(step))\n"
        "removed = []\n"
        "def kill_at_the_second(event, arguments):\n"
        "    if event == 'os.remove':\n"
        "        removed.append(arguments)\n"
        "        if len(removed) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "save(int(sys.argv[2]))\n"
        "sys.addaudithook(kill_at_the_second)\n"
        "save(int(sys.argv[3]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(before), str(after)]
    killed = subprocess.run(command, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.latest is not None
    found = {file.name: file.read_text() for file in checkpoint.latest.glob("[!.]*")}
    assert found == dict.fromkeys("abc", str(after))
    assert checkpoint.step == after


#: Who looks before every change of a file or a folder; a hook can't be taken away again.
_LOOKERS: list[Callable[[], None]] = []
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "open"}


def _before(event: str, arguments: Any) -> None:
    if _LOOKERS and event in _CHANGES:
        look = _LOOKERS.pop()  # its own doings are none of its business
        look()
        _LOOKERS.append(look)


@cache
def _hook_in() -> None:
    sys.addaudithook(_before)


@contextmanager
def looked_at(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` at every moment at which a kill would leave something else than at the last."""
    _hook_in()
    _LOOKERS.append(look)
    try:
        yield
    finally:
        _LOOKERS.clear()
    look()


@given(steps=st.lists(st.integers(1, 3), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_process_killed_at_any_moment_leaves_the_one_before_or_the_new_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("checkpoint")
    checkpoint = Checkpoint(directory)
    before: list[str] | None = None
    for number, step in enumerate(steps):
        seen = []

        def look() -> None:
            latest = Checkpoint(directory).latest
            found = latest and [file.read_text() for file in sorted(latest.glob("[!.]*"))]
            seen.append(found)  # noqa: B023

        with looked_at(look), checkpoint.save(step) as folder:
            for name in "ab":
                (folder / name).write_text(f"{number} {name}")
        new = [f"{number} a", f"{number} b"]
        assert all(found in (before, new) for found in seen)
        assert (seen[-1], checkpoint.step, len(os.listdir(directory))) == (new, step, 1)
        before = new


def test_of_what_a_killed_process_has_left_the_newest_counts_and_the_rest_is_removed(
    tmp_path: Path,
) -> None:
    """The new one was whole, and the one before not yet gone."""
    for before, name in [("step-000000003", "step-000000003.1"), ("step-000000009", "step-10")]:
        for folder in (before, name, ".partial-1234", "step-x"):
            (tmp_path / folder).mkdir()
        checkpoint = Checkpoint(tmp_path)
        assert checkpoint.latest == tmp_path / name
        assert checkpoint.step == (3 if name.startswith(before) else 10)
        with checkpoint.save(step=11):
            assert [p.name for p in tmp_path.glob(".partial-*")] != [".partial-1234"]
            assert len(list(tmp_path.glob(".partial-*"))) == 1
        assert {p.name for p in tmp_path.iterdir()} == {"step-000000011", "step-x"}
        for folder in tmp_path.iterdir():
            shutil.rmtree(folder)


def test_a_leftover_that_can_not_be_removed_keeps_nothing_from_being_saved(tmp_path: Path) -> None:
    (tmp_path / ".partial-1234").touch()  # no folder, whoever has put it there
    checkpoint = Checkpoint(tmp_path)
    with checkpoint.save(step=3):
        pass
    assert checkpoint.step == 3


def test_beside_two_of_a_step_that_a_killed_process_has_left_a_third_is_saved(
    tmp_path: Path,
) -> None:
    for name in ("step-000000003", "step-000000003.1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").write_text("earlier")
    checkpoint = Checkpoint(tmp_path)
    with checkpoint.save(step=3) as folder:
        (folder / "state").write_text("new")
    assert checkpoint.latest is not None
    assert (checkpoint.latest / "state").read_text() == "new"
    assert checkpoint.step == 3
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("step", [0, -1, 1.5, "2"])
def test_a_step_that_is_none_is_refused(tmp_path: Path, step: object) -> None:
    with pytest.raises(ValueError, match="whole number >= 1"), Checkpoint(tmp_path).save(step):  # type: ignore[arg-type]
        pass


def test_whoever_wants_to_know_is_told_that_generators_were_restored(tmp_path: Path) -> None:
    told: list[str] = []
    checkpoint = Checkpoint(tmp_path, seed=1, on_restored=lambda: told.append("restored"))
    assert not checkpoint.restore_random_state()
    with checkpoint.save(step=1):
        pass
    assert not told
    assert checkpoint.restore_random_state()
    assert told == ["restored"]
