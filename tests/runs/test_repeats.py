"""`search.repeats`: a configuration's value is the mean of its repeats; no more of them where that is hopeless."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.config import load_config
from dotrain.config.errors import ConfigError
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.median import MedianStop
from dotrain.earlystop.none import NoStop
from dotrain.experiment import lagom
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.model_based import TPE
from dotrain.optimizers.random import RandomSearch
from dotrain.results import ranked
from dotrain.space import Float, Searchspace
from dotrain.store import read_journal, replay
from dotrain.testing.simulation import Simulation, simulate
from tests.conftest import Project

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))
NOISY: dict[str, Any] = {"spread": 0.5, "noise": 0.3, "steps": 3}
FAULTY: dict[str, Any] = {"failing": 0.1, "losing": 0.15, "diverging": 0.1, "duplicates": 0.1}

#: Scores what a file per seed says, so that a test decides what each repeat comes to.
TABLE = """
    import json
    from pathlib import Path

    def train(x, seed, reporter, checkpoint, trial_dir):
        assert not (trial_dir / "mine").exists(), "another repeat was here"
        (trial_dir / "mine").touch()
        seeds = json.loads(Path("seeds.json").read_text()) if Path("seeds.json").exists() else []
        if seed not in seeds:
            seeds.append(seed)
            Path("seeds.json").write_text(json.dumps(seeds))
        value = VALUES[x][seeds.index(seed)]
        reporter.broadcast(value, step=checkpoint.step)
        with checkpoint.save(step=1) as folder:
            (folder / "value").write_text(str(value))
        print("repeat", seeds.index(seed))
        return {"score": value, "size": 10 * value}
