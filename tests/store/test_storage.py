"""Files that are kept in a storage: whole or absent, whatever is cut off, and only what counts stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.errors import DotrainError
from dotrain.store import RunDir
from dotrain.store.claim import take_storage
from dotrain.store.exchange import Exchange, key_of
from dotrain.store.folder import Folder
from dotrain.store.kept import Kept, ManifestError, NotOurs, read_claim
from dotrain.store.manifest import Stored, from_json, keys_of, to_json
from dotrain.store.storage import Storage, StorageError
from dotrain.store.storage_url import url_problem
from tests.store.cut import Cut

URL = "cut://bucket/runs"
TRIAL = "t0007"


class Killed(BaseException):
    """SIGKILL, as far as one process can have it."""


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Most of the time would go into it, and the power stays on.
    monkeypatch.setattr("dotrain.store.run_dir.sync_path", lambda path: True)
    Cut.clear()
    yield
    Cut.clear()


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@dataclass
class Worker:
    """A worker's private folder, and the driver that it works for."""

    folder: Path
    run_dir: RunDir
    storage: Storage

    def __post_init__(self) -> None:
        self.kept = Kept(self.run_dir, self.storage)
        self.trial = self.folder / TRIAL
        self.exchange = Exchange(TRIAL, Folder(self.trial, self.folder / "staging"), self.storage)

    def begin(self) -> None:
        self.exchange.fetch(self.kept.manifest(TRIAL))

    def keep(self, *, running: bool = True) -> None:
        sent = self.exchange.send(running=running)
        assert not sent.wrong
        before = self.kept.manifest(TRIAL)
        self.kept.write_manifest(TRIAL, sent.manifest)
        self.storage.remove(keys_of(before) - keys_of(sent.manifest))

    def change(self, what: str, text: str) -> None:
        self.trial.mkdir(parents=True, exist_ok=True)
        if what == "save":
            old = sorted((self.trial / "checkpoint").glob("step-*"))
            number = int(old[-1].name[5:]) + 1 if old else 1
            partial = self.trial / "checkpoint" / ".partial-x"
            (partial / "empty").mkdir(parents=True)
            (partial / "weights").write_text(text)
            (partial / "more").write_text(2 * text)
            os.replace(partial, partial.with_name(f"step-{number:09d}"))
            for one in old:
                shutil.rmtree(one)
        elif what == "write":
            (self.trial / "sub").mkdir(exist_ok=True)
            (self.trial / "sub" / "history").write_text(text)
        elif what == "drop":
            shutil.rmtree(self.trial / "sub", ignore_errors=True)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    path = tmp_path / "name" / "2026"
    path.mkdir(parents=True)
    return RunDir(path)


def take(run_dir: RunDir, *, goes_on: bool = False, url: str = URL) -> Storage:
    return take_storage(run_dir, url, goes_on=goes_on)


CHANGES = st.sampled_from(["save", "save", "write", "drop"])


@settings(max_examples=50, deadline=None)
@given(
    rounds=st.lists(st.lists(CHANGES, min_size=1, max_size=3), min_size=2, max_size=4),
    cuts=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    kinds=st.lists(st.sampled_from(["outage", "driver", "worker"]), min_size=4, max_size=4),
)
def test_whatever_is_cut_off_what_counts_is_whole_and_the_rest_goes(
    rounds: list[list[str]], cuts: list[int], kinds: list[str]
) -> None:
    Cut.clear()
    with tempfile.TemporaryDirectory() as name:
        run_dir = RunDir(Path(name, "run", "2026"))
        run_dir.path.mkdir(parents=True)
        storage = take(run_dir)
        workers = iter(range(1000))
        worker = Worker(Path(name, f"worker{next(workers)}"), run_dir, storage)
        states = [dict[str, bytes | None]()]
        for number, changes in enumerate(rounds):
            kind = kinds[number]
            Cut.cut_after(cuts[number], OSError() if kind == "outage" else Killed())
            for count, change in enumerate(changes):
                worker.change(change, f"{number}.{count}")
            while True:
                try:
                    worker.keep()
                    states.append(content(worker.trial))
                except StorageError:
                    continue  # it is tried again, and what was sent isn't sent once more
                except Killed:
                    if kind == "driver":
                        storage = take(run_dir, goes_on=True)
                    states.append(content(worker.trial))  # it may just have counted
                    worker = Worker(Path(name, f"worker{next(workers)}"), run_dir, storage)
                    worker.begin()
                break_off = content(worker.trial)
                assert break_off in states, "what counts is what there was once, as a whole"
                break
        Cut.left = float("inf")
        storage = take(run_dir, goes_on=True)
        assert set(storage.list_keys()) == keys_of(Kept(run_dir).manifest(TRIAL))
        other = Worker(Path(name, "other"), run_dir, storage)
        other.begin()
        assert content(other.trial) in states


