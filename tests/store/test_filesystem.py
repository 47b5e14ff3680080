"""File systems that don't keep what a run rests on are found out before it begins, and goes on."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest import mock

import pytest

from dotrain import experiment
from dotrain.errors import UsageError
from dotrain.store import Lock, RunDir, check_place
from tests.conftest import ROOT, Project, start

Mount = Callable[[str], AbstractContextManager[Path]]


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Mounts a file system with a fault; ``""`` is one without."""

    @contextmanager
    def mounted(fault: str) -> Iterator[Path]:
        place = tmp_path / (fault or "sound")
        place.mkdir()
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("no file system can be mounted here: it takes root and /dev/fuse")
        command = [sys.executable, str(ROOT / "tests" / "fuse.py"), str(place), fault]
        server = start(command, stdout=subprocess.PIPE, text=True)
        try:
            told = server.stdout.readline().strip()
            assert told, "the file system has not begun"
            if told != "mounted":
                pytest.skip(f"no file system can be mounted here: {told}")
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)
            server.kill()
            server.communicate()

    return mounted


INLINE = {"cluster": {"kind": "inline"}, "tensorboard": False, "name": "demo"}
REFUSED = {
    "no-locks": r"fails where a file is locked \(No locks available\)",
    "free-locks": "gives a lock to two at once, so two could drive the run",
    "own-ends": "doesn't keep what is appended to a file, so records could be lost",
    "no-replace": r"fails where a file takes the place of another \(File exists\)",
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_file_system_that_breaks_a_promise_is_refused_and_nothing_stays_there(
    mount: Mount, fault: str
) -> None:
    with mount(fault) as place:
        with pytest.raises(UsageError, match=REFUSED[fault]) as refused:
            RunDir.create(place, "demo")
        assert str(refused.value).endswith("Choose another place (--runs-dir, in Python runs_dir)")
        assert [*place.rglob("*")] == [place / "demo"]


def test_on_one_that_keeps_them_a_run_begins_and_goes_on(
    mount: Mount, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("user.py", "def train(): return 1.0")
    config = project.config(**INLINE)
    with mount("") as place:
        result = experiment.run(config, runs_dir=place)
        assert experiment.resume(result.run_dir, quiet=True).status == "finished"
        with Lock(result.run_dir / "lock"), pytest.raises(UsageError, match="is being driven by"):
            experiment.resume(result.run_dir, quiet=True)
        assert sorted(path.name for path in result.run_dir.iterdir()) == [
            *("code.zip", "config.yaml", "journal.jsonl", "lock", "result.json", "trials")
        ]
    assert "warning" not in capsys.readouterr().err


def test_one_that_can_not_sync_is_warned_of(
    mount: Mount, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("user.py", "def train(): return 1.0")
    config = project.config(**INLINE)
    with mount("no-sync") as place:
        assert experiment.run(config, runs_dir=place).status == "finished"
        assert "its file system can't sync, so a power cut may take" in capsys.readouterr().err
        experiment.run(config, ["journal.sync=system"], runs_dir=place)
        assert "can't sync" not in capsys.readouterr().err


def test_a_run_that_was_carried_to_one_is_not_gone_on_with(mount: Mount, project: Project) -> None:
    run_dir = project.run("def train(): return 1.0", **INLINE).run_dir
    before = (run_dir / "journal.jsonl").read_bytes()
    with mount("free-locks") as place:
        there = shutil.copytree(run_dir, place / "run")
        with pytest.raises(
            UsageError, match=r"two could drive the run\. Copy the run directory to"
        ):
            experiment.resume(there, quiet=True)
        assert (there / "journal.jsonl").read_bytes() == before


def test_what_it_does_is_told_apart_where_nothing_can_be_mounted(tmp_path: Path) -> None:
    check_place(tmp_path, "")

    def told() -> str:
        with pytest.raises(UsageError) as refused:
            check_place(tmp_path, "Go away")
        assert str(refused.value).startswith(f"{tmp_path} can't hold a run: its file system ")
        assert str(refused.value).endswith(". Go away")
        return str(refused.value)

    with mock.patch.object(fcntl, "flock", return_value=None):
        assert "gives a lock to two at once" in told()
    with mock.patch.object(fcntl, "flock", side_effect=OSError(errno.ENOSYS, "not implemented")):
        assert "fails where a file is locked (not implemented)" in told()
    with mock.patch.object(os, "truncate"):
        assert "doesn't keep what is appended" in told()
    with mock.patch.object(os, "replace", side_effect=FileExistsError(errno.EEXIST, "it exists")):
        both = told()
        assert "fails where a file takes the place of another (it exists)" in both
        with mock.patch.object(fcntl, "flock", return_value=None):
            assert told().count("; ") == 1
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_full_or_a_foreign_disk_is_said_by_whoever_writes_there_next(
    tmp_path: Path, code: int
) -> None:
    for name in ("replace", "mkdir", "truncate"):
        with mock.patch.object(os, name, side_effect=OSError(code, os.strerror(code))):
            check_place(tmp_path, "")
    assert [*tmp_path.iterdir()] == []


def test_no_locks_are_not_taken_for_another_driver(tmp_path: Path) -> None:
    with (
        mock.patch.object(fcntl, "flock", side_effect=OSError(errno.ENOLCK, "No locks available")),
        pytest.raises(
            UsageError, match="lock: No locks available; the run must lie on a file system"
        ),
        Lock(tmp_path / "lock"),
    ):
        pass
