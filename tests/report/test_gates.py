"""Gates: what they may say, what is refused before anything runs, and how they come out."""

from __future__ import annotations

import json
import math
import operator
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain import experiment
from dotrain.errors import UsageError
from dotrain.results.gates import OPERATORS, Gate, judge, parse_gates
from dotrain.results.paths import Paths
from tests.conftest import Project

GOOD = """
def train(x, kind, reporter, rate=0.0):
    value = x if kind == "a" else -1.0
    for step in range(3):
        reporter.broadcast(value, step)
    return value
"""
SEARCH = {
    "space": {
        "x": {"type": "float", "range": [0.0, 1.0]},
        "kind": {"type": "categorical", "values": ["a", "b"]},
        "rate": {"type": "float", "range": [0.0, 1.0], "when": {"kind": "b"}},
    },
    "num_trials": 4,
}
INLINE = {"kind": "inline"}
STUDY_USER = """
COLUMNS = {"a": 1.0, "b.p": 2.0}

def load_data(features):
    return features.select(COLUMNS)

def train(data_gen, seed, reporter):
    value = sum(COLUMNS[c] for c in data_gen.load())
    reporter.broadcast(value)
    return value + seed % 7 / 100
"""


def one(text: str, result: dict[str, Any]) -> dict[str, Any]:
    tree = {"metric": "score", "best": {"value": 0.5}, **result}
    (outcome,) = judge([Gate.parse(text)], Paths(tree, {"score": "best.value"}))
    return asdict(outcome)


@pytest.mark.parametrize(
    ("text", "path", "sign", "bound"),
    [
        ("val_accuracy>=0.9", "val_accuracy", ">=", 0.9),
        ("  loss < 1e-3 ", "loss", "<", 1e-3),
        ("trials.failed==0", "trials.failed", "==", 0),
        ("x != -.5", "x", "!=", -0.5),
        ("components.feature:a>b c.delta<=-0.1", "components.feature:a>b c.delta", "<=", -0.1),
    ],
)
def test_a_gate_is_a_path_an_operator_and_a_number(
    text: str, path: str, sign: str, bound: float
) -> None:
    gate = Gate.parse(text)
    assert (gate.path, gate.operator, gate.bound) == (path, sign, bound)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a name, an operator and a number"),
        ("val_accuracy", "expected a name, an operator and a number"),
        (">=0.9", "expected a name"),
        ("loss=0.5", "unknown operator '='; did you mean '=='?"),
        ("loss=<0.5", "unknown operator '=<'; known: >= > <= < == !="),
        ("loss<", "expected a number after '<', got ''"),
        ("accuracy>=90%", "expected a number after '>=', got '90%'"),
        ("0.9<=accuracy", "expected a number after '<=', got 'accuracy'"),
        ("loss<nan", "expected a number"),
        ("loss<inf", "expected a number"),
    ],
)
def test_what_is_no_gate_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Gate.parse(text)
    assert str(caught.value).startswith(f"--require '{text}': ")
    assert message in str(caught.value)


def test_all_slips_are_told_at_once_and_a_gate_counts_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_gates(["a=1", "b<1", "c"])
    assert len(str(caught.value).splitlines()) == 2
    assert len(parse_gates(["a<1", "a<1"])) == 1


finite = st.floats(allow_nan=False, allow_infinity=False)
close = st.floats(-1, 1)


@given(st.sampled_from(sorted(OPERATORS)), st.one_of(finite, close), st.one_of(finite, close))
def test_a_gate_is_met_as_python_compares(sign: str, value: float, bound: float) -> None:
    compare = {">=": "ge", ">": "gt", "<=": "le", "<": "lt", "==": "eq", "!=": "ne"}[sign]
    outcome = one(f"score{sign}{bound!r}", {"best": {"value": value}})
    met = getattr(operator, compare)(value, bound)
    assert outcome["met"] is met
    assert outcome["value"] == value
    if met:
        assert outcome["missed_by"] is None
    else:
        assert math.isclose(outcome["missed_by"], abs(value - bound), rel_tol=1e-9, abs_tol=1e-300)
        # What is shown must not look as if the gate was met.
        shown = float(outcome["message"].removeprefix("got ").split(",")[0])
        assert not getattr(operator, compare)(shown, bound)
    json.dumps(outcome, allow_nan=False)


