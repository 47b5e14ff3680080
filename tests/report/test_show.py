"""`show` and `status`: the table of trials, one trial in full, and mistakes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from dotrain.core.arm import ArmRun
from dotrain.core.events import (
    Failed,
    Finished,
    Lost,
    Reported,
    Resumed,
    SlotsChanged,
    Started,
    Stopped,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Finish, Instruction, Kill, Launch, Stop
from dotrain.core.usage import Usage
from dotrain.report.page.trials import table_of
from dotrain.report.reading import read_run
from dotrain.report.story import read_trial
from dotrain.report.table import TrialTable, read_table, table_lines
from dotrain.report.trial_text import trial_lines
from dotrain.store import Journal
from tests.cli.test_cli import imported_by
from tests.conftest import Project, warm

HEAD = {
    "name": "demo",
    "metric": "score",
    "direction": "max",
    "seed": 0,
    "num_trials": 5,
    "limits": {},
    "config": {},
}
EVIL = ":a: [red]\x1b[31m"


def launch(trial: int, attempt: int, reason: str, budget: float, known: int = -1) -> Launch:
    params = {"lr": 0.1 * trial, "text": EVIL}
    return Launch(reason, f"t{trial:04d}", attempt, params, budget, 70 + trial, 1, known)


#: A search with everything that can happen to a trial, as (time, event or instruction).
RECORDS: list[tuple[float, Any]] = [
    (0.0, SlotsChanged(2)),
    (0.0, launch(0, 1, "random draw", 1.0)),
    (0.0, launch(1, 1, "random draw", 1.0)),
    (1.0, Started("t0000", 1, "worker-0")),
    (1.0, Started("t0001", 1, "worker-1")),
    (2.0, Reported("t0000", 1, 0, 0.5, {"loss": 1.5})),
    (2.5, Finished("t0000", 1, 0.5)),
    (2.5, launch(2, 1, "random draw", 1.0)),
    (
        3.0,
        Failed(
            "t0001", 1, Failure(FailureKind.EXCEPTION, f"ValueError: {EVIL}", "u.py:3 in f", "f(x)")
        ),
    ),
    (3.0, launch(0, 2, "promoted to 4 steps: rank 1 of 3 at 1 steps", 4.0, 0)),
    (4.0, Started("t0000", 2, "worker-1", 1)),
    (5.0, Reported("t0000", 2, 1, 0.6, {"loss": 1.2})),
    (6.0, Lost("t0000", 2, "its worker process was killed by SIGKILL")),
    (6.0, launch(0, 3, "try 2 after: its worker process was killed by SIGKILL", 4.0, 1)),
    (7.0, Started("t0000", 3, "worker-1", 2)),
    (8.0, Reported("t0000", 3, 2, 0.7)),
    (9.0, Reported("t0000", 3, 3, 0.9)),
    (9.5, Finished("t0000", 3, 0.9)),
    (10.0, Started("t0002", 1, "worker-0")),
    (11.0, Reported("t0002", 1, 0, 0.1)),
    (11.0, Stop("stopped t0002 at step 0: its mean 0.1 is below the median", "t0002", 1)),
    (12.0, Stopped("t0002", 1)),
    (12.0, launch(3, 1, "random draw", 1.0)),
    (12.5, Started("t0003", 1, "worker-0")),
    (13.0, Kill("interrupted by Ctrl-C", "t0003", 1)),
    (13.0, Finish("interrupted by Ctrl-C", "interrupted")),
    (13.0, Resumed({"trial_timeout_s": None, "max_time_s": None, "retries": 2})),
    (13.0, launch(3, 2, "try 1 after: interrupted by Ctrl-C", 1.0)),
]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run whose driver is gone."""
    return write_run(tmp_path / "a run", RECORDS)


def write_run(path: Path, records: list[tuple[float, Any]], **head: Any) -> Path:
    path.mkdir()
    journal = Journal(path / "journal.jsonl")
    journal.append_header({**HEAD, **head})
    for time_s, record in records:
        if isinstance(record, Instruction):
            journal.append_instruction(record, time_s)
        else:
            journal.append_event(record, time_s)
    journal.close()
    return path


