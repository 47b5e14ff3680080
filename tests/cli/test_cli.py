"""The command line as scripts see it: exit codes, stdout, stderr."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from dotrain.store import read_journal
from tests.conftest import Project

GOOD = """
def train(x, reporter):
    for step in range(3):
        reporter.broadcast(x, step)
    return x
"""
SPACE = {"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 4}
INLINE = {"kind": "inline"}


def test_a_run_in_a_pipe_prints_the_result_on_stdout_and_few_lines_on_stderr(
    project: Project,
) -> None:
    project.write("user.py", GOOD)
    project.config(name="demo", search=SPACE, cluster=INLINE)
    done = project.cli("run", "config.yaml")
    assert done.returncode == 0
    assert "finished: 4 trials (4 finished), 12 steps" in done.stdout
    assert "run directory:" in done.stdout
    assert len(done.stderr.splitlines()) <= 10 + 4
    assert "\x1b" not in done.stdout + done.stderr


def test_json_is_one_object_on_stdout_and_quiet_says_nothing_else(project: Project) -> None:
    project.write("user.py", GOOD + "    print('noise')")
    project.config(name="demo", search=SPACE, cluster=INLINE, seed=3)
    done = project.cli("run", "config.yaml", "--json", "--quiet", "--runs-dir", "elsewhere")
    result = json.loads(done.stdout)
    assert done.stderr == ""
    assert list(result)[:10] == [
        *("run_dir", "name", "status", "metric", "direction", "seed"),
        *("best", "trials", "steps", "elapsed_s"),
    ]
    assert (result["name"], result["status"], result["seed"]) == ("demo", "finished", 3)
    assert result["trials"] == {"total": 4, "finished": 4, "stopped": 0, "diverged": 0, "failed": 0}
    assert set(result["best"]) == {"trial_id", "value", "params", "marks", "checkpoint"}
    assert result["steps"] == 12
    assert "/elsewhere/demo/" in result["run_dir"]
    files = {p.name.split(".")[0] for p in (project.path / "elsewhere" / "demo").glob("*/*")}
    assert files == {"config", "journal", "code", "result", "lock", "trials"}


def test_a_config_mistake_exits_2_before_anything_is_made(project: Project) -> None:
    project.write("user.py", GOOD)
    project.write("config.yaml", "train: user.py:trian\nmetric: score\ndirecton: max\n")
    done = project.cli("run", "config.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[0].startswith("config.yaml:1:8: train: ")
    assert "config.yaml:3:1: directon: unknown key; did you mean 'direction'?" in done.stderr
    assert not (project.path / "runs").exists()


@pytest.mark.parametrize("arguments", [["run"], ["walk"], ["run", "a.yaml", "--fast"], ["check"]])
def test_a_usage_mistake_exits_2(project: Project, arguments: list[str]) -> None:
    done = project.cli(*arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr


def test_set_overrides_the_file_and_the_run_keeps_what_it_ran(project: Project) -> None:
    project.write("user.py", GOOD)
    project.config(name="demo", search=SPACE, cluster=INLINE)
    done = project.cli(
        *("run", "config.yaml", "--json", "-s", "search.num_trials=2", "--set", "seed=9")
    )
    result = json.loads(done.stdout)
    assert (result["trials"]["total"], result["seed"]) == (2, 9)
    (kept,) = (project.path / "runs").glob("*/*/config.yaml")
    assert "num_trials: 2" in kept.read_text()


def test_a_run_without_a_usable_result_exits_1_with_the_grouped_reason(project: Project) -> None:
    project.write(
        "user.py",
        """
        def helper(x):
            raise ValueError(f"x is {x}")

        def train(x):
            return helper(x)
        """,
    )
    project.config(search=SPACE, cluster=INLINE)
    done = project.cli("run", "config.yaml")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout.count("failed: ValueError: x is") == 1
    assert "at user.py:3 in helper" in done.stdout
    assert "4 trials, the first: t0000 x=" in done.stdout
    assert "trials/t0000/output.log" in done.stdout


def test_a_broken_plugin_exits_1_with_its_own_line_and_keeps_the_results(
    project: Project,
) -> None:
    project.write("user.py", GOOD)
    project.write(
        "mine.py",
        """
        from dotrain import AbstractOptimizer

        class Mine(AbstractOptimizer):
            def initialize(self):
                self.asked = 0

            def get_suggestion(self, trial=None):
                self.asked += 1
                if self.asked == 3:
                    raise KeyError("lost it")
                return self.create_trial({"x": 0.5})
        """,
    )
    project.config(search={**SPACE, "optimizer": {"name": "mine:Mine"}}, cluster=INLINE)
    done = project.cli("run", "config.yaml", "--json")
    assert done.returncode == 1
    assert "optimizer Mine raised KeyError: 'lost it'" in done.stderr
    assert "mine.py:11" in done.stderr
    assert json.loads(done.stdout)["trials"]["finished"] == 2


def test_check_prints_the_plan_and_runs_nothing(project: Project) -> None:
    project.write("user.py", "raise SystemError('imported')\ndef train(x, budget): pass")
    project.config(
        search={
            **SPACE,
            "num_trials": 27,
            "optimizer": {"name": "asha", "resource_max": 9},
        },
        cluster={"kind": "local", "workers": 3},
    )
    done = project.cli("check", "config.yaml")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for part in (
        *("27 configurations", "at least 39", "rung 0 27 trials to 1 steps"),
        *("rung 2 3 trials to 9 steps", "at least 63 from checkpoints", "local, 3 slots, "),
        "warning: config.yaml:1:11: train: ",
    ):
        assert part in text
    plan = json.loads(project.cli("check", "config.yaml", "--json").stdout)
    assert (plan["steps"], plan["steps_from_scratch"]) == (63, 81)
    assert not (project.path / "runs").exists()


def test_a_run_says_what_is_guessed_and_what_looks_wrong_unless_quiet(project: Project) -> None:
    project.write("user.py", "def train(lr=1):\n    return {'m': lr, 'auc': lr}\n")
    project.write("config.yaml", "train: user.py:train\nmetric: m\ncluster: {kind: inline}\n")
    note = "config.yaml:2:9: direction: taken as max; write it to be sure"
    assert f"note: {note}\n" in project.cli("run", "config.yaml").stderr
    assert f"note: {note}\n" in project.cli("check", "config.yaml").stdout
    assert project.cli("run", "config.yaml", "-q").stderr == ""
    against = project.cli("run", "config.yaml", "-s", "metric=auc", "-s", "direction=min").stderr
    assert "warning: --set direction=min: direction: is min, but the name 'auc' says" in against


def test_what_is_fixed_is_shown_with_the_plan_and_the_results(project: Project) -> None:
    project.write("user.py", "def train(x, lr):\n    return x\n")
    project.config(name="demo", search=SPACE, cluster=INLINE, hparams={"lr": 0.25})
    assert "hparams" in project.cli("check", "config.yaml").stdout
    assert "\nfixed: lr=0.25\n" in project.cli("run", "config.yaml", "-q").stdout
    (run_dir,) = project.path.glob("runs/demo/*")
    assert project.cli("show", str(run_dir)).stdout.startswith("fixed: lr=0.25\n")


def test_an_unwritable_runs_dir_is_said_so(project: Project) -> None:
    project.write("user.py", GOOD)
    project.config(search=SPACE, cluster=INLINE)
    project.write("taken", "a file")
    done = project.cli("run", "config.yaml", "--runs-dir", "taken")
    assert done.returncode == 2
    assert "can't make the run directory" in done.stderr
    assert "--runs-dir" in done.stderr
    assert "Traceback" not in done.stderr


def imported_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a command imports."""
    code = (
        "import sys\nfrom dotrain.cli import app\n"
        f"try: app({list(arguments)!r})\nexcept SystemExit: pass\n"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split("MODULES")[1].split())


