"""What a config gives that no function takes: refused before trials are trained equal."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dotrain.config import ConfigError, load_config
from dotrain.config.plan import make_plan
from tests.folder import Folder

HEAD = "train: u.py:train\nmetric: accuracy\n"
SPACE = "search:\n  num_trials: 3\n  space:\n    lr: {type: float, range: [0, 1]}\n"
ASHA = SPACE + "  optimizer: {name: asha, resource_max: 9}\n"


def test_a_parameter_of_the_space_that_no_function_takes_is_refused(folder: Folder) -> None:
    folder.write("u.py", "def train(lr, units=3): return lr\n")
    text = HEAD + SPACE + "    unitz: {type: int, range: [1, 9]}\n"
    assert folder.problems(text) == [
        "7:5: search.space.unitz: no function takes 'unitz'; did you mean 'units'?"
    ]


def test_a_fixed_hyperparameter_that_no_function_takes_is_refused(folder: Folder) -> None:
    folder.write("u.py", "def train(lr=1.0): return lr\n")
    assert folder.problems(HEAD, "hparams.lrr=3") == [
        "--set hparams.lrr=3: hparams.lrr: no function takes 'lrr'; did you mean 'lr'?"
    ]
    folder.write("u.py", "def train(reporter): return 1.0\n")
    assert folder.problems(HEAD, "hparams.lr=3") == [
        "--set hparams.lr=3: hparams.lr: no function takes 'lr'; take it out, or let the train "
        "function take it"
    ]


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("def train(lr): return lr\n", ""),
        ("def train(*, lr=1): return lr\n", ""),
        ("def train(**anything): return 1\n", ""),
        ("def train(hparams): return 1\n", ""),
        ("import functools\n@functools.cache\ndef train(): return 1\n", ""),
        ("def train(model_gen): return 1\ndef f(lr): ...\n", "model: u.py:f\n"),
        ("def train(dataset_function): return 1\ndef f(lr): ...\n", "data: u.py:f\n"),
        ("def train(data_gen): return 1\ndef f(hparams): ...\n", "data: u.py:f\n"),
        (
            "def train(model_gen): return 1\ndef f(lr): ...\ndef g(): ...\n",
            "model: u.py:g\nablation: {models: {one: 'u.py:f'}}\n",
        ),
    ],
)
def test_any_function_may_take_it(folder: Folder, source: str, keys: str) -> None:
    folder.write("u.py", source)
    folder.load(HEAD + keys + "hparams: {lr: 1}\n")
    folder.load(HEAD + keys + SPACE)


@pytest.mark.parametrize("key", ["model", "data"])
def test_a_function_that_the_train_function_cannot_call_takes_nothing(
    folder: Folder, key: str
) -> None:
    folder.write("u.py", "def train(): return 1\ndef f(lr): ...\n")
    assert folder.problems(HEAD + f"{key}: u.py:f\nhparams: {{lr: 1}}\n") == [
        "4:11: hparams.lr: no function takes 'lr'; take it out, or let the train function take it"
    ]


def test_batch_size_is_taken_where_data_come_in_batches(folder: Folder) -> None:
    folder.write("u.py", "def train(data_gen): return 1\ndef load(): ...\ndef other(): return 1\n")
    folder.load(HEAD + "data: u.py:load\nhparams: {batch_size: 4}\n")
    assert folder.problems(HEAD + "hparams: {batch_size: 4}\n", "train=u.py:other") == [
        "3:11: hparams.batch_size: no function takes 'batch_size'; take it out, or let the train "
        "function take it"
    ]


def test_a_component_switches_what_a_function_takes(folder: Folder) -> None:
    folder.write("u.py", "def train(lr=1): return lr\n")
    text = HEAD + "hparams: {l_r: 1}\nablation: {components: {step: {l_r: 2}}}\n"
    assert folder.problems(text) == [
        "3:11: hparams.l_r: no function takes 'l_r'; did you mean 'lr'?",
        "4:32: ablation.components.step.l_r: no function takes 'l_r'; did you mean 'lr'?",
    ]


def test_a_function_that_is_not_found_might_take_anything(folder: Folder) -> None:
    folder.write("u.py", "def train(): return 1\n")
    [found] = folder.problems(HEAD + "model: u.py:build\nhparams: {lr: 1}\n")
    assert found.startswith("3:8: model: ")


names = st.lists(st.sampled_from(["lr", "units", "width", "batch_size", "budget"]), unique=True)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names, names, names)
def test_exactly_what_nobody_takes_is_refused(
    folder: Folder, given_: list[str], train: list[str], model: list[str]
) -> None:
    def parameters(taken: list[str]) -> str:
        return ", ".join(f"{name}=1" for name in taken)

    folder.write(
        "u.py",
        f"def train({parameters(['model_gen', *train])}): return 1\ndef build({parameters(model)}): ...\n",
    )
    text = HEAD + "model: u.py:build\nhparams: {" + ", ".join(f"{n}: 1" for n in given_) + "}\n"
    wrong = [name for name in given_ if name not in {*train, *model}]
    if wrong:
        found = folder.problems(text)
        assert [line.split(": ")[1] for line in found] == [f"hparams.{name}" for name in wrong]
    else:
        folder.load(text)


# A budget


def test_a_function_that_can_not_keep_to_a_budget_is_refused(folder: Folder) -> None:
    file = folder.write("u.py", "\ndef train(lr, hparams): return lr\n")
    for kind in ("local", "simulated"):
        assert folder.problems(HEAD + ASHA, f"cluster.kind={kind}") == [
            f"1:8: train: {file}:2: train() doesn't ask for 'budget', which ASHA gives each trial, "
            "so every attempt would train in full; ask for budget and train for so many steps, or "
            "take another optimizer"
        ]
    folder.load(HEAD + SPACE)


@pytest.mark.parametrize(
    "source",
    [
        "def train(lr, budget): return lr\n",
        "def train(lr, budget=3): return lr\n",
        "def train(lr, **more): return lr\n",
        "train = make()\n",
        "def train(lr): return lr\ndef f(budget): ...\n",
    ],
)
def test_a_budget_is_taken_or_hidden(folder: Folder, source: str) -> None:
    folder.write("u.py", source)
    keys = "data: u.py:f\n" if "def f" in source else ""
    folder.load(HEAD + keys + ASHA)


def test_a_function_that_is_not_found_might_take_the_budget(folder: Folder) -> None:
    folder.write("u.py", "def train(lr): return lr\n")
    [found] = folder.problems(HEAD + "model: u.py:build\n" + ASHA)
    assert found.startswith("3:8: model: ")


def test_any_optimizer_that_gives_a_budget_is_meant(folder: Folder) -> None:
    folder.write("u.py", "def train(lr): return lr\n")
    folder.write(
        "gives_budgets.py",
        """
        from dotrain.optimizers.random import RandomSearch

        class Mine(RandomSearch):
            gives_budget = True
        """,
    )
    [found] = folder.problems(HEAD + SPACE + "  optimizer: {name: 'gives_budgets:Mine'}\n")
    assert "doesn't ask for 'budget', which Mine gives each trial" in found


# A value


@pytest.mark.parametrize(
    "body",
    ["pass", "return", "return None", "def f(): return 1", "f = lambda: 1", "1\n    return"],
)
def test_a_function_that_gives_no_value_is_warned_of(folder: Folder, body: str) -> None:
    file = folder.write("u.py", f"def train():\n    {body}\n")
    assert make_plan(folder.load(HEAD))["warnings"] == [
        f"{folder.path / 'config.yaml'}:1:8: train: {file}:1: train() neither returns a value nor "
        "reports one, so every trial would fail; return accuracy, or ask for reporter"
    ]


@pytest.mark.parametrize(
    "source",
    [
        "def train(): return 1\n",
        "def train():\n    for _ in x:\n        if y:\n            return {}\n",
        "def train(reporter): reporter.broadcast(1)\n",
        "def train(reporter): fit(callbacks=[C(reporter)])\n",
        "def train(reporter):\n    def f(): reporter.broadcast(1)\n    f()\n",
        "@wrap\ndef train(): pass\n",
    ],
)
def test_a_function_that_returns_or_may_report_is_not(folder: Folder, source: str) -> None:
    folder.write("u.py", source)
    assert make_plan(folder.load(HEAD))["warnings"] == []


def test_which_report_is_the_value_can_be_chosen(folder: Folder) -> None:
    folder.write("u.py", "def train(reporter): reporter.broadcast(1)\n")
    assert folder.load(HEAD).settings.value is None
    assert folder.load(HEAD + "value: last\n").settings.value == "last"
    assert folder.load(HEAD + "value: best\n").settings.value == "best"
    assert folder.problems(HEAD + "value: first\n") == [
        "3:8: value: expected 'last' or 'best', got 'first'"
    ]


BROKEN_WHENS = [
    *("opt", "3", "[rate]", "{rate: []}", "{rate: 1}", "{rate: [1, 10]}", "{rate: null}"),
    *("{rat: 1}", "{rate: {min: 20}}", "{rate: {mn: 2}}", "{rate: {}}", "{rate: {min: a}}"),
    *("{rate: {min: 3, max: 2}}", "{rate: {min: .nan}}", "{more: 1}", "{extra: 1}", "{n: 7}"),
    *("{n: {min: 7}}", "{n: {min: 1.2, max: 1.8}}", "{opt: {min: 1}}", "{opt: [[sgd]]}"),
]


@pytest.mark.parametrize("when", BROKEN_WHENS)
def test_a_broken_condition_is_one_message(folder: Folder, when: str):
    folder.write("own.py", "def train(rate, n, opt, extra=0, more=0):\n    return 1.0\n")
    problems = folder.problems(
        "train: own.py:train\nmetric: accuracy\nsearch:\n  num_trials: 3\n  space:\n"
        "    rate: {type: float, range: [0.1, 10]}\n"
        "    n: {type: int, range: [1, 5]}\n"
        "    opt: [CATEGORICAL, [sgd, adam]]\n"
        f"    extra: {{type: int, range: [1, 2], when: {when}}}\n"
        "    more: {type: int, range: [1, 2], when: {extra: 1}}\n"
    )
    assert len(problems) == 1, problems
    assert problems[0].startswith("9:"), problems
    assert "search.space.extra" in problems[0]


def test_a_broken_condition_hides_no_other_mistake(folder: Folder):
    folder.write("own.py", "def train(rate, extra):\n    return 1.0\n")
    problems = folder.problems(
        "train: own.py:train\nmetric: accuracy\nsearch:\n  space:\n"
        "    rate: {type: float, range: [0.1, 10]}\n"
        "    extra: {type: int, range: [1, 2], when: {rate: 20}}\n"
        "    other: {type: int, range: [1, 2]}\n"
    )
    assert [p.split(": ")[1] for p in problems] == [
        "train", "search.num_trials", "search.space.extra", "search.space.other"
    ]  # fmt: skip
    assert "'extra', which only some trials have; write a default" in problems[0]


def test_a_run_that_began_with_a_condition_that_never_held_goes_on(folder: Folder):
    file = folder.write(
        "config.yaml",
        "train: t.py:train\nmetric: accuracy\nsearch:\n  num_trials: 3\n  space:\n"
        "    rate: {type: float, range: [0.1, 10]}\n"
        "    extra: {type: int, range: [1, 2], when: {rate: [1, 10]}}\n",
    )
    with pytest.raises(ConfigError, match=r"write a range: {min: 1, max: 10}"):
        load_config(file)
    space = load_config(file, goes_on=True).space
    assert list(space.sample(Random(0))) == ["rate"]


# What nobody watches


def test_limits_of_a_process_are_warned_of_where_trials_have_none(folder: Folder) -> None:
    folder.write("u.py", "def train(): return 1\n")
    text = HEAD + "cluster: {kind: inline}\nlimits: {trial_memory_mb: 1000, silent_s: 60}\n"
    warnings = [str(w).partition("config.yaml:")[2] for w in folder.load(text).warnings]
    why = "isn't watched with cluster.kind: inline, which runs trials in this process"
    assert warnings == [
        f"4:27: limits.trial_memory_mb: {why}; use cluster.kind: local",
        f"4:43: limits.silent_s: {why}; use cluster.kind: local",
    ]
    assert not folder.load(text.replace("inline", "local")).warnings
    assert not folder.load(HEAD + "cluster: {kind: inline}\n").warnings
