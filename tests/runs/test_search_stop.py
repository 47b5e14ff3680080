"""`search.stop`: a search that has found enough ends, says why, and goes on when that changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dotrain import Searchspace, experiment
from dotrain.ablation.builder import AblationStudy
from dotrain.config.errors import ConfigError
from dotrain.errors import UsageError
from dotrain.report.page.verdict import verdict_of
from dotrain.report.reading import read_run
from dotrain.report.status import read_status
from dotrain.store import read_journal
from tests.conftest import Project
from tests.runs.test_resume import OPTIMIZERS, SPACE, broken_off, facts, simulated, whole_run

ASHA = {"name": "asha", "resource_max": 4, "reduction_factor": 2}


def searched(project: Project, optimizer: str = "random", workers: int = 1, **search: Any) -> Path:
    return whole_run(
        project,
        search={"space": SPACE, **OPTIMIZERS[optimizer], **search},
        cluster=simulated(workers, noise=0.1),
        seed=3,
    )


@pytest.mark.parametrize(
    ("optimizer", "search"),
    [
        ("random", {"stop": {"no_better_for": 2}}),
        ("asha", {"stop": {"target": 0.7, "no_better_for": 9}}),
        ("random", {"early_stop": ASHA}),
        ("random", {"early_stop": {"name": "percentile", "percentile": 25.0, "min_trials": 2}}),
        ("asha", {"early_stop": {"name": "patience", "patience": 1}}),
        ("asha", {"early_stop": {"name": "threshold", "upper": 0.6}}),
    ],
)
def test_from_every_prefix_of_the_journal_it_goes_on_to_the_same_end(
    project: Project, optimizer: str, search: dict[str, Any]
) -> None:
    run_dir = searched(project, optimizer, **search)
    expected, whole = facts(run_dir), read_status(run_dir)
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    decided = [json.loads(line) for line in lines]
    assert any(r.get("early") or r["type"] == "Stop" for r in decided), "it decides nothing"
    step = max(1, len(lines) // 12)
    for count in sorted({*range(1, len(lines), step), *range(len(lines) - 3, len(lines) + 1)}):
        copy = broken_off(run_dir, b"".join(lines[:count]), f"prefix-{count}")
        result = experiment.resume(copy, quiet=True)
        assert facts(copy) == expected, f"after {count} of {len(lines)} records"
        assert (result.status, read_status(copy).run.reason) == ("finished", whole.run.reason)


def test_it_says_why_wherever_a_run_is_shown(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("user.py", "def train(x, n): pass")
    stop = {"target": 0.6}
    result = project.run(
        search={"space": SPACE, "num_trials": 30, "stop": stop}, cluster=simulated(2), seed=3
    )
    best = result.best
    assert best is not None
    assert best["value"] >= 0.6
    assert len(result.trials) < 30
    why = result.summary["ended_early"]
    assert why.startswith(f"{best['trial_id']} has ")
    assert why.endswith("search.stop.target 0.6 is reached")
    assert (result.status, result.summary["resume"]) == ("finished", None)
    assert json.loads((result.run_dir / "result.json").read_text())["ended_early"] == why
    told = read_status(result.run_dir)
    assert (told.run.reason, told.to_json()["ended_early"], told.resume) == (why, why, None)
    assert why in verdict_of(read_run(result.run_dir)).note
    capsys.readouterr()
    experiment.print_result(result.found)
    assert f"ended early: {why}" in capsys.readouterr().out


def test_with_none_it_goes_on_to_what_it_would_have_been_and_else_stays_over(
    project: Project,
) -> None:
    unstopped = facts(searched(project, workers=3, num_trials=30))
    run_dir = searched(project, workers=3, stop={"target": 0.6})
    ended = facts(run_dir)
    assert len(ended) < len(unstopped)
    assert any(state == "waiting" for *_, state, _, _, _ in ended), "none ran when it ended"
    length = len(list(read_journal(run_dir / "journal.jsonl")))
    for same in ([], ["search.num_trials=30"], ["search.stop.target=0.61"]):
        result = experiment.resume(run_dir, same, quiet=True)
        assert (result.status, facts(run_dir)) == ("finished", ended)
        assert "ended_early" in result.summary
    assert len(list(read_journal(run_dir / "journal.jsonl"))) == length + 3 * 2
    result = experiment.resume(run_dir, ["search.stop=null"], quiet=True)
    assert "ended_early" not in result.summary
    assert facts(run_dir) == unstopped


@pytest.mark.parametrize("changes", [[], ["search.stop.target=0.9"]])
def test_code_that_has_changed_is_asked_about_only_if_the_run_goes_on(
    project: Project, changes: list[str]
) -> None:
    run_dir = searched(project, stop={"target": 0.6})
    project.write("user.py", "def train(x, n, budget=4): return 0.0")
    if not changes:
        assert experiment.resume(run_dir, quiet=True).status == "finished"
        return
    with pytest.raises(UsageError, match="the code isn't what ran last"):
        experiment.resume(run_dir, changes, quiet=True)


@pytest.mark.parametrize(
    ("written", "where", "what"),
    [
        ("{}", "search.stop", "expected target, no_better_for or both"),
        ("{target: .nan}", "search.stop.target", "expected a finite number, got nan"),
        ("{target: high}", "search.stop.target", "expected a number, got 'high'"),
        ("{no_better_for: 0}", "search.stop.no_better_for", "greater than or equal to 1, got 0"),
        ("{goal: 1.0}", "search.stop.goal", "unknown key"),
    ],
)
def test_what_can_not_be_is_refused_with_its_place(
    project: Project, written: str, where: str, what: str
) -> None:
    project.write("user.py", "def train(x): return x")
    project.write(
        "config.yaml",
        "train: user.py:train\nmetric: score\ndirection: max\nsearch:\n"
        "  space: {x: {type: float, range: [0.0, 1.0]}}\n  num_trials: 3\n"
        f"  stop: {written}\n",
    )
    with pytest.raises(ConfigError) as refusal:
        experiment.run(project.path / "config.yaml", quiet=True)
    assert ":7:" in str(refusal.value)
    assert f"{where}: " in str(refusal.value)
    assert what in str(refusal.value)


def train(x: float = 0.5) -> float:
    return x


def test_a_call_says_it_too_but_not_of_what_searches_nothing(tmp_path: Path) -> None:
    def call(**arguments: Any) -> Any:
        return experiment.lagom(
            train, metric="score", cluster={"kind": "inline"}, runs_dir=tmp_path, quiet=True,
            direction="max", **arguments,
        )  # fmt: skip

    space = Searchspace(x=("DOUBLE", [0.0, 1.0]))
    result = call(searchspace=space, num_trials=20, stop={"no_better_for": 1})
    assert result.summary["ended_early"].endswith("(search.stop.no_better_for)")
    again = call(searchspace=space, num_trials=20, stop={"no_better_for": 2}, resume=result.run_dir)
    assert len(again.trials) > len(result.trials)
    with pytest.raises(UsageError, match="stop: nothing is searched"):
        call(stop={"target": 1.0})
    with pytest.raises(UsageError, match="num_trials, stop, try_first"):
        call(ablation=AblationStudy(), stop={"target": 1.0})
