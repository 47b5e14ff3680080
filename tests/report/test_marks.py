"""What must be known of a value stands wherever the value is shown."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dotrain import experiment
from dotrain.core.marks import Mark
from dotrain.report.page.writing import write_page
from dotrain.report.reading import read_run
from dotrain.report.result import print_result
from dotrain.report.status import print_status, read_status
from dotrain.report.story import read_trial
from dotrain.report.table import print_table, read_table
from dotrain.report.tensorboard import write_all
from dotrain.report.trial_text import print_trial
from dotrain.results.marks import SIMULATED
from dotrain.store import RunDir
from tests.conftest import Project
from tests.report.test_tensorboard import cells, read_board

ASHA = {
    "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
    "optimizer": {"name": "asha", "resource_max": 4, "reduction_factor": 2},
    "num_trials": 2,
}
PBT = {
    "space": ASHA["space"],
    "optimizer": {
        "name": "pbt",
        "population": 4,
        "interval": 1,
        "resource_max": 4,
        "quantile": 0.5,
    },
}
ONE = {"hparams": {"x": 0.5}}

GOES_ON = """
def train(x, checkpoint, reporter, budget):
    loaded = checkpoint.latest
    for step in range(checkpoint.step, budget):
        with checkpoint.save(step=step + 1):
            pass
        reporter.broadcast(x, step)
    return x
"""
LOADS_NOTHING = GOES_ON.replace("checkpoint.latest", "None")
FAILS_LATER = GOES_ON.replace("return x", "return x if budget < 2 else 1 / 0")
COUNTS_ANEW = GOES_ON.replace("range(checkpoint.step, budget)", "range(budget - checkpoint.step)")
REPORTS_TWICE = """
def train(x, reporter):
    for value in (x, x + 1):
        reporter.broadcast(value, 3)
    return x
"""
TOO_LONG = """
def train(x, reporter, **others):
    for step in range(6):
        reporter.broadcast(x, step)
    return x
"""
TOO_LARGE = """
def train(x):
    return {"score": x, "memory_mb": 100 * x}
"""
BOUNDED = {
    "space": {"x": {"type": "discrete", "values": [1.0, 2.0]}},
    "optimizer": {"name": "grid"},
    "constraints": {"memory_mb": {"max": 150}},
}
REPEATED = {
    "space": {"x": {"type": "discrete", "values": [1.0, 2.0]}},
    "try_first": [{"x": 2.0}],
    "num_trials": 2,
    "repeats": 2,
}
TWO_METRICS = """
def train(x, reporter):
    for cost in (x, x + 1):
        reporter.broadcast({"score": x, "cost": cost}, 3)
    return {"score": x, "cost": cost}
"""
FRONT: dict[str, Any] = {
    "metrics": {"score": "max", "cost": "min"},
    "search": {**BOUNDED, "constraints": {}},
}
RETURNS_ANOTHER = """
def train(x, reporter):
    reporter.broadcast(x)
    return x + 1
"""
RETURNS_NOTHING = """
def train(x, reporter):
    reporter.broadcast(x)