def test_what_was_sent_before_an_outage_is_not_sent_again(run_dir: RunDir, tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker", run_dir, take(run_dir))
    worker.change("save", "first")
    Cut.cut_after(1, OSError("nobody answers"))
    with pytest.raises(StorageError, match="nobody answers") as caught:
        worker.keep()
    assert caught.value.passes
    assert not worker.kept.manifest(TRIAL)
    Cut.cut_after(1, OSError("one request is enough"))
    worker.keep()
    assert Kept(run_dir).newest_checkpoint(TRIAL) is not None


def test_a_folder_is_made_like_what_is_kept_and_nothing_else_stays(
    run_dir: RunDir, tmp_path: Path
) -> None:
    """What an attempt that was cut off has left must not be gone on from."""
    storage = take(run_dir)
    one, other = (Worker(tmp_path / name, run_dir, storage) for name in ("one", "other"))
    one.change("write", "of the first")
    one.keep()
    one.change("save", "never kept")
    one.change("save", "never kept")
    other.begin()
    other.change("save", "kept")
    other.keep()
    one.begin()
    assert content(one.trial) == content(other.trial)
    assert list((one.trial / "checkpoint").iterdir()) == [one.trial / "checkpoint/step-000000001"]


def test_unchanged_files_are_neither_sent_nor_fetched_again(
    run_dir: RunDir, tmp_path: Path
) -> None:
    worker = Worker(tmp_path / "worker", run_dir, take(run_dir))
    worker.change("save", "a")
    worker.change("write", "b")
    worker.keep(running=False)
    Cut.cut_after(0, OSError("nothing is to be asked"))
    worker.keep(running=False)
    worker.begin()
    assert Cut.left == 0


def test_an_object_that_holds_something_else_is_refused_and_what_was_there_stays(
    run_dir: RunDir, tmp_path: Path
) -> None:
    storage = take(run_dir)
    worker = Worker(tmp_path / "worker", run_dir, storage)
    worker.change("save", "right")
    worker.keep()
    stored = worker.kept.manifest(TRIAL)["checkpoint/step-000000001/weights"]
    assert stored is not None
    storage._files.pipe_file(f"{storage._top}/{stored.key}", b"wrong")
    other = Worker(tmp_path / "other", run_dir, storage)
    with pytest.raises(StorageError, match="holds something else than was written there") as caught:
        other.begin()
    assert not caught.value.passes
    assert not (other.trial / "checkpoint" / "step-000000001").exists()


def test_a_checkpoint_lies_under_one_url(run_dir: RunDir, tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker", run_dir, take(run_dir))
    worker.change("write", "x")
    worker.keep()
    worker.change("save", "y")
    worker.keep()
    newest = Kept(run_dir).newest_checkpoint(TRIAL)
    assert newest is not None
    assert newest.startswith(f"{URL}/name-2026/{TRIAL}/")
    found = Cut().find(newest)
    assert [path.rpartition("/")[2] for path in found] == ["more", "weights"]


def test_freed_checkpoints_count_as_gone_before_they_go(run_dir: RunDir, tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker", run_dir, take(run_dir))
    worker.change("save", "abc")
    worker.change("write", "d")
    worker.keep()
    kept = Kept(run_dir)
    assert kept.checkpoint_bytes(TRIAL) == 9
    kept.free_checkpoints(TRIAL)
    assert Kept(run_dir).newest_checkpoint(TRIAL) is None
    assert len(worker.storage.list_keys()) == 3
    kept.remove_unneeded(wait=True)
    (left,) = worker.storage.list_keys()
    assert left.endswith("sub/history")


def test_a_copy_of_a_run_directory_takes_nothing_from_the_one_that_went_on(
    run_dir: RunDir, tmp_path: Path
) -> None:
    take(run_dir)
    copy = RunDir(Path(shutil.copytree(run_dir.path, tmp_path / "copy" / "2026")))
    take(copy, goes_on=True)
    with pytest.raises(NotOurs, match="belong to a copy of this run directory"):
        take(run_dir, goes_on=True)
    with pytest.raises(NotOurs):
        Kept(run_dir).storage()
    take(copy, goes_on=True)


@pytest.mark.parametrize("requests", range(5))
def test_a_driver_that_dies_while_it_takes_the_storage_can_take_it_again(
    run_dir: RunDir, requests: int
) -> None:
    take(run_dir)
    Cut.cut_after(requests, Killed())
    with pytest.raises(Killed):
        take(run_dir, goes_on=True)
    take(run_dir, goes_on=True)
    claim = read_claim(run_dir)
    assert claim is not None
    assert not claim.claiming


def test_files_that_were_copied_to_another_url_go_on_there(run_dir: RunDir, tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker", run_dir, take(run_dir))
    worker.change("save", "abc")
    worker.keep()
    elsewhere = "cut://other"
    with pytest.raises(NotOurs, match="has no files of this run; if they lie elsewhere now"):
        take(run_dir, goes_on=True, url=elsewhere)
    for path in list(Cut.store):
        Cut().pipe_file(path.replace("/bucket/runs/", "/other/"), Cut().cat_file(path))
    other = Worker(tmp_path / "w2", run_dir, take(run_dir, goes_on=True, url=elsewhere))
    other.begin()
    assert content(other.trial) == content(worker.trial)


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "deep/er/a",
        "sp ace*?[x]#%&.txt",
        "umläut/日本",
        "x" * 255,
        "/".join(["y" * 200] * 9),
        "\udcff",
    ],
)
def test_every_path_has_a_key_of_its_own_that_every_service_takes(path: str) -> None:
    key = key_of(TRIAL, "ab", path)
    assert key.startswith(f"{TRIAL}/ab/")
    assert key.isascii()
    assert not set(key) & set("*?[]#\\ ")
    assert len(key) <= 1000
    assert all(len(part) <= 200 for part in key.split("/"))
    assert key != key_of(TRIAL, "ab", path + "x")
    manifest = {path: Stored(key, 3, 0o644, "d"), "folder": None}
    assert from_json(to_json(manifest)) == manifest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"format": 9, "files": {}, "folders": []}',
        '{"format": 1, "files": {"../x": ["k", 1, 2, "d"]}, "folders": []}',
        '{"format": 1, "files": {"x": ["../../k", 1, 2, "d"]}, "folders": []}',
        '{"format": 1, "files": {"x": ["k"]}, "folders": []}',
    ],
)
def test_a_list_that_is_none_is_refused_by_its_name(run_dir: RunDir, text: str) -> None:
    run_dir.storage.mkdir()
    run_dir.manifest(TRIAL).write_text(text)
    with pytest.raises(ManifestError, match=f"{TRIAL}.json can't be read") as caught:
        Kept(run_dir).manifest(TRIAL)
    assert isinstance(caught.value, DotrainError)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/folder", None),
        ("s3://bucket", None),
        ("file:///folder", None),
        ("memory://folder", None),
        ("abfs://container@account.dfs.core.windows.net/folder", "pip install|isn't installed"),
        ("s3://key:secret@bucket/folder", "environment"),
        ("s3://key@bucket/folder", "environment"),
        ("sftp://user:secret@host/folder", "environment"),
        ("s3://bucket/folder?secret=secret", "without '\\?'"),
        ("/folder", "expected a URL"),
        ("simplecache::s3://bucket/folder", "expected a URL"),
        ("s4://bucket/folder", "unknown protocol 's4'"),
        ("file://folder", "absolute path"),
        ("s3://", "expected a bucket"),
    ],
)
def test_what_a_url_may_be(url: str, expected: str | None) -> None:
    import re

    found = url_problem(url)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(expected, found)
        assert "secret" not in found.replace("secret@", "!")


def test_a_protocol_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert url_problem("s3://bucket") == "s3:// needs the package s3fs: pip install 'dotrain[s3]'"
    assert url_problem("gs://bucket") == "gs:// needs the package gcsfs: pip install 'dotrain[gcs]'"
