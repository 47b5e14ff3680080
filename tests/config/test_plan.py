"""What `dotrain check` says a config will do."""

from __future__ import annotations

import json
import re

import pytest

from dotrain.config.plan import make_plan
from dotrain.report.result import print_plan
from dotrain.runs.preparing import say
from tests.folder import Folder

HEAD = "train: t.py:train\nmetric: m\nname: demo\n"
SPACE = "  space:\n    n: {type: int, range: [1, 3]}\n    c: [CATEGORICAL, [a, b]]\n"


def test_the_plan_of_a_single_run(folder: Folder):
    plan = make_plan(folder.load(HEAD + "cluster: {kind: inline}\nseed: 4\n"))
    assert (
        plan.items()
        >= {
            "name": "demo",
            "mode": "single run",
            "train": f"{folder.path / 't.py'}:train",
            "metric": "m",
            "direction": "max",
            "seed": 4,
            "space": {},
            "cluster": "inline",
            "slots": 1,
            "configurations": 1,
            "launches": 1,
        }.items()
    )


@pytest.mark.parametrize(
    ("search", "configurations", "launches"),
    [
        ("  num_trials: 5\n", 5, 5),
        ("  optimizer: {name: grid}\n", 6, 6),
        ("  optimizer: {name: grid}\n  num_trials: 4\n", 4, 4),
        ("  num_trials: 7\n", 6, 6),
        ("  num_trials: 5\n  optimizer: {name: asha, resource_max: 9}\n", 5, 5 + 1),
        ("  num_trials: 9\n  optimizer: {name: asha, resource_max: 9}\n", 6, 6 + 2),
    ],
)
def test_the_plan_of_a_search_counts_what_it_will_launch(
    folder: Folder, search: str, configurations: int, launches: int
):
    plan = make_plan(folder.load(HEAD + "search:\n" + SPACE + search))
    assert (plan["configurations"], plan["launches"]) == (configurations, launches)
    assert plan["space"] == {"n": "int[1, 3]", "c": "categorical[a, b]"}
    assert plan["mode"] == "search"


def test_the_plan_of_asha_has_its_rungs_and_the_budget(folder: Folder):
    text = HEAD + "search:\n" + SPACE.replace("[1, 3]", "[1, 30]") + "  num_trials: 9\n"
    plan = make_plan(folder.load(text + "  optimizer: {name: asha, resource_max: 9}\n"))
    assert [(rung["budget"], rung["trials"]) for rung in plan["rungs"]] == [(1, 9), (3, 3), (9, 1)]
    assert plan["steps"] == 9 * 1 + 3 * 2 + 1 * 6
    assert plan["steps_from_scratch"] == 9 * 1 + 3 * 3 + 1 * 9


def test_the_slots_are_the_workers_asked_for_or_the_cores(folder: Folder):
    assert make_plan(folder.load(HEAD + "cluster: {workers: 3}\n"))["slots"] == 3
    assert make_plan(folder.load(HEAD))["slots"] >= 1
    address = HEAD + "cluster: {kind: address, address: 'tcp://host:1'}\n"
    assert make_plan(folder.load(address))["slots"] is None


def test_the_plan_has_the_constraints_and_the_share_of_the_space_that_meets_them(
    folder: Folder, capsys: pytest.CaptureFixture[str]
):
    search = HEAD + "search:\n" + SPACE + "  num_trials: 9\n"
    assert make_plan(folder.load(search))["space_share"] is None
    plan = make_plan(folder.load(search + "  space_constraints: [n >= size]\nhparams: {size: 2}\n"))
    assert plan["space_constraints"] == ["n >= size"]
    assert plan["space_share"] == {"met": 4, "of": 6, "is_exact": True}
    assert plan["configurations"] == 4
    print_plan(plan)
    assert re.search(
        r"constraint +n >= size\n *met by +4 of 6 configurations", capsys.readouterr().out
    )


def test_a_plan_is_plain_data(folder: Folder):
    text = HEAD + "search:\n" + SPACE + "  num_trials: 9\n"
    plan = make_plan(folder.load(text + "  optimizer: {name: asha, resource_max: 9}\n"))
    assert json.loads(json.dumps(plan)) == plan


@pytest.mark.parametrize("kind", ["local", "simulated"])
def test_the_slots_are_at_least_those_of_one_trial(folder: Folder, kind: str, monkeypatch):
    monkeypatch.setattr("dotrain.executors.local.available_cores", lambda: 2)
    text = HEAD + "distribution: {strategy: multi_worker_mirrored, workers: 4}\n"
    loaded = folder.load(text, f"cluster.kind={kind}")
    assert (make_plan(loaded)["slots"], make_plan(loaded)["slots_per_trial"]) == (4, 4)


def test_the_plan_has_the_fixed_hyperparameters(folder: Folder):
    assert make_plan(folder.load(HEAD + "hparams: {batch_size: 64}\n"))["hparams"] == {
        "batch_size": 64
    }


