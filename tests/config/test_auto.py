"""`search.optimizer: auto`: what is chosen, why, and that it stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dotrain import experiment, plugins
from dotrain.config import choosing
from dotrain.config.errors import ConfigError
from dotrain.config.load import load_config
from dotrain.config.plan import make_plan
from dotrain.optimizers.auto import Auto, Choice, Facts
from dotrain.report.status import read_status
from dotrain.space import Categorical, Float, Int, Searchspace
from dotrain.store import read_journal
from tests.conftest import Project

TRAIN = "def train(x, n=1, budget=9, checkpoint=None): return -(x - 0.3) ** 2"
SPACE = {"x": {"type": "float", "range": [0.0, 1.0]}, "n": {"type": "int", "range": [1, 4]}}
ALL = frozenset({"optuna", "scipy", "cmaes"})
FACTS = Facts(
    parameters=2,
    size=None,
    is_numeric=True,
    num_trials=100,
    slots=4,
    takes_budget=True,
    takes_checkpoint=True,
    may_promote=True,
    has_earlier=False,
    packages=ALL,
)


@pytest.mark.parametrize(
    ("resource_max", "facts", "name", "options", "why"),
    [
        (27, {}, "asha", {"sampler": "gp", "resource_min": 1}, "one in 3 goes on, from 1 to 27 steps"),
        (27, {"packages": frozenset()}, "asha", {"resource_min": 1}, "optuna isn't installed"),
        (27, {"num_trials": 20}, "asha", {"resource_min": 3}, "too few for a model"),
        (27, {"num_trials": 20_000}, "asha", {"resource_min": 1}, "too many for a model"),
        (27, {"num_trials": 301}, "asha", {"sampler": "tpe"}, "a model proposes them"),
        (27, {"packages": ALL - {"scipy"}}, "asha", {"sampler": "tpe"}, "a model proposes them"),
        (27, {"several_metrics": True}, "tpe", {}, "no trial is the best of a rung"),
        (27, {"takes_checkpoint": False}, "asha", {"sampler": "gp"}, "takes no checkpoint"),
        (27, {"takes_budget": False}, "gp", {}, "resource_max has no use, as the train function"),
        (27, {"may_promote": False}, "gp", {}, "resource_max has no use, as the early-stop rule"),
        (27, {"num_trials": 2}, "random", {}, "too few to promote one in 3"),
        (2, {}, "gp", {}, "one budget only"),
        (None, {}, "gp", {}, "with resource_max, asha would stop most early"),
        (None, {"takes_budget": False}, "gp", {}, "a model learns from results"),
        (None, {"num_trials": 301}, "tpe", {}, "a model learns from results"),
        (None, {"several_metrics": True}, "tpe", {}, "of several metrics"),
        (None, {"num_trials": 19}, "random", {}, "19 trials are too few for a model"),
        (None, {"slots": 95}, "random", {}, "where 95 run at a time"),
        (None, {"size": 60}, "random", {}, "all 60 configurations are tried anyway"),
        (None, {"num_trials": 50_000}, "random", {}, "more than a model reads in good time"),
        (None, {"num_trials": 5, "has_earlier": True}, "gp", {}, "there are some from the start"),
        (None, {"packages": ALL - {"optuna"}, "several_metrics": True}, "random", {}, "optuna isn't"),
        (None, {"packages": frozenset({"cmaes"})}, "cmaes", {}, "optuna isn't installed"),
        (None, {"packages": frozenset({"cmaes"}), "is_numeric": False}, "random", {}, "optuna isn't"),
        (None, {"num_trials": None, "size": 12}, "grid", {}, "each of the 12 configurations"),
        (None, {"parameters": 0, "size": 1}, "random", {}, "nothing is searched"),
    ],
)  # fmt: skip
def test_facts_lead_to_a_choice(
    resource_max: int | None, facts: dict[str, Any], name: str, options: dict[str, Any], why: str
) -> None:
    choice = Auto(resource_max=resource_max).choose(replace(FACTS, **facts))
    assert choice.name == name
    assert {key: choice.options.get(key) for key in options} == options
    assert ("sampler" in choice.options) == ("sampler" in options)
    assert why in choice.why


SPACES = {
    "numbers": Searchspace(x=Float(range=(0.0, 1.0)), n=Int(range=(1, 4))),
    "finite": Searchspace(n=Int(range=(1, 40))),
    "conditional": Searchspace(
        kind=Categorical(values=["a", "b"]), x=Float(range=(0.0, 1.0), when={"kind": "b"})
    ),
}


@given(
    space=st.sampled_from(sorted(SPACES)),
    num_trials=st.integers(1, 30_000),
    slots=st.integers(1, 300),
    flags=st.lists(st.booleans(), min_size=4, max_size=4),
    packages=st.frozensets(st.sampled_from(sorted(ALL))),
    resource_max=st.none() | st.integers(1, 100),
    eta=st.integers(2, 5),
)
def test_what_is_chosen_takes_the_space_whatever_the_facts(
    space: str,
    num_trials: int,
    slots: int,
    flags: list[bool],
    packages: frozenset[str],
    resource_max: int | None,
    eta: int,
) -> None:
    searched = SPACES[space]
    facts = Facts(
        len(searched.names),
        searched.size,
        space != "conditional",
        num_trials,
        min(slots, num_trials),
        *flags,
        packages,
    )
    given = {} if resource_max is None else {"reduction_factor": eta}
    choice = Auto(resource_max=resource_max, **given).choose(facts)
    assert choice == Auto(resource_max=resource_max, **given).choose(facts)
    made = choosing.chosen(choice)
    made.setup(searched, num_trials, "max", 0)
    made.check()
    if made.gives_budget:
        assert facts.takes_budget
        assert facts.may_promote
        plan = made.plan()
        assert plan is not None
        assert len(plan.rungs) > 1
        assert plan.rungs[-1].trials or choice.options["resource_min"] > 1 or searched.size
    asked = {choice.name, choice.options.get("sampler")}
    assert "tpe" not in asked or "optuna" in packages or facts.has_earlier
    assert "gp" not in asked or "scipy" in packages


def config(project: Project, optimizer: dict[str, Any], **sections: Any) -> Path:
    project.write("user.py", sections.pop("train", TRAIN))
    search = {
        "space": SPACE,
        "num_trials": 40,
        "optimizer": optimizer,
        **sections.pop("search", {}),
    }
    return project.config(search=search, cluster={"kind": "inline"}, **sections)


def test_a_plan_says_what_and_why(project: Project) -> None:
    loaded = load_config(config(project, {"name": "auto", "resource_max": 9}))
    plan = make_plan(loaded)
    assert plan["optimizer"] == "ASHA"
    told = [note for note in plan["notes"] if "auto takes" in note]
    assert told[0].startswith("search.optimizer: auto takes {name: asha, resource_max: 9, ")
    assert loaded.data["search"]["optimizer"]["sampler"] == "gp"


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"train": "def train(x, n): return x"}, "gp"),
        ({"hparams": {"budget": 3}}, "gp"),
        ({"search": {"early_stop": {"name": "asha", "resource_max": 9}}}, "gp"),
        ({"search": {"early_stop": {"name": "median"}}}, "asha"),
    ],
)
def test_facts_are_read_off_the_config(
    project: Project, sections: dict[str, Any], name: str
) -> None:
    loaded = load_config(config(project, {"name": "auto", "resource_max": 9}, **sections))
    assert loaded.choice is not None
    assert loaded.choice.name == name


@pytest.mark.parametrize(
    ("optimizer", "search", "message"),
    [
        ({"resource_mx": 9}, {}, "unknown key; did you mean 'resource_max'?"),
        ({"resource_max": 0}, {}, "resource_max"),
        ({"resource_max": 3, "resource_min": 9}, {}, "resource_min 9 is over resource_max 3"),
        ({"resource_min": 3}, {}, "mean nothing without resource_max"),
        ({}, {"num_trials": None}, "how many configurations to sample"),
    ],
)
def test_what_it_can_not_go_by_is_refused(
    project: Project, optimizer: dict[str, Any], search: dict[str, Any], message: str
) -> None:
    file = config(project, {"name": "auto", **optimizer}, search=search)
    if search:
        data = yaml.safe_load(file.read_text())
        del data["search"]["num_trials"]
        file.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        load_config(file)


def test_a_resume_keeps_what_was_chosen_though_another_would_be_now(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = config(project, {"name": "auto"}, search={"num_trials": 22})
    run_dir = experiment.run(file, runs_dir=project.path / "runs", quiet=True).run_dir
    header = next(iter(read_journal(run_dir / "journal.jsonl")))
    assert header["config"]["search"]["optimizer"] == {"name": "gp"}
    assert header["chosen"]["asked"] == {"name": "auto"}
    assert any("was chosen by auto" in note for note in read_status(run_dir).to_json()["notes"])
    # Without SciPy and optuna it would be another one.
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    assert experiment.resume(run_dir, ["search.num_trials=24"], quiet=True).status == "finished"
    launches = [r for r in read_journal(run_dir / "journal.jsonl") if r["type"] == "Launch"]
    assert launches[-1]["reason"] == "proposed by the sampler"


def test_a_call_takes_it_and_goes_on_with_what_was_chosen(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)

    def call(num_trials: int, **more: Any) -> Any:
        return experiment.lagom(
            lambda x: x,
            searchspace=Searchspace(x=Float(range=(0.0, 1.0))),
            optimizer="auto",
            num_trials=num_trials,
            direction="max",
            cluster={"kind": "inline"},
            quiet=True,
            **more,
        )

    result = call(21)
    header = next(iter(read_journal(result.run_dir / "journal.jsonl")))
    assert header["config"]["search"]["optimizer"]["name"].endswith("model_based:GP")
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    assert len(call(23, resume=result.run_dir).trials) == 23


def test_it_is_shown_beside_what_it_chooses_from() -> None:
    from dotrain.config.catalogue import catalogue

    names = [entry.name for entry in catalogue() if entry.kind == "optimizer"]
    assert "auto" in names
    assert set(plugins.registered(plugins.OPTIMIZERS)) <= set(names)
    assert (
        str(Choice("tpe", {"candidates": 9}, "so"))
        == "auto takes {name: tpe, candidates: 9}, since so"
    )


def test_a_function_that_can_not_do_without_a_budget_gets_one(project: Project) -> None:
    train = "def train(x, budget, n=1, checkpoint=None): return x * budget"
    loaded = load_config(config(project, {"name": "auto", "resource_max": 9}, train=train))
    assert make_plan(loaded)["optimizer"] == "ASHA"
    with pytest.raises(ConfigError, match="asks for 'budget', which this optimizer doesn't give"):
        load_config(config(project, {"name": "auto"}, train=train))