# ---- one trial ----


def test_the_story_of_a_trial_has_every_decision_with_its_time_and_reason(run_dir: Path) -> None:
    found = read_trial(run_dir, "t0000")
    assert [(line["time_s"], line["what"]) for line in found["story"]] == [
        (0.0, "attempt 1 launched, to 1 step: random draw"),
        (1.0, "started on worker-0"),
        (2.0, "reported step 0: 0.5"),
        (2.5, "finished: 0.5"),
        (3.0, "attempt 2 launched, to 4 steps: promoted to 4 steps: rank 1 of 3 at 1 steps"),
        (4.0, "started on worker-1, from its checkpoint of 1 step"),
        (5.0, "reported step 1: 0.6"),
        (6.0, "lost: its worker process was killed by SIGKILL; waits to be launched again"),
        (
            6.0,
            "attempt 3 launched, to 4 steps: try 2 after: its worker process was killed by SIGKILL",
        ),
        (7.0, "started on worker-1, from its checkpoint of 2 steps"),
        (9.0, "reported steps 2 to 3: 0.7 to 0.9"),
        (9.5, "finished: 0.9"),
    ]
    assert [a["outcome"] for a in found["attempts"]] == ["finished", "lost", "finished"]
    assert [a["from_step"] for a in found["attempts"]] == [0, 1, 2]
    assert [a["steps"] for a in found["attempts"]] == [[0], [1], [2, 3]]
    assert found["reports"] == [
        {"step": 0, "value": 0.5, "loss": 1.5},
        {"step": 1, "value": 0.6, "loss": 1.2},
        {"step": 2, "value": 0.7},
        {"step": 3, "value": 0.9},
    ]
    assert (found["value"], found["rank"], found["ranked"], found["seed"]) == (0.9, 1, 2, 70)
    assert (found["log"], found["checkpoint"]) == (None, None)


def test_a_stop_a_failure_and_an_interrupt_are_told(run_dir: Path) -> None:
    stopped = "\n".join(trial_lines(read_trial(run_dir, "2")))
    assert "stopped t0002 at step 0: its mean 0.1 is below the median" in stopped
    assert "ended early: 0.1" in stopped
    failed = read_trial(run_dir, "t1")
    assert failed["error"]["location"] == "u.py:3 in f"
    assert "    f(x)" in trial_lines(failed)
    open_ = "\n".join(trial_lines(read_trial(run_dir, "0003")))
    assert "t0003: was launched when the run ended" in open_
    assert "lost: interrupted by Ctrl-C; waits to be launched again" in open_
    assert "attempt 2 launched, to 1 step: try 1 after: interrupted by Ctrl-C" in open_


def test_log_and_checkpoint_are_named_if_they_are_there(run_dir: Path) -> None:
    folder = run_dir / "trials" / "t0000"
    (folder / "checkpoint" / "step-4").mkdir(parents=True)
    (folder / "output.log").write_text("hello")
    found = read_trial(run_dir, "t0000")
    assert found["log"] == str(folder / "output.log")
    assert found["checkpoint"] == str(folder / "checkpoint" / "step-4")


@pytest.mark.parametrize(
    "what",
    [
        {"params": {}, "arm": ArmRun("layer:d", 1)},
        {"params": {"arm": "layer:d", "seed": 1}},  # as a journal had it before it had `arm`
    ],
)
def test_of_a_study_the_arm_and_the_seed_are_named(tmp_path: Path, what: dict[str, Any]) -> None:
    arms = [
        {"name": "baseline", "kind": "baseline", "left_out": []},
        {"name": "layer:d", "kind": "layer", "left_out": ["layer:d"]},
    ]
    study = {"arms": arms, "seeds": [11, 12], "adds": False, "params": {}, "changes": {}}
    study["changes"] = {"layer:d": ["without layer d"]}
    launched = Launch(
        "seed 1, without layer:d", "t0000", 1, budget=None, seed=12, slots=1, known_step=-1, **what
    )
    records = [
        (0.0, launched),
        (1.0, Started("t0000", 1, "w")),
        (2.0, Finished("t0000", 1, 0.5)),
    ]
    found = read_trial(write_run(tmp_path / "study", records, study=study), "t0000")
    assert (found["arm"], found["seed_index"], found["seed"]) == ("layer:d", 1, 12)
    assert found["params"] == {"arm": "layer:d", "seed": 1}
    lines = trial_lines(found)
    assert "arm         layer:d" in lines
    assert "changes     without layer d" in lines
    assert "seed        number 1 of the study: 12" in lines
    assert not any(line.startswith("parameters") for line in lines)