"""


def table(values: dict[int, list[float]]) -> str:
    return TABLE + f"\n    VALUES = {values!r}\n"


def search(project: Project, values: dict[int, list[float]], **given: Any) -> Any:
    space = {"x": {"type": "discrete", "values": sorted(values)}}
    whole = {"space": space, "optimizer": {"name": "grid"}, "repeats": 3, **given}
    return project.run(table(values), search=whole, cluster={"kind": "inline"})


@pytest.fixture(autouse=True)
def in_its_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)


# ---- what a value is ----


def test_the_value_is_the_mean_and_who_is_worse_in_the_same_repeats_never_wins(
    project: Project,
) -> None:
    values = {1: [0.6, 0.5, 0.7], 2: [0.5, 9.0, 9.0], 3: [0.9, 0.1, 9.0], 4: [0.6, 0.7, 0.8]}
    result = search(project, values)
    assert [trial.final_metric for trial in result.trials] == pytest.approx([0.6, 0.5, 0.5, 0.7])
    assert [len(trial.repeated.values) for trial in result.trials] == [3, 1, 2, 3]
    states = [str(trial.state) for trial in result.trials]
    assert states == ["finished", "stopped", "stopped", "finished"]
    assert result.trials[1].notes[Mark.FEWER_REPEATS] == (
        "1 of 3 repeats have finished: 0.5 is worse than what t0000 had in the same repeat, 0.6"
    )
    assert result["best"]["params"] == {"x": 4}
    assert result["best"]["repeats"] == [0.6, 0.7, 0.8]
    assert [row.get("size") for row in result.found.rows] == pytest.approx([6, 5, 5, 7])


def test_one_lucky_repeat_is_no_mean(project: Project) -> None:
    result = search(project, {1: [0.9, 0.6, 0.6], 2: [0.85, 0.9, 0.9]})
    lucky = result.trials[1]
    assert lucky.final_metric > result.trials[0].final_metric
    assert (result["best"]["trial_id"], lucky.marks) == ("t0000", [Mark.FEWER_REPEATS])


def test_each_repeat_has_a_folder_of_its_own_and_the_best_ones_checkpoint_is_told(
    project: Project,
) -> None:
    result = search(project, {1: [0.1, 0.1, 0.1], 2: [0.5, 0.7, 0.6]})
    folders = sorted(path.name for path in (result.run_dir / "trials").iterdir())
    assert folders == ["t0000", "t0000-2", "t0000-3", "t0001", "t0001-2", "t0001-3"]
    kept = Path(result["best"]["checkpoint"])
    assert kept.parts[-3] == "t0001-2"
    assert (kept / "value").read_text() == "0.7"
    left = list((result.run_dir / "trials").glob("t0000*/checkpoint/step-*"))
    assert (left, result["checkpoints"]["kept"]) == ([], "t0001")
    log = project.cli("show", str(result.run_dir), "t0001", "--follow").stdout
    assert [line for line in log.splitlines() if line.startswith("repeat ")] == [
        f"repeat {index}" for index in range(3)
    ]
    listed = json.loads(project.cli("artifacts", str(result.run_dir), "t0001", "--json").stdout)
    assert "t0001-2/checkpoint/step-000000001/value" in {one["path"] for one in listed["files"]}
    copied = project.cli("artifacts", str(result.run_dir), "t0001", "--to", "copy")
    assert copied.returncode == 0, copied.stderr
    assert (project.path / "copy" / "t0001-2" / "checkpoint" / "step-000000001" / "value").is_file()


def test_whoever_reads_the_journal_says_the_same(project: Project) -> None:
    result = search(project, {1: [0.6, 0.5, 0.7], 2: [0.5, 9.0, 9.0], 3: [0.7, 0.7, 0.7]})
    state = replay(read_journal(result.run_dir / "journal.jsonl"))
    again = [(t.final_metric, t.marks, t.repeated) for t in state.book.trials.values()]
    assert again == [(t.final_metric, t.marks, t.repeated) for t in result.trials]
    shown = json.loads(project.cli("show", str(result.run_dir), "t0000", "--json").stdout)
    assert shown["repeats"] == [0.6, 0.5, 0.7]
    assert [one["value"] for one in shown["attempts"]] == [0.6, 0.5, 0.7]
    assert [one["outcome"] for one in shown["attempts"]] == ["finished"] * 3
    assert len({one["reason"] for one in shown["attempts"]}) == 3


def test_on_every_executor_the_same_seeds_give_the_same_values(
    project: Project, cluster: dict[str, Any]
) -> None:
    function = """
        def train(x, seed):
            return x + seed % 1000 / 1e6
    """
    space = {"x": {"type": "discrete", "values": [1, 2]}}
    whole = {"space": space, "optimizer": {"name": "grid"}, "repeats": 2}
    result = project.run(function, search=whole, cluster=cluster)
    first, second = (trial.repeated.values for trial in result.trials if trial.repeated)
    assert len(second) == 2
    assert [b - a for a, b in zip(first, second, strict=False)] == pytest.approx([1.0] * len(first))


def test_the_same_from_python() -> None:
    def train(x: float) -> dict[str, float]:
        return {"metric": x, "size": x}

    result = lagom(
        train,
        Searchspace(x=("DISCRETE", [1, 2])),
        {"name": "grid"},
        repeats=2,
        constraints={"size": {"max": 1}},
        cluster={"kind": "inline"},
        quiet=True,
    )
    assert (result["best"]["value"], result["best"]["repeats"]) == (1, [1, 1])


# ---- what is refused ----


def test_less_than_one_repeat_is_refused_with_its_place(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:1:\d+: search\.repeats: .* 1"):
        search(project, {1: [0.5]}, repeats=0)


def test_beside_trials_that_begin_from_others_they_are_refused(project: Project) -> None:
    project.write("user.py", "def train(x, budget, checkpoint): return x")
    file = project.config(
        search={
            "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
            "optimizer": {"name": "pbt", "population": 4, "interval": 1, "resource_max": 4},
            "repeats": 2,
        },
        cluster={"kind": "inline"},
    )
    with pytest.raises(
        ConfigError, match=r"config\.yaml:1:\d+: search\.repeats: 'pbt' trains each"
    ):
        load_config(file)


def test_check_says_what_repeats_cost(project: Project) -> None:
    search(project, {1: [0.5, 0.5, 0.5]})
    told = project.cli("check", "config.yaml").stdout
    assert "at most 3" in told
    assert "each configuration is trained 3 times at most" in told


# ---- laws ----


def searched(
    optimizer: AbstractOptimizer,
    rule: AbstractEarlyStop,
    *,
    seed: int,
    direction: Direction,
    repeats: int,
    workers: int = 3,
    **model: Any,
) -> Simulation:
    return simulate(
        optimizer,
        rule,
        space=SPACE,
        num_trials=12,
        seed=seed,
        direction=direction,
        repeats=repeats,
        workers=workers,
        **{**NOISY, **model},
    )


def mean_of(trial: Trial, count: int) -> float:
    assert trial.repeated is not None
    return mean(trial.repeated.values[:count])


@given(
    st.integers(0, 10_000),
    st.sampled_from(["max", "min"]),
    st.integers(2, 4),
    st.booleans(),
    st.booleans(),
)
def test_whoever_has_fewer_repeats_was_worse_than_one_that_has_all(
    seed: int, direction: Direction, repeats: int, faulty: bool, stops: bool
) -> None:
    rule: AbstractEarlyStop = MedianStop(min_trials=2) if stops else NoStop()
    model = FAULTY if faulty else {}
    done = searched(RandomSearch(), rule, seed=seed, direction=direction, repeats=repeats, **model)
    trials = list(done.scheduler.book.trials.values())
    sign = 1.0 if direction == "max" else -1.0
    whole = [t for t in trials if t.state is TrialState.FINISHED]
    for trial in whole:
        assert trial.repeated is not None
        assert len(trial.repeated.values) == repeats
        assert trial.final_metric == pytest.approx(mean(trial.repeated.values))
    assert {t.trial_id for t in ranked(trials, direction)} == {t.trial_id for t in whole}
    for trial in trials:
        if trial.state is TrialState.STOPPED and trial.repeated and trial.repeated.values:
            if stops and len(trial.repeated.values) == trial.repeated.index:
                continue  # by the rule, in a repeat that it had begun
            own, count = mean_of(trial, repeats), len(trial.repeated.values)
            assert any(sign * mean_of(other, count) > sign * own for other in whole)


@given(st.integers(0, 10_000), st.integers(2, 3), st.sampled_from(["random", "tpe", "asha"]))
def test_min_and_max_mirror_each_other(seed: int, repeats: int, name: str) -> None:
    def run(direction: Direction) -> list[tuple[Any, ...]]:
        sign = 1.0 if direction == "max" else -1.0
        made: dict[str, AbstractOptimizer] = {
            "random": RandomSearch(),
            "tpe": TPE(startup_trials=3),
            "asha": ASHA(resource_max=3),
        }
        return simulate(
            made[name],
            NoStop(),
            lambda params, step, trial_seed: sign * (params["x"] + trial_seed % 97 / 50),
            space=SPACE,
            num_trials=8,
            seed=seed,
            direction=direction,
            repeats=repeats,
        ).decisions

    assert run("max") == run("min")


@given(st.integers(0, 10_000), st.integers(2, 3), st.integers(0, 60))
def test_a_killed_search_goes_on_as_it_would_have(seed: int, repeats: int, after: int) -> None:
    given_: dict[str, Any] = {"seed": seed, "direction": "max", "repeats": repeats, "workers": 1}
    whole = searched(RandomSearch(), NoStop(), **given_)
    again = searched(RandomSearch(), NoStop(), killed=whole, after=after, **given_)

    def values(done: Simulation) -> list[Any]:
        trials = done.scheduler.book.trials.values()
        return [(t.params, t.final_metric, t.repeated and t.repeated.values) for t in trials]

    assert values(again) == values(whole)


@given(st.integers(0, 10_000), st.integers(2, 3))
def test_a_lost_repeat_is_made_again_with_its_seed(seed: int, repeats: int) -> None:
    done = searched(
        RandomSearch(), NoStop(), seed=seed, direction="max", repeats=repeats, losing=0.3
    )
    seeds: dict[int, set[int]] = {}
    for launch in done.launches:
        seeds.setdefault(launch.repeat, set()).add(launch.seed)
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == len(seeds)


def test_with_budgets_every_repeat_is_made_at_every_rung_and_goes_on_from_its_own_steps() -> None:
    done = searched(
        ASHA(resource_max=9), NoStop(), seed=1, direction="max", repeats=2, checkpoints=True
    )
    trials = done.scheduler.book.trials.values()
    assert {len(t.repeated.values) for t in trials if t.repeated} == {2}
    promoted = [trial for trial in trials if trial.promotions]
    assert promoted
    for trial in promoted:
        own = [launch for launch in done.launches if launch.trial_id == trial.trial_id]
        assert [launch.repeat for launch in own] == [0, 1] * (1 + trial.promotions)
        known = [(launch.repeat, launch.known_step) for launch in own]
        assert known[:4] == [(0, -1), (1, -1), (0, 0), (1, 0)]
        assert len(trial.results) == 1 + trial.promotions


def test_a_repeat_is_not_taken_to_have_the_numbers_of_another_one(project: Project) -> None:
    function = """
        def train(x, trial_dir):
            told = {} if trial_dir.name.endswith("-2") else {"size": 1.0}
            return {"score": x, **told}
    """
    space = {"x": {"type": "discrete", "values": [1, 2]}}
    bounded = {"constraints": {"size": {"max": 2}}, "repeats": 2, "num_trials": 2}
    done = project.run(function, search={"space": space, **bounded}, cluster={"kind": "inline"})
    trials = replay(read_journal(done.run_dir / "journal.jsonl")).book.trials.values()
    assert {trial.state for trial in trials} == {TrialState.FAILED}
    assert all("no size" in trial.error.message for trial in trials if trial.error)


@pytest.mark.parametrize("seed", [13, 15, 24])  # a deadline came within a microsecond
def test_a_simulation_with_limits_goes_on_where_it_was_killed(seed: int) -> None:
    given_: dict[str, Any] = {"space": SPACE, "num_trials": 6, "repeats": 2, "workers": 2}
    given_ |= {"seed": seed, "losing": 0.2, "limits": Limits(max_trial_time_s=3.0)}
    whole = simulate(RandomSearch(), NoStop(), **given_)
    again = simulate(RandomSearch(), NoStop(), killed=whole, after=len(whole.log), **given_)
    assert again.decisions[: len(whole.decisions)] == whole.decisions
