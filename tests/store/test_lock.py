"""One driver at a time; who holds a lock, or died holding it, is known by its process."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dotrain.errors import UsageError
from dotrain.store.lock import Holder, Lock, read_holder


def test_who_holds_it_is_told_and_forgotten_when_it_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert read_holder(path) is None
    with Lock(path) as lock:
        me = Holder.me()
        assert (read_holder(path), lock.recovered_from) == (me, None)
        assert (me.pid, me.host, me.is_alive()) == (os.getpid(), socket.gethostname(), True)
        assert str(me) == f"process {os.getpid()} on {socket.gethostname()}"
        with (
            pytest.raises(UsageError, match=f"{tmp_path} is being driven by {me}; wait for it"),
            Lock(path),
        ):
            pass
        path.write_text("")  # as between taking the lock and writing who has
        with pytest.raises(UsageError, match="driven by another process; wait"), Lock(path):
            pass
    assert (read_holder(path), path.read_text()) == (None, "")
    with Lock(path) as again:
        assert again.recovered_from is None


def test_who_died_holding_it_is_known_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    me = Holder.me()
    dead = replace(me, started_s=me.started_s - 1.0)
    path.write_text(json.dumps(asdict(dead)))
    with Lock(path) as lock:
        assert lock.recovered_from == dead
        assert read_holder(path) == me
    assert (dead.is_alive(), replace(me, pid=2**22 + 1).is_alive()) == (False, False)
    assert replace(me, started_s=me.started_s - 0.9).is_alive() is True
    assert replace(me, host="elsewhere").is_alive() is None


@pytest.mark.parametrize("text", ["{", "[1]", '{"pid": 1}', '"a"'])
def test_what_names_no_holder_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(text)
    assert read_holder(path) is None


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"can't lock the run: .*No such file"),
        Lock(tmp_path / "none" / "lock"),
    ):
        pass


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_where_nothing_may_be_written_a_copy_is_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("builtins.open", refuse)
    told = f"{os.strerror(number)}; a copy of the run directory, where you may write, goes on"
    with pytest.raises(UsageError, match=told), Lock(tmp_path / "lock"):
        pass


def test_a_full_disk_keeps_no_run_from_beginning_and_ending(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    size = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, size[1]))
    try:
        with Lock(path):
            told = read_holder(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, size)
    assert (told, read_holder(path)) == (None, None)