def test_of_many_reports_the_first_and_the_last_are_shown(tmp_path: Path) -> None:
    reports = [(2.0 + step, Reported("t0000", 1, step, step / 100)) for step in range(100)]
    records = [(0.0, launch(0, 1, "x", 100.0)), (1.0, Started("t0000", 1)), *reports]
    found = read_trial(write_run(tmp_path / "run", records), "0")
    assert len(found["reports"]) == 100
    lines = trial_lines(found)
    assert len(lines) < 50
    assert "  ... 80 more (--json has them)" in lines


def test_what_is_printed_of_a_trial_is_safe_for_a_terminal(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dotrain.report.trial_text import print_trial

    print_trial(read_trial(run_dir, "t0001"))
    text = capsys.readouterr().out
    assert "ValueError: :a: [red]\\x1b[31m" in text
    assert "\x1b" not in text


# ---- the table ----


def column(table: TrialTable, name: str) -> list[Any]:
    return [row[name] for row in table.rows]


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({}, "0123"),
        ({"reverse": True}, "3210"),
        ({"sort": "score"}, "0213"),
        ({"sort": "-score"}, "2013"),
        ({"sort": "score", "reverse": True}, "2013"),
        ({"sort": "-score", "reverse": True}, "0213"),
        ({"sort": "lr"}, "0123"),
        ({"sort": "-lr"}, "3210"),
        ({"sort": "score", "top": 1}, "0"),
        ({"state": "failed"}, "1"),
        ({"state": "stopped", "sort": "lr"}, "2"),
        ({"state": "waiting"}, ""),
    ],
)
def test_rows_are_sorted_filtered_and_cut(
    run_dir: Path, options: dict[str, Any], order: str
) -> None:
    trials = column(read_table(run_dir, **options), "trial")
    assert trials == [f"t000{digit}" for digit in order]


@pytest.mark.parametrize("width", [None, 10, 40, 60, 80, 200])
def test_the_table_fits_and_says_what_it_leaves_out(run_dir: Path, width: int | None) -> None:
    table = read_table(run_dir)
    lines = table_lines(table, width)
    shown = lines[0].split()
    assert shown[:1] == ["trial"]
    assert "score" in shown
    assert [line.split()[0] for line in lines[1:5]] == column(table, "trial")
    assert all(line.isprintable() for line in lines)
    left_out = {name for name in table.rows[0] if name not in shown and name != "loss"}
    if width is None or width == 200:
        assert not left_out
        # The note of a mark comes last.
        assert [line.split(":")[0] for line in lines[5:]] == ["continued"]
    else:
        assert all(cell_len(line) <= max(width, 12) for line in lines[:5])
        assert lines[5].startswith("no room for: ")
        assert all(name in lines[5] for name in left_out)


