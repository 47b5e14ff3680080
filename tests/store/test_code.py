"""The code of a run: kept when it is new, compared when the run goes on, run again from there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dotrain.errors import UsageError
from dotrain.store import (
    Journal,
    Record,
    RunDir,
    archived_code,
    code_that_goes_on,
    keeps_to_its_archive,
    ran_last,
    unpacked,
)
from dotrain.usercode.archive import Code


def code(text: str) -> Code:
    return Code.of({}, {"user.py": text})


ONE, TWO, THREE = code("x = 1\n"), code("x = 2\n"), code("x = 3\n")


def header(told: Code | None) -> Record:
    run: Record = {"type": "Run", "seed": 0}
    if told is not None:
        run["code"] = {"digest": told.digest, "files": dict(told.files)}
    return run


def resumed(with_code: Code | None) -> Record:
    record: Record = {"type": "Resumed"}
    return record if with_code is None else {**record, "code": with_code.digest}


LAUNCH: Record = {"type": "Launch"}


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = RunDir(tmp_path)
    run_dir.write_code(ONE.archive)
    return run_dir


def test_the_same_code_goes_on_without_a_word(run_dir: RunDir) -> None:
    found = code_that_goes_on(run_dir, ONE, [header(ONE)])
    assert (found.changes, found.began_with, found.is_first) == ([], None, True)
    assert [path.name for path in run_dir.path.iterdir()] == ["code.zip"]


def test_changed_code_is_kept_and_its_files_are_named(run_dir: RunDir) -> None:
    found = code_that_goes_on(run_dir, TWO, [header(ONE), {"type": "Started", "code": TWO.digest}])
    assert (found.changes, found.began_with, found.is_first) == (["user.py: changed"], None, False)
    assert run_dir.read_code(TWO.digest) == TWO.archive
    assert found.text == (
        "the code has changed since the run was last driven (user.py: changed); trials from here on "
        "run the new code and are marked 'other code'"
    )


def test_it_is_compared_with_what_ran_last(run_dir: RunDir) -> None:
    code_that_goes_on(run_dir, TWO, [header(ONE)])
    then = [header(ONE), LAUNCH, resumed(TWO), LAUNCH, resumed(None), LAUNCH]
    assert code_that_goes_on(run_dir, TWO, then).changes == []
    assert code_that_goes_on(run_dir, THREE, then).changes == ["user.py: changed"]
    back = code_that_goes_on(run_dir, ONE, then)
    assert (back.changes, back.is_first) == (["user.py: changed"], True)
    assert back.text.startswith("the code is again what the run began with (user.py: changed")


def test_code_that_was_only_judged_by_or_found_no_worker_has_not_run(run_dir: RunDir) -> None:
    code_that_goes_on(run_dir, TWO, [header(ONE)])
    then = [header(ONE), LAUNCH, resumed(TWO), LAUNCH, resumed(THREE), {"type": "Finish"}]
    found = ran_last(run_dir, then)
    assert (found.digest, found.files, found.archive) == (
        *(TWO.digest, TWO.files, run_dir.later_code(str(TWO.digest))),
    )
    assert ran_last(run_dir, [header(ONE), resumed(THREE)]).digest == ONE.digest


def test_what_ran_last_and_was_not_kept_is_told_from_other_code_by_its_digest(
    run_dir: RunDir,
) -> None:
    then = [header(ONE), resumed(TWO), LAUNCH]
    for content in (None, b"no zip", ONE.archive):
        if content is not None:
            run_dir.later_code(str(TWO.digest)).write_bytes(content)
        found = ran_last(run_dir, then)
        assert found.changes(TWO.files, TWO.digest) == []
        (changed,) = found.changes(THREE.files, THREE.digest)
        assert f"code-{TWO.digest}.zip is damaged or missing" in changed
        with pytest.raises(UsageError, match=r"can't be unpacked|isn't the code that ran"):
            unpacked(found.archive, found.digest)


def test_where_nothing_tells_what_ran_nothing_is_held_against_it(run_dir: RunDir) -> None:
    run_dir.code.unlink()
    assert ran_last(run_dir, [header(None)]).changes(TWO.files, TWO.digest) == []
    # That all of it was installed is told.
    assert ran_last(run_dir, [header(Code())]).changes(TWO.files, TWO.digest) == ["user.py: new"]


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        (None, [], False),
        (True, [], True),
        (True, [None], True),
        (False, [True, None], True),
        (True, [False], False),
        (None, [True, False, True], True),
    ],
)
def test_a_run_keeps_to_its_archive_from_when_it_is_told_to(
    first: bool | None, later: list[bool | None], expected: bool
) -> None:
    run = header(None) if first is None else {**header(ONE), "code": {"archived": first}}
    said = [resumed(ONE) | ({} if one is None else {"archived": one}) for one in later]
    assert keeps_to_its_archive([run, *said]) is expected


def test_a_header_that_does_not_say_is_helped_by_the_archive(run_dir: RunDir) -> None:
    found = code_that_goes_on(run_dir, TWO, [header(None)])
    assert (found.changes, found.began_with) == (["user.py: changed"], ONE.digest)


def test_of_no_code_nothing_is_said_or_kept(run_dir: RunDir) -> None:
    found = code_that_goes_on(run_dir, Code(), [header(ONE)])
    assert (found.changes, found.is_first) == ([], False)
    assert [path.name for path in run_dir.path.iterdir()] == ["code.zip"]


# A config in a run directory.


def write(run_dir: RunDir, *records: Record) -> None:
    journal = Journal(run_dir.journal)
    for record in records:
        journal.append(record, 0.0)
    journal.close()


@pytest.mark.parametrize(
    ("later", "otherwise"),
    [([], False), ([resumed(ONE), resumed(None)], False), ([resumed(TWO)], True)],
)
def test_a_config_in_a_run_directory_means_the_code_that_lies_there(
    run_dir: RunDir, later: list[Record], otherwise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Callable[[], Any]] = []
    monkeypatch.setattr("atexit.register", lambda f, *a, **k: at_exit.append(partial(f, *a, **k)))
    write(run_dir, {**header(ONE), "config_dir": "/some/where"}, *later)
    found = archived_code(run_dir.config)
    assert found is not None
    assert found.folders == [Path("/some/where")]
    assert (found.code.folder / "user.py").read_text() == "x = 1\n"
    assert found.code.files == {found.code.folder / "user.py": "user.py"}
    (tidied,) = at_exit
    tidied()
    assert not found.code.folder.exists()
    assert found.went_on_otherwise == otherwise


def test_without_a_folder_or_a_digest_the_run_directory_will_do(run_dir: RunDir) -> None:
    write(run_dir, header(None), resumed(TWO))
    found = archived_code(run_dir.config)
    assert found is not None
    assert (found.folders, found.went_on_otherwise) == ([run_dir.path], False)


def test_a_config_elsewhere_is_ones_own(run_dir: RunDir, tmp_path: Path) -> None:
    assert archived_code(tmp_path / "config.yaml") is None  # no journal
    write(run_dir, header(ONE))
    assert archived_code(tmp_path / "other.yaml") is None


@pytest.mark.parametrize("content", [None, b"no zip"])
def test_code_that_was_not_kept_whole_is_an_error(run_dir: RunDir, content: Any) -> None:
    write(run_dir, header(ONE))
    run_dir.code.unlink() if content is None else run_dir.code.write_bytes(content)
    with pytest.raises(UsageError, match=r"has kept no code|can't be unpacked"):
        archived_code(run_dir.config)
    if content is not None:
        with pytest.raises(UsageError, match=r"code\.zip can't be unpacked"):
            unpacked(run_dir.code, None)