def test_what_was_missed_by_how_much() -> None:
    told = {
        "score>=0.9": (0.8712, "got 0.8712, missed by 0.0288"),
        "score<=0.9": (0.90000000001, "got 0.90000000001, missed by 1e-11"),
        "score>0.9": (0.9, "got 0.9, missed"),
        "score!=0": (0.0, "got 0, missed"),
        "score<1": (0.5, "got 0.5, met"),
    }
    for text, (value, message) in told.items():
        assert one(text, {"best": {"value": value}})["message"] == message


@pytest.mark.parametrize("sign", sorted(OPERATORS))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_no_number_meets_no_gate(sign: str, value: float | None) -> None:
    outcome = one(f"score{sign}0.5", {"best": {"value": value}})
    assert not outcome["met"]
    assert outcome["value"] is None
    assert outcome["missed_by"] is None


def test_without_a_result_every_gate_on_it_is_missed() -> None:
    outcome = one("best.params.lr<0.1", {"best": None})
    assert outcome["message"] == "the run gave no such number, missed"


def test_counts_that_a_result_leaves_out_are_zero() -> None:
    result = {"trials": {"total": 3}}
    assert one("trials.unfinished==0", result)["met"]
    assert one("promotions.total<1", result)["met"]
    assert not one("trials.unfinished==0", {"trials": {"unfinished": 2}})["met"]


names = st.text(st.sampled_from("ab.: 0é>"), min_size=1, max_size=6).filter(lambda n: n.strip())


@given(st.lists(names, min_size=1, max_size=6, unique=True))
def test_names_may_hold_dots_and_colons_and_blanks(parts: list[str]) -> None:
    components = [
        {"name": name, "p_holm": float(index), "ci95": [10.0 + index, 0.0]}
        for index, name in enumerate(parts)
    ]
    for component in components:
        name = component["name"]
        outcome = one(f"components.{name}.p_holm<99", {"components": components})
        assert outcome["value"] == component["p_holm"]
        outcome = one(f"components.{name}.ci95.0<99", {"components": components})
        assert outcome["value"] == component["ci95"][0]  # type: ignore[index]


def test_of_two_ways_to_read_a_path_the_one_to_a_number_is_meant() -> None:
    components = [{"name": "a", "delta": 1.0}, {"name": "a.delta", "delta": 2.0}]
    assert one("components.a.delta<9", {"components": components})["value"] == 1.0
    assert one("components.a.delta.delta<9", {"components": components})["value"] == 2.0


# From here on through the command line.


@pytest.fixture
def searching(project: Project) -> Project:
    project.write("user.py", GOOD)
    project.config(name="demo", search=SEARCH, cluster=INLINE)
    return project


def test_met_gates_leave_the_exit_code_alone(searching: Project) -> None:
    gates = ["score>=0.1", "best.params.x < 1", "trials.failed==0", "steps<500", "elapsed_s<600"]
    options = [part for gate in gates for part in ("--require", gate)]
    done = searching.cli("run", "config.yaml", *options)
    assert done.returncode == 0, done.stderr
    assert "\ntrials.failed==0: got 0, met\n" in done.stderr
    assert "met\n" not in done.stdout
    assert searching.cli("run", "config.yaml", "--quiet", *options).stderr == ""