def test_help_imports_nothing_heavy() -> None:
    loaded = imported_by("--help")
    assert "typer" in loaded
    assert not loaded & {"tensorflow", "keras", "distributed", "dask", "numpy", "pydantic", "yaml"}


def test_check_imports_neither_dask_nor_tensorflow(project: Project) -> None:
    project.write("user.py", GOOD)
    config = project.config(search=SPACE)
    assert not imported_by("check", str(config)) & {"tensorflow", "keras", "distributed", "numpy"}


@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_a_reader_that_leaves_doesnt_end_the_run(project: Project, stream: str) -> None:
    project.write("user.py", GOOD)
    project.config(search={**SPACE, "num_trials": 30}, cluster=INLINE)
    process = subprocess.Popen(
        [sys.executable, "-m", "dotrain", "run", "config.yaml"],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    closed = process.stderr if stream == "stderr" else process.stdout
    assert closed is not None
    closed.close()
    rest = process.stdout if stream == "stderr" else process.stderr
    assert rest is not None
    text = rest.read().decode()
    rest.close()
    assert process.wait(60) == 0, text
    (result,) = project.path.glob("runs/*/*/result.json")
    assert json.loads(result.read_text())["trials"]["finished"] == 30


#: A terminal that knows no umlaut.
ASCII = {**os.environ, "PYTHONIOENCODING": "ascii"}


def test_csv_is_utf_8_whatever_the_terminal_knows(project: Project) -> None:
    project.write("user.py", "def train(farbe): return {'score': 1, 'gr\u00f6\u00dfe': 2}")
    colours = ["gr\u00fcn", "\u7d05", "a\nb"]
    project.config(
        search={
            "space": {"farbe": {"type": "categorical", "values": colours}},
            "optimizer": {"name": "grid"},
        },
        cluster=INLINE,
    )
    result = json.loads(project.cli("run", "config.yaml", "--json", env=ASCII).stdout)
    command = [sys.executable, "-m", "dotrain", "show", result["run_dir"], "--csv"]
    done = subprocess.run(command, capture_output=True, env=ASCII, check=True, timeout=60)
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode("utf-8"), newline="")))
    assert [row["farbe"] for row in rows] == colours
    assert [row["gr\u00f6\u00dfe"] for row in rows] == ["2.0"] * 3
    for_people = project.cli("show", result["run_dir"], env=ASCII)
    assert for_people.returncode == 0
    assert "gr\\xfcn" in for_people.stdout


