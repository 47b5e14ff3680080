"""A run that goes on may search another space: what lies in it still teaches, and what was decided stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dotrain import experiment
from dotrain.config.errors import ConfigError
from dotrain.errors import UsageError
from dotrain.report.page.document import make_document
from dotrain.report.reading import read_run
from dotrain.report.status import read_status
from dotrain.report.table import read_table
from dotrain.runs.result import Result
from dotrain.store import read_journal
from tests.conftest import Project

TRAIN = """
def train(x, n, budget=1, reporter=None):
    for step in range(int(budget)):
        if reporter is not None:
            reporter.broadcast(-(x - 0.3) ** 2 + n / 100 + step)
    return -(x - 0.3) ** 2 + n / 100
"""
SPACE = {"x": {"type": "float", "range": [0.0, 1.0]}, "n": {"type": "int", "range": [1, 4]}}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "random": {"name": "random"},
    "asha": {"name": "asha", "resource_max": 9},
    "asha with tpe": {"name": "asha", "resource_max": 9, "sampler": "tpe"},
    "tpe": {"name": "tpe", "startup_trials": 3},
    "gp": {"name": "gp", "startup_trials": 3},
    "cmaes": {"name": "cmaes", "population": 4},
    "qmc": {"name": "qmc"},
    "hyperband": {"name": "hyperband", "resource_max": 9},
    "bohb": {"name": "bohb", "resource_max": 3},
}


def begin(
    project: Project, optimizer: dict[str, Any], num_trials: int = 14, **search: Any
) -> Result:
    search = {"space": SPACE, "num_trials": num_trials, "optimizer": optimizer, **search}
    return project.run(TRAIN, search=search, cluster={"kind": "inline"})


def go_on(run_dir: Path, *overrides: str) -> Result:
    return experiment.resume(run_dir, overrides, quiet=True)


def launched(run_dir: Path) -> list[dict[str, Any]]:
    return [r for r in read_journal(run_dir / "journal.jsonl") if r["type"] == "Launch"]


def resumed(run_dir: Path) -> list[dict[str, Any]]:
    return [r for r in read_journal(run_dir / "journal.jsonl") if r["type"] == "Resumed"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_comes_lies_in_the_new_space_and_what_was_stays(project: Project, name: str) -> None:
    run_dir = begin(project, OPTIMIZERS[name]).run_dir
    before = launched(run_dir)
    narrower = ("search.space.x.range=[0.2, 0.4]", "search.num_trials=24")
    result = go_on(run_dir, *narrower)
    assert result.status == "finished"
    after = launched(run_dir)
    assert after[: len(before)] == before
    new = after[len(before) :]
    assert len(new) >= 10
    assert all(0.2 <= launch["params"]["x"] <= 0.4 for launch in new)
    # It stays so when the run goes on once more, and replays as it was.
    go_on(run_dir, "search.num_trials=30")
    again = launched(run_dir)
    assert again[: len(after)] == after
    assert all(0.2 <= launch["params"]["x"] <= 0.4 for launch in again[len(after) :])
    told = [record.get("space") for record in resumed(run_dir)]
    assert told[0]["domains"]["x"]["range"] == [0.2, 0.4]
    assert told[1] is None
    # And it may be widened.
    go_on(run_dir, "search.space.x.range=[-5.0, 5.0]", "search.num_trials=60")
    wide = launched(run_dir)[len(again) :]
    assert any(not 0 <= launch["params"]["x"] <= 1 for launch in wide)
    assert told[0]["domains"]["n"] == {"type": "int", "range": [1, 4]}
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert config["search"]["space"]["x"]["range"] == [-5.0, 5.0]
    assert config["search"]["num_trials"] == 14


def test_a_model_is_not_asked_before_enough_results_lie_in_the_new_space(project: Project) -> None:
    run_dir = begin(project, {"name": "tpe", "startup_trials": 6}).run_dir
    go_on(run_dir, "search.space.x.range=[7.0, 8.0]", "search.num_trials=24")
    reasons = [launch["reason"] for launch in launched(run_dir)[14:]]
    assert reasons[:6] == ["random draw"] * 6
    assert reasons[7:] == ["proposed by the sampler"] * 3


def test_a_finite_space_that_was_used_up_goes_on_when_it_is_wider(project: Project) -> None:
    space = {"n": {"type": "int", "range": [1, 3]}, "x": {"type": "discrete", "values": [0.5]}}
    search = {"space": space, "num_trials": 5, "optimizer": {"name": "random"}}
    run_dir = project.run(TRAIN, search=search, cluster={"kind": "inline"}).run_dir
    assert len(launched(run_dir)) == 3
    go_on(run_dir, "search.space.n.range=[2, 8]")
    tried = [launch["params"]["n"] for launch in launched(run_dir)]
    assert len(tried) == 5
    assert len(set(tried)) == 5
    assert all(2 <= n <= 8 for n in tried[3:])


def test_constraints_may_come_with_it(project: Project) -> None:
    run_dir = begin(project, OPTIMIZERS["tpe"], space_constraints=["n <= 3"]).run_dir
    go_on(run_dir, "search.space_constraints=[x * n <= 0.5]", "search.num_trials=22")
    new = [launch["params"] for launch in launched(run_dir)[14:]]
    assert len(new) == 8
    assert all(one["x"] * one["n"] <= 0.5 for one in new)


def test_a_run_that_goes_on_in_its_own_space_records_none(project: Project) -> None:
    run_dir = begin(project, OPTIMIZERS["random"]).run_dir
    go_on(run_dir, "search.num_trials=16", "search.space.x.range=[0, 1]")
    assert [record.get("space") for record in resumed(run_dir)] == [None]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.space_constraints=[n > 4]", "none of the|none of 10,000 random draws meets it"),
        ("search.space.x.range=[2.0, 1.0]", "lower bound 2.0 is over upper bound 1.0"),
        ("search.space.n.when={x: {min: 3}}", "x >= 3 never holds"),
    ],
)
def test_a_space_that_can_not_be_is_refused_and_nothing_has_changed(
    project: Project, override: str, message: str
) -> None:
    run_dir = begin(project, OPTIMIZERS["random"], num_trials=3).run_dir
    before = (run_dir / "journal.jsonl").read_bytes()
    with pytest.raises(UsageError, match=message):
        go_on(run_dir, override, "search.num_trials=9")
    assert (run_dir / "journal.jsonl").read_bytes() == before


def test_a_grid_goes_on_in_its_own_space_alone(project: Project) -> None:
    run_dir = begin(project, {"name": "grid", "points": 3}).run_dir
    with pytest.raises(UsageError, match="GridSearch decides by the space that it began with"):
        go_on(run_dir, "search.space.x.range=[0.2, 0.4]", "search.num_trials=20")
    assert not resumed(run_dir)
    assert "0.2" not in (run_dir / "config.yaml").read_text()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_killed_after_the_change_it_tries_what_it_would_have_tried(
    project: Project, name: str
) -> None:
    run_dir = begin(project, OPTIMIZERS[name]).run_dir
    grows = "search.num_trials=24"
    go_on(run_dir, "search.space.x.range=[0.2, 0.4]", grows)
    journal = run_dir / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"Resumed"' in line)
    whole = [(one["trial_id"], one["params"]) for one in launched(run_dir)]
    for after in (first, (first + len(lines)) // 2, len(lines) - 5):
        journal.write_text("".join(lines[:after]))
        go_on(run_dir, grows)
        tried = [(one["trial_id"], one["params"]) for one in launched(run_dir)]
        assert [*dict(tried).items()] == [*dict(whole).items()]


def test_an_edit_of_the_config_stays_beside_the_space(project: Project) -> None:
    run_dir = begin(project, OPTIMIZERS["random"]).run_dir
    config = run_dir / "config.yaml"
    edited = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**edited, "limits": {"retries": 7}}))
    go_on(run_dir, "search.space.x.range=[0.2, 0.4]", "search.num_trials=16")
    assert yaml.safe_load(config.read_text())["limits"] == {"retries": 7}


def test_points_of_a_sequence_are_not_begun_again(project: Project) -> None:
    run_dir = begin(project, OPTIMIZERS["qmc"]).run_dir
    go_on(run_dir, "search.space_constraints=[x <= 2]", "search.num_trials=24")
    tried = [(launch["params"]["x"], launch["params"]["n"]) for launch in launched(run_dir)]
    assert len(set(tried)) == 24


def test_several_changes_come_back_to_where_they_began(project: Project) -> None:
    run_dir = begin(project, OPTIMIZERS["asha"]).run_dir
    go_on(run_dir, "search.space.x.range=[0.0, 0.1]", "search.num_trials=20")
    go_on(run_dir, "search.space.x.range=[0.0, 1.0]", "search.num_trials=40")
    go_on(run_dir, "search.space.x.range=[0.25, 0.35]", "search.num_trials=46")
    assert [len(record["space"]["domains"]) for record in resumed(run_dir)] == [2, 2, 2]
    # What had left the space is ranked again when it has come back: t0020 among all 21.
    ranked = [launch["reason"] for launch in launched(run_dir) if "rank" in launch["reason"]]
    assert any("of 6 at 1 steps" in reason for reason in ranked)
    assert any("of 21 at 1 steps" in reason for reason in ranked)
    go_on(run_dir)


# --- rungs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_what_lies_outside_is_neither_promoted_nor_ranked(project: Project, name: str) -> None:
    # All that was tried is better than all that comes, and none of what comes would be promoted beside it.
    run_dir = begin(project, OPTIMIZERS[name], num_trials=9).run_dir
    go_on(run_dir, "search.space.x.range=[20.0, 30.0]", "search.num_trials=36")
    after = [launch for launch in launched(run_dir) if launch["n"] > resumed(run_dir)[0]["n"]]
    promoted = [launch for launch in after if launch["attempt"] > 1]
    assert all(launch["params"]["x"] >= 20 for launch in after)
    assert len(promoted) >= 27 // 3 // 2
    assert {launch["budget"] for launch in promoted} >= {3, 9}


# --- beside search.try_first and search.warm_start --------------------------------------------------


def test_what_is_to_be_tried_first_is_held_against_the_new_space(project: Project) -> None:
    run_dir = begin(project, OPTIMIZERS["random"], try_first=[{"x": 0.9}]).run_dir
    narrower = "search.space.x.range=[0.2, 0.4]"
    with pytest.raises(
        ConfigError, match=r"try_first\[1\]\.x: 0\.95 is not in float\[0\.2, 0\.4\]"
    ):
        go_on(run_dir, narrower, "search.num_trials=20", "search.try_first=[{x: 0.9}, {x: 0.95}]")
    assert not resumed(run_dir)
    go_on(run_dir, narrower, "search.num_trials=20", "search.try_first=[{x: 0.9}, {x: 0.25}]")
    assert launched(run_dir)[0]["params"]["x"] == 0.9
    assert launched(run_dir)[14]["params"]["x"] == 0.25
    # Those of the config alone are fewer than were tried, and are none to be refused.
    go_on(run_dir, "search.num_trials=22")
    assert len(launched(run_dir)) == 22


def test_one_that_had_no_turn_yet_and_lies_outside_is_left_out(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    first = [{"x": 0.9}, {"x": 0.25}, {"x": 0.8}]
    run_dir = begin(project, OPTIMIZERS["random"], num_trials=6, try_first=first).run_dir
    journal = run_dir / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    second = [i for i, line in enumerate(lines) if '"Launch"' in line][1]
    journal.write_text("".join(lines[:second]))
    experiment.resume(run_dir, ["search.space.x.range=[0.2, 0.4]"])
    tried = [launch["params"]["x"] for launch in launched(run_dir)]
    assert tried[0] == 0.9
    assert 0.25 in tried[1:3]
    assert 0.8 not in tried
    told = capsys.readouterr().err
    assert "of search.try_first, which had no turn yet, do not and are left out" in told


def test_of_what_the_run_was_begun_with_that_teaches_which_lies_inside(project: Project) -> None:
    rows = "".join(f"{x},{n},{-x}\n" for x in (0.1, 0.3, 0.7, 0.9) for n in (1, 2, 3))
    (project.path / "earlier.csv").write_text(f"x,n,score\n{rows}")
    optimizer = {"name": "tpe", "startup_trials": 8}
    search = {"space": SPACE, "num_trials": 2, "optimizer": optimizer}
    search["warm_start"] = {"from": "earlier.csv"}
    project.write("user.py", TRAIN)
    config = project.config(search=search, cluster={"kind": "inline"})
    run_dir = experiment.run(config, runs_dir=project.path / "runs", quiet=True).run_dir
    assert [one["reason"] for one in launched(run_dir)] == ["proposed by the sampler"] * 2
    # Six results of the table are left, and so two draws are wanted before the model is asked.
    go_on(run_dir, "search.space.x.range=[0.5, 1.0]", "search.num_trials=9")
    reasons = [one["reason"] for one in launched(run_dir)[2:]]
    inside = sum(one["params"]["x"] >= 0.5 for one in launched(run_dir)[:2])
    drawn = 8 - 6 - inside
    assert reasons[:drawn] == ["random draw"] * drawn
    assert reasons[-1] == "proposed by the sampler"
    go_on(run_dir, "search.num_trials=11")


# --- names that come and go -------------------------------------------------------------------------

ADDED = "search.space.z={type: int, range: [1, 6]}"
WITH_Z = """
def train(x, n, z=3, budget=1):
    return -(x - 0.3) ** 2 + z
