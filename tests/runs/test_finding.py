"""What a user may call a run, and which one is meant."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dotrain import Searchspace, experiment
from dotrain.cli import app
from dotrain.config.errors import ConfigError
from dotrain.errors import UsageError
from dotrain.runs.finding import find_run
from dotrain.store import Journal
from tests.conftest import Project


def make(place: Path, name: str, began: str, *, written: int = 0, kind: str = "search") -> Path:
    """Make what a run leaves behind, as far as it is looked at."""
    path = place / name / began
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("{}")
    os.utime(path / "config.yaml", ns=(written, written))
    journal = Journal(path / "journal.jsonl")
    journal.append_header({"study": {}} if kind == "study" else {})
    journal.close()
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with three runs, the current one."""
    monkeypatch.chdir(tmp_path)
    make(Path("runs"), "asha", "2026-11-22T08-15-00-3f2a")
    make(Path("runs"), "asha", "2026-11-22T08-15-01-0000")
    make(Path("runs"), "digits", "2026-11-21T23-59-59-ffff")
    return tmp_path


def test_a_directory_is_meant_as_it_stands_and_nothing_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (digits,) = folder.glob("runs/digits/*")
    assert find_run(digits) == digits
    old = "runs/asha/2026-11-22T08-15-00-3f2a"
    assert find_run(old) == Path(old)
    assert capsys.readouterr().err == ""


def test_a_name_is_its_newest_run_and_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = Path("runs/asha/2026-11-22T08-15-01-0000")
    assert find_run("asha") == newest
    assert capsys.readouterr().err == f"note: asha is {newest}\n"
    assert find_run("asha", quiet=True) == newest
    assert capsys.readouterr().err == ""


def test_latest_is_the_newest_of_all(folder: Path) -> None:
    assert find_run("latest").parent.name == "asha"
    make(Path("runs"), "digits", "2026-11-23T00-00-00-0000")
    assert find_run("latest").parent.name == "digits"


def test_a_config_is_the_newest_run_of_its_name(folder: Path) -> None:
    (folder / "configs").mkdir()
    (folder / "configs/digits.yaml").write_text("search: broken")
    (folder / "other.conf").write_text("name: asha")
    assert find_run("configs/digits.yaml").parent.name == "digits"
    assert find_run(folder / "other.conf").parent.name == "asha"
    (folder / "digits").write_text("name: asha")  # a file that exists is meant, not the name
    assert find_run("digits").parent.name == "asha"
    (folder / "other.conf").write_text("- none")
    with pytest.raises(ConfigError):
        find_run("other.conf")


def test_the_config_of_a_run_directory_is_that_run(folder: Path) -> None:
    old = Path("runs/asha/2026-11-22T08-15-00-3f2a")
    assert find_run(old / "config.yaml") == old


def test_of_two_runs_of_a_second_the_one_that_was_written_later_is_newer(folder: Path) -> None:
    began = "2026-11-24T00-00-00"
    make(Path("runs"), "asha", f"{began}-ffff", written=1)
    later = make(Path("runs"), "asha", f"{began}-0000", written=2)
    assert find_run("asha") == later


def test_a_renamed_directory_is_as_old_as_its_config(folder: Path) -> None:
    make(Path("runs"), "asha", "worst", written=10**18)
    assert find_run("asha").name == "2026-11-22T08-15-01-0000"
    best = make(Path("runs"), "asha", "best", written=2 * 10**18)
    assert find_run("asha") == best


def test_what_never_began_is_no_run(folder: Path) -> None:
    empty = Path("runs/asha/2027-01-01T00-00-00-0000")
    empty.mkdir()
    (empty / "journal.jsonl").touch()
    Path("runs/asha/2028-01-01T00-00-00-0000").mkdir()
    assert find_run("asha").name == "2026-11-22T08-15-01-0000"


def test_names_are_looked_for_where_runs_are(folder: Path) -> None:
    elsewhere = make(folder / "else where", "asha", "2020-01-01T00-00-00-0000")
    assert find_run("asha", folder / "else where") == elsewhere
    with pytest.raises(UsageError, match="else where has no run of that name; known: asha"):
        find_run("digits", folder / "else where")


