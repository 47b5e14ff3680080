"""A project made by `dotrain init`, by somebody who has nothing yet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from dotrain.config import load_config
from dotrain.config.load import Mode
from dotrain.core.observer import Observer
from dotrain.errors import UsageError
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.scaffold import project as scaffold
from dotrain.scaffold.project import (
    SCHEMA,
    create_project,
    describe_project,
    suitable,
    templates,
)
from tests.conftest import ROOT, Project

TEMPLATES = templates()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("template", TEMPLATES)
class TestEveryTemplate:
    def test_it_is_written_in_full(self, tmp_path: Path, template: str) -> None:
        written = create_project(tmp_path / "new" / "project", template)
        assert all(file.is_file() for file in written)
        assert {file.name for file in written} >= {"train.py", "once.yaml", "search.yaml", SCHEMA}
        assert {file.name for file in written} == names_in(tmp_path / "new" / "project")

    def test_every_config_is_sound_to_us_and_to_an_editor(
        self, tmp_path: Path, template: str
    ) -> None:
        create_project(tmp_path, template)
        schema = Draft202012Validator(json.loads((tmp_path / SCHEMA).read_text()))
        configs = sorted(tmp_path.glob("*.yaml"))
        assert configs
        for config in configs:
            text = config.read_text()
            assert text.startswith(f"# yaml-language-server: $schema={SCHEMA}\n")
            schema.validate(yaml.safe_load(text))
            load_config(config)

    def test_it_keeps_our_own_style(self, tmp_path: Path, template: str) -> None:
        create_project(tmp_path, template)
        rules = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(tmp_path)]
        for command in (["check"], ["format", "--check"]):
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, *rules],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stdout

    def test_its_function_is_read_in_a_minute(self, tmp_path: Path, template: str) -> None:
        create_project(tmp_path, template)
        assert 30 <= len((tmp_path / "train.py").read_text().splitlines()) <= 60

    def test_every_command_it_tells_names_a_file_that_it_wrote(
        self, tmp_path: Path, template: str
    ) -> None:
        written = {file.name for file in create_project(tmp_path, template)}
        for command in TEMPLATES[template].commands:
            program, verb, config = command.split()
            assert (program, verb in ("run", "ablate"), config in written) == (
                "dotrain",
                True,
                True,
            )


@pytest.mark.slow
def test_plain_python_runs_in_every_way_that_it_tells(project: Project) -> None:
    told = project.cli("init", "a first try", "--template", "plain")
    assert (told.returncode, told.stderr) == (0, "")
    assert "cd 'a first try'" in told.stdout
    others = told.stdout.partition("or start from another --template:\n")[2].splitlines()
    assert [line.split()[0] for line in others] == [name for name in TEMPLATES if name != "plain"]
    commands = TEMPLATES["plain"].commands
    assert all(f"  {command} " in told.stdout for command in commands)
    inside = Project(project.path / "a first try")
    results = {}
    for command in commands:
        _, *arguments = command.split()
        done = inside.cli(*arguments, "--json", "-s", "cluster={kind: inline}")
        assert done.returncode == 0, done.stderr
        results[command] = json.loads(done.stdout)
    once, search, ablation = results.values()
    assert once["trials"]["finished"] == 1
    assert search["trials"]["total"] == 20
    assert search["trials"]["stopped"] > 0
    assert search["best"]["value"] > once["best"]["value"] > 0.8
    parts = {part["name"]: part["verdict"] for part in ablation["components"]}
    assert parts["component:squares"] == "helps"


def last_of(part: Any) -> Any:
    return part[-1:] if isinstance(part, list) else dict([*part.items()][-1:])


# Its second command is the first with less of everything. All in this process, which imports each framework once; as the
# files say, on workers, it is trained below. Frameworks warn about themselves.
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("rehearsed_here")
@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "plain"])
def test_it_runs_in_a_search_and_in_an_ablation(tmp_path: Path, template: str) -> None:
    for package in TEMPLATES[template].packages:
        pytest.importorskip(package)
    create_project(tmp_path, template)

    def shortened(name: str, mode: Mode, *overrides: str) -> Result:
        loaded = load_config(tmp_path / name, [*overrides, "cluster={kind: inline}"], mode=mode)
        return run(Experiment.of(loaded), tmp_path / "runs", Observer())

    optimizer = yaml.safe_load((tmp_path / "search.yaml").read_text())["search"]["optimizer"]
    top = f"search.optimizer.resource_max={2 * optimizer['resource_min']}"
    fewer = ["search.num_trials=2", "search.optimizer.reduction_factor=2", top]
    search = shortened("search.yaml", "run", *fewer)
    assert search.status == "finished"
    assert search.summary["trials"]["failed"] == 0, search.summary
    assert search.summary["promotions"]["from_checkpoint"] >= 1
    assert "guessed" not in search.summary["marks"]
    if any("ablate" in command for command in TEMPLATES[template].commands):
        ablation = yaml.safe_load((tmp_path / "search.yaml").read_text())["ablation"]
        parts = {name: part for name, part in ablation.items() if name != "seeds"}
        less = [f"ablation.{name}={json.dumps(last_of(part))}" for name, part in parts.items()]
        result = shortened("search.yaml", "ablate", "ablation.seeds=1", *less)
        assert result.summary["trials"]["failed"] == 0, result.summary
        assert result.status == "finished"


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [name for name, one in TEMPLATES.items() if "dotrain run distributed.yaml" in one.commands],
)
def test_it_is_trained_by_two_workers(project: Project, template: str) -> None:
    for package in TEMPLATES[template].packages:
        pytest.importorskip(package)
    create_project(project.path, template)
    done = project.cli("run", "distributed.yaml", "--json")
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout)["best"]["value"] > 0.8


def test_without_a_template_what_is_installed_decides(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project.cli("init").returncode == 0
    assert (project.path / "train.py").read_text() == scaffold._texts_of(suitable())["train.py"]
    ranks = [one.rank for one in TEMPLATES.values()]
    assert ranks == sorted(set(ranks))
    for name, one in TEMPLATES.items():
        monkeypatch.setattr(
            scaffold, "find_spec", lambda module, own=one: module in own.packages or None
        )
        assert suitable() == name or TEMPLATES[suitable()].packages.keys() < one.packages.keys()
    monkeypatch.setattr(scaffold, "find_spec", lambda module: None)
    assert suitable() == "plain"


@pytest.mark.parametrize("name", ["train.py", "search.yaml", SCHEMA])
def test_no_file_is_overwritten_and_none_is_written_beside_it(project: Project, name: str) -> None:
    project.write(name, "mine")
    done = project.cli("init")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{name} is there already; nothing was written\n"
    assert names_in(project.path) == {name}
    assert (project.path / name).read_text() == "mine"


def test_a_link_to_nowhere_is_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "train.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(UsageError, match="is there already"):
        create_project(tmp_path, "plain")
    assert names_in(tmp_path) == {"train.py"}


def test_a_second_time_names_all_that_is_there(tmp_path: Path) -> None:
    create_project(tmp_path, "plain")
    with pytest.raises(UsageError, match=r"once\.yaml, .*schema\.json are there already"):
        create_project(tmp_path, "plain")


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    create_project(tmp_path, "plain")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["file", "file/inside", "x" * 300])
def test_a_place_that_can_be_no_folder_is_said_so(project: Project, place: str) -> None:
    project.write("file", "mine")
    done = project.cli("init", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(place)
    assert "Traceback" not in done.stderr
    assert names_in(project.path) == {"file"}


def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = scaffold._texts_of("plain")
    monkeypatch.setattr(scaffold, "_texts_of", lambda _: {**texts, "x" * 300: "x"})
    with pytest.raises(UsageError, match="can't be written"):
        create_project(tmp_path, "plain")
    assert names_in(tmp_path) == set()


def test_an_unknown_template_is_a_mistake(project: Project) -> None:
    done = project.cli("init", "--template", "kears")
    assert done.returncode == 2
    assert done.stderr == "there is no template 'kears'; did you mean 'keras'?\n"
    assert names_in(project.path) == set()


def test_what_must_be_installed_first_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_spec(name: str) -> Any:
        return None if name == "sklearn" else object()

    monkeypatch.setattr(scaffold, "find_spec", find_spec)
    assert "  pip install scikit-learn\n" in describe_project(tmp_path, "keras", [])
    assert "pip" not in describe_project(tmp_path, "plain", [])