"""


def simulated(project: Project) -> Path:
    project.write("user.py", GOES_ON)
    return project.run(search=ASHA, cluster={"kind": "simulated"}).run_dir


def of(source: str, **sections: Any) -> Callable[[Project], Path]:
    def make(project: Project) -> Path:
        return project.run(source, cluster={"kind": "inline"}, **sections).run_dir

    return make


def other_code(project: Project) -> Path:
    """Interrupted in its second trial, and resumed when the code had been edited."""
    source = """
    import os, signal
    def train(x):
        if x == 2 and {first}:
            os.kill(os.getpid(), signal.SIGINT)
        return x
    """
    search = {
        "space": {"x": {"type": "discrete", "values": [1, 2, 3]}},
        "optimizer": {"name": "grid"},
    }
    project.write("user.py", source.format(first=True))
    project.config(search=search, cluster={"kind": "inline"})
    assert project.cli("run", "config.yaml", "-q").returncode == 130
    (run_dir,) = project.path.glob("runs/*/*")
    project.write("user.py", source.format(first=False))
    project.write("lib.py", "")
    resumed = project.cli("resume", str(run_dir), "--code", "current")
    assert resumed.returncode == 0, resumed.stderr
    assert (
        "note: the code has changed since the run was last driven (user.py: changed)"
        in resumed.stderr
    )
    return run_dir


def guessed_direction(project: Project) -> Path:
    project.write("user.py", "def train(x): return x")
    file = project.config(**ONE, cluster={"kind": "inline"})
    data = json.loads(file.read_text())
    del data["direction"]
    data["metric"] = "outcome"  # a name that tells nothing
    file.write_text(json.dumps(data))
    return experiment.run(file, runs_dir=project.path / "runs", quiet=True).run_dir


CASES: dict[str, tuple[Mark, Callable[[Project], Path]]] = {
    "simulated": (Mark.SIMULATED, simulated),
    "inherited": (Mark.INHERITED, of(GOES_ON, search=PBT)),
    "continued": (Mark.CONTINUED, of(GOES_ON, search=ASHA)),
    "not loaded": (Mark.NOT_LOADED, of(LOADS_NOTHING, search=ASHA)),
    "recounted": (Mark.RECOUNTED, of(COUNTS_ANEW, search=ASHA)),
    "replaced": (Mark.REPLACED, of(REPORTS_TWICE, **ONE)),
    "over budget": (Mark.OVER_BUDGET, of(TOO_LONG, search=ASHA)),
    "other value": (Mark.OTHER_VALUE, of(RETURNS_ANOTHER, **ONE)),
    "promotion failed": (Mark.PROMOTION_FAILED, of(FAILS_LATER, search=ASHA)),
    "other code": (Mark.OTHER_CODE, other_code),
    "infeasible": (Mark.INFEASIBLE, of(TOO_LARGE, search=BOUNDED)),
    "fewer repeats": (Mark.FEWER_REPEATS, of("def train(x): return x", search=REPEATED)),
    "on a front": (Mark.REPLACED, of(TWO_METRICS, **FRONT)),
    "guessed value": (Mark.GUESSED, of(RETURNS_NOTHING, **ONE)),
    "guessed direction": (Mark.GUESSED, guessed_direction),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mark_stands_wherever_the_value_is_shown(
    project: Project, case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mark, make = CASES[case]
    run_dir = make(project)
    run = read_run(run_dir)
    marked = [trial for trial in run.trials if mark in trial.marks]
    assert marked, "no trial bears the mark"
    trial = marked[0]
    what = trial.notes[mark]
    line = SIMULATED if mark is Mark.SIMULATED else f"{mark}: "
    capsys.readouterr()

    def printed(show: Callable[[], None]) -> str:
        show()
        return capsys.readouterr().out

    # Terminal: the result, the table, one trial, the status.
    assert line in printed(lambda: print_result(run.result))
    for text in (
        printed(lambda: print_table(read_table(run_dir))),
        printed(lambda: print_status(read_status(run_dir))),
    ):
        assert line in text
        assert mark is Mark.SIMULATED or what in text
    assert (
        re.search(
            rf"{mark} +{re.escape(what)}", printed(lambda: print_trial(read_trial(run_dir, "0")))
        )
        or trial.number
    )
    # JSON: the result, the rows, one trial, the status.
    result = json.loads(RunDir(run_dir).result.read_text())
    assert result["marks"][mark]["count"] == len(marked)
    assert result["marks"][mark]["what"] == what
    assert result["simulated"] is (mark is Mark.SIMULATED)
    assert result["guessed"] == (["direction max"] if case == "guessed direction" else [])
    for best in result.get("front") or [result["best"]]:
        assert (mark in best["marks"]) == (best["trial_id"] in {t.trial_id for t in marked})
    rows = json.loads(printed(lambda: print_table(read_table(run_dir), "json")))
    assert mark in rows[trial.number]["marks"].split(", ")
    assert read_trial(run_dir, trial.trial_id)["marks"][mark] == what
    assert read_status(run_dir).to_json()["marks"] == result["marks"]
    # CSV
    text = printed(lambda: print_table(read_table(run_dir), "csv"))
    assert mark in list(csv.DictReader(io.StringIO(text)))[trial.number]["marks"].split(", ")
    # JUnit
    junit = tmp_path / "junit.xml"
    experiment.resume(run_dir, quiet=True, junit=junit)
    suite = ElementTree.parse(junit).getroot()[0]
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties[f"marks.{mark}"] == str(len(marked))
    (case_,) = [c for c in suite.iter("testcase") if c.get("name", "").startswith(trial.trial_id)]
    assert f"{mark}: {what}" in (case_.findtext("system-out") or "")
    # Page
    page = html.unescape(write_page(run_dir, tmp_path / "page.html").read_text())
    assert ("Nothing was trained" if mark is Mark.SIMULATED else f"<li>{line}") in page
    assert re.search(rf'id="{trial.trial_id}".*?{mark}', page, re.DOTALL)
    # TensorBoard
    write_all(run)
    assert mark in cells(read_board(run_dir).groups[trial.trial_id])["marks"].split(", ")


def test_a_gate_on_a_simulated_run_is_refused_unless_it_is_allowed(project: Project) -> None:
    project.write("user.py", GOES_ON)
    project.config(search=ASHA, cluster={"kind": "simulated"})
    gate = ("--require", "score>=0")
    refused = project.cli("run", "config.yaml", *gate)
    assert refused.returncode == 2
    assert "the run is simulated, so its values are made up" in refused.stderr
    assert not (project.path / "runs").exists()
    allowed = project.cli("run", "config.yaml", *gate, "--allow-simulated", "-q", "--json")
    assert allowed.returncode in (0, 4)
    assert json.loads(allowed.stdout)["simulated"] is True


def test_a_gate_may_ask_for_marks(project: Project) -> None:
    project.write("user.py", REPORTS_TWICE)
    project.config(**ONE, cluster={"kind": "inline"})
    for gate, code in (
        ("marks.replaced.count==0", 4),
        ("marks.replaced.count==1", 0),
        ("marks.guessed.count==0", 0),
        ("trials.diverged==0", 0),
    ):
        assert project.cli("run", "config.yaml", "-q", "--require", gate).returncode == code, gate


def test_a_first_trial_that_diverges_is_counted_everywhere(
    project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    search = {
        "space": {"x": {"type": "discrete", "values": [1, 2, 3]}},
        "optimizer": {"name": "grid"},
    }
    source = """
    def train(x, reporter):
        reporter.broadcast(x)
        if x == 1:
            reporter.broadcast(float("nan"))
        return float("inf") if x == 2 else x
    """
    result = project.run(source, search=search, cluster={"kind": "inline"})
    counts = {"total": 3, "finished": 1, "stopped": 0, "diverged": 2, "failed": 0}
    assert result["trials"] == counts
    assert (result.best or {})["trial_id"] == "t0002"
    assert result.exit_code == 0
    run_dir = result.run_dir
    for file in ("journal.jsonl", "result.json"):
        assert not re.search(r"\b(NaN|Infinity)\b", (run_dir / file).read_text())
    print_table(read_table(run_dir))
    print_status(read_status(run_dir))
    print_trial(read_trial(run_dir, "0"))
    text = capsys.readouterr().out
    assert text.count("diverged") >= 4
    assert "diverged: reported nan at step 1" in text
    junit = tmp_path / "junit.xml"
    experiment.resume(run_dir, quiet=True, junit=junit)
    suite = ElementTree.parse(junit).getroot()[0]
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "0")
    assert "diverged: returned inf" in junit.read_text()
    page = write_page(run_dir, tmp_path / "page.html").read_text()
    assert "2 diverged" in page


def test_where_all_diverge_the_run_ends_without_a_result(project: Project) -> None:
    search = {
        "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
        "num_trials": 50,
    }
    project.write("user.py", "def train(x):\n    return float('nan')")
    project.config(search=search, cluster={"kind": "inline"}, limits={"max_failures": 4})
    run = project.cli("run", "config.yaml", "--json")
    assert run.returncode == 1
    assert json.loads(run.stdout)["trials"]["diverged"] == 4
    assert "the first 4 trials all diverged (limits.max_failures)" in run.stderr


def test_an_ablation_tells_which_runs_diverged(project: Project, tmp_path: Path) -> None:
    project.write(
        "user.py",
        "def train(seed, augment):\n    return 1.0 + seed % 7 if augment else float('nan')",
    )
    project.config(
        hparams={"augment": True},
        ablation={"components": {"augmentation": {"augment": False}}, "seeds": 2},
        cluster={"kind": "inline"},
    )
    run = project.cli("ablate", "config.yaml", "-q")
    assert "diverged, so without a pair: component:augmentation with seeds" in run.stdout
    assert "4 trials (2 finished, 2 diverged)" in run.stdout
    (run_dir,) = project.path.glob("runs/*/*")
    again = project.cli("ablate", "config.yaml", "-q", "--csv")
    rows = list(csv.DictReader(io.StringIO(again.stdout)))
    assert [row["state"] for row in rows] == ["finished"] * 2 + ["diverged"] * 2
    write_page(run_dir, tmp_path / "page.html")


def test_value_best_takes_the_best_report_and_is_no_guess(project: Project) -> None:
    source = """
    def train(x, reporter):
        for value in (3.0, 1.0, 2.0):
            reporter.broadcast(value)
    """
    for direction, value, expected, marks in (
        ("max", "best", 3.0, []),
        ("min", "best", 1.0, []),
        ("max", "last", 2.0, []),
        ("max", None, 2.0, ["guessed"]),
    ):
        more = {} if value is None else {"value": value}
        result = project.run(source, **ONE, direction=direction, cluster={"kind": "inline"}, **more)
        assert (result.best or {})["value"] == expected
        assert (result.best or {})["marks"] == marks


def test_a_config_in_a_run_directory_means_the_code_that_ran_there(project: Project) -> None:
    project.write("user.py", "from lib import VALUE\n\ndef train(x): return VALUE")
    project.write("lib.py", "VALUE = 0.9")
    project.config(**ONE, cluster={"kind": "local", "workers": 1})
    assert project.cli("run", "config.yaml", "-q").returncode == 0
    (first,) = project.path.glob("runs/*/*")
    project.write("lib.py", "VALUE = 0.5")
    said = project.cli("check", str(first / "config.yaml"))
    assert "note: the config lies in a run directory" in said.stdout
    again = project.cli("run", str(first / "config.yaml"), "--json")
    assert again.returncode == 0, again.stderr
    assert "the code that ran there is run, not today's" in again.stderr
    assert json.loads(again.stdout)["best"]["value"] == 0.9
    (second,) = set(project.path.glob("runs/*/*")) - {first}
    assert (second / "code.zip").read_bytes() == (first / "code.zip").read_bytes()
    # The new run goes on with the same code, whatever lies about today.
    cut_off_finish(second)
    resumed = project.cli("resume", str(second), "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["marks"] == {}
    (first / "code.zip").unlink()
    refused = project.cli("run", str(first / "config.yaml"))
    assert refused.returncode == 2
    assert "has kept no code (code.zip)" in refused.stderr


def cut_off_finish(run_dir: Path, count: int = 3) -> None:
    """Cut a journal off, by default behind its first launch."""
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run_dir / "journal.jsonl").write_bytes(b"".join(lines[:count]))


def test_both_archives_are_kept_when_the_code_changes(project: Project) -> None:
    run_dir = other_code(project)
    (later,) = run_dir.glob("code-*.zip")
    assert later.read_bytes() != (run_dir / "code.zip").read_bytes()
    states = {t.trial_id: t.marks for t in read_run(run_dir).trials}
    assert states == {"t0000": [], "t0001": [Mark.OTHER_CODE], "t0002": [Mark.OTHER_CODE]}


def test_the_first_code_once_more_is_told_as_that(project: Project) -> None:
    run_dir = other_code(project)
    source = (project.path / "user.py").read_text()
    first = source.replace("x == 2 and False", "x == 2 and True")
    assert first != source
    project.write("user.py", first)
    # Nothing is left to train: whoever judges the run may have whatever code.
    judged = project.cli("resume", str(run_dir))
    assert (judged.returncode, "the code" in judged.stderr) == (0, False)
    cut_off_finish(run_dir, -4)  # behind the last launch
    refused = project.cli("resume", str(run_dir))
    assert (refused.returncode, "  user.py: changed" in refused.stderr) == (2, True)
    project.write("user.py", first.replace("return x", "return x  # again"))
    note = "note: the code has changed since the run was last driven (user.py: changed)"
    assert note in project.cli("resume", str(run_dir), "--code", "current").stderr
    project.write("user.py", first)
    cut_off_finish(run_dir, -3)
    assert "note: the code is again what the run began with (user.py: changed since it" in (
        project.cli("resume", str(run_dir), "--code", "current").stderr
    )


def test_a_simulated_run_goes_on_as_no_real_one_nor_the_other_way_round(project: Project) -> None:
    project.write("user.py", GOES_ON)
    for kind, other in (("simulated", "inline"), ("inline", "simulated")):
        project.config(name=kind, search=ASHA, cluster={"kind": kind})
        run_dir = project.run(name=kind, search=ASHA, cluster={"kind": kind}).run_dir
        gate = ("--require", "score>=0", "--allow-simulated")
        refused = project.cli("resume", str(run_dir), "-s", f"cluster.kind={other}", *gate)
        assert refused.returncode == 2
        assert "made-up values and trained ones don't go together" in refused.stderr


def test_files_of_one_name_are_refused_before_one_takes_the_others_place(project: Project) -> None:
    for folder, text in (("a", "def f(x, model_gen): return 1"), ("b", "def make(x): return 2")):
        project.write(f"{folder}/m.py", text)
    project.write("conf/c.yaml", "")
    config = {
        "train": "../a/m.py:f",
        "model": "../b/m.py:make",
        "metric": "score",
        "hparams": {"x": 1},
        "cluster": {"kind": "inline"},
    }
    (project.path / "conf" / "c.yaml").write_text(json.dumps(config))
    refused = project.cli("check", "conf/c.yaml")
    assert refused.returncode == 2
    assert "would both be m.py in the run's archive of the code; rename one" in refused.stderr


def test_a_damaged_archive_is_one_line(project: Project) -> None:
    run_dir = project.run(REPORTS_TWICE, **ONE, cluster={"kind": "inline"}).run_dir
    (run_dir / "code.zip").write_text("garbage")
    refused = project.cli("run", str(run_dir / "config.yaml"))
    assert refused.returncode == 2
    assert "code.zip can't be unpacked" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("base", [0, 1])
def test_the_report_of_the_checkpoints_own_step_is_kept_whatever_steps_count_from(
    project: Project, base: int
) -> None:
    result = project.run(
        f"""
        def train(x, checkpoint, reporter, budget):
            for step in range(checkpoint.step, budget):
                reporter.broadcast(x + step, step + {base})
                with checkpoint.save(step=step + 1):
                    pass
        """,
        search={**ASHA, "num_trials": 4},
        cluster={"kind": "inline"},
        value="best",
        direction="max",
    )
    for trial in result.trials:
        assert trial.step_history == [step + base for step in range(int(trial.budget or 0))]
        assert trial.final_metric == pytest.approx(trial.params["x"] + trial.budget - 1)


@pytest.mark.parametrize("value", [".nan", ".inf", "[1.0, -.inf]"])
def test_hyperparameters_are_finite(project: Project, value: str) -> None:
    project.write("user.py", REPORTS_TWICE)
    project.config(cluster={"kind": "inline"})
    refused = project.cli("check", "config.yaml", "-s", f"hparams.x={value}")
    assert refused.returncode == 2
    assert "hparams: x: expected finite numbers" in refused.stderr
