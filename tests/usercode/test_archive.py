"""The user's files in a zip archive, told from others by digests."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from dotrain.usercode.archive import Code, changes, digest_of, digests_in, unpack


def code(folder: Path, **files: str) -> Code:
    paths = {folder / f"{name}.py": f"pkg/{name}.py" for name in files}
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    return Code.of(paths)


def test_what_is_packed_is_unpacked(tmp_path: Path):
    folder = unpack(code(tmp_path, a="x = 1\n", b="").archive, tmp_path, "some-")
    assert (folder / "pkg" / "a.py").read_text() == "x = 1\n"
    assert (folder.name.startswith("some-"), folder.parent) == (True, tmp_path)


def test_what_could_be_executed_can_be(tmp_path: Path):
    script, data = tmp_path / "run.sh", tmp_path / "data.csv"
    for file in (script, data):
        file.write_text("")
    data.chmod(0o644)
    before = Code.of({}, data={"run.sh": script, "data.csv": data})
    script.chmod(0o700)
    after = Code.of({}, data={"run.sh": script, "data.csv": data})
    assert after.digest == before.digest
    folder = unpack(after.archive, tmp_path)
    assert [os.access(folder / name, os.X_OK) for name in ("run.sh", "data.csv")] == [True, False]
    assert (folder / "run.sh").stat().st_mode & 0o111 == 0o111


def test_a_damaged_archive_is_told_from_any_other_and_leaves_no_folder(
    tmp_path: Path,
):
    with pytest.raises(zipfile.BadZipFile):
        unpack(b"no zip", tmp_path)
    assert not list(tmp_path.iterdir())
    assert list(digests_in(b"no zip")) == ["code.zip (damaged)"]
    assert digest_of(digests_in(b"no zip")) != digest_of(digests_in(b"none either"))


def test_of_no_code_there_is_nothing_to_tell():
    assert (digests_in(b""), digest_of({})) == ({}, None)
    assert Code.of({}).is_here()


def test_code_is_here_while_every_file_is_as_the_driver_read_it(tmp_path: Path):
    read = code(tmp_path, a="x = 1\n", b="")
    assert read.is_here()
    (tmp_path / "a.py").write_text("x = 2\n")
    assert not read.is_here()
    (tmp_path / "a.py").unlink()
    assert not read.is_here()


def test_changes_are_listed_by_name_each_with_how():
    before, now = {"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "1"}
    assert changes(before, now) == ["a: gone", "b: changed", "d: new"]
    assert changes(now, now) == []
