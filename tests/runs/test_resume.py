"""Nothing is lost: a run goes on from any prefix of its journal to the same end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dotrain import Searchspace, experiment
from dotrain.config.errors import ConfigError
from dotrain.core.trial import TrialState
from dotrain.errors import JournalError, PolicyError, UsageError
from dotrain.report.status import read_status
from dotrain.store import Lock, read_journal, replay
from tests.conftest import Project

SPACE = {"x": {"type": "float", "range": [0.0, 1.0]}, "n": {"type": "int", "range": [1, 9]}}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "random": {"optimizer": {"name": "random"}, "num_trials": 8},
    "grid": {"optimizer": {"name": "grid", "points": 3}},
    "asha": {"optimizer": {"name": "asha", "resource_max": 9}, "num_trials": 9},
    "tpe": {"optimizer": {"name": "tpe", "startup_trials": 3}, "num_trials": 8},
    "asha+tpe": {
        "optimizer": {"name": "asha", "resource_max": 9, "sampler": "tpe"},
        "num_trials": 16,
    },
}


def simulated(workers: int = 1, **options: Any) -> dict[str, Any]:
    return {"kind": "simulated", "workers": workers, "options": {"steps": 4, **options}}


def whole_run(project: Project, **sections: Any) -> Path:
    project.write("user.py", "def train(x, n, budget=4): raise SystemError('not simulated')")
    result = project.run(**sections)
    assert result.status == "finished"
    return result.run_dir


def facts(run_dir: Path) -> list[Any]:
    """What must be the same however often a run was broken off."""
    state = replay(read_journal(run_dir / "journal.jsonl"))
    state.book.validate()
    assert state.status == "finished"
    return [
        (t.trial_id, t.varied, t.seed, str(t.state), t.results, t.final_metric, t.step_history)
        for t in state.book.trials.values()
    ]


def broken_off(run_dir: Path, journal: bytes, name: str) -> Path:
    copy = run_dir.parent / name
    copy.mkdir()
    shutil.copy(run_dir / "config.yaml", copy)
    (copy / "journal.jsonl").write_bytes(journal)
    return copy


@pytest.mark.parametrize("early_stop", ["none", "median"])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_from_every_prefix_of_the_journal_it_goes_on_to_the_same_end(
    project: Project, optimizer: str, early_stop: str
) -> None:
    run_dir = whole_run(
        project,
        search={
            "space": SPACE,
            **OPTIMIZERS[optimizer],
            "early_stop": {"name": early_stop, **({} if early_stop == "none" else MEDIAN)},
        },
        cluster=simulated(),
        seed=3,
    )
    expected = facts(run_dir)
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    # All prefixes of a short journal, every third of a long one and the last ones.
    step = max(1, len(lines) // 60)
    for count in sorted({*range(1, len(lines), step), *range(len(lines) - 5, len(lines))}):
        copy = broken_off(run_dir, b"".join(lines[:count]), f"prefix-{count}")
        assert experiment.resume(copy, quiet=True).status == "finished"
        assert facts(copy) == expected, f"after {count} of {len(lines)} records"


MEDIAN = {"min_trials": 2}

TWICE = """
def train(x, n, reporter, budget=4):
    for step in range(4):
        if n > 6 and step == 1:
            reporter.broadcast(float("nan"))
        reporter.broadcast(-x, step)
        reporter.broadcast(x + step, step)
