"""Every key that has a range or a length: the last value that goes, and the first that doesn't."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dotrain.config import LoadedConfig, load_config
from dotrain.config.errors import ConfigError, Problem, dotted
from dotrain.config.plan import make_plan
from dotrain.config.schema import Settings
from dotrain.config.secrets import NOT_KEPT, not_kept, without_secrets
from dotrain.config.writing import to_yaml
from tests.folder import Folder
from tests.late import hide

SEARCH: dict[str, Any] = {"num_trials": 2, "space": {"x": {"type": "float", "range": [0, 1]}}}
ABLATION: dict[str, Any] = {"components": {"c": {"a": 0}}, "seeds": 9}

#: Path, the last values that go, and the first that don't.
BOUNDS: list[tuple[str, list[Any], list[Any]]] = [
    ("seed", [0, 1], [-1]),
    ("metric", ["m"], [""]),
    ("name", ["a", "A.b_c-9", "a" * 100], [".a", "-a", "a b", "a" * 101]),
    ("search.num_trials", [1], [0]),
    ("ablation.seeds", [1], [0]),
    ("ablation.layer_groups", [[["a"]], [{"prefix": "a"}], [{"pattern": "a"}]], [[[]]]),
    ("ablation.layer_groups.0", [], [{"prefix": ""}, {"pattern": ""}]),
    ("cluster.workers", [1], [0]),
    ("cluster.connect_timeout_s", [0.001], [0, -1.0]),
    ("limits.trial_timeout_s", [0.001], [0, -1.0]),
    ("limits.max_time_s", [0.001], [0, -1.0]),
    ("limits.max_trial_time_s", [0.001], [0, -1.0]),
    ("resources.gpus", [0, 0.1, 1, 2.0], [-1, 1.5, "1"]),
    ("resources.cpus", [1, 8], [0, 1.0]),
    ("resources.memory", ["1B", "8GB", "1.5 GiB", "500kB"], ["8", "0GB", "8 XB", 8]),
    ("limits.trial_memory_mb", [0.001], [0, -1.0]),
    ("limits.silent_s", [0.001], [0, -1.0]),
    ("limits.retries", [0], [-1]),
    ("limits.max_failures", [1], [0]),
    ("data.validation", [0.001, 0.999], [0, 1]),
    ("data.file", ["a"], [""]),
    ("data.label", ["a"], [""]),
]


def with_value(path: str, value: Any) -> dict[str, Any]:
    keys = path.split(".")
    data: dict[str, Any] = {"train": "t.py:train", "metric": "m"}
    sections: dict[str, dict[str, Any]] = {
        "search": SEARCH,
        "ablation": ABLATION,
        "data": {"file": "f", "label": "l"},
    }
    if keys[0] in sections and len(keys) > 1:
        data[keys[0]] = dict(sections[keys[0]])
    if keys[-1] == "0":
        value, keys = [value], keys[:-1]
    place = data
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = value
    return data


@pytest.mark.parametrize(("path", "goes", "does_not"), BOUNDS, ids=lambda p: str(p)[:30])
def test_a_bound_is_where_it_is_said_to_be(path: str, goes: list[Any], does_not: list[Any]) -> None:
    for value in goes:
        Settings.model_validate_json(json.dumps(with_value(path, value)))
    for value in does_not:
        with pytest.raises(ValueError, match="validation error"):
            Settings.model_validate_json(json.dumps(with_value(path, value)))


def test_the_documented_defaults() -> None:
    settings = Settings(train="t.py:train", metric="m")
    assert settings.model_dump() == {
        "name": "",
        "train": "t.py:train",
        "model": None,
        "data": None,
        "prepare": None,
        "metric": "m",
        "direction": "max",
        "metrics": {},
        "value": None,
        "seed": 0,
        "hparams": {},
        "search": None,
        "ablation": None,
        "distribution": {"strategy": "single"},
        "cluster": {
            "kind": "local",
            "workers": None,
            "threads": None,
            "adapt": None,
            "address": None,
            "options": {},
            "tls": None,
            "connect_timeout_s": 10.0,
        },
        "resources": {"gpus": None, "cpus": None, "memory": None},
        "limits": {
            "trial_timeout_s": None,
            "max_trial_time_s": None,
            "max_time_s": None,
            "trial_memory_mb": None,
            "silent_s": None,
            "group_start_s": 60.0,
            "grace_s": 25.0,
            "retries": 2,
            "max_failures": 10,
        },
        "checkpoints": {"keep": "auto"},
        "storage": None,
        "journal": {"sync": None},
        "tensorboard": None,
        "ship": [],
        "env": [],
        **{
            key: settings.model_dump()[key]
            for key in ("observers",)
            if key in settings.model_dump()
        },
    }
    full = Settings.model_validate_json(json.dumps(with_value("search", LEAST_SEARCH)))
    assert full.search is not None
    assert (full.search.optimizer.name, full.search.early_stop.name) == ("random", "none")
    assert (full.search.num_trials, full.search.optimizer.options) == (None, {})
    study = Settings.model_validate({"train": "t", "metric": "m", "ablation": {}}).ablation
    assert study is not None
    assert study.model_dump() == {
        "features": [],
        "layers": [],
        "layer_groups": [],
        "models": {},
        "components": {},
        "ablator": {"name": "loco"},
        "early_stop": {"name": "none"},
        "seeds": 5,
        "keep_derived": False,
    }


LEAST_SEARCH = {"space": SEARCH["space"]}


@pytest.mark.parametrize("installed", [True, False])
def test_tensorboard_is_asked_for_only_where_it_is_installed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        hide(monkeypatch, "tensorboard")

    def writes(value: bool | None, kind: str = "inline") -> bool:
        sections = {} if value is None else {"tensorboard": value}
        data = {"train": "t.py:train", "metric": "m", "direction": "max", "cluster": {"kind": kind}}
        return bool(folder.load(json.dumps({**data, **sections})).observers)

    assert writes(None) == installed
    assert not writes(None, "simulated")
    assert not writes(False)
    if installed:
        assert writes(True, "simulated")
    else:
        with pytest.raises(ConfigError, match="TensorBoard is not installed"):
            writes(True)


@pytest.mark.parametrize("asked", [{}, {"tensorboard": True}])
def test_tensorboard_writes_once_however_often_it_is_asked_for(
    folder: Folder, asked: dict[str, Any]
) -> None:
    data = {"train": "t.py:train", "metric": "m", "direction": "max", "cluster": {"kind": "inline"}}
    by_name = {"observers": [{"name": "tensorboard"}], **asked}
    assert len(folder.load(json.dumps({**data, **by_name})).observers) == 1


def test_hyperparameters_are_finite_however_deep(folder: Folder) -> None:
    text = "train: t.py:train\nmetric: m\nhparams: {a: [1, {b: %s}]}\n"
    folder.load(text % "2.0")
    for value in (".inf", ".nan", "-.inf"):
        (problem,) = folder.problems(text % value)
        assert "a: expected finite numbers" in problem


# Secrets, problems, and what is written.


def test_secrets_are_not_kept_wherever_they_stand() -> None:
    data = {
        "cluster": {"options": {"password": "x", "API_KEY": "y", "cores": 4}},
        "list": [{"auth_token": 1}, "secret"],
    }
    kept = without_secrets(data)
    assert kept == {
        "cluster": {"options": {"password": NOT_KEPT, "API_KEY": NOT_KEPT, "cores": 4}},
        "list": [{"auth_token": NOT_KEPT}, "secret"],
    }
    assert list(not_kept(kept)) == [
        ("cluster", "options", "password"),
        ("cluster", "options", "API_KEY"),
        ("list", 0, "auth_token"),
    ]
    assert list(not_kept(kept["list"], ("here",))) == [("here", 0, "auth_token")]
    assert list(not_kept(data)) == []


def test_a_problem_says_where_and_what() -> None:
    assert dotted(("search", "space", "lr", "range", 0)) == "search.space.lr.range[0]"
    assert dotted((0, "a")) == "[0].a"
    assert dotted(()) == ""
    problems = [Problem("f:1:2", ("a", 1), "is wrong"), Problem("f", (), "can't be read")]
    assert str(ConfigError(problems)) == "f:1:2: a[1]: is wrong\nf: can't be read"
    assert ConfigError(problems).problems == problems


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [1, 2]}, "b: 1\na:\n- 1\n- 2\n"),
        ({"a": "ünï"}, "a: ünï\n"),
        ({"a": "1e-3", "b": "08", "c": "x\ty"}, 'a: "1e-3"\nb: "08"\nc: "x\\ty"\n'),
        ({"a": "x\ny"}, "a: 'x\n\n  y'\n"),
    ],
)
def test_what_is_written_is_for_people(value: Any, text: str) -> None:
    assert to_yaml(value) == text


def test_one_line_is_one_line() -> None:
    assert to_yaml({"b": [1, 2], "a": "x" * 300}, one_line=True) == f"{{b: [1, 2], a: {'x' * 300}}}"
    assert to_yaml("text", one_line=True) == "text"
    assert to_yaml(1.5, one_line=True) == "1.5"


# A run that goes on.


def goes_on(folder: Folder, text: str) -> LoadedConfig:
    return load_config(folder.write("config.yaml", text), goes_on=True)


HEAD = "train: t.py:train\nmetric: m\n"


def test_in_a_run_that_goes_on_some_mistakes_come_too_late(folder: Folder) -> None:
    folder.write("t.py", "def train(a):\n    return 1.0\n")
    text = "train: t.py:train\nmetric: loss\nhparams: {a: 1, b: 2}\n"
    refused = folder.problems(text)
    assert len(refused) == 2
    loaded = goes_on(folder, text)
    assert [str(p).partition("config.yaml:")[2] for p in loaded.warnings] == refused
    assert (loaded.notes, loaded.guessed) == ([], ())


def test_what_nobody_wrote_is_a_guess_that_is_said_once(folder: Folder) -> None:
    loaded = folder.load(HEAD)
    assert [note.message for note in loaded.notes] == ["taken as max; write it to be sure"]
    assert loaded.guessed == ("direction max",)
    assert folder.load(HEAD + "direction: max\n").guessed == ()
    later = goes_on(folder, HEAD)
    assert (later.notes, later.guessed) == ([], ())


@pytest.mark.parametrize("mode", ["run", "ablate"])
def test_a_searched_parameter_is_fixed_for_an_ablation_only(folder: Folder, mode: Any) -> None:
    file = folder.write(
        "config.yaml",
        HEAD
        + "hparams: {x: 1}\n"
        + "search: {num_trials: 2, space: {x: {type: int, range: [0, 3]}}}\n"
        + "ablation: {components: {c: {x: 0}}, seeds: 9}\n",
    )
    if mode == "run":
        with pytest.raises(ConfigError, match="x: is searched as well"):
            load_config(file, mode=mode)
    else:
        loaded = load_config(file, mode=mode)
        assert loaded.study is not None
        assert (loaded.optimizer.num_trials, loaded.space.names) == (18, ())
        assert (loaded.mode, loaded.settings.search is not None) == ("ablate", True)


def test_an_ablation_asks_for_its_section(folder: Folder) -> None:
    file = folder.write("config.yaml", HEAD)
    with pytest.raises(ConfigError, match="ablation: required for an ablation study"):
        load_config(file, mode="ablate")
    assert load_config(file).study is None


def test_too_few_seeds_are_warned_of_where_the_study_is_run(folder: Folder) -> None:
    text = HEAD + "ablation: {components: {c: {x: 0}, d: {y: 0}}, seeds: %s}\n"
    for seeds, count in (("2", 1), ("20", 0)):
        file = folder.write("config.yaml", text % seeds)
        warnings = [str(w) for w in load_config(file, mode="ablate").warnings if "seeds" in str(w)]
        assert len(warnings) == count
        assert not [w for w in load_config(file).warnings if "seeds" in str(w)]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{}", "ablation: leaves nothing out; expected features"),
        ("{features: [a, a]}", "features[1]: feature:a is named twice"),
        ("{features: [a]}", "features[0]: the config has no 'data:'"),
        ("{layers: [a]}", "layers[0]: the config has no 'model:'"),
        ("{models: {a: 't.py:train'}}", "models.a: the config has no 'model:'"),
        ("{layer_groups: [[a, b]]}", "layer_groups[0]: the config has no 'model:'"),
        ("{layer_groups: [{prefix: a}]}", "layer_groups[0]: the config has no 'model:'"),
        ("{layer_groups: [[a], {pattern: b}]}", "layer_groups[1]: the config has no 'model:'"),
        ("{components: {c: {}}}", "components.c: changes nothing"),
        ("{components: {c: {a: 1}}}", "components.c.a: changes nothing: hparams.a is 1 already"),
        ("{components: {c: {reporter: 1}}}", "c.reporter: this name is reserved"),
        (
            "{components: {c: {b: 1}, d: {b: 2}}, ablator: {name: pairs, pairs: [['component:c', "
            "'component:d']]}}",
            "arm component:c+component:d: ",
        ),
        ("{components: {c: {b: 1}}, ablator: {name: pairs, pairs: []}}", "makes no arm beside"),
        ("{components: {c: {b: 1}}, ablator: {name: pairs, pairs: [[a, b]]}}", "unknown component"),
    ],
)
def test_a_study_that_can_not_be_is_refused_with_its_place(
    folder: Folder, section: str, message: str
) -> None:
    found = folder.problems(HEAD + "hparams: {a: 1}\nablation: " + section + "\n")
    assert any(message in problem for problem in found), found


def test_sound_studies_are_taken(folder: Folder) -> None:
    folder.write("d.py", "def load(features):\n    return []\ndef model():\n    return 1\n")
    loaded = folder.load(
        HEAD
        + "hparams: {a: 1}\ndata: d.py:load\nmodel: d.py:model\nablation:\n"
        + "  features: [f, g]\n  layers: [l]\n  components: {c: {a: 2, budget: 1}}\n"
        + "  layer_groups: [[l, m], {prefix: p_}, {pattern: 'q*'}]\n  models: {n: d.py:model}\n"
        + "  seeds: 30\n"
    )
    assert loaded.study is not None
    names = list(loaded.study.components)
    assert names == [
        "feature:f",
        "feature:g",
        "layer:l",
        "group:l+m",
        "group:p_*",
        "group:q*",
        "model:n",
        "component:c",
    ]
    assert [arm.name for arm in loaded.study.arms] == ["baseline", *names]
    assert (loaded.study.seeds, loaded.study.adds) == (30, False)
    assert list(loaded.models) == ["n"]


def test_arms_of_a_strangers_ablator_are_checked(folder: Folder) -> None:
    folder.write(
        "mine.py",
        """
        from dotrain.ablation.ablators import AbstractAblator
        from dotrain.ablation.study import Arm

        class Mine(AbstractAblator):
            def __init__(self, *, case: str) -> None:
                self.case = case

            def arms(self, components):
                one, two = (component.name for component in components)
                return {
                    "unknown": [Arm("x", ("component:z",))],
                    "twice": [Arm("x", (one,)), Arm("x", (two,))],
                    "baseline": [Arm("x", (one,)), Arm("y")],
                    "untold": [Arm("x", (one,))],
                    "fine": [Arm("x", (one,)), Arm("y", (two,))],
                }[self.case]
        """,
    )
    text = HEAD + (
        "ablation: {components: {c: {a: 1}, d: {b: 1}}, seeds: 30, "
        "ablator: {name: 'mine:Mine', case: %s}}\n"
    )
    for case, message in [
        ("unknown", "arm x: unknown component 'component:z'"),
        ("twice", "makes two arms named x"),
        ("baseline", "arm y leaves out the same as the baseline"),
    ]:
        (problem,) = folder.problems(text % case)
        assert message in problem
    for case, count in (("untold", 1), ("fine", 0)):
        file = folder.write("config.yaml", text % case)
        told = [w for w in load_config(file, mode="ablate").warnings if "all arms" in w.message]
        assert len(told) == count
    assert told == []


@pytest.mark.parametrize(
    ("budget", "optimizer", "refused"),
    [
        ("hparams: {budget: 3}\n", "{name: random}", False),
        ("hparams: {budget: 3}\n", "{name: asha, resource_max: 3}", True),
        ("hparams: {reporter: 3}\n", "{name: random}", True),
    ],
)
def test_the_budget_is_free_where_no_optimizer_gives_one(
    folder: Folder, budget: str, optimizer: str, refused: bool
) -> None:
    search = f"search: {{num_trials: 2, optimizer: {optimizer}, space: {{x: [INTEGER, [0, 3]]}}}}\n"
    text = HEAD + budget + search
    if refused:
        assert any("this name is reserved" in p for p in folder.problems(text))
    else:
        assert folder.load(text).settings.hparams == {"budget": 3}


def test_an_optimizer_that_can_not_say_what_it_will_do_has_no_numbers_in_the_plan(
    folder: Folder,
) -> None:
    folder.write(
        "mine.py",
        """
        from dotrain import AbstractOptimizer

        class Mine(AbstractOptimizer):
            def initialize(self):
                pass

            def get_suggestion(self, trial=None):
                return None
        """,
    )
    search = "search: {num_trials: 2, optimizer: {name: %s}, space: {x: [INTEGER, [0, 3]]}}\n"
    known = make_plan(folder.load(HEAD + search % "random"))
    unknown = make_plan(folder.load(HEAD + search % "'mine:Mine'"))
    assert (known["configurations"], known["launches"]) == (2, 2)
    assert set(known) - set(unknown) == {"configurations", "launches"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster: {kind: simulated, options: {steps: 0}}\n", "cluster.options.steps: expected a"),
        ("cluster: {kind: simulated, options: {stesp: 1}}\n", "did you mean 'steps'?"),
        ("cluster: {kind: address}\n", "cluster.address: kind 'address' needs "),
        ("cluster: {kind: nowhere}\n", "cluster.kind: "),
        (
            "cluster: {kind: inline, workers: 2}\n",
            "cluster.workers: kind 'inline' runs one trial at a time",
        ),
        ("cluster: {kind: local, address: 'tcp://a:1'}\n", "cluster.address: goes with "),
        ('hparams: {"a\\ud800": 1}\n', "is not text"),
    ],
)
def test_a_cluster_or_a_key_that_can_not_be_is_told_with_its_place(
    folder: Folder, text: str, message: str
) -> None:
    found = folder.problems(HEAD + text)
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith("3:")
