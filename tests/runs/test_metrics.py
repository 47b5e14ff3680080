"""A search by several metrics, from its config to its front, wherever it runs and however it is broken off."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dotrain import experiment
from dotrain.core.trial import TrialState
from dotrain.errors import UsageError
from dotrain.report.notebook import to_html
from dotrain.report.page.writing import write_page
from dotrain.report.reading import read_run
from dotrain.report.status import print_status, read_status
from dotrain.report.story import read_trial
from dotrain.report.table import print_table, read_table
from dotrain.report.trial_text import print_trial
from dotrain.store import read_journal, replay
from tests.conftest import Project, make_cluster
from tests.runs.test_resume import broken_off

METRICS = {"accuracy": "max", "latency_ms": "min"}
#: The larger n, the better and the slower; x is best in the middle.
TRAIN = """
    def train(x, n, reporter):
        accuracy = 1 - (x - 0.5) ** 2 - 1 / n
        reporter.broadcast({"accuracy": accuracy / 2, "latency_ms": 2.0 * n}, step=0)
        return {"accuracy": accuracy, "latency_ms": 2.0 * n}
"""
SPACE: dict[str, Any] = {
    "x": {"type": "float", "range": [0.0, 1.0]},
    "n": {"type": "int", "range": [1, 9]},
}
GRID: dict[str, Any] = {
    "space": {
        "x": {"type": "discrete", "values": [0.0, 0.5]},
        "n": {"type": "discrete", "values": [1, 2, 4]},
    },
    "optimizer": {"name": "grid"},
}
INLINE = {"kind": "inline"}


def grid(project: Project, function: str = TRAIN, **sections: Any) -> Any:
    return project.run(
        function, **{"metrics": METRICS, "search": GRID, "cluster": INLINE, **sections}
    )


def points(front: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(one["values"]["accuracy"], one["values"]["latency_ms"]) for one in front]


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_the_front_is_what_no_other_trial_dominates(
    project: Project, request: pytest.FixtureRequest, kind: str
) -> None:
    result = grid(project, cluster=make_cluster(kind, request))
    assert result.best is None
    assert points(result.front) == [(0.75, 8.0), (0.5, 4.0), (0.0, 2.0)]
    assert [one["params"] for one in result.front] == [{"x": 0.5, "n": n} for n in (4, 2, 1)]
    told = result.summary
    assert (told["metric"], told["direction"]) == ("accuracy", "max")
    assert told["metrics"] == METRICS
    assert told["front_size"] == 3
    assert told["best_values"] == {"accuracy": 0.75, "latency_ms": 2.0}
    assert "best" not in told
    assert result.found.headline == (
        "3 of 6 trials on the Pareto front: accuracy 0 to 0.75, latency_ms 2 to 8"
    )
    # What is in the file is the same, and so is what the journal says.
    written = json.loads((result.run_dir / "result.json").read_text())
    again = read_run(result.run_dir).result.to_json()
    assert written == again == json.loads(json.dumps(told))


def test_every_place_shows_the_front_first(
    project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = grid(project)
    run_dir, ids = result.run_dir, [one["trial_id"] for one in result.front]
    rows = read_table(run_dir).rows
    assert [row["trial"] for row in rows[:3]] == ids
    assert [row["front"] for row in rows] == [True] * 3 + [False] * 3
    assert list(rows[0])[:5] == ["trial", "state", "front", "accuracy", "latency_ms"]
    best = {key: read_table(run_dir, sort=key).rows[0] for key in METRICS}
    assert best["accuracy"]["accuracy"] == 0.75
    assert best["latency_ms"]["latency_ms"] == 2.0
    capsys.readouterr()
    print_table(read_table(run_dir))
    _, *lines = capsys.readouterr().out.splitlines()
    assert ["*" in line.split() for line in lines[:6]] == [True] * 3 + [False] * 3
    print_status(read_status(run_dir))
    shown = capsys.readouterr().out
    assert "front: 3 trials, accuracy 0 to 0.75, latency_ms 2 to 8" in shown
    others = [row["trial"] for row in rows[3:]]
    for trial_id, words in ((ids[0], "one of 3 on the Pareto front"), (others[0], "dominated by")):
        print_trial(read_trial(run_dir, trial_id))
        headline = capsys.readouterr().out.splitlines()[0]
        assert "latency_ms" in headline
        assert words in headline
    assert read_trial(run_dir, others[0])["dominated_by"]
    assert result.found.headline in to_html(result.found)
    junit = tmp_path / "junit.xml"
    experiment.resume(run_dir, quiet=True, junit=junit)
    suite = ElementTree.parse(junit).getroot()[0]
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["front"] == ", ".join(ids)
    assert properties["best_values.latency_ms"] == "2.0"
    assert "accuracy 0.75, latency_ms 8.0 after 1 step" in junit.read_text()
    page = write_page(run_dir, tmp_path / "page.html").read_text()
    assert "3 trials on the Pareto front" in page


def test_the_command_line_says_it_too(project: Project) -> None:
    project.write("user.py", TRAIN)
    project.config(metrics=METRICS, search=GRID, cluster=INLINE)
    done = project.cli("run", "config.yaml", "-q")
    assert "3 of 6 trials on the Pareto front: accuracy 0 to 0.75, latency_ms 2 to 8" in done.stdout
    assert project.cli("run", "config.yaml").stderr.count("best accuracy") == 6


def test_one_training_by_several_metrics_is_told_by_all_of_them(project: Project) -> None:
    result = project.run(TRAIN, metrics=METRICS, hparams={"x": 0.5, "n": 2}, cluster=INLINE)
    assert result.found.kind == "run"
    assert result.found.headline == "accuracy 0.5, latency_ms 4 (t0000)"
    assert result.is_usable
    assert "accuracy is 0.5 and latency_ms is 4" in write_page(result.run_dir).read_text()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("return {'accuracy': x, 'latency_ms': nan}", "returned latency_ms nan"),
        ("return {'accuracy': x, 'latency_ms': -inf}", "returned latency_ms -inf"),
        ("return {'accuracy': nan, 'latency_ms': 1}", "returned nan"),
        (
            "reporter.broadcast({'accuracy': x, 'latency_ms': inf}, step=3)",
            "reported latency_ms inf at step 3",
        ),
    ],
)
def test_what_is_no_finite_number_in_any_of_them_has_diverged(
    project: Project, source: str, told: str
) -> None:
    function = f"from math import inf, nan\ndef train(x, n, reporter):\n    {source}\n"
    result = project.run(function, metrics=METRICS, hparams={"x": 1.0, "n": 1}, cluster=INLINE)
    (trial,) = result.trials
    assert (trial.state, trial.divergence) == (TrialState.DIVERGED, told)
    assert not result.is_usable


def test_a_number_that_is_no_metric_may_be_anything_still(project: Project) -> None:
    function = (
        "def train(x, n):\n    return {'accuracy': x, 'latency_ms': n, 'other': float('nan')}\n"
    )
    result = project.run(function, metrics=METRICS, hparams={"x": 1.0, "n": 1}, cluster=INLINE)
    assert points(result.front) == [(1.0, 1.0)]


@pytest.mark.parametrize("value", ["None", "'fast'", "[1, 2]"])
def test_a_trial_that_lacks_one_fails_and_the_rest_goes_on(project: Project, value: str) -> None:
    function = (
        f"def train(x, n):\n    return {{'accuracy': n, 'latency_ms': {value} if n == 2 else -n}}\n"
    )
    result = grid(project, function)
    assert result["trials"]["failed"] == 2
    assert "no latency_ms (metrics) was returned" in result["failures"][0]["message"]
    assert points(result.front) == [(4.0, -4.0)] * 2


def test_repeats_are_all_made_and_their_means_count(project: Project) -> None:
    function = """
        def train(x, n, seed):
            noise = seed % 1000 / 10_000
            return {"accuracy": x - 1 / n + noise, "latency_ms": 2.0 * n}
    """
    result = grid(project, function, search={**GRID, "repeats": 3})
    assert all(len(trial.repeated.values) == 3 for trial in result.trials if trial.repeated)
    assert len({trial.seed for trial in result.trials}) == 1
    assert result["front_size"] == 3
    for one in result.front:
        of_each = [repeat["accuracy"] for repeat in one["repeats"]]
        assert len(set(of_each)) == 3
        assert one["values"]["accuracy"] == pytest.approx(sum(of_each) / 3)


def test_infeasible_trials_are_on_no_front(project: Project) -> None:
    bounds = {"accuracy": {"min": 0.1}, "latency_ms": {"max": 5.0}}
    result = grid(project, search={**GRID, "constraints": bounds})
    assert points(result.front) == [(0.5, 4.0)]
    none = grid(project, search={**GRID, "constraints": {"accuracy": {"min": 2.0}}})
    assert "no result that keeps search.constraints, from 6 trials" in none.found.headline
    assert not none.is_usable


# ---- gates ----


def test_gates_are_about_the_best_of_each_metric_and_the_size_of_the_front(
    project: Project,
) -> None:
    project.write("user.py", TRAIN)
    file = project.config(metrics=METRICS, search=GRID, cluster=INLINE)
    gates = ["accuracy>=0.75", "latency_ms<=2", "front_size==3", "front.0.values.latency_ms<=9"]
    missed = ["accuracy>0.75", "latency_ms<2", "best_values.latency_ms<2"]
    runs_dir = project.path / "runs"
    result = experiment.run(file, require=[*gates, *missed], runs_dir=runs_dir, quiet=True)
    assert [gate["met"] for gate in result.gates] == [True] * 4 + [False] * 3
    assert result.exit_code == 4
    with pytest.raises(UsageError) as refused:
        experiment.run(file, require=["foo>1"], runs_dir=runs_dir, quiet=True)
    for name in ("accuracy", "latency_ms", "front_size", "best_values.accuracy"):
        assert name in str(refused.value)


# ---- broken off, and resumed ----


@pytest.mark.parametrize(
    ("optimizer", "stop"), [("random", {"no_better_for": 4}), ("tpe", {"no_better_for": 60})]
)
def test_from_every_prefix_of_the_journal_it_goes_on_to_the_same_end(
    project: Project, optimizer: str, stop: dict[str, Any]
) -> None:
    options = {"startup_trials": 4} if optimizer == "tpe" else {}
    search = {
        **{"space": SPACE, "optimizer": {"name": optimizer, **options}, "stop": stop},
        "num_trials": 40 if optimizer == "random" else 9,
    }
    whole = project.run(TRAIN, metrics=METRICS, search=search, cluster=INLINE, seed=1)
    expected = facts(whole.run_dir)
    if optimizer == "random":
        assert 4 < len(whole.trials) < 40
        why = whole.summary["ended_early"]
        size = len({trial.values for trial in whole.found.several.front(whole.trials[:-4])})
        assert (
            why
            == f"4 trials have added nothing to the Pareto front of {size} (search.stop.no_better_for)"
        )
    lines = (whole.run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(2, len(lines), max(1, len(lines) // 6)):
        copy = broken_off(whole.run_dir, b"".join(lines[:count]), f"prefix-{count}")
        result = experiment.resume(copy, quiet=True)
        assert facts(copy) == expected, f"after {count} of {len(lines)} records"
        assert points(result.front) == points(whole.front)


def facts(run_dir: Path) -> list[Any]:
    state = replay(read_journal(run_dir / "journal.jsonl"))
    state.book.validate()
    trials = state.book.trials.values()
    return [(t.trial_id, t.params, str(t.state), t.final_metric, t.values) for t in trials]


def test_a_killed_driver_is_resumed_and_finds_the_same_front(project: Project) -> None:
    source = """
        import os, signal

        def train(x, n, trial_dir):
            once = trial_dir.parent / "killed"
            if trial_dir.name == "t0005" and {kills} and not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return {{"accuracy": x + n, "latency_ms": n}}
    """
    search = {"space": SPACE, "optimizer": {"name": "tpe", "startup_trials": 3}, "num_trials": 8}
    given = {"metrics": METRICS, "search": search, "cluster": INLINE}
    unbroken = project.run(source.format(kills=False), **given)
    project.write("user.py", source.format(kills=True))
    command = [sys.executable, "-m", "dotrain", "run", "config.yaml", "-q"]
    done = subprocess.run([*command, "--runs-dir", "killed"], cwd=project.path, check=False)
    assert done.returncode == -9
    (run_dir,) = project.path.glob("killed/*/*")
    resumed = project.cli("resume", str(run_dir), "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert points(json.loads(resumed.stdout)["front"]) == points(unbroken.front)
    assert facts(run_dir) == facts(unbroken.run_dir)


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"latency_ms": "min", "accuracy": "max"}, "metrics: were accuracy, latency_ms, are now"),
        ({"accuracy": "max", "latency_ms": "max"}, "metrics.latency_ms: was 'min', is now 'max'"),
        ({"accuracy": "max", "size": "min"}, "metrics.latency_ms: was 'min', is now absent"),
    ],
)
def test_a_run_goes_on_with_the_metrics_that_it_began_with(
    project: Project, metrics: dict[str, str], told: str
) -> None:
    run_dir = grid(project).run_dir
    with pytest.raises(UsageError) as refused:
        experiment.resume(run_dir, [f"metrics={json.dumps(metrics)}"], quiet=True)
    assert told in str(refused.value)


# ---- checkpoints ----


@pytest.mark.parametrize("keep", ["auto", "best"])
def test_the_checkpoints_of_the_front_are_kept(project: Project, keep: str) -> None:
    function = """
        def train(x, n, checkpoint):
            with checkpoint.save(step=1) as folder:
                (folder / "weights").write_text("1" * 1000)
            return {"accuracy": 1 - (x - 0.5) ** 2 - 1 / n, "latency_ms": 2.0 * n}
    """
    result = grid(project, function, checkpoints={"keep": keep})
    ids = [one["trial_id"] for one in result.front]
    assert all(one["checkpoint"] for one in result.front)
    told = result["checkpoints"]
    assert told["freed_bytes"] > 3000
    assert (told["freed"], told["kept"]) == (3, ids)
    held = result.run_dir.glob("trials/*/checkpoint/*")
    assert {path.parent.parent.name for path in held} == set(ids)
    assert "kept those of the front (3 trials)" in "\n".join(result.found.checkpoints.lines)
    freed = [r for r in read_journal(result.run_dir / "journal.jsonl") if r["type"] == "Freed"]
    assert (len(freed) > 1) == (keep == "best")


# ---- from elsewhere ----


def test_a_call_from_python_has_several_metrics_and_goes_on_with_them(project: Project) -> None:
    script = """
        from dotrain import Searchspace, experiment

        def train(x, n): return {"accuracy": x - 1 / n, "latency_ms": float(n)}

        if __name__ == "__main__":
            space = Searchspace(x=("DOUBLE", [0.0, 1.0]), n=("INTEGER", [1, 8]))
            result = experiment.lagom(
                train, space, "tpe", __NUM__, metrics={"accuracy": "max", "latency_ms": "min"},
                cluster={"kind": "inline"}, quiet=True, __RESUME__
            )
            print(result.best, len(result.front), len(result.trials))
    """
    for number, resume in (("12", ""), ("15", "resume='latest',")):
        project.write("script.py", script.replace("__NUM__", number).replace("__RESUME__", resume))
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=project.path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        best, size, total = done.stdout.split()
        assert (best, total) == ("None", number)
        assert int(size) >= 1
    other = script.replace(
        '{"accuracy": "max", "latency_ms": "min"}', '{"latency_ms": "min", "accuracy": "max"}'
    )
    project.write(
        "script.py", other.replace("__NUM__", "16").replace("__RESUME__", "resume='latest',")
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=project.path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "metrics: were accuracy, latency_ms, are now latency_ms, accuracy" in done.stderr


def test_a_model_begins_with_all_values_of_an_earlier_run(project: Project) -> None:
    earlier = grid(project).run_dir
    search = {"space": SPACE, "optimizer": {"name": "tpe"}, "num_trials": 2}
    project.write("user.py", TRAIN)

    def began_with(source: Any, **warm: Any) -> list[dict[str, Any]]:
        start = {"from": str(source), **warm}
        file = project.config(
            metrics=METRICS, search={**search, "warm_start": start}, cluster=INLINE
        )
        result = experiment.run(file, runs_dir=project.path / "runs", quiet=True)
        (header, *_) = read_journal(result.run_dir / "journal.jsonl")
        earlier_: list[dict[str, Any]] = header["earlier"]
        resumed = experiment.resume(result.run_dir, ["search.num_trials=3"], quiet=True)
        assert len(resumed.trials) == 3
        return earlier_

    found = began_with(earlier)
    values = {(1 - (x - 0.5) ** 2 - 1 / n, 2.0 * n) for x, n in product((0.0, 0.5), (1, 2, 4))}
    assert {tuple(one["values"]) for one in found} == values
    # Of fewer, the first are those that the fewest others dominate.
    first = began_with(earlier, trials=2)[0]["values"]
    assert tuple(first) in {(0.75, 8.0), (0.5, 4.0), (0.0, 2.0)}
    project.write("results.csv", "x,n,accuracy,latency_ms\n0.5,2,0.4,3\n0.5,3,,\n0.2,4,0.5,9\n")
    assert [one["values"] for one in began_with("results.csv")] == [[0.4, 3.0], [0.5, 9.0]]
    project.write("results.csv", "x,n,accuracy\n0.5,2,0.4\n")
    with pytest.raises(UsageError, match="no column latency_ms"):
        began_with("results.csv")
    alone = project.run(
        "def train(x, n): return x", search={**GRID}, metric="accuracy", cluster=INLINE
    )
    project.write("user.py", TRAIN)
    with pytest.raises(UsageError, match="it has no results with accuracy, latency_ms for"):
        began_with(alone.run_dir)


def test_no_trial_of_a_front_is_the_best_for_an_ablation(project: Project) -> None:
    run_dir = grid(project).run_dir
    project.config(hparams={"x": 1.0}, ablation={"components": {"a": {"x": 0.0}}}, cluster=INLINE)
    done = project.cli("ablate", "config.yaml", "--from", str(run_dir))
    assert done.returncode == 2
    assert "of a search by several metrics no trial is the best" in done.stderr


def test_a_metric_by_the_name_of_a_column_has_one_of_its_own(project: Project) -> None:
    function = "def train(x, n):\n    return {'steps': n, 'seconds': -n}\n"
    result = grid(project, function, metrics={"steps": "max", "seconds": "max"})
    for row, trial in zip(result.rows, result.found.front_first, strict=True):
        assert (row["metric.steps"], row["metric.seconds"]) == trial.values
        assert (row["steps"], row["trial"]) == (0, trial.trial_id)
    rows = read_table(result.run_dir, sort="metric.seconds").rows
    assert rows[0]["metric.seconds"] == -1.0


def test_so_has_one_metric_alone(project: Project) -> None:
    result = project.run(
        "def train(x): return 10 * x", metric="steps", hparams={"x": 2}, cluster=INLINE
    )
    (row,) = read_table(result.run_dir, sort="metric.steps").rows
    assert (row["metric.steps"], row["steps"]) == (20.0, 0)


def test_tpe_finds_more_of_a_front_than_draws_do(project: Project) -> None:
    """By the volume beyond a point that all dominate; the same budget, seeds 0 to 2."""
    function = "def train(x, y):\n    return {'a': x * (1 - y), 'b': (1 - x) * (1 - y)}\n"
    space = {name: {"type": "float", "range": [0.0, 1.0]} for name in ("x", "y")}

    def volume(optimizer: str, seed: int) -> float:
        search = {"space": space, "optimizer": {"name": optimizer}, "num_trials": 40}
        metrics = {"a": "max", "b": "max"}
        result = project.run(function, metrics=metrics, search=search, cluster=INLINE, seed=seed)
        whole, below = 0.0, 0.0
        for one in result.front:
            whole += one["values"]["a"] * (one["values"]["b"] - below)
            below = one["values"]["b"]
        return whole

    by_tpe, by_chance = (sum(volume(name, seed) for seed in range(3)) for name in ("tpe", "random"))
    assert by_tpe > by_chance