"""


def test_replaced_reports_and_divergence_go_on_to_the_same_end(project: Project) -> None:
    project.write("user.py", TWICE)
    run_dir = project.run(
        search={
            "space": SPACE,
            **OPTIMIZERS["random"],
            "early_stop": {"name": "median", **MEDIAN},
        },
        cluster={"kind": "inline"},
    ).run_dir
    expected = facts(run_dir)
    counts = replay(read_journal(run_dir / "journal.jsonl")).book.counts
    assert counts[TrialState.DIVERGED], "none diverges, so nothing is shown"
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines), max(1, len(lines) // 25)):
        copy = broken_off(run_dir, b"".join(lines[:count]), f"prefix-{count}")
        assert experiment.resume(copy, quiet=True).status == "finished"
        assert facts(copy) == expected, f"after {count} of {len(lines)} records"


@pytest.mark.slow
def test_from_a_record_torn_at_every_byte_it_goes_on_to_the_same_end(project: Project) -> None:
    run_dir = whole_run(project, search={"space": SPACE, **OPTIMIZERS["asha"]}, cluster=simulated())
    expected = facts(run_dir)
    whole = (run_dir / "journal.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    start, end = ends[len(ends) // 2], ends[len(ends) // 2 + 1]
    for cut in range(start, end):
        copy = broken_off(run_dir, whole[:cut], f"torn-{cut}")
        experiment.resume(copy, quiet=True)
        assert facts(copy) == expected


def test_it_goes_on_after_being_broken_off_again_and_again(project: Project) -> None:
    run_dir = whole_run(project, search={"space": SPACE, **OPTIMIZERS["asha"]}, cluster=simulated())
    expected = facts(run_dir)
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    copy = broken_off(run_dir, b"".join(lines[:4]), "again")
    for _ in range(100):
        experiment.resume(copy, quiet=True)
        lines = (copy / "journal.jsonl").read_bytes().splitlines(keepends=True)
        last = max(i for i, line in enumerate(lines) if b'"Resumed"' in line)
        if len(lines) - last < 12:
            break
        (copy / "journal.jsonl").write_bytes(b"".join(lines[: last + 10]))
    else:
        pytest.fail("it gets nowhere")
    assert facts(copy) == expected


@pytest.mark.parametrize("workers", [1, 7])
def test_equal_simulations_write_equal_journals_byte_by_byte(
    project: Project, workers: int
) -> None:
    faults = {
        **{"failing": 0.1, "losing": 0.1, "stragglers": 0.1, "duplicates": 0.2, "late": 0.5},
        **{"diverging": 0.1, "repeating": 0.2},
    }
    sections: dict[str, Any] = {
        "name": "sim",
        "search": {"space": SPACE, **OPTIMIZERS["asha"], "num_trials": 60},
        "cluster": simulated(workers, **faults),
        "limits": {"max_failures": 1000},
    }
    first, second = whole_run(project, **sections), whole_run(project, **sections)
    assert first != second
    assert (first / "journal.jsonl").read_bytes() == (second / "journal.jsonl").read_bytes()
    other = whole_run(project, **{**sections, "seed": 1})
    assert (other / "journal.jsonl").read_bytes() != (first / "journal.jsonl").read_bytes()


def test_a_run_that_ended_by_its_limits_goes_on_when_they_are_raised(project: Project) -> None:
    project.write("user.py", "def train(x, n): pass")
    result = project.run(
        search={"space": SPACE, **OPTIMIZERS["random"]},
        cluster=simulated(),
        limits={"max_time_s": 10.0},
    )
    assert result.status == "time_limit"
    again = experiment.resume(result.run_dir, quiet=True)
    assert (again.status, again.summary["steps"]) == ("time_limit", result.summary["steps"])
    done = experiment.resume(result.run_dir, ["limits.max_time_s=1.0e+9"], quiet=True)
    assert done.status == "finished"
    assert done.summary["trials"]["finished"] == 8


def broken_and_mended(project: Project) -> Path:
    """A run that its circuit breaker ended; the bug has been mended since."""
    project.write("user.py", "def train(x, n): raise ValueError")
    sections = {"search": {"space": SPACE, **OPTIMIZERS["random"]}, "cluster": {"kind": "inline"}}
    result = project.run(**sections, limits={"max_failures": 2})
    assert (result.status, result.summary["trials"]["total"]) == ("failed", 2)
    project.write("user.py", "def train(x, n): return x")
    return result.run_dir


def test_a_circuit_breaker_can_be_reset(project: Project) -> None:
    done = experiment.resume(broken_and_mended(project), code="current", quiet=True)
    assert done.summary["trials"] == {
        "total": 8,
        "finished": 6,
        "stopped": 0,
        "diverged": 0,
        "failed": 2,
    }


def test_other_code_is_refused_unless_it_is_asked_for(project: Project) -> None:
    run_dir = broken_and_mended(project)
    before = {file: file.read_bytes() for file in run_dir.iterdir() if file.is_file()}
    with pytest.raises(UsageError) as refused:
        experiment.resume(run_dir, quiet=True)
    assert str(refused.value).splitlines() == [
        f"{run_dir}: the code isn't what ran last, as found from {project.path}:",
        "  user.py: changed",
        "say which is to run, for trials of both would stand in one table:",
        "  --code current     what is there now (a bug was mended); trials from here on are marked "
        "'other code'",
        "  --code archived    what ran last (code.zip)",
    ]
    assert {file: file.read_bytes() for file in run_dir.iterdir() if file.is_file()} == before


def test_a_finished_run_stays_as_it_is_and_takes_more_trials(project: Project) -> None:
    run_dir = whole_run(project, search={"space": SPACE, **OPTIMIZERS["asha"]}, cluster=simulated())
    before = facts(run_dir)
    experiment.resume(run_dir, quiet=True)
    assert facts(run_dir) == before
    more = experiment.resume(run_dir, ["search.num_trials=27"], quiet=True)
    assert more.summary["trials"]["total"] == 27
    known = {f[0]: f for f in facts(run_dir)}
    for fact in before:
        assert known[fact[0]][1:3] == fact[1:3]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("direction=min", "direction: was 'max', is now 'min'"),
        ("metric=loss", "metric: was 'score', is now 'loss'"),
        ("seed=5", "seed: was 0, is now 5"),
        (
            "search.space.z={type: int, range: [0, 1]}",
            r"search\.space\.z: it was none of hparams, .* can't be told",
        ),
        ("search.num_trials=3", r"search\.num_trials: was 9, is now 3; it may only grow"),
        ("search.optimizer.resource_max=27", r"resource_max: was 9, is now 27"),
        ("hparams.lr=0.1", r"hparams: was absent, is now \{'lr': 0\.1\}"),
    ],
)
def test_other_settings_are_refused_with_the_difference(
    project: Project, override: str, message: str
) -> None:
    run_dir = whole_run(project, search={"space": SPACE, **OPTIMIZERS["asha"]}, cluster=simulated())
    before = (run_dir / "journal.jsonl").read_bytes()
    with pytest.raises(UsageError, match=message):
        experiment.resume(run_dir, [override], quiet=True)
    assert (run_dir / "journal.jsonl").read_bytes() == before


def test_what_a_killed_driver_has_left_half_done_goes_when_the_run_goes_on(
    project: Project,
) -> None:
    whole = whole_run(project, cluster=simulated(), search={"space": SPACE, **OPTIMIZERS["random"]})
    journal = (whole / "journal.jsonl").read_bytes()
    run_dir = broken_off(whole, b"".join(journal.splitlines(True)[:6]), "killed")
    before = sorted(os.listdir(run_dir))
    (run_dir / "arriving" / "t0000").mkdir(parents=True)
    (run_dir / "arriving" / "t0000" / "weights").write_text("half")
    (run_dir / ".place-abc").mkdir()
    for name in (".seen-12ab", ".result.json.12ab", ".code-12ab.zip.34cd", ".config.yaml.56ef"):
        (run_dir / name).touch()
    for name in ("notes.txt", ".gitignore", ".report.html.12ab"):  # not ours, or another command's
        (run_dir / name).touch()
    experiment.resume(run_dir, quiet=True)
    after = {*before, "lock", "result.json", "notes.txt", ".gitignore", ".report.html.12ab"}
    assert set(os.listdir(run_dir)) == after


def test_a_policy_that_decides_otherwise_is_refused(project: Project) -> None:
    mine = """
        from dotrain.optimizers.random import RandomSearch

        class Moody(RandomSearch):
            def get_suggestion(self, trial=None):
                suggestion = super().get_suggestion(trial)
                if suggestion is not None:
                    suggestion.params["n"] = {value}
                return suggestion
    """
    project.write("moody.py", mine.format(value=1))
    run_dir = whole_run(
        project,
        search={"space": SPACE, "num_trials": 3, "optimizer": {"name": "moody:Moody"}},
        cluster=simulated(),
    )
    sys.modules.pop("moody")
    project.write("moody.py", mine.format(value=2))
    os.utime(project.path / "moody.py", (1, 1))
    with pytest.raises(
        PolicyError,
        match=r"can't resume: at record 2 of the journal .*: params was {.*'n': 1}, is now {.*'n': 2}",
    ):
        experiment.resume(run_dir, quiet=True)


def test_a_second_driver_is_refused_by_name_and_a_dead_ones_lock_is_recovered(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = whole_run(project, search={"space": SPACE, **OPTIMIZERS["grid"]}, cluster=simulated())
    code = (
        "import sys; from pathlib import Path; from dotrain.store import Lock\n"
        "with Lock(Path(sys.argv[1])):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(run_dir / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(UsageError, match=f"is being driven by process {holder.pid} on "):
        experiment.resume(run_dir, quiet=True)
    assert str(holder.pid) in read_status(run_dir).to_json()["driver"]
    holder.kill()
    holder.communicate()
    assert read_status(run_dir).to_json()["driver"] is None
    experiment.resume(run_dir)
    assert f"the driver before, process {holder.pid} on " in capsys.readouterr().err


def test_what_is_no_run_directory_is_said_so(project: Project) -> None:
    with pytest.raises(UsageError, match="is no run directory: it has no journal"):
        experiment.resume(project.path, quiet=True)
    with pytest.raises(UsageError, match="is no run directory: it is no directory"):
        experiment.resume(project.path / "no", quiet=True)
    project.write("run/journal.jsonl", "")
    with pytest.raises(UsageError, match="never began"):
        experiment.resume(project.path / "run", quiet=True)


def test_a_damaged_journal_is_not_gone_on_with(project: Project) -> None:
    run_dir = whole_run(project, search={"space": SPACE, **OPTIMIZERS["grid"]}, cluster=simulated())
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run_dir / "journal.jsonl").write_bytes(b"".join([*lines[:5], *lines[6:]]))
    with pytest.raises(JournalError, match="damaged record"):
        experiment.resume(run_dir, quiet=True)


READING = """
import sys