"""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_was_fixed_may_be_searched_and_earlier_trials_teach_with_what_they_had(
    project: Project, name: str
) -> None:
    search = {"space": SPACE, "num_trials": 12, "optimizer": OPTIMIZERS[name]}
    given: dict[str, Any] = {"search": search, "hparams": {"z": 2}, "cluster": {"kind": "inline"}}
    run_dir = project.run(WITH_Z, **given).run_dir
    go_on(run_dir, ADDED, "search.num_trials=24")
    after = [launch for launch in launched(run_dir) if launch["n"] > resumed(run_dir)[0]["n"]]
    assert resumed(run_dir)[0]["space"]["assumed"] == {"z": 2}
    new = [launch for launch in after if launch["attempt"] == 1]
    assert all("z" in launch["params"] for launch in new)
    # A trial of before goes on with what it had: its value is that of z = 2.
    ends = {
        r["trial_id"]: r["value"]
        for r in read_journal(run_dir / "journal.jsonl")
        if r["type"] == "Finished"
    }
    for launch in launched(run_dir):
        params = launch["params"]
        expected = -((params["x"] - 0.3) ** 2) + params.get("z", 2)
        assert ends[launch["trial_id"]] == pytest.approx(expected)
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert "hparams" not in config
    go_on(run_dir, "search.num_trials=26")
    assert "space" not in resumed(run_dir)[1]
    # Where z may not be what it was, none of the first lies in the space.
    go_on(run_dir, "search.space.z.range=[4, 6]", "search.num_trials=28")


def test_a_default_that_can_be_read_off_is_what_trials_had(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    search = {"space": SPACE, "num_trials": 6, "optimizer": OPTIMIZERS["tpe"]}
    run_dir = project.run(WITH_Z, search=search, cluster={"kind": "inline"}).run_dir
    experiment.resume(run_dir, [ADDED, "search.num_trials=9"])
    assert "6 of 6 trials lie in it, those without as if they had z 3" in capsys.readouterr().err
    assert launched(run_dir)[6]["reason"] == "proposed by the sampler"


@pytest.mark.parametrize(
    ("train", "override", "message"),
    [
        (
            "def train(x, n, **others): return x",
            ADDED,
            "not one function takes it, and by its name",
        ),
        ("A = 3\ndef train(x, n, z=A): return x", ADDED, "its default can't be read off"),
        (
            WITH_Z,
            "search.space.z={type: int, range: [1, 6], when: {n: 2}}",
            "can't have a condition",
        ),
        (
            "def train(x, n=1): return x",
            "search.space={x: {type: float, range: [0.0, 1.0]}}",
            r"search\.space\.n: it can't be taken out",
        ),
    ],
)
def test_where_it_can_not_be_told_a_name_neither_comes_nor_goes(
    project: Project, train: str, override: str, message: str
) -> None:
    search = {"space": SPACE, "num_trials": 3, "optimizer": OPTIMIZERS["random"]}
    run_dir = project.run(train, search=search, cluster={"kind": "inline"}).run_dir
    with pytest.raises(UsageError, match=message):
        go_on(run_dir, override, "search.num_trials=6")
    assert not resumed(run_dir)


def test_with_other_code_a_default_is_not_taken_for_what_trials_had(project: Project) -> None:
    search = {"space": SPACE, "num_trials": 3, "optimizer": OPTIMIZERS["random"]}
    run_dir = project.run(WITH_Z, search=search, cluster={"kind": "inline"}).run_dir
    project.write("user.py", WITH_Z.replace("z=3", "z=5"))
    with pytest.raises(UsageError, match="the code has changed since"):
        experiment.resume(run_dir, [ADDED, "search.num_trials=6"], code="current", quiet=True)


def test_a_name_is_searched_no_more_when_one_value_is_left(project: Project) -> None:
    run_dir = begin(project, OPTIMIZERS["tpe"]).run_dir
    go_on(run_dir, "search.space.n={type: discrete, values: [2]}", "search.num_trials=20")
    assert all(launch["params"]["n"] == 2 for launch in launched(run_dir)[14:])


# --- what is said -----------------------------------------------------------------------------------


def test_reports_say_from_where_on_another_space_was_searched(project: Project) -> None:
    run_dir = begin(project, OPTIMIZERS["random"]).run_dir
    overrides = ("search.space.x.range=[0.2, 0.4]", "search.space_constraints=[n <= 3]")
    go_on(run_dir, *overrides, "search.num_trials=16")
    told = (
        "after 14 trials another space was searched: x float[0.2, 0.4] (was float[0, 1]); "
        "constraints: n <= 3"
    )
    assert told in read_table(run_dir).notes
    assert told in read_status(run_dir).to_json()["notes"]
    assert told in make_document(read_run(run_dir), "now").marks


def test_a_search_that_has_found_enough_stays_over_in_any_space(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = begin(project, OPTIMIZERS["random"], stop={"target": -9.0}).run_dir
    before = launched(run_dir)
    experiment.resume(run_dir, ["search.space.x.range=[0.2, 0.4]"])
    assert launched(run_dir) == before
    assert "another space" not in capsys.readouterr().err


def test_a_sampler_in_a_process_of_its_own_begins_anew(project: Project) -> None:
    search = {"space": SPACE, "num_trials": 8, "optimizer": OPTIMIZERS["tpe"]}
    run_dir = project.run(TRAIN, search=search, cluster={"workers": 1}).run_dir
    go_on(run_dir, "search.space.x.range=[0.2, 0.9]", "search.num_trials=14")
    new = launched(run_dir)[8:]
    assert all(0.2 <= launch["params"]["x"] <= 0.9 for launch in new)
    assert new[-1]["reason"] == "proposed by the sampler"


def test_what_trials_of_before_had_goes_along_where_others_take_up_from_the_run(
    project: Project,
) -> None:
    code = "def train(x, momentum=0.9, part=0.0):\n    return x + 10 * momentum + part\n"
    x = {"type": "float", "range": [0.0, 1.0]}
    search = {"space": {"x": x}, "num_trials": 4}
    first = project.run(code, search=search, cluster={"kind": "inline"}).run_dir
    momentum = "search.space.momentum={type: float, range: [0.0, 0.1]}"
    go_on(first, momentum, "search.num_trials=6")

    study = {"components": {"part": {"part": 1.0}}, "seeds": 6}
    config = project.config(hparams={"momentum": 0.5}, ablation=study, cluster={"kind": "inline"})
    runs_dir = project.path / "runs"
    ablated = experiment.ablate(config, from_run=first, runs_dir=runs_dir, quiet=True)
    header = next(read_journal(ablated.run_dir / "journal.jsonl"))
    assert header["config"]["hparams"]["momentum"] == 0.9

    both = {"x": x, "momentum": {"type": "float", "range": [0.0, 1.0]}}
    later: dict[str, Any] = {"space": both, "num_trials": 1, "optimizer": {"name": "tpe"}}
    later["warm_start"] = {"from": str(first)}
    config = project.config(search=later, cluster={"kind": "inline"})
    run = experiment.run(config, runs_dir=runs_dir, quiet=True)
    header = next(read_journal(run.run_dir / "journal.jsonl"))
    known = sorted(one["params"]["momentum"] for one in header["earlier"])
    assert known[2:] == [0.9] * 4
