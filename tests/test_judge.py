"""The judge of searchers: that it judges, not who wins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from tests.conftest import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules of the judge, which lie beside its script."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    from judging import problems, searchers, statistics

    yield type(
        "Judging", (), {"problems": problems, "searchers": searchers, "statistics": statistics}
    )
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "judging":
            del sys.modules[name]


def made_up(judging: Any) -> Any:
    """A problem whose best configuration is x = 0, and whose trainings of 9 steps take x + 1 seconds a step."""
    from dotrain.space import Float, Searchspace

    def curve_of(params: Any) -> Any:
        scores = [(1 - params["x"]) * (1 - 0.5 ** (step + 1)) for step in range(9)]
        return judging.problems.Curve(scores, [1 + params["x"]] * 9)

    return judging.problems.Problem(
        name="made up",
        group="made up",
        space=Searchspace(x=Float(range=(0.0, 1.0))),
        curve_of=curve_of,
        scale=judging.problems.Scale(1 - 0.5**9, 1 - 0.5**9, 0.5),
        unit_s=9 * 1.5,
        marks=(2, 8),
        workers=2,
        rungs=(1, 9, 3),
    )


def test_every_searcher_comes_closer_on_a_problem_of_many_steps(judging: Any) -> None:
    problem = made_up(judging)
    for searcher in judging.searchers.SEARCHERS:
        if not searcher.takes(problem):
            continue
        trace = searcher.run(problem, 3)
        early, late = (
            problem.scale.regret(trace.score_at(problem, mark)) for mark in problem.marks
        )
        assert 0 <= late <= early <= 1, searcher.name
        assert late < 0.5, searcher.name
        assert trace.trials >= 4, searcher.name
        assert trace == searcher.run(problem, 3) or trace.asks_s > 0
        times = [time_s for time_s, _ in trace.improvements]
        assert times == sorted(times)


def test_our_virtual_time_and_optunas_are_the_same(judging: Any) -> None:
    """Without a choice left, the same trials end at the same moments."""
    from dataclasses import replace

    from dotrain.space import Discrete, Searchspace

    one = replace(made_up(judging), space=Searchspace(x=Discrete(values=[0.5])), num_trials=1)
    by_name = judging.searchers.BY_NAME
    ours, theirs = (by_name[name].run(one, 0) for name in ("random", "optuna random"))
    # ours counts in the journal's decimals
    assert [round(time_s, 6) for time_s, _ in ours.improvements] == [
        t for t, _ in theirs.improvements
    ]
    assert [score for _, score in ours.improvements] == [score for _, score in theirs.improvements]


def test_an_interval_knows_of_problems_that_disagree(judging: Any, tmp_path: Path) -> None:
    from judging.running import Outcome

    def outcome(searcher: str, problem: str, seed: int, regret: float) -> Any:
        scale = judging.problems.Scale(1.0, 2.0, 0.0)
        score = 1.0 - regret
        return Outcome("g", problem, searcher, seed, [score], [None], scale, 1, 0.0)

    def against(gains: list[float]) -> Any:
        outcomes = [
            outcome(name, f"p{number}", seed, 0.5 - (gain if name == "a" else 0.0) + seed / 100)
            for number, gain in enumerate(gains)
            for seed in range(4)
            for name in ("a", "b")
        ]
        (found,) = judging.statistics.Regrets(outcomes).against("a", "b")
        return found

    alike, apart = against([0.1] * 8), against([0.5, -0.3] * 4)
    assert alike.difference.mean == pytest.approx(-0.1)
    assert apart.difference.mean == pytest.approx(-0.1)
    assert alike.difference.high < 0 < apart.difference.high
    assert (alike.ahead, apart.ahead) == (8, 4)


@pytest.mark.slow
def test_the_judge_judges_two_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = [
        sys.executable,
        str(BENCHMARKS / "judge.py"),
        "--quick",
        "--json",
        "--page",
        str(page),
    ]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    data = json.loads(told)
    found = data["groups"]["tables"]["searchers"]
    assert {"random", "tpe", "optuna random", "optuna TPE"} == set(found)
    for one in found.values():
        assert one["searches"] == 4
        regrets = [regret["mean"] for regret in one["regret"]]
        assert regrets == sorted(regrets, reverse=True)
        assert all(regret["low"] <= regret["mean"] <= regret["high"] for regret in one["regret"])
    assert [one["against"] for one in data["compared"]] == ["optuna TPE", "random"]
    assert page.read_text().count("<svg") == 1


@pytest.mark.parametrize("rule", ["random", "median", "asha"])
def test_the_configs_of_real_trainings_are_sound(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnist1d.py").touch()  # `make judge` installs it
    monkeypatch.syspath_prepend(tmp_path)
    loaded = load_config(BENCHMARKS / "judging" / "mnist1d_cnn" / f"{rule}.yaml")
    assert loaded.settings.limits.max_time_s == 240