def test_the_plan_of_a_study_counts_arms_without_the_baseline(folder: Folder):
    study = "ablation: {components: {a: {x: 1}, b: {y: 1}}, seeds: 7}\n"
    plan = make_plan(folder.load(HEAD + study))
    assert plan["ablation"] == {"arms": 2, "seeds": 7, "trials": 21}
    assert "dotrain ablate: 2 arms and the baseline, 7 seeds each: 21 trials" in plan["notes"]


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("simulated", "not called: nothing is trained"),
        ("inline", "once, in this process"),
        ("local", "once on each host; if it leaves threads, in each attempt (the run's log names"),
    ],
)
def test_the_plan_says_where_a_function_prepares(folder: Folder, kind: str, where: str):
    text = HEAD + f"cluster: {{kind: {kind}}}\n"
    plan = make_plan(folder.load(text + "prepare: t.py:load\n"))
    assert plan["prepare"].startswith(f"load(), {where}")
    assert "prepare" not in make_plan(folder.load(text))


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ("{kind: address, address: 'tcp://host:1'}", r"anyone who reaches it .*use a tls://"),
        ("{kind: address, address: 'host:1'}", r"anyone who reaches it"),
        ("{kind: address, address: 'tcp://127.0.0.1:1'}", r"other users of this machine can run"),
        ("{kind: address, address: 'tcp://[::1]:1'}", r"other users of this machine can run"),
        ("{kind: some.Class}", r"cluster.kind: .*cluster\.options: \{security: true\}"),
        ("{kind: some.Class, options: {security: true}}", None),
        ("{kind: local}", None),
        ("{kind: inline}", None),
    ],
)
@pytest.mark.parametrize("others", [True, False])
def test_a_scheduler_that_takes_orders_from_anyone_is_warned_of(
    folder: Folder, monkeypatch, cluster: str, expected: str | None, others: bool
):
    monkeypatch.setattr("dotrain.executors.dask.kinds.others_here", lambda: others)
    warnings = make_plan(folder.load(f"{HEAD}cluster: {cluster}\n"))["warnings"]
    if expected is None or ("other users" in expected and not others):
        assert warnings == []
    else:
        (warning,) = warnings
        assert re.search(expected, warning)
        assert re.search(r"config.yaml:4:\d+: cluster\.(address|kind): .* can run code as", warning)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("cluster", "who", "is_said"),
    [
        ("{kind: local}", "other users of this machine", "if there are any"),
        ("{kind: address, address: 'tls://host:1', tls: {ca_file: t.py, cert: t.py, key: t.py}}",
         "whoever reaches them", "always"),
        ("{kind: simulated}", "", "never"),
    ],
)  # fmt: skip
def test_ports_without_authentication_are_told_of(
    folder: Folder, monkeypatch, capsys, cluster: str, who: str, is_said: str, workers: int
):
    text = f"distribution: {{strategy: multi_worker_mirrored, workers: {workers}}}\n"
    loaded = folder.load(f"{HEAD}direction: max\n{text}cluster: {cluster}\n")
    count = "2 ports between the ranks of a trial have" if workers == 2 else "1 port of a trial has"
    notes = [n for n in make_plan(loaded)["notes"] if f"{count} no authentication: {who}" in n]
    assert len(notes) == (is_said != "never")
    for others in (True, False):
        monkeypatch.setattr("dotrain.runs.preparing.others_here", lambda others=others: others)
        say(loaded, quiet=False)
        said = capsys.readouterr().err
        expected = is_said == "always" or (is_said == "if there are any" and others)
        assert said.count(f"warning: {count} no authentication") == expected
        say(loaded, quiet=True)
        assert capsys.readouterr().err == ""


def test_nothing_is_said_of_ports_where_there_are_none(folder: Folder, monkeypatch, capsys):
    monkeypatch.setattr("dotrain.runs.preparing.others_here", lambda: True)
    loaded = folder.load(HEAD + "direction: max\n")
    say(loaded, quiet=False)
    assert capsys.readouterr().err == ""
    assert make_plan(loaded)["notes"] == []


@pytest.mark.parametrize(
    ("strategy", "line"),
    [
        ("{strategy: ddp, workers: 2}", "ddp, 2 workers for each trial"),
        ("{strategy: multi_worker_mirrored, workers: 2}", "multi_worker_mirrored, 2 workers"),
        ("{strategy: mirrored, workers: 2}", "mirrored, 1 worker for each trial"),
        ("{strategy: single}", None),
    ],
)
def test_the_plan_says_how_a_trial_spans_workers(
    folder: Folder, strategy: str, line: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write("t.py", "def train(dist_strategy): return 1\n")
    cluster = "cluster: {kind: simulated, workers: 2}\n"
    print_plan(make_plan(folder.load(f"{HEAD}{cluster}distribution: {strategy}\n")))
    said = capsys.readouterr().out
    assert bool(re.search(rf"^strategy +{line}", said, re.MULTILINE)) == (line is not None)
