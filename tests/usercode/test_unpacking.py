"""One unpacked copy of the code for a host: shared, verified before use, gone with its last user."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dotrain.usercode import unpacking
from dotrain.usercode.archive import Code
from tests.conftest import ROOT, start

HOLD = """
import pickle, sys, tempfile
from dotrain.usercode import unpacking
tempfile.tempdir = sys.argv[1]
folder = unpacking.take(pickle.load(sys.stdin.buffer))
print(folder, flush=True)
sys.stdin.buffer.read() if len(sys.argv) < 3 else None
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def code(text: str = "x = 1\n") -> Code:
    return Code.of({}, {"pkg/a.py": text, "b.json": "{}"})


def outer(temporary: Path) -> Path:
    return temporary / f"dotrain-code-{os.geteuid()}"


@pytest.fixture
def holder(temporary: Path) -> Iterator[Callable[[Code], tuple[Path, subprocess.Popen[bytes]]]]:
    """Start another process that uses the code until it is killed."""
    import pickle

    started: list[subprocess.Popen[bytes]] = []

    def begin(of: Code) -> tuple[Path, subprocess.Popen[bytes]]:
        process = start(
            [sys.executable, "-c", HOLD, str(temporary)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(of))
        process.stdin.flush()
        return Path(os.fsdecode(process.stdout.readline().strip())), process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_users_of_the_same_code_share_a_folder_that_goes_with_the_last(temporary: Path) -> None:
    one, two = unpacking.take(code()), unpacking.take(code())
    assert one == two
    assert (one / "pkg" / "a.py").read_text() == "x = 1\n"
    assert one.parent == outer(temporary).resolve()
    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    unpacking.release(one)
    assert one.is_dir()
    unpacking.release(two)
    assert list(one.parent.iterdir()) == []
    unpacking.release(two)  # nothing is left to do


def test_other_code_has_another_folder(temporary: Path) -> None:
    one, two = unpacking.take(code()), unpacking.take(code("x = 2\n"))
    assert one != two
    unpacking.release(one)
    assert (two / "pkg" / "a.py").read_text() == "x = 2\n"
    unpacking.release(two)


def test_what_killed_users_left_is_swept_but_not_what_others_hold(temporary: Path, holder) -> None:
    left, killed = holder(code("x = 2\n"))
    held, other = holder(code("x = 3\n"))
    killed.kill()
    killed.wait()
    assert left.is_dir()
    # As of one that was killed while it unpacked.
    half = left.with_name(f"{left.name}.new-abc")
    half.mkdir()
    mine = unpacking.take(code())
    assert not left.exists()
    assert not half.exists()
    assert (held / "b.json").is_file()
    unpacking.release(mine)
    assert sorted(p.name for p in mine.parent.iterdir()) == [held.name, f"{held.name}.lock"]
    assert other.poll() is None


def test_a_folder_that_another_process_holds_is_used_and_left_to_it(
    temporary: Path, holder
) -> None:
    held, _ = holder(code())
    assert unpacking.take(code()) == held
    unpacking.release(held)
    assert held.is_dir()


def test_a_leftover_that_was_changed_is_made_anew(temporary: Path, holder) -> None:
    left, killed = holder(code())
    killed.kill()
    killed.wait()
    (left / "pkg" / "a.py").write_text("x = 'evil'\n")
    mine = unpacking.take(code())
    assert (mine / "pkg" / "a.py").read_text() == "x = 1\n"
    unpacking.release(mine)


def test_a_folder_in_use_that_was_changed_is_not_used_by_others(temporary: Path, holder) -> None:
    held, _ = holder(code())
    (held / "b.json").unlink()
    mine = unpacking.take(code())
    assert mine != held
    assert (mine / "b.json").is_file()
    unpacking.release(mine)
    assert not mine.exists()
    assert held.is_dir()


@pytest.mark.parametrize("how", ["open to all", "a link", "a file"])
def test_a_folder_that_somebody_else_may_have_made_is_not_trusted(
    temporary: Path, how: str
) -> None:
    place = outer(temporary)
    if how == "open to all":
        place.mkdir()
        place.chmod(0o777)
    elif how == "a link":
        (temporary / "theirs").mkdir(mode=0o700)
        place.symlink_to(temporary / "theirs")
    else:
        place.write_text("")
    mine = unpacking.take(code())
    assert mine.parent.parent == temporary.resolve()
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    unpacking.release(mine)
    assert not mine.exists()
    assert not (temporary / "theirs").exists() or not list((temporary / "theirs").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_not_trusted(temporary: Path) -> None:
    outer(temporary).mkdir(mode=0o700)
    os.chown(outer(temporary), 12345, -1)
    mine = unpacking.take(code())
    assert mine.parent.parent == temporary.resolve()
    unpacking.release(mine)


def test_a_fork_neither_lets_go_nor_loses_what_its_parent_holds(temporary: Path) -> None:
    mine = unpacking.take(code())
    pid = os.fork()
    if pid == 0:
        unpacking.release(mine)
        os._exit(0)
    os.waitpid(pid, 0)
    assert mine.is_dir()
    unpacking.release(mine)
    assert not mine.exists()
