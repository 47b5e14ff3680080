"""What a call from Python gives by value is checked as a config is, and told in its own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dotrain import AbstractEarlyStop, AbstractOptimizer
from dotrain.config import ConfigError, LoadedConfig
from dotrain.config.errors import Path as KeyPath
from dotrain.config.load import load_given
from dotrain.config.naming import read_run_name
from dotrain.config.parts import Given
from dotrain.config.secrets import NOT_KEPT
from dotrain.config.source import Source
from dotrain.optimizers.random import RandomSearch
from dotrain.optimizers.single import Single
from dotrain.usercode.by_value import GivenFunction
from tests.folder import Folder

SPACE = {"x": {"type": "float", "range": [0, 1]}}
SEARCH: dict[str, Any] = {"space": SPACE, "num_trials": 3}


def train(x: float = 0.0) -> float:
    return x


def asks(
    model_gen: Any, reporter: Any, y: float, budget: int, x: float = 0.0, features: Any = None
) -> float:
    return x


def call(
    functions: Mapping[str, Callable[..., Any]] = {"train": train},
    plugins: Mapping[KeyPath, object] = {},
    *,
    goes_on: bool = False,
    **sections: Any,
) -> LoadedConfig:
    data = {"name": "mine", "metric": "m", "direction": "max", "seed": 0, **sections}
    data |= {key: f"lagom:{key}" for key in functions}
    names: dict[KeyPath, str] = {("train",): "train_fn", ("search", "optimizer"): "optimizer"}
    given = {(key,): GivenFunction(function) for key, function in functions.items()}
    source = Source.of_call(data, names)
    return load_given(source, Given(given, plugins), mode="run", goes_on=goes_on)


def problems(*arguments: Any, **sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **sections)
    return [str(problem) for problem in caught.value.problems]


class Mine(AbstractOptimizer):
    def initialize(self) -> None: ...

    def get_suggestion(self, trial: Any = None) -> None: ...


class Unfit(AbstractOptimizer):
    def initialize(self) -> None: ...

    def get_suggestion(self) -> None: ...  # type: ignore[override]


class Rule(AbstractEarlyStop):
    def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> None: ...


def test_functions_and_plugins_are_those_that_were_given() -> None:
    rule = Rule()
    plugins = {("search", "optimizer"): Mine, ("search", "early_stop"): rule}
    loaded = call({"train": train, "model": list}, plugins, search=SEARCH)
    assert (type(loaded.optimizer), loaded.early_stop) == (Mine, rule)
    assert isinstance(loaded.train, GivenFunction)
    assert isinstance(loaded.model, GivenFunction)
    assert (loaded.train.value, loaded.model.value, loaded.dataset) == (train, list, None)
    assert (loaded.settings.name, loaded.folder, loaded.space.names) == ("mine", Path.cwd(), ("x",))
    assert Path(__file__) in loaded.closure.files
    assert loaded.archived is False
    assert type(call(search=SEARCH).optimizer) is RandomSearch


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (3, "expected a name, a mapping or a dotrain.AbstractOptimizer, got 3"),
        (Rule, "expected a name, a mapping or a dotrain.AbstractOptimizer, got <class"),
        (Unfit(), "get_suggestion(self) can't be called as get_suggestion(trial)"),
    ],
)
def test_what_is_no_such_plugin_is_refused(plugin: object, message: str) -> None:
    (found,) = problems(plugins={("search", "optimizer"): plugin}, search=SEARCH)
    assert found.startswith("optimizer: ")
    assert message in found


def test_what_a_function_asks_for_and_nobody_gives_is_refused() -> None:
    where = f"train_fn: {__file__}:{asks.__code__.co_firstlineno}: asks() asks for "
    found = problems({"train": asks}, search=SEARCH)
    assert found == [
        f"{where}'model_gen', but the call gives no 'model'",
        f"{where}'y', which nobody provides; known: budget, checkpoint, data_gen, "
        "dataset_function, dist_strategy, hparams, model_function, model_gen, reporter, seed, "
        "trial_dir, x",
        f"{where}'budget', which this optimizer doesn't give; write a default, "
        "or put it under hparams",
    ]
    # An optimizer of one's own may give trials whatever it wants to.
    assert problems({"train": asks}, {("search", "optimizer"): Mine()}, search=SEARCH) == found[:1]


def test_a_call_that_goes_on_is_warned_of_what_it_can_not_change_any_more() -> None:
    (refused,) = problems(hparams={"z": 1})
    assert refused.startswith("hparams.z: no function takes 'z'")
    assert [str(warning) for warning in call(goes_on=True, hparams={"z": 1}).warnings] == [refused]


# What is called before the first trial


def prepare(path: str, size: int = 1) -> None: ...


def test_what_is_called_before_the_first_trial_gets_no_arguments(folder: Folder) -> None:
    (found,) = problems({"train": train, "prepare": prepare})
    line = prepare.__code__.co_firstlineno
    assert found == (
        f"prepare: {__file__}:{line}: prepare() asks for 'path', but is called without arguments; "
        "write defaults"
    )
    file = folder.write("p.py", "def one(a, b, c=1): ...\ndef two(a=1, *more): ...\n")
    text = "train: t.py:train\nmetric: m\nsed: 1\nprepare: p.py:one\n"
    assert folder.problems(text) == [
        "3:1: sed: unknown key; did you mean 'seed'?",
        f"4:10: prepare: {file}:1: one() asks for 'a', 'b', but is called without arguments; "
        "write defaults",
    ]
    folder.load("train: t.py:train\nmetric: m\nprepare: p.py:two\n")


def test_what_others_can_not_import_prepares_nothing_for_them() -> None:
    def here() -> None: ...

    call({"train": train, "prepare": here})
    here.__module__ = "__main__"
    (found,) = problems({"train": train, "prepare": here})
    assert found.startswith("prepare: here() is defined in a script or a notebook")


# What an earlier run has not kept


def test_a_secret_that_was_not_kept_is_asked_for(folder: Folder) -> None:
    head = "train: t.py:train\nmetric: m\n"
    options = f"cluster: {{kind: a.Cluster, options: {{b: [1, '{NOT_KEPT}']}}}}\n"
    assert folder.problems(head + options)[-1] == (
        "3:45: cluster.options.b[1]: was not kept; give it again with "
        "--set cluster.options.b[1]=..."
    )
    found = folder.problems(head + f"observers: [{{name: tensorboard, key: '{NOT_KEPT}'}}]\n")
    assert found[0] == "3:33: observers[0].key: unknown key; known: name"
    assert any("was not kept; give the whole list again with --set observers=" in p for p in found)


# The name of a run


def test_a_run_is_named_by_its_config_whatever_else_is_wrong(tmp_path: Path) -> None:
    for text, name in [("name: a-b\nsed: 1\n", "a-b"), ("name: ''\n", "my-c"), ("x: y\n", "my-c")]:
        file = tmp_path / "my c.yaml"
        file.write_text(text)
        assert read_run_name(file) == name


def test_a_call_that_searches_nothing_runs_once_unless_it_names_an_optimizer() -> None:
    assert type(call(search={"space": {}}).optimizer) is Single
    named = {"space": {}, "optimizer": {"name": "random"}, "num_trials": 2}
    assert type(call(search=named).optimizer) is RandomSearch
    assert type(call().optimizer) is Single
