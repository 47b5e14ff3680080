"""A run directory is whole in itself: it goes on wherever it lies, with what ran last or what is asked for."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from dotrain import Searchspace, experiment
from dotrain.config.errors import ConfigError
from dotrain.core.marks import Mark
from dotrain.errors import UsageError
from dotrain.report.story import read_trial
from dotrain.report.trial_text import print_trial
from dotrain.runs.result import Result
from dotrain.runs.which_code import with_other_files
from dotrain.store import read_journal
from dotrain.usercode.archive import digest_of
from tests.conftest import Project
from tests.samples.reading import rewrite_header

USER = "from lib import VALUE\n\ndef train(x): return x * VALUE\n"
SECTIONS: dict[str, Any] = {
    "search": {
        "space": {"x": {"type": "discrete", "values": [1, 2, 3]}},
        "optimizer": {"name": "grid"},
    },
    "cluster": {"kind": "inline"},
}


def cut_off(run_dir: Path, count: int) -> Path:
    """Cut a journal off behind so many of its launches."""
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    launches = [place for place, line in enumerate(lines) if b'"type": "Launch"' in line]
    (run_dir / "journal.jsonl").write_bytes(b"".join(lines[: launches[count - 1] + 1]))
    return run_dir


def stopped(project: Project, **sections: Any) -> Path:
    """A run that was broken off in the second of its three trials."""
    if not (project.path / "user.py").exists():
        project.write("user.py", USER)
        project.write("lib.py", "VALUE = 10\n")
    return cut_off(project.run(**{**SECTIONS, **sections}).run_dir, 2)


def moved(project: Project, to: Path, run_dir: Path) -> Path:
    """Move the whole project; return where its run lies now."""
    shutil.move(project.path, to)
    return to / run_dir.relative_to(project.path)


def values(result: Result) -> list[float | None]:
    return [trial.final_metric for trial in result.trials]


def last_resumed(run_dir: Path) -> dict[str, Any]:
    return [r for r in read_journal(run_dir / "journal.jsonl") if r["type"] == "Resumed"][-1]


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]


def test_a_run_that_moves_with_its_project_goes_on_without_a_word(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = moved(project, tmp_path / "builds" / "1", stopped(project))
    assert values(experiment.resume(run_dir)) == [10, 20, 30]
    assert said(capsys) == []
    assert (
        last_resumed(run_dir)["code"]
        == next(read_journal(run_dir / "journal.jsonl"))["code"]["digest"]
    )


def test_a_run_that_moves_alone_finds_its_code_at_its_old_place(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "far" / "away" / "run"
    there.parent.mkdir(parents=True)
    shutil.move(stopped(project), there)
    assert values(experiment.resume(there)) == [10, 20, 30]
    assert said(capsys) == []


def test_a_run_directory_without_its_code_goes_on_with_its_own_archive(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "far" / "away" / "run"
    shutil.copytree(stopped(project), there)
    shutil.rmtree(project.path)
    result = experiment.resume(there)
    assert values(result) == [10, 20, 30]
    assert result.summary["marks"] == {}
    (note,) = said(capsys)
    assert note.startswith(f"note: {there}: the code is found no more from ")
    assert note.endswith(f" nor {project.path}; the run's own is run (code.zip)")
    record, header = last_resumed(there), next(read_journal(there / "journal.jsonl"))
    assert record["code"] == header["code"]["digest"]
    assert "archived" not in record


def test_where_code_and_archive_are_gone_that_is_said(project: Project, tmp_path: Path) -> None:
    there = tmp_path / "run"
    shutil.copytree(stopped(project), there)
    shutil.rmtree(project.path)
    (there / "code.zip").unlink()
    with pytest.raises(UsageError, match=r"has kept none \(code\.zip\); say where .* --code-dir"):
        experiment.resume(there)


def test_a_copy_with_edited_code_is_told_from_what_ran(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = stopped(project)
    copy = tmp_path / "copy"
    shutil.copytree(project.path, copy)
    (copy / "lib.py").write_text("VALUE = 100\n")
    there = copy / run_dir.relative_to(project.path)
    with pytest.raises(UsageError) as refused:
        experiment.resume(there)
    lines = str(refused.value).splitlines()
    assert lines[:2] == [
        f"{there}: the code isn't what ran last, as found from {copy}:",
        "  lib.py: changed",
    ]
    assert lines[-1] == f"  --code-dir {project.path}    where what ran last lies unchanged"
    assert said(capsys) == []
    # The way that it names is one.
    copied = shutil.copytree(there, there.with_name("other"))
    assert values(experiment.resume(copied, code_dir=project.path)) == [10, 20, 30]
    assert said(capsys) == []
    # So are the others.
    copied = shutil.copytree(there, there.with_name("third"))
    assert values(experiment.resume(copied, code="archived")) == [10, 20, 30]
    (note,) = said(capsys)
    assert note.endswith(
        "the run's own code is run (code.zip); --code current runs what is there now"
    )
    result = experiment.resume(there, code="current")
    assert values(result) == [10, 200, 300]
    assert [bool(trial.marks) for trial in result.trials] == [False, True, True]


def test_a_run_that_was_told_to_keep_to_its_archive_does_so_until_told_otherwise(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = stopped(project)
    project.write("lib.py", "VALUE = 100\n")
    experiment.resume(run_dir, code="archived")
    assert last_resumed(run_dir)["archived"] is True
    cut_off(run_dir, 4)
    said(capsys)
    # By the command that was printed.
    assert values(experiment.resume(run_dir)) == [10, 20, 30]
    assert len(said(capsys)) == 1
    cut_off(run_dir, 4)
    assert values(experiment.resume(run_dir, code="current")) == [10, 20, 300]
    assert last_resumed(run_dir)["archived"] is False
    cut_off(run_dir, 5)
    assert values(experiment.resume(run_dir)) == [10, 20, 300]


@pytest.mark.parametrize("cluster", [{"kind": "inline"}, {"kind": "local", "workers": 1}])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_failure_of_the_runs_own_code_names_the_users_path(
    project: Project, cluster: dict[str, Any], is_there: bool
) -> None:
    project.write("src/user.py", "from src.lib import fail\n\ndef train(x):\n    fail(x)\n")
    project.write("src/lib.py", "def fail(x):\n    raise ValueError(f'{x} at {__file__}')\n")
    sections = {**SECTIONS, "train": "src/user.py:train", "cluster": cluster}
    run_dir = cut_off(project.run(**sections).run_dir, 2)
    if is_there:
        project.write("src/lib.py", "# other lines\n\ndef fail(x):\n    pass\n")
    else:
        shutil.rmtree(project.path / "src")
    result = experiment.resume(run_dir, code="archived", quiet=True)
    error = result.trials[1].error
    assert error is not None
    lib = project.path / "src" / "lib.py"
    assert error.message == f"ValueError: 2 at {lib}"
    assert error.location.endswith("src/lib.py:2 in fail")
    assert error.source == "raise ValueError(f'{x} at {__file__}')"
    assert f'"{lib}", line 2' in error.traceback
    log = (run_dir / "trials" / "t0001" / "output.log").read_text()
    for text in (error.location, error.traceback, log, json.dumps(result.summary)):
        assert "dotrain-archived-" not in text


def test_the_newest_archive_is_the_one_that_ran_last(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = stopped(project)
    project.write("lib.py", "VALUE = 100\n")
    experiment.resume(run_dir, code="current", quiet=True)
    (later,) = run_dir.glob("code-*.zip")
    cut_off(run_dir, 4)
    there = shutil.copytree(run_dir, tmp_path / "run")
    shutil.rmtree(project.path)
    result = experiment.resume(there)
    assert values(result) == [10, 200, 300]
    assert said(capsys)[0].endswith(f"the run's own is run ({later.name})")
    digest = later.stem.removeprefix("code-")
    assert last_resumed(there)["code"] == digest
    # Which code each attempt ran is told.
    story = read_trial(there, "1")
    assert story["marks"] == {Mark.OTHER_CODE: f"attempt 2 ran code {digest}"}
    first = next(read_journal(there / "journal.jsonl"))["code"]["digest"]
    assert [attempt["code"] for attempt in story["attempts"]] == [first, digest]
    print_trial(story)
    assert f"attempt 2 launched, with code {digest}: " in capsys.readouterr().out


def test_code_that_changed_back_is_what_ran_last(project: Project) -> None:
    run_dir = stopped(project)
    project.write("lib.py", "VALUE = 100\n")
    with pytest.raises(UsageError, match=r"lib\.py: changed"):
        experiment.resume(run_dir, quiet=True)
    project.write("lib.py", "VALUE = 10\n")
    assert values(experiment.resume(run_dir, quiet=True)) == [10, 20, 30]


def test_a_file_that_is_missing_is_named(project: Project, tmp_path: Path) -> None:
    project.write("user.py", USER)
    project.write("lib.py", "VALUE = 10\n")
    project.write("make.py", "def model(): return 1\n")
    run_dir = stopped(project, model="make.py:model")
    for lacking, names in (
        (["make.py"], ["  make.py: gone"]),
        (["lib.py"], ["  lib.py: gone"]),
        (
            ["user.py", "lib.py", "make.py"],
            ["  lib.py: gone", "  make.py: gone", "  user.py: gone"],
        ),
    ):
        folder = tmp_path / "-".join(lacking)
        shutil.copytree(project.path, folder, ignore=shutil.ignore_patterns("runs", *lacking))
        with pytest.raises(UsageError) as refused:
            experiment.resume(run_dir, code_dir=folder, quiet=True)
        assert str(refused.value).splitlines()[1 : 1 + len(names)] == names
    with pytest.raises(UsageError, match=r"--code-dir .*nowhere: there is no such folder"):
        experiment.resume(run_dir, code_dir=tmp_path / "nowhere", quiet=True)
    # Where today's code is asked for, what is wrong is told as of any config.
    with pytest.raises(ConfigError, match=r"train: no file user\.py; tried"):
        experiment.resume(run_dir, code="current", code_dir=folder, quiet=True)


def test_what_is_judged_only_may_have_any_code_or_none(project: Project, tmp_path: Path) -> None:
    project.write("user.py", USER)
    project.write("lib.py", "VALUE = 10\n")
    search = {
        "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
        "optimizer": {"name": "random"},
        "num_trials": 2,
    }
    run_dir = project.run(search=search, cluster={"kind": "inline"}).run_dir
    project.write("lib.py", "VALUE = 100\n")
    judged = experiment.resume(run_dir, require=["trials.finished==2"], quiet=True)
    assert [gate["met"] for gate in judged.gates] == [True]
    assert "code" not in last_resumed(run_dir)
    assert not [*run_dir.glob("code-*.zip")]
    # With more trials something is trained.
    with pytest.raises(UsageError, match=r"lib\.py: changed"):
        experiment.resume(run_dir, ["search.num_trials=3"], quiet=True)
    (project.path / "lib.py").unlink()
    assert experiment.resume(run_dir, quiet=True).status == "finished"
    there = shutil.copytree(run_dir, tmp_path / "run")
    shutil.rmtree(project.path)
    assert experiment.resume(there, quiet=True).status == "finished"
    done = experiment.resume(there, ["search.num_trials=3"], quiet=True)
    assert (done.summary["trials"]["finished"], done.summary["marks"]) == (3, {})


def test_a_table_beside_the_config_is_found_wherever_the_run_lies(
    project: Project, tmp_path: Path
) -> None:
    project.write("t.csv", "a,y\n1,0\n2,1\n3,0\n4,1\n")
    project.write("user.py", "def train(x, data_gen): return x + len(list(data_gen.batch(1, 1)))\n")
    run_dir = stopped(project, data={"file": "t.csv", "label": "y"})
    there = shutil.copytree(run_dir, tmp_path / "run")
    expected = values(experiment.resume(run_dir, quiet=True))
    assert (
        values(experiment.resume(shutil.copytree(there, tmp_path / "run2"), quiet=True)) == expected
    )
    # The code is gone, the table isn't.
    (project.path / "user.py").unlink()
    assert values(experiment.resume(there, quiet=True)) == expected
    new_place = tmp_path / "elsewhere" / "new"
    last = cut_off(moved(project, new_place, run_dir), 2)
    alone = shutil.copytree(last, tmp_path / "alone")
    assert values(experiment.resume(last, quiet=True)) == expected
    with pytest.raises(ConfigError, match=r"data\.file: no file .*t\.csv"):
        experiment.resume(alone, quiet=True)
    assert (
        values(experiment.resume(alone, code="archived", code_dir=new_place, quiet=True))
        == expected
    )


def test_other_files_than_code_are_looked_for_in_each_place(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("one", "two")]
    for place in places:
        place.mkdir()
    (places[1] / "ca.pem").touch()
    table: dict[str, Any] = {"data": {"file": "t.csv"}}
    tls: dict[str, Any] = {"cluster": {"tls": {"ca_file": "ca.pem", "cert": None}}}
    for config, expected in (({}, 0), ({"data": "f.py:f"}, 0), (table, 0), (tls, 1)):
        assert with_other_files(places, config) == places[expected]
    assert with_other_files(places, {**table, **tls}) == places[0]


def test_code_in_a_folder_whose_name_is_no_modules_runs_from_the_archive(
    project: Project, tmp_path: Path
) -> None:
    project.write("my-code/train.py", "from other import VALUE\n\ndef train(x): return x * VALUE\n")
    project.write("my-code/other.py", "VALUE = 10\n")
    run_dir = stopped(project, train="my-code/train.py:train")
    there = shutil.copytree(run_dir, tmp_path / "run")
    shutil.rmtree(project.path)
    assert values(experiment.resume(there, quiet=True)) == [10, 20, 30]
    again = experiment.run(there / "config.yaml", runs_dir=tmp_path / "again", quiet=True)
    assert values(again) == [10, 20, 30]


POLICY = """
from dotrain.optimizers.grid import GridSearch

