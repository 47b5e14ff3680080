"""The Makefile and the CI script of the docs, run as they stand, in a copy of their folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from dotrain.results.gates import Gate
from tests.conftest import ROOT, Project

# Make and shell scripts, run as they stand: many commands, each a process.
pytestmark = pytest.mark.slow

FAST = ("-s", "cluster.kind=inline", "-s", "cluster.workers=1", "-s", "search.num_trials=4")
MET = ("--require", "val_accuracy>=0.6")
MISSED = ("--require", "val_accuracy>=1.1")
#: What the file of an interrupted search begins with: Ctrl-C in the third trial, once.
INTERRUPT = """
import os, pathlib, signal
def interrupt():
    seen = pathlib.Path("seen")
    seen.write_text((seen.read_text() if seen.exists() else "") + ".")
    if seen.read_text() == "...":
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture
def examples(project: Project) -> Path:
    """A copy of the examples, in a folder whose name holds quotes and blanks."""
    folder = project.path / "examples"
    shutil.copytree(ROOT / "docs" / "examples", folder)
    return folder


def call(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def result_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_make_searches_reports_and_judges_and_then_rests(examples: Path) -> None:
    options = f"OPTIONS={' '.join(FAST)}"
    done = call(examples, "make", options, "GATES=--require 'val_accuracy>=0.6'")
    assert done.returncode == 0, done.stderr
    build = examples / "build"
    result = result_in(build)
    assert result["trials"]["finished"] + result["trials"]["stopped"] == 4
    assert "<html" in (build / "report.html").read_text()
    assert JUnitXml.fromfile(str(build / "junit.xml")).tests == 4 + 1
    # Judged anew; nothing is trained.
    missed = call(examples, "make", "check", "GATES=--require 'val_accuracy>=1.1'")
    assert missed.returncode == 2
    assert "val_accuracy>=1.1: got " in missed.stderr
    assert "Error 4" in missed.stderr
    assert call(examples, "make", "search", "report").returncode == 0
    assert len(list(build.glob("runs/*/*"))) == 1
    # Until the code has changed.
    later = (build / "result.json").stat().st_mtime + 10
    os.utime(examples / "train.py", (later, later))
    assert call(examples, "make", "search", options).returncode == 0
    assert len(list(build.glob("runs/*/*"))) == 2


def test_make_goes_on_with_what_was_interrupted(examples: Path) -> None:
    interrupted_once(examples)
    broken = call(examples, "make", "search", f"OPTIONS={' '.join(FAST)}")
    assert broken.returncode == 2
    assert "Error 130" in broken.stderr
    assert not (examples / "build" / "result.json").exists()
    done = call(examples, "make", "resume")
    assert done.returncode == 0, done.stderr
    assert result_in(examples / "build")["status"] == "finished"


def interrupted_once(examples: Path) -> None:
    train = (examples / "train.py").read_text()
    call_it = "    inputs, labels = load_data()\n"
    assert call_it in train
    text = train.replace(call_it, f"    interrupt()\n{call_it}")
    (examples / "train.py").write_text(text + INTERRUPT)


def ci(examples: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return call(examples, "./ci.sh", "search.yaml", *options, OUT="kept things")


def test_the_ci_script_keeps_what_people_look_at(examples: Path) -> None:
    done = ci(examples, *FAST, *MET)
    assert done.returncode == 0, done.stderr
    assert "ci.sh: done; every gate is met" in done.stderr
    kept = examples / "kept things"
    assert {path.name for path in kept.iterdir()} == {
        *("junit.xml", "report.html", "result.json", "runs")
    }
    assert result_in(kept)["gates"][0]["met"] is True
    # One that has ended is left alone: the next job begins its own.
    again = ci(examples, *FAST, *MISSED)
    assert again.returncode == 4
    assert "val_accuracy>=1.1: got " in again.stderr
    assert "ci.sh: a gate was missed" in again.stderr
    assert len(list(kept.glob("runs/*/*"))) == 2
    assert JUnitXml.fromfile(str(kept / "junit.xml")).failures == 1


def test_the_ci_script_goes_on_where_a_job_was_interrupted(examples: Path) -> None:
    interrupted_once(examples)
    stopped = ci(examples, *FAST, *MET)
    assert stopped.returncode == 130, stopped.stderr
    assert "ci.sh: interrupted: the next job goes on with it" in stopped.stderr
    kept = examples / "kept things"
    assert (kept / "report.html").exists()
    assert JUnitXml.fromfile(str(kept / "junit.xml")).errors == 1
    done = ci(examples, *MET)
    assert done.returncode == 0, done.stderr
    assert result_in(kept)["trials"]["total"] == 4
    assert len(list(kept.glob("runs/*/*"))) == 1
    # The two that had ended were not trained again.
    assert len((examples / "seen").read_text()) == 3 + 2


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("-s", "search.num_trails=3"), 2, "a mistake in the call or the config"),
        (("--require", "val_acuracy>=0.9"), 2, "a mistake in the call or the config"),
        ((*FAST, "-s", "train=broken.py:train"), 1, "no usable result"),
    ],
)
def test_the_ci_script_passes_other_exit_codes_on(
    examples: Path, options: tuple[str, ...], code: int, told: str
) -> None:
    (examples / "broken.py").write_text("def train(lr, momentum): raise ValueError('broken')")
    done = ci(examples, *options)
    assert done.returncode == code, done.stderr
    assert f"ci.sh: {told}" in done.stderr
    assert JUnitXml.fromfile(str(examples / "kept things" / "junit.xml")).tests > 0
    assert (examples / "kept things" / "report.html").exists() is (code == 1)


def test_the_ci_script_without_a_config_says_how_it_is_called(examples: Path) -> None:
    done = call(examples, "./ci.sh")
    assert done.returncode != 0
    assert "usage: ci.sh CONFIG [OPTION...]" in done.stderr


def test_every_gate_of_the_page_is_one_and_its_script_runs(examples: Path) -> None:
    page = (ROOT / "docs" / "automation.md").read_text()
    gates = re.findall(r"--require '([^']*)'", page)
    assert len({Gate.parse(gate).path for gate in gates}) > 5
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (examples / "script.py").write_text(script)
    done = call(examples, sys.executable, "script.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Result finished: val_accuracy ")
    assert "'gate': 'val_accuracy>=0.85'" in done.stdout
