"""Temporary folders go with their owner, however it ends; nobody else's are touched."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dotrain.temporary import Kind, OwnFolder, sweep
from tests.conftest import Project, start

#: Makes a folder, says where, and waits; what it has forked does, too.
OWNER = """
import os, sys
from dotrain.temporary import Kind, OwnFolder
own = OwnFolder(Kind(sys.argv[1]))
(own.path / "file").touch()
if len(sys.argv) > 2 and os.fork() == 0:
    os.close(1)
    sys.stdin.read()
    os._exit(0)
print(own.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def owner(*arguments: str) -> tuple[subprocess.Popen[Any], Path]:
    process = start(
        [sys.executable, "-c", OWNER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def kill(process: subprocess.Popen[Any]) -> None:
    with process:
        process.kill()


def left_by_a_killed_one(kind: Kind) -> Path:
    process, folder = owner(kind)
    kill(process)
    assert (folder / "file").exists()
    return folder


def test_a_folder_goes_with_its_owner_and_no_other_user_can_enter(place: Path) -> None:
    with OwnFolder(Kind.RANK) as own:
        assert own.path.name.startswith("dotrain-rank-")
        assert own.path.stat().st_mode & 0o077 == 0
        sweep()
        assert own.path.exists()
    own.remove()
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("kind", list(Kind))
def test_what_a_killed_owner_has_left_goes(place: Path, kind: Kind) -> None:
    left = left_by_a_killed_one(kind)
    process, held = owner(kind)
    sweep()
    assert not left.exists()
    assert (held / "file").exists()
    kill(process)


def test_what_an_owner_has_forked_holds_it_too(place: Path) -> None:
    process, folder = owner(Kind.RANK, "and a fork")
    process.kill()
    process.wait()
    sweep()
    assert folder.exists()
    with open(folder / "lock") as lock, process:
        assert process.stdin is not None
        process.stdin.close()  # the fork's, too, which ends then
        fcntl.flock(lock, fcntl.LOCK_EX)
    sweep()
    assert not folder.exists()


def test_a_fork_doesnt_remove_what_its_parent_uses(place: Path) -> None:
    own = OwnFolder(Kind.CODE)
    child = os.fork()
    if not child:
        own.remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert own.path.exists()
    own.remove()
    assert not own.path.exists()


def test_links_and_folders_without_a_lock_stay(place: Path, tmp_path: Path) -> None:
    left = left_by_a_killed_one(Kind.RANK)
    elsewhere = tmp_path / "elsewhere"
    left.rename(elsewhere)
    (place / "dotrain-rank-link").symlink_to(elsewhere)
    (place / "dotrain-rank-own").mkdir()
    (place / "dotrain-rank-file").touch()
    sweep()
    assert len(list(place.iterdir())) == 3
    assert (elsewhere / "file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that are another user's")
def test_another_users_stay(place: Path) -> None:
    left = left_by_a_killed_one(Kind.RANK)
    os.chown(left, 65534, 65534)
    sweep()
    assert left.exists()


def test_a_run_removes_what_earlier_ones_have_left(place: Path, project: Project) -> None:
    left = left_by_a_killed_one(Kind.RANK)
    cluster = {"kind": "local", "workers": 1}
    result = project.run("def train(): return 1.0", cluster=cluster)
    assert result.status == "finished"
    assert not left.exists()
