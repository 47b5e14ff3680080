"""A run's directory: where everything of it lies, and how small files get there whole."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from dotrain.errors import UsageError
from dotrain.report.stdout import print_json
from dotrain.store import RunDir
from dotrain.store import run_dir as module
from dotrain.store.run_dir import replace_file


class Then(datetime):
    """A clock that stands."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return datetime(2024, 5, 6, 7, 8, 9)


def test_everything_of_a_run_has_its_place(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "name" / "when")
    places = {
        "config.yaml": run_dir.config,
        "lock": run_dir.lock,
        "journal.jsonl": run_dir.journal,
        "code.zip": run_dir.code,
        "code-abc.zip": run_dir.later_code("abc"),
        "result.json": run_dir.result,
        "report.html": run_dir.report,
        "logs": run_dir.logs,
        "trials": run_dir.trials,
        "trials/t0001": run_dir.trial_dir("t0001"),
        "trials/t0001/output.log": run_dir.trial_log("t0001"),
        "trials/t0001/output-rank1.log": run_dir.trial_log("t0001", 1),
    }
    assert {name: str(path.relative_to(run_dir.path)) for name, path in places.items()} == {
        name: name for name in places
    }
    assert run_dir.trial_log("t0001", 0) == run_dir.trial_log("t0001")
    assert run_dir.token == "name-when"


def test_a_new_one_is_named_by_its_time_and_by_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "datetime", Then)
    made = [RunDir.create(Path("runs"), "a") for _ in range(3)]
    assert len({one.path for one in made}) == 3
    for one in made:
        assert one.path.is_dir()
        assert one.path.parent == tmp_path / "runs" / "a"
        time, _, chance = one.path.name.rpartition("-")
        assert (time, len(chance)) == ("2024-05-06T07-08-09", 4)


def test_a_name_that_is_taken_is_tried_no_more_than_ten_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "datetime", Then)
    chances = [*["aaaa"] * 10, "bbbb"]
    monkeypatch.setattr("secrets.token_hex", lambda _: chances.pop(0))
    assert RunDir.create(tmp_path, "a").path.name.endswith("-aaaa")
    assert RunDir.create(tmp_path, "a").path.name.endswith("-bbbb")
    chances += [*["aaaa"] * 10, "cccc"]
    with pytest.raises(UsageError, match="can't find a free name for a run directory in"):
        RunDir.create(tmp_path, "a")
    assert chances == ["cccc"]


def test_where_none_can_be_made_another_place_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"can't make the run directory .*Not a directory; choose"):
        RunDir.create(tmp_path / "file", "a")


def test_what_has_a_journal_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="is no run directory: it is no directory"):
        RunDir.open(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"is no run directory: it has no journal\.jsonl"):
        RunDir.open(tmp_path)
    assert not RunDir(tmp_path).has_begun
    (tmp_path / "journal.jsonl").touch()
    monkeypatch.chdir(tmp_path.parent)
    found = RunDir.open(Path(tmp_path.name))
    assert (found, found.has_begun) == (RunDir(tmp_path), False)
    found.journal.write_text("x")
    assert found.has_begun


def test_code_that_was_not_kept_is_none_whatever_else_is_there(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    assert (run_dir.read_code(), run_dir.read_code("abc")) == (b"", b"")
    run_dir.write_code(b"first")
    assert (run_dir.read_code(), run_dir.read_code("abc")) == (b"first", b"")
    run_dir.later_code("abc").write_bytes(b"later")
    assert (run_dir.read_code(), run_dir.read_code("abc")) == (b"first", b"later")


def test_small_files_are_replaced_whole_and_are_as_the_commands_print_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = RunDir(tmp_path)
    for values in ([1, 2, 3], [1]):
        run_dir.write_config("name: ü\n" * len(values))
        run_dir.write_result({"a": values})
    assert run_dir.config.read_bytes() == "name: ü\n".encode()
    assert run_dir.result.read_text() == '{\n  "a": [\n    1\n  ]\n}\n'
    print_json({"a": [1]})
    assert run_dir.result.read_text() == capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "result.json"]


def test_what_can_not_be_replaced_stays_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "taken" / "inner").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "taken", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