class {0}(GridSearch):
    name = "{0}"
"""


def test_policies_of_ones_own_come_from_one_place_only(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is imported from a place whose code isn't run; byte code is no code of the run's."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    project.write("user.py", "def train(x): return x\n")
    project.write("own.py", POLICY.format("Mine"))
    search = {**SECTIONS["search"], "optimizer": {"name": "own:Mine"}}
    project.config(**{**SECTIONS, "search": search})
    assert project.cli("run", "config.yaml", "-q").returncode == 0
    (run_dir,) = project.path.glob("runs/*/*")
    cut_off(run_dir, 2)
    project.write("own.py", "raise SystemExit('imported')")
    for arguments in (("--code", "archived"), ()):
        there = shutil.copytree(run_dir, tmp_path / f"run{len(arguments)}")
        if not arguments:
            shutil.rmtree(project.path)
        done = Project(tmp_path).cli("resume", str(there), "--json", *arguments)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["marks"] == {}


def test_of_a_module_that_is_gone_the_way_out_is_told(project: Project) -> None:
    project.write("helper.py", "TEN = 10\n")
    project.write("user.py", "import helper\n\ndef train(x): return helper.TEN * x\n")
    project.config(**SECTIONS)
    assert project.cli("run", "config.yaml", "-q").returncode == 0
    (run_dir,) = project.path.glob("runs/*/*")
    cut_off(run_dir, 2)
    (project.path / "helper.py").unlink()
    refused = project.cli("resume", str(run_dir))
    assert refused.returncode == 2
    assert "'helper' is imported and isn't installed" in refused.stderr
    assert "helper.py: gone since the run; put it back, or go on" in refused.stderr
    assert "(code.zip): --code archived" in refused.stderr
    assert project.cli("resume", str(run_dir), "-q", "--code", "archived").returncode == 0


def test_an_observer_whose_code_is_gone_can_be_left_out(project: Project, tmp_path: Path) -> None:
    project.write("watch.py", "from dotrain.abc import Observer\n\nclass Mine(Observer): pass\n")
    there = shutil.copytree(stopped(project, observers=[{"name": "watch:Mine"}]), tmp_path / "run")
    shutil.rmtree(project.path)
    sys.modules.pop("watch")
    with pytest.raises(ConfigError, match=r"No module named 'watch'; .* --set observers=\[\]"):
        experiment.resume(there, quiet=True)
    assert values(experiment.resume(there, ["observers=[]"], quiet=True)) == [10, 20, 30]


def test_a_module_that_is_imported_already_is_not_taken_for_the_archived_one(
    project: Project,
) -> None:
    project.write("user.py", "def train(x): return x\n")
    project.write("own.py", POLICY.format("Mine"))
    search = {**SECTIONS["search"], "optimizer": {"name": "own:Mine"}}
    run_dir = stopped(project, search=search, cluster={"kind": "simulated"})
    with pytest.raises(UsageError, match=r"own\.py was found where .* start a new one"):
        experiment.resume(run_dir, code="archived", quiet=True)


def test_functions_of_an_installed_package_are_found_from_anywhere(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {"y2": {"type": "discrete", "values": [1904, 1908, 1912]}}
    search = {"space": space, "optimizer": {"name": "grid"}}
    run_dir = stopped(project, train="calendar:leapdays", search=search, hparams={"y1": 1900})
    assert next(read_journal(run_dir / "journal.jsonl"))["code"]["files"] == {}
    there = shutil.copytree(run_dir, tmp_path / "run")
    shutil.rmtree(project.path)
    assert values(experiment.resume(there)) == [0, 1, 2]
    assert said(capsys) == []


def test_behind_a_link_it_goes_on_by_either_name(project: Project, tmp_path: Path) -> None:
    scratch = tmp_path / "far" / "scratch"
    scratch.mkdir(parents=True)
    (project.path / "runs").symlink_to(scratch)
    run_dir = stopped(project)
    real = run_dir.resolve()
    assert real.is_relative_to(scratch)
    for called in (run_dir, real):
        assert values(experiment.resume(cut_off(called, 2), quiet=True)) == [10, 20, 30]


def test_a_call_goes_on_with_its_own_functions_and_says_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `lagom` runs is given in the call; there is no other that could be meant."""

    def call(function: Any, **options: Any) -> Result:
        return experiment.lagom(
            function,
            Searchspace(x=("DISCRETE", [1, 2, 3])),
            "grid",
            cluster={"kind": "inline"},
            runs_dir=tmp_path / "runs",
            **options,
        )

    def double(x: int) -> int:
        return 2 * x

    run_dir = cut_off(call(double, quiet=True).run_dir, 2)
    there = Path(shutil.move(run_dir, tmp_path / "moved"))
    whole = shutil.copytree(there, tmp_path / "other")
    assert values(call(double, resume=there)) == [2, 4, 6]
    assert not any("code" in note for note in said(capsys))
    file = next(read_journal(whole / "journal.jsonl"))["code"]["files"]
    assert [*file] == ["test_moved.py"]
    # As if the script had been edited.
    files = {"test_moved.py": "0" * 64}
    rewrite_header(whole / "journal.jsonl", code={"digest": digest_of(files), "files": files})
    result = call(double, resume=whole)
    assert any(
        "the code has changed since the run was last driven" in note for note in said(capsys)
    )
    other = [Mark.OTHER_CODE in trial.marks for trial in result.trials]
    assert other == [False, True, True]