@pytest.mark.slow
@pytest.mark.parametrize("form", ["--csv", "--md", "--latex"])
def test_the_table_of_a_study_is_utf_8_whatever_the_terminal_knows(
    project: Project, form: str
) -> None:
    project.write("user.py", "def train(w): return {'score': w}")
    project.config(
        hparams={"w": 1},
        ablation={"components": {"gr\u00f6\u00dfe": {"w": 2}}, "seeds": 2},
        cluster=INLINE,
    )
    command = [sys.executable, "-m", "dotrain", "ablate", "config.yaml", form]
    done = subprocess.run(
        command, cwd=project.path, capture_output=True, env=ASCII, check=True, timeout=100
    )
    assert "gr\u00f6\u00dfe" in done.stdout.decode("utf-8")


@pytest.mark.slow
def test_no_command_ends_at_a_character_that_the_terminal_doesnt_know(project: Project) -> None:
    """The folder's own name has one."""
    project.write("user.py", GOOD)
    project.config(name="demo", search=SPACE, cluster=INLINE)
    (project.path / "gr\u00fcn").mkdir()
    for arguments in (
        ["check", "config.yaml", "--set", "train=user.py:train"],
        ["run", "config.yaml", "--runs-dir", "gr\u00fcn"],
        ["init", "gr\u00fcn/new"],
    ):
        done = project.cli(*arguments, env=ASCII)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    (run_dir,) = (project.path / "gr\u00fcn" / "demo").iterdir()
    for command in (["status"], ["show"], ["show", "--json"], ["report"]):
        done = project.cli(command[0], str(run_dir), *command[1:], env=ASCII)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    printed = subprocess.run(
        [sys.executable, "-m", "dotrain", "report", str(run_dir)],
        capture_output=True,
        env=ASCII,
        check=True,
        timeout=60,
    ).stdout
    assert Path(printed.decode("utf-8").rstrip("\n")).is_file()


def test_dotrain_alone_says_what_it_can_do(project: Project) -> None:
    done = project.cli()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == project.cli("--help").stdout
    assert "Usage:" in done.stdout


def test_the_version_and_what_a_result_may_depend_on(project: Project) -> None:
    import dotrain

    done = project.cli("--version")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"dotrain {dotrain.__version__}\n",
        "",
    )
    for arguments in (["--version", "-v"], ["--verbose", "--version"]):
        first, *lines = project.cli(*arguments).stdout.splitlines()
        assert first == f"dotrain {dotrain.__version__}"
        told = dict(line.split(maxsplit=1) for line in lines)
        assert told["python"] == platform.python_version()
        assert told["platform"] == platform.platform()
        assert told["numpy"] == version("numpy")
        assert told["scikit-learn"] == version("scikit-learn")
        assert told["torch"] == (version("torch") if find_spec("torch") else "not installed")


def test_verbose_without_version_is_refused(project: Project) -> None:
    done = project.cli("-v", "plugins")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--verbose is for --version" in done.stderr


def test_a_journal_names_the_same_versions(project: Project) -> None:
    project.write("user.py", GOOD)
    project.config(search=SPACE, cluster=INLINE)
    result = json.loads(project.cli("run", "config.yaml", "--json").stdout)
    header = next(iter(read_journal(Path(result["run_dir"]) / "journal.jsonl")))
    told = project.cli("--version", "-v").stdout.splitlines()[1:]
    found = dict(line.split(maxsplit=1) for line in told if not line.endswith("not installed"))
    environment = dict(header["environment"])
    assert found == {**environment.pop("packages"), **environment}


def test_asking_for_the_version_imports_nothing_heavy() -> None:
    heavy = {"tensorflow", "keras", "distributed", "dask", "numpy", "yaml"}
    assert not imported_by("--version") & heavy