opened = []

def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith(("journal.jsonl", "lock")):
        opened.append(f"{str(arguments[0]).split('/')[-1]} {arguments[1]}")

from dotrain import experiment
sys.addaudithook(note)
experiment.resume(sys.argv[1], quiet=True)
print(*opened, sep="\\n")
"""


def test_the_journal_is_read_once_and_under_the_lock(project: Project) -> None:
    """Whoever wants to know it: the config's loading, the policies, the journal, TensorBoard."""
    run_dir = whole_run(
        project,
        search={"space": SPACE, **OPTIMIZERS["asha"]},
        cluster=simulated(),
        tensorboard=True,
    )
    expected = facts(run_dir)
    whole = (run_dir / "journal.jsonl").read_bytes()
    (run_dir / "journal.jsonl").write_bytes(whole[: len(whole) // 2])  # torn
    done = subprocess.run(
        [sys.executable, "-c", READING, str(run_dir)],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=True,
    )
    opened = done.stdout.split("\n")[:-1]
    assert [how for how in opened if how.startswith("journal")] == [
        "journal.jsonl r",
        "journal.jsonl a",
    ]
    assert opened[0].startswith("lock")
    assert facts(run_dir) == expected
    assert list(run_dir.glob("trials/*/events.*"))


def test_a_refusal_lets_go_of_the_lock(project: Project) -> None:
    run_dir = whole_run(project, search={"space": SPACE, **OPTIMIZERS["grid"]}, cluster=simulated())
    journal = (run_dir / "journal.jsonl").read_bytes()

    def refused(error: type[Exception], *overrides: str) -> None:
        with pytest.raises(error):
            experiment.resume(run_dir, overrides, quiet=True)
        with Lock(run_dir / "lock") as lock:
            assert lock.recovered_from is None

    refused(UsageError, "seed=1")  # other settings
    refused(ConfigError, "seed=x")  # no config
    (run_dir / "journal.jsonl").write_bytes(journal[:30] + journal[31:])
    refused(JournalError)
    (run_dir / "journal.jsonl").write_bytes(b"")
    refused(UsageError)  # never began


def test_lagom_goes_on_by_the_same_call(project: Project) -> None:
    space = Searchspace(x=("DOUBLE", [0.0, 1.0]))

    def call(**options: Any) -> experiment.Result:
        return experiment.lagom(
            lambda x: x,
            space,
            num_trials=6,
            cluster={"kind": "inline"},
            runs_dir=project.path,
            quiet=True,
            **options,
        )

    whole = call()
    lines = (whole.run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    copy = broken_off_lagom(whole.run_dir, b"".join(lines[:9]))
    again = call(resume=copy)
    assert [t.final_metric for t in again.trials] == [t.final_metric for t in whole.trials]
    with pytest.raises(UsageError, match="seed: was 0, is now 1"):
        call(resume=copy, seed=1)
    with pytest.raises(UsageError, match="was not started from a config"):
        experiment.resume(copy, quiet=True)


def broken_off_lagom(run_dir: Path, journal: bytes) -> Path:
    return broken_off(run_dir, journal, "broken-off")


@pytest.mark.slow
def test_a_killed_driver_on_dask_is_resumed_from_the_command_line(project: Project) -> None:
    project.write(
        "user.py",
        """
        import os, signal

        def train(x, n, reporter, checkpoint, budget, trial_dir):
            for step in range(checkpoint.step, budget):
                with checkpoint.save(step=step + 1):
                    pass
                reporter.broadcast(x, step)
                once = trial_dir.parent / "killed"
                if step == 2 and not once.exists():
                    once.touch()
                    os.kill(int((trial_dir.parent.parent / "lock").read_text()
                                .split('"pid": ')[1].split(",")[0]), signal.SIGKILL)
            return x
        """,
    )
    project.config(
        search={"space": SPACE, **OPTIMIZERS["asha"]}, cluster={"kind": "local", "workers": 2}
    )
    killed = project.cli("run", "config.yaml", "--quiet")
    assert killed.returncode == -9
    (run_dir,) = (project.path / "runs").glob("*/*")
    status = json.loads(project.cli("status", str(run_dir), "--json").stdout)
    assert status["status"] == "crashed"
    assert status["running"]
    assert status["resume"] == f"dotrain resume '{run_dir}'".replace("it's", "it'\"'\"'s")
    done = project.cli("resume", str(run_dir), "--json")
    assert done.returncode == 0, done.stderr
    assert "has died; going on" in done.stderr
    result = json.loads(done.stdout)
    assert result["trials"] == {"total": 9, "finished": 9, "stopped": 0, "diverged": 0, "failed": 0}
    state = replay(read_journal(run_dir / "journal.jsonl"))
    for trial in state.book.trials.values():
        assert trial.step_history == list(range(int(trial.budget or 0)))
    assert json.loads(project.cli("status", str(run_dir), "--json").stdout)["status"] == "finished"