def test_a_missed_gate_exits_4_with_a_line_and_the_result_is_printed(searching: Project) -> None:
    options = ("--require", "score>=2", "--require", "trials.failed == 0")
    done = searching.cli("run", "config.yaml", "--json", "--quiet", *options)
    assert done.returncode == 4
    result = json.loads(done.stdout)
    value = result["best"]["value"]
    assert done.stderr == f"score>=2: got {value:.6g}, missed by {2 - value:.6g}\n"
    missed, met = result["gates"]
    assert (missed["gate"], missed["met"], missed["value"]) == ("score>=2", False, value)
    assert missed["missed_by"] == pytest.approx(2 - value)
    assert (met["met"], met["value"], met["missed_by"]) == (True, 0, None)
    (file,) = searching.path.glob("runs/*/*/result.json")
    assert json.loads(file.read_text()) == result
    # A run that has ended is judged anew, and not run anew.
    judged = searching.cli("resume", result["run_dir"], "--require", "score<2")
    assert judged.returncode == 0
    again = searching.cli("resume", result["run_dir"], "--require", "score>=3", "--json")
    assert again.returncode == 4
    assert json.loads(again.stdout)["steps"] == result["steps"]


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("scoer>=0.9", "there is no 'scoer' in the result; did you mean 'score'?"),
        ("trials.faild==0", "did you mean 'trials.failed'?"),
        ("best.params.y<1", "did you mean 'best.params.x'?"),
        ("best.params.kind==1", "'best.params.kind' is no number"),
        ("best>1", "'best' is no number; known: best.value, best.params.x"),
        ("status==1", "'status' is no number"),
        ("components.a.p<1", "there is no 'components.a.p' in the result; known: score"),
        ("score=1", "unknown operator '='"),
    ],
)
def test_a_gate_that_names_nothing_is_refused_before_anything_runs(
    searching: Project, gate: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        experiment.run(
            searching.path / "config.yaml", runs_dir=searching.path / "runs", require=[gate]
        )
    assert str(caught.value).startswith(f"--require '{gate}': ")
    assert message in str(caught.value)
    assert not (searching.path / "runs").exists()


def test_such_a_gate_is_one_line_and_exit_code_2(searching: Project) -> None:
    done = searching.cli("run", "config.yaml", "--require", "scoer>=0.9")
    assert (done.returncode, done.stdout) == (2, "")
    told = "--require 'scoer>=0.9': there is no 'scoer' in the result; did you mean 'score'?\n"
    assert done.stderr == told


def test_a_number_that_only_some_results_have_is_missed_after_the_run(searching: Project) -> None:
    gates = ("--require", "best.params.rate<1", "--require", "rungs.7.trials>0")
    done = searching.cli("run", "config.yaml", "-q", "--json", *gates)
    assert done.returncode == 4
    assert json.loads(done.stdout)["trials"]["finished"] == 4
    first, second = done.stderr.splitlines()
    assert first.startswith("best.params.rate<1: there is no 'best.params.rate' in the result")
    assert second.startswith("rungs.7.trials>0: there is no 'rungs.7.trials' in the result")


def test_a_run_without_a_result_exits_1_and_tells_of_the_gate(searching: Project) -> None:
    searching.write("user.py", "def train(x, kind, rate=0.0): raise ValueError('no')")
    done = searching.cli("run", "config.yaml", "-q", "--require", "score>=0.9")
    assert done.returncode == 1
    assert done.stderr == "score>=0.9: the run gave no such number, missed\n"


def test_an_interrupted_run_exits_130_whatever_its_gates(searching: Project) -> None:
    searching.write(
        "user.py",
        """
        import os, signal

        def train(x, kind, trial_dir, rate=0.0):
            if trial_dir.name == "t0002":
                os.kill(os.getpid(), signal.SIGINT)
            return x
        """,
    )
    done = searching.cli("run", "config.yaml", "-q", "--json", "--require", "score>=2")
    assert done.returncode == 130, done.stderr
    assert json.loads(done.stdout)["gates"][0]["met"] is False


@pytest.mark.slow
def test_the_gates_of_an_ablation(project: Project) -> None:
    project.write("user.py", STUDY_USER)
    study = {"features": ["a", "b.p"], "seeds": 6}
    project.config(data="user.py:load_data", cluster=INLINE, ablation=study)
    gates = [
        "score>3",  # the baseline's mean
        "components.feature:b.p.delta<-1.9",
        "components.feature:b.p.p_holm<0.1",
        "components.feature:a.n==6",
        "baseline.ci95.0>2",
        "baseline.values.5>0",
    ]
    options = [part for gate in gates for part in ("--require", gate)]
    done = project.cli("ablate", "config.yaml", "--json", "-q", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["gates"][0]["value"] == result["baseline"]["mean"]
    assert result["gates"][1]["value"] == pytest.approx(-2)
    missed = project.cli("resume", result["run_dir"], "--require", "components.feature:a.n>6")
    assert missed.returncode == 4
    assert "components.feature:a.n>6: got 6, missed" in missed.stderr
    wrong = project.cli("ablate", "config.yaml", "--require", "components.feature:c.p<1")
    assert wrong.returncode == 2
    assert "did you mean 'components.feature:a.p'?" in wrong.stderr
    assert len(list(project.path.glob("runs/*/*"))) == 1
