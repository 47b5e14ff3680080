"""Which files go from one place to another, and how: whole or absent, and never out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.store.files import (
    Entries,
    Piece,
    Plan,
    Stamp,
    checkpoint_of,
    make_plan,
    newest_checkpoint,
    path_problem,
    pieces_of,
    turned,
)
from dotrain.store.folder import Folder

PATHS = st.sampled_from(["a", "b", "d/x", "checkpoint/step-000000001/w", "checkpoint/notes"])
CONTENTS = st.dictionaries(PATHS, st.integers(0, 3))
#: What one place does to its files in turn: a new content, or none.
CHANGES = st.dictionaries(PATHS, st.none() | st.integers(0, 3))


class Disk:
    """Contents of files, each with a stamp that is new with each writing."""

    def __init__(self, contents: dict[str, int]) -> None:
        self.contents: dict[str, int] = {}
        self.entries: dict[str, Stamp | None] = {}
        self._writes = 0
        for path, content in contents.items():
            self.write(path, content)

    def write(self, path: str, content: int | None) -> Stamp | None:
        self.contents.pop(path, None)
        self.entries.pop(path, None)
        if content is None:
            return None
        self._writes += 1
        self.contents[path] = content
        self.entries[path] = stamp = Stamp(1, 0o600, self._writes, 1)
        return stamp


def carry(source: Disk, target: Disk, plan: Plan) -> Entries:
    for path in plan.removed:
        target.write(path, None)
    return {path: target.write(path, source.contents[path]) for path in plan.files}


@given(CONTENTS, CONTENTS, CHANGES, CHANGES)
def test_a_worker_gets_what_is_at_home_whatever_it_has_left_of_before(
    first: dict[str, int],
    left: dict[str, int],
    at_home: dict[str, int | None],
    there: dict[str, int | None],
) -> None:
    home, away = Disk(first), Disk(left)
    copied = carry(home, away, make_plan(home.entries, away.entries, {}))
    known = {path: (home.entries[path], copied[path]) for path in copied}
    for disk, changes in ((home, at_home), (away, there)):
        for path, content in changes.items():
            disk.write(path, content)
    carry(home, away, make_plan(home.entries, away.entries, known))
    assert home.contents.items() <= away.contents.items()
    # What was handed out once and is no longer at home has gone there, too.
    assert not (known.keys() - home.contents.keys()) & away.contents.keys()


@given(CONTENTS, CHANGES, CHANGES)
def test_home_gets_what_the_worker_has_changed_and_keeps_what_only_home_has(
    first: dict[str, int], at_home: dict[str, int | None], there: dict[str, int | None]
) -> None:
    home, away = Disk(first), Disk({})
    copied = carry(home, away, make_plan(home.entries, away.entries, {}))
    known = {path: (home.entries[path], copied[path]) for path in copied}
    for disk, changes in ((home, at_home), (away, there)):
        for path, content in changes.items():
            disk.write(path, content)
    before = dict(home.contents)
    plan = make_plan(away.entries, home.entries, turned(known), only_changes=True)
    carry(away, home, plan)
    for path in before.keys() | away.contents.keys():
        part = checkpoint_of(path)  # goes as a whole, and so it does if any of it has changed
        changed = path in there and (path in known or path in away.contents)
        if part is None and not changed:
            assert home.contents.get(path) == before.get(path)
        elif changed:
            assert home.contents.get(path) == away.contents.get(path)


@given(CONTENTS)
def test_what_is_alike_needs_nothing(contents: dict[str, int]) -> None:
    home, away = Disk(contents), Disk({})
    copied = carry(home, away, make_plan(home.entries, away.entries, {}))
    known = {path: (home.entries[path], copied[path]) for path in copied}
    assert not make_plan(home.entries, away.entries, known)
    assert not make_plan(away.entries, home.entries, turned(known), only_changes=True)


@given(
    st.dictionaries(st.text("ab/", min_size=1), st.integers(0, 50)),
    st.integers(1, 20),
)
def test_pieces_make_up_each_file_and_none_is_larger_than_may_be(
    sizes: dict[str, int], limit: int
) -> None:
    batches = list(pieces_of(sizes, limit))
    assert all(sum(piece.length for piece in batch) <= limit for batch in batches)
    seen = dict.fromkeys(sizes, 0)
    for piece in (piece for batch in batches for piece in batch):
        assert piece.offset == seen[piece.path]
        seen[piece.path] += piece.length
    assert seen == sizes
    assert {piece.path for batch in batches for piece in batch} == set(sizes)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\0b"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    assert path_problem(path)
    folder = Folder(tmp_path / "trial", tmp_path / "arriving")
    with pytest.raises(ValueError, match="is no path below a trial's folder"):
        folder.write([(path, 0, b"x")])
    with pytest.raises(ValueError, match="is no path below a trial's folder"):
        folder.read([Piece(path, 0, 1)])


def test_the_newest_checkpoint_is_that_of_the_last_step_saved_last() -> None:
    assert newest_checkpoint(["step-2", "step-10", ".partial-3", "step-10.2", "step-10.10"]) == (
        "step-10.10"
    )
    assert newest_checkpoint(["notes"]) is None


# ---- on disks ----


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def copied(source: Folder, target: Folder) -> list[str]:
    """Copy all that there is, in one go; return what has not come."""
    entries = source.listing().entries
    plan = make_plan(entries, target.listing().entries, {})
    sizes = {path: stamp.size for path, stamp in plan.files.items()}
    for batch in pieces_of(sizes):
        data = source.read(batch)
        target.write(
            [(p.path, p.offset, d) for p, d in zip(batch, data, strict=True) if d is not None]
        )
    return target.commit(plan, source.digests(sizes))[1]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    root = tmp_path / "there" / "t0000"
    write(root, a="one", sub__b="two", output_log="never mind")
    (root / "output_log").rename(root / "output.log")
    (root / "empty").mkdir()
    (root / "checkpoint/step-000000003").mkdir(parents=True)
    write(root, **{"checkpoint/step-000000003__weights": "w" * 10})
    (root / "checkpoint/.partial-12").mkdir()
    return root


@pytest.fixture
def home(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "home" / "t0000", tmp_path / "home" / "arriving")


def tree(root: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(root)): path.read_text() if path.is_file() else None
        for path in root.rglob("*")
    }


def test_all_but_logs_and_halves_is_copied_and_nothing_else_is_left(
    tmp_path: Path, there: Path, home: Folder
) -> None:
    (there / "a").chmod(0o640)
    assert copied(Folder(there, tmp_path / "x"), home) == []
    assert tree(tmp_path / "home") == {
        "t0000": None,
        "t0000/a": "one",
        "t0000/sub": None,
        "t0000/sub/b": "two",
        "t0000/empty": None,
        "t0000/checkpoint": None,
        "t0000/checkpoint/step-000000003": None,
        "t0000/checkpoint/step-000000003/weights": "w" * 10,
    }
    assert (tmp_path / "home/t0000/a").stat().st_mode & 0o777 == 0o640


def test_a_file_that_changes_while_it_is_read_does_not_come_nor_does_its_checkpoint(
    tmp_path: Path, there: Path, home: Folder
) -> None:
    source = Folder(there, tmp_path / "x")
    plan = make_plan(source.listing().entries, {}, {})
    sizes = {path: stamp.size for path, stamp in plan.files.items()}
    (batch,) = pieces_of(sizes)
    data = source.read(batch)
    home.write([(p.path, p.offset, d) for p, d in zip(batch, data, strict=True) if d is not None])
    write(there, **{"checkpoint/step-000000003__weights": "v" * 10}, a="ONE")
    _, wrong = home.commit(plan, source.digests(sizes))
    assert wrong == ["a", "checkpoint/step-000000003/weights"]
    assert tree(tmp_path / "home/t0000") == {"empty": None, "sub": None, "sub/b": "two"} | {
        "checkpoint": None
    }


def test_what_is_gone_or_shorter_by_now_is_none(tmp_path: Path, there: Path) -> None:
    source = Folder(there, tmp_path / "x")
    assert source.read([Piece("a", 1, 2), Piece("a", 1, 3), Piece("c", 0, 1)]) == [
        *(b"ne", None),
        None,
    ]
    assert source.digests({"a": 4, "c": 0}) == {"a": None, "c": None}


def test_a_checkpoint_takes_the_place_of_the_one_before_in_one_step(
    tmp_path: Path, there: Path, home: Folder
) -> None:
    root = tmp_path / "home/t0000"
    write(root, **{"checkpoint/step-000000002__weights": "v", "a": "zero"})
    source = Folder(there, tmp_path / "x")
    before = home.listing().entries
    known = {path: (None, stamp) for path, stamp in before.items()}
    plan = make_plan(source.listing().entries, before, known)
    sizes = {path: stamp.size for path, stamp in plan.files.items()}
    for batch in pieces_of(sizes):
        home.write([(p.path, p.offset, source.read([p])[0] or b"") for p in batch])
    assert os.listdir(root / "checkpoint") == ["step-000000002"]
    home.commit(plan, source.digests(sizes))
    assert os.listdir(root / "checkpoint") == ["step-000000003"]
    assert (root / "a").read_text() == "one"


def test_links_are_what_they_point_to_inside_and_named_where_they_lead_out(
    tmp_path: Path, there: Path, home: Folder
) -> None:
    (there / "latest").symlink_to(there / "checkpoint" / "step-000000003")
    (there / "alias").symlink_to("a")
    (there / "out").symlink_to(tmp_path)
    (there / "sub" / "up").symlink_to(there / "sub")
    (there / "nowhere").symlink_to("no such file")
    os.mkfifo(there / "pipe")
    source = Folder(there, tmp_path / "x")
    assert source.listing().skipped == {
        "out": "leads out of the trial's folder",
        "sub/up": "leads back to a folder above it",
        "pipe": "is no file",
    }
    assert copied(source, home) == []
    found = tree(tmp_path / "home/t0000")
    assert found["alias"] == "one"
    assert found["latest/weights"] == "w" * 10
    assert not any(path.is_symlink() for path in (tmp_path / "home").rglob("*"))
    assert not {"out", "pipe", "nowhere", "sub/up"} & found.keys()


def test_nothing_is_written_over_a_link_that_leads_out(tmp_path: Path, there: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "home" / "t0000"
    root.mkdir(parents=True)
    (root / "sub").symlink_to(outside)
    (root / "output.log").symlink_to(outside / "log")
    home = Folder(root, tmp_path / "home" / "arriving")
    with pytest.raises(ValueError, match="leads out of"):
        copied(Folder(there, tmp_path / "x"), home)
    with pytest.raises(OSError, match="symbolic link"):
        home.append("output.log", 0, b"x")
    assert os.listdir(outside) == []


def test_what_a_copy_that_broke_off_has_left_is_no_part_of_the_next_one(
    tmp_path: Path, there: Path, home: Folder
) -> None:
    home.write([("checkpoint/step-000000003/weights", 0, b"of the longer one before")])
    assert copied(Folder(there, tmp_path / "x"), home) == []
    weights = tmp_path / "home/t0000/checkpoint/step-000000003/weights"
    assert weights.read_text() == "w" * 10


def test_no_folder_is_made_over_a_link_that_leads_out(tmp_path: Path, there: Path) -> None:
    root, outside = tmp_path / "home" / "t0000", tmp_path / "outside"
    root.mkdir(parents=True)
    outside.mkdir()
    (root / "sub").symlink_to(outside)
    (there / "sub" / "b").unlink()
    write(there, sub__deeper__c="three")
    with pytest.raises(ValueError, match="leads out of"):
        copied(Folder(there, tmp_path / "x"), Folder(root, tmp_path / "home" / "arriving"))
    assert list(outside.iterdir()) == []


def test_another_machine_makes_no_file_that_runs_as_its_owner(
    tmp_path: Path, there: Path, home: Folder
) -> None:
    (there / "a").chmod(0o6755)
    assert copied(Folder(there, tmp_path / "x"), home) == []
    assert (tmp_path / "home/t0000/a").stat().st_mode & 0o7777 == 0o755


def test_a_file_takes_the_place_of_a_folder_and_a_folder_that_of_a_file(
    tmp_path: Path, there: Path, home: Folder
) -> None:
    write(tmp_path / "home/t0000", a__inner="x", sub="a file")
    assert copied(Folder(there, tmp_path / "x"), home) == []
    assert tree(tmp_path / "home/t0000").items() >= {"a": "one", "sub/b": "two"}.items()


def test_a_log_written_twice_is_there_once(tmp_path: Path, home: Folder) -> None:
    home.append("output.log", 0, b"one\n")
    home.append("output.log", 4, b"two\n")
    home.append("output.log", 4, b"two\n")
    assert (tmp_path / "home/t0000/output.log").read_text() == "one\ntwo\n"
