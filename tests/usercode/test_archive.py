"""The user's files in a zip archive, told from others by digests."""

from __future__ import annotations

import shutil
import tempfile
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
    folder = unpack(code(tmp_path, a="x = 1\n", b="").archive, "dotrain-test-")
    try:
        assert (folder / "pkg" / "a.py").read_text() == "x = 1\n"
        assert (folder.name.startswith("dotrain-test-"), folder) == (True, folder.resolve())
    finally:
        shutil.rmtree(folder)


def test_a_damaged_archive_is_told_from_any_other_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(zipfile.BadZipFile):
        unpack(b"no zip", "dotrain-test-")
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