def on_a_terminal(command: list[str], columns: int) -> list[str]:
    """Return the lines that a command prints on a terminal."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=follower, env=environment)
    os.close(follower)
    text = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # how Linux tells that nobody has the other end any more
            break
        if not part:
            break
        text += part
    os.close(leader)
    assert process.wait(60) == 0
    return text.decode().splitlines()


def test_on_a_terminal_the_table_is_as_wide_as_that(run_dir: Path) -> None:
    lines = on_a_terminal([sys.executable, "-m", "dotrain", "show", str(run_dir)], 40)
    assert all(len(line) <= 40 for line in lines[:5])
    assert lines[5].startswith("no room for: ")


# ---- the commands ----


def dotrain(*arguments: object) -> subprocess.CompletedProcess[str]:
    return warm().run([*map(str, arguments)], Path.cwd(), timeout_s=60)


def test_show_prints_the_table_and_one_trial(run_dir: Path) -> None:
    table = dotrain("show", run_dir, "--sort", "-score", "--state", "finished")
    assert table.stdout.splitlines()[1].startswith("t0000  finished")
    found = json.loads(dotrain("show", run_dir, "0", "--json").stdout)
    assert found == json.loads(json.dumps(read_trial(run_dir, "t0000")))
    text = dotrain("show", run_dir, "t0000").stdout
    assert text.startswith("t0000: finished, score 0.9, rank 1 of 2\n")
    assert ":a: [red]\\u001b[31m" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["t0009"], "there is no trial 't0009'; the run has t0000 to t0003"),
        (["9"], "there is no trial '9'; the run has t0000 to t0003"),
        (["best"], "there is no trial 'best'; the run has t0000 to t0003"),
        (["to001"], "there is no trial 'to001'; did you mean 't0001'?"),
        (["--sort", "scor"], "there is no column 'scor'; did you mean 'score'?"),
        (["--sort", "-scor"], "there is no column 'scor'; did you mean 'score'?"),
        (["--state", "finishd"], "there is no state 'finishd'; did you mean 'finished'?"),
        (["t0001", "--top", "3"], "one trial is shown in full"),
        (["--csv", "--json"], "can't be had together"),
    ],
)
def test_a_mistake_is_one_line(run_dir: Path, arguments: list[str], says: str) -> None:
    done = dotrain("show", run_dir, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def broken(path: Path) -> Iterator[tuple[Path, int, str]]:
    """Yield directories that are no whole runs, with the exit code and what is said."""
    yield path / "nowhere", 2, "is no directory"
    (path / "empty").mkdir()
    yield path / "empty", 2, "has no journal.jsonl"
    began = path / "never began"
    began.mkdir()
    (began / "journal.jsonl").write_text("")
    yield began, 2, "the run never began"
    (torn := path / "torn header").mkdir()
    (torn / "journal.jsonl").write_text('{"crc":"0000')
    yield torn, 2, "the run never began"
    damaged = write_run(path / "damaged", RECORDS)
    lines = (damaged / "journal.jsonl").read_text().splitlines(keepends=True)
    lines[4] = lines[4].replace("worker-0", "worker-9")
    (damaged / "journal.jsonl").write_text("".join(lines))
    yield damaged, 1, "journal.jsonl:5: damaged record (the checksum is wrong)"


@pytest.mark.parametrize("command", [["show"], ["status"], ["show", "t0000"]])
def test_what_is_no_whole_run_is_said_so_in_a_line(tmp_path: Path, command: list[str]) -> None:
    for path, code, says in broken(tmp_path):
        done = dotrain(command[0], path, *command[1:])
        assert (done.returncode, done.stdout) == (code, ""), done
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_torn_last_record_is_passed_over(run_dir: Path) -> None:
    journal = run_dir / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    assert read_run(run_dir).trials[3].attempt == 1
    for command in (["show"], ["status"], ["show", "t0003"]):
        assert dotrain(command[0], run_dir, *command[1:]).returncode == 0


@pytest.mark.parametrize(
    ("records", "told"),
    [
        (6, "best: running 0.5 (t0000, step 0)"),
        (7, "best: score 0.5 (t0000)"),
        (12, "best: score 0.5 (t0000); running 0.6 (t0000, step 1)"),
        (20, "best: score 0.9 (t0000)"),
    ],
)
def test_status_tells_of_a_running_trial_that_is_ahead(
    tmp_path: Path, records: int, told: str
) -> None:
    run_dir = write_run(tmp_path / "run", RECORDS[:records])
    lines = dotrain("status", run_dir).stdout.splitlines()
    assert [line for line in lines if line.startswith("best")] == [told]


def test_a_run_without_a_finished_trial_is_shown(tmp_path: Path) -> None:
    none = write_run(tmp_path / "none", [])
    assert dotrain("show", none).stdout == "no trial to show (the run is crashed)\n"
    assert dotrain("show", none, "--json").stdout == "[]\n"
    assert dotrain("show", none, "--csv").stdout == ""
    assert "the run has launched none" in dotrain("show", none, "0").stderr
    started = write_run(tmp_path / "started", RECORDS[:5])
    assert "t0000  running" in dotrain("show", started).stdout
    assert "was running: t0001" in dotrain("status", started).stdout
    assert dotrain("show", started, "--sort", "score").returncode == 0


def test_a_reader_that_leaves_gets_no_traceback(tmp_path: Path) -> None:
    records = [(0.0, launch(n, 1, "random draw", 1.0)) for n in range(3000)]
    run_dir = write_run(tmp_path / "run", records)
    for arguments in (["show"], ["show", "--csv"], ["show", "--json"], ["status"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "dotrain", arguments[0], str(run_dir), *arguments[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(60) == 0


def test_show_and_status_load_nothing_that_takes_long(run_dir: Path) -> None:
    heavy = {
        *("tensorflow", "keras", "torch", "numpy", "scipy", "pandas", "matplotlib", "statsmodels"),
        *("distributed", "dask", "tensorboard", "jinja2"),
    }
    for arguments in (["show"], ["show", "t0000"], ["status"]):
        assert not imported_by(arguments[0], str(run_dir), *arguments[1:]) & heavy


def test_status_of_a_study_counts_seeds(project: Project) -> None:
    project.write("user.py", "def train(deep=True): return 1.0 if deep else 0.5")
    project.config(
        name="study",
        ablation={"components": {"deep": {"deep": False}}, "seeds": 2},
        cluster={"kind": "inline"},
    )
    done = project.cli("ablate", "config.yaml", "--json", "--quiet")
    assert done.stderr == ""
    run_dir = json.loads(done.stdout)["run_dir"]
    text = project.cli("status", run_dir).stdout
    assert "seeds done: baseline 2, component:deep 2" in text
    assert "best" not in text


# ---- what attempts have used ----

USED = [
    (0.0, SlotsChanged(1)),
    (0.0, launch(0, 1, "random draw", 1.0)),
    (1.0, Started("t0000", 1, "worker-0")),
    (2.0, Reported("t0000", 1, 0, 0.5)),
    (3.0, Lost("t0000", 1, "it stood still", usage=Usage(0.5, 1_204_000_000))),
    (3.0, launch(0, 2, "try 2 after: it stood still", 1.0)),
    (4.0, Started("t0000", 2, "worker-0")),
    (5.0, Finished("t0000", 2, 0.7, usage=Usage(7.75))),
    (5.0, launch(1, 1, "random draw", 1.0)),
]


def test_what_attempts_have_used_is_told_where_it_is_known(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "used", USED)
    found = read_trial(run_dir, "t0000")
    assert found["usage"] == {"cpu_s": 8.25, "peak_bytes": 1_204_000_000}
    assert [attempt["usage"] for attempt in found["attempts"]] == [
        {"cpu_s": 0.5, "peak_bytes": 1_204_000_000},
        {"cpu_s": 7.75},
    ]
    lines = trial_lines(found)
    assert "used        1,204 MB, 8.2 s of CPU" in lines
    told = [line["what"] for line in found["story"]]
    assert "lost: it stood still; waits to be launched again (1,204 MB, 0.5 s of CPU)" in told
    assert "finished: 0.7 (7.8 s of CPU)" in told
    assert read_trial(run_dir, "t0001")["usage"] is None


def test_what_trials_have_used_is_a_column_where_it_is_known_of_any(
    tmp_path: Path, run_dir: Path
) -> None:
    rows = read_table(write_run(tmp_path / "used", USED)).rows
    assert [(row["cpu_s"], row["peak_mb"]) for row in rows] == [(8.25, 1204.0), (None, None)]
    columns = list(rows[0])
    assert columns[columns.index("seconds") + 1 :][:2] == ["cpu_s", "peak_mb"]
    assert not {"cpu_s", "peak_mb"} & {*read_table(run_dir).rows[0]}
    shown = table_of(read_run(tmp_path / "used").trials, {"score": "max"}).columns
    assert {"cpu_s", "peak_mb"} <= {*shown}