@pytest.mark.parametrize(
    ("called", "message"),
    [
        ("ahsa", "and runs has no run of that name; did you mean 'asha'"),
        ("net", "it is no directory, and runs has no run of that name; known: asha, digits"),
        ("*", "no run of that name"),
        ("../asha", "^../asha is no run directory: it is no directory$"),
        ("net.yaml", "^net.yaml has no run: runs has none of the name 'net'; known: asha, digits"),
        (
            "runs/asha",
            "^runs/asha is no run directory: it has no .*; .* is runs/asha/.*15-01-0000$",
        ),
        ("digits", "^digits is no run directory: it has no .*; .* is runs/digits/2026.*-ffff$"),
        (".", r"^\. is no run directory: it has no journal.jsonl$"),
    ],
)
def test_what_there_is_not_is_told_with_what_there_is(
    folder: Path, called: str, message: str
) -> None:
    (folder / "digits").mkdir()  # a directory that exists is meant, not the name
    (folder / "net.yaml").write_text("train: x.py:y")
    with pytest.raises(UsageError, match=message) as refused:
        find_run(called)
    assert refused.value.exit_code == 2


def test_without_any_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no run in .*/runs yet$"):
        find_run("latest", tmp_path / "runs")
    with pytest.raises(UsageError, match=r"has no run of that name$"):
        find_run("asha", tmp_path / "runs")


def test_a_run_that_is_called_latest_is_told_from_the_newest(folder: Path) -> None:
    named = make(Path("runs"), "latest", "2026-01-01T00-00-00-0000")
    with pytest.raises(UsageError, match=rf"15-01-0000, or the newest of that name, {named}; give"):
        find_run("latest")
    newest = make(Path("runs"), "latest", "2027-01-01T00-00-00-0000")
    assert find_run("latest") == newest


def test_a_search_is_preferred_where_one_is_wanted(folder: Path) -> None:
    study = make(Path("runs"), "digits", "2027-01-01T00-00-00-0000", kind="study")
    assert find_run("digits") == study
    assert find_run("digits", searches_first=True).name == "2026-11-21T23-59-59-ffff"
    only = make(Path("runs"), "study", "2027-01-01T00-00-00-0000", kind="study")
    assert find_run("study", searches_first=True) == only


def test_every_command_takes_what_a_run_is_called(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("user.py", "def train(x): return x")
    config = project.config(
        name="net",
        search={"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 2},
        cluster={"kind": "inline"},
    )
    monkeypatch.chdir(project.path)
    run_dir = experiment.run(config, runs_dir="all", quiet=True).run_dir
    found = str(run_dir.relative_to(project.path))

    def type_(command: str) -> Result:
        return CliRunner().invoke(app, [*command.split(), "--runs-dir", "all"])

    for called in ("net", "latest", "config.yaml"):
        status = type_(f"status {called} --json")
        assert json.loads(status.stdout)["run_dir"] == str(run_dir)
        assert status.stderr == f"note: {called} is {found}\n"
    assert json.loads(type_("show net t0001 --json").stdout)["trial_id"] == "t0001"
    assert type_("show net --csv").stdout.startswith("trial,")
    page = type_("report net -o page.html")
    assert (page.stdout, page.stderr) == ("page.html\n", f"note: net is {found}\n")
    assert type_("report net --tensorboard").stdout == f"{found}\n"
    resumed = type_("resume net --json")
    assert json.loads(resumed.stdout)["trials"]["finished"] == 2
    assert f"note: net is {found}\n" in resumed.stderr
    assert type_("resume net --quiet").stderr == ""
    refused = project.cli("status", "nett", "--runs-dir", "all")
    assert (refused.returncode, "did you mean 'net'" in refused.stderr) == (2, True)


def test_an_ablation_takes_the_newest_search_of_its_own_config(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("user.py", "def train(x=0.5): return x")
    config = project.config(
        search={"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 2},
        ablation={"components": {"x": {"x": 0.0}}, "seeds": 2},
        cluster={"kind": "simulated"},
    )
    monkeypatch.chdir(project.path)
    search = experiment.run(config, quiet=True)
    for _ in range(2):
        experiment.ablate(config, from_run=config)
        assert f"is {search.run_dir.relative_to(project.path)}\n" in capsys.readouterr().err


def test_lagom_takes_a_name(tmp_path: Path) -> None:
    space = Searchspace(x=("DOUBLE", [0.0, 1.0]))

    def call(num_trials: int, resume: str | None = None) -> experiment.Result:
        return experiment.lagom(
            lambda x: x,
            space,
            num_trials=num_trials,
            name="demo",
            cluster={"kind": "inline"},
            runs_dir=tmp_path,
            resume=resume,
            quiet=True,
        )

    first = call(2)
    more = call(3, "demo")
    assert more.run_dir == first.run_dir
    assert len(more.trials) == 3
