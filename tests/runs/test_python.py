"""The deck's snippets, and `lagom`, run as a user runs them: in scripts, unguarded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from dotrain import (
    AblationStudy,
    AbstractEarlyStop,
    AbstractOptimizer,
    Searchspace,
    Trial,
    experiment,
)
from dotrain.errors import DotrainError, JournalError, UsageError
from dotrain.runs import session
from dotrain.store import Contents, Sync
from tests.conftest import Project

DECK = """
from dotrain import experiment
from dotrain import Searchspace

nr_iterations = 3

sp = Searchspace(kernel=('INTEGER', [2, 8]),
                  pool=('INTEGER', [2, 8]))

def helper(value):
    return value / 10

def train_fn(kernel, pool):
    accuracy = 0
    for i in range(nr_iterations):
        accuracy += helper(kernel * pool)
    return accuracy

result = experiment.lagom(train_fn, searchspace=sp,
                          optimizer='randomsearch',
                          num_trials=5, name='demo',
                          direction='max')
print("TRIALS", len(result.trials), result.best["value"] > 0)
"""

PLUGINS = """
from dotrain import AbstractEarlyStop, AbstractOptimizer, Searchspace, Trial, experiment

class CustomOptimizer(AbstractOptimizer):
    def initialize(self):
        self.left = 4

    def get_suggestion(self, trial=None):
        # Return trial, return None if experiment finished
        if self.left == 0:
            return None
        self.left -= 1
        return Trial({'kernel': 2 + self.left})

    def finalize_experiment(self, trials):
        print("FINAL", sorted(t.params['kernel'] for t in trials))

class CustomEarlyStop(AbstractEarlyStop):
    def earlystop_check(to_check, finalized_trials, direction):
        return [t for t in to_check.values() if t.params['kernel'] == 3]

def train_fn(kernel, reporter):
    import itertools, time
    for step in itertools.count() if kernel == 3 else range(3):
        reporter.broadcast(metric=kernel)
        time.sleep(0.001)
    return kernel

result = experiment.lagom(train_fn, Searchspace(kernel=('INTEGER', [2, 8])),
                          optimizer=CustomOptimizer(), early_stop=CustomEarlyStop(),
                          num_trials=10, name='custom', direction='max')
print("COUNTS", result['trials'])
"""

GENERATORS = """
import contextlib
from dotrain import experiment

def build():
    return {'weights': 0}

def numbers(split):
    return [1, 2, 3] if split == 'train' else [4]

def train(model_gen, hparams, dist_strategy, data_gen):
    with dist_strategy():
        model = model_gen.create()
    return {'metric': sum(data_gen.batch()) + hparams['offset'], 'w': model['weights']}

def training_fn(dataset_function, model_function):
    model = model_function()
    return sum(dataset_function('validation')) + model['weights']

for function, hparams in ((train, {'offset': 10}), (training_fn, {})):
    result = experiment.lagom(function, model=build, data=numbers, hparams=hparams,
                              cluster={'kind': 'inline'}, quiet=True)
    print("VALUE", result.best['value'])
"""


def script(project: Project, source: str, **options: Any) -> str:
    file = project.write("script.py", source)
    done = subprocess.run(
        [sys.executable, file.name],
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_decks_search_runs_as_an_unguarded_script_on_dask(project: Project) -> None:
    assert "TRIALS 5 True" in script(project, DECK)


def test_the_decks_plugins_run_as_they_stand(project: Project) -> None:
    out = script(project, PLUGINS)
    assert "FINAL [2, 3, 4, 5]" in out
    assert "COUNTS {'total': 4, 'finished': 3, 'stopped': 1, 'diverged': 0, 'failed': 0}" in out


def test_the_decks_train_function_and_maggys_older_names(project: Project) -> None:
    out = script(project, GENERATORS)
    assert "VALUE 16.0" in out
    assert "VALUE 4.0" in out


def inline(function, project: Project, **options):  # type: ignore[no-untyped-def]
    options = {"cluster": {"kind": "inline"}, "runs_dir": project.path, "quiet": True, **options}
    return experiment.lagom(function, **options)


def test_no_search_space_is_one_run(project: Project) -> None:
    result = inline(lambda: 0.5, project)
    assert [t.final_metric for t in result.trials] == [0.5]


def test_options_of_a_named_optimizer_are_checked(project: Project) -> None:
    space = Searchspace(x=("DOUBLE", [0.0, 1.0]))
    with pytest.raises(UsageError, match="resource_max: required key is missing"):
        inline(lambda x: x, project, searchspace=space, optimizer="asha", num_trials=3)
    result = inline(
        lambda x, budget: x + budget,
        project,
        searchspace=space,
        optimizer={"name": "asha", "resource_max": 9},
        num_trials=9,
    )
    assert max(t.budget for t in result.trials) == 9


def test_a_search_without_num_trials_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match="num_trials: required by this optimizer"):
        inline(lambda x: x, project, searchspace=Searchspace(x=("DOUBLE", [0.0, 1.0])))


def test_an_unknown_section_key_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match=r"cluster\.wrokers"):
        inline(lambda: 1, project, cluster={"kind": "inline", "wrokers": 2})


def test_a_run_without_a_result_raises_with_the_reason(project: Project) -> None:
    with pytest.raises(DotrainError, match="no trial gave a result; ZeroDivisionError"):
        inline(lambda: 1 / 0, project)


def test_it_runs_inside_a_notebooks_event_loop(project: Project) -> None:
    source = """
        import asyncio
        from dotrain import experiment

        async def cell():
            return experiment.lagom(lambda: 0.5, cluster={'kind': 'local', 'workers': 1})

        print("BEST", asyncio.run(cell()).best["value"])
    """
    assert "BEST 0.5" in script(project, source)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"direction": "MAX"}, "direction: expected 'max' or 'min', got 'MAX'"),
        ({"num_trials": 2.5}, r"num_trials: expected a whole number, got 2\.5"),
        ({"num_trials": 0}, "num_trials: expected a number greater than or equal to 1, got 0"),
        ({"name": "../../evil"}, "name: expected letters, digits"),
        ({"seed": "a"}, "seed: expected a whole number, got 'a'"),
        ({"optimizer": 5}, "expected a name, a mapping or a dotrain.AbstractOptimizer, got 5"),
        ({"searchspace": {"x": 1}}, "searchspace: expected a Searchspace, got dict"),
        ({"hparams": {"reporter": 1}}, "hparams.reporter: this name is reserved"),
        ({"limits": {"retries": -1}, "metric": ""}, r"(?s)metric: must not.*limits\.retries: exp"),
    ],
)
def test_wrong_arguments_are_refused(
    project: Project, arguments: dict[str, object], message: str
) -> None:
    space = Searchspace(x=("DOUBLE", [0.0, 1.0]))
    with pytest.raises(UsageError, match=message):
        inline(lambda x: x, project, **{"searchspace": space, "num_trials": 2, **arguments})


def test_numpy_scalars_will_do(project: Project) -> None:
    class Numpy(AbstractOptimizer):
        def initialize(self) -> None:
            self.left = 2

        def get_suggestion(self, trial: object = None) -> Trial | None:
            self.left -= 1
            return Trial({"x": np.int64(3)}) if self.left >= 0 else None

    space = Searchspace(x=("INTEGER", [np.int64(1), np.int64(8)]))
    result = inline(lambda x: x, project, searchspace=space, optimizer=Numpy(), num_trials=2)
    assert (result.best or {})["params"] == {"x": 3}


def test_hooks_that_raise_are_named_and_the_result_is_kept(project: Project) -> None:
    class Broken(AbstractOptimizer):
        def initialize(self) -> None:
            self.left = 2

        def get_suggestion(self, trial: object = None) -> Trial | None:
            self.left -= 1
            return Trial({}) if self.left >= 0 else None

        def finalize_experiment(self, trials: object) -> None:
            raise KeyError("oops")

    with pytest.raises(DotrainError, match="optimizer Broken raised KeyError: 'oops'"):
        inline(lambda: 1.0, project, optimizer=Broken(), num_trials=2, name="kept")
    (file,) = project.path.glob("kept/*/result.json")
    assert '"status": "finished"' in file.read_text()


def test_a_letter_that_the_terminal_doesnt_know_costs_no_result(project: Project) -> None:
    source = """
        import sys
        from dotrain import experiment

        result = experiment.lagom(lambda farbe: 1.0, hparams={"farbe": 1}, name="demo",
                                  cluster={"kind": "inline"}, runs_dir="gr\u00fcn")
        print("BEST", result.best["value"], sys.stdout.errors)
    """
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    out = script(project, source, env=ascii_only)
    assert "gr\\xfcn/demo" in out
    assert "BEST 1.0 strict" in out


INTERRUPTED = """
import os, signal, sys
from dotrain import Searchspace, experiment

def train(x, reporter):
    reporter.broadcast(x)
    if len(sys.argv) == 1 and x > 2:
        os.kill(os.getpid(), signal.SIGINT)
    return x

def lagom(*_, **options):
    space = Searchspace(x=('DISCRETE', [1, 2, 3, 4]))
    return experiment.lagom(train, space, 'grid', cluster={'kind': 'inline'}, **options)

try:
    result = lagom()
except KeyboardInterrupt as interrupt:
    print("RAISED", interrupt)
    sys.argv.append("again")
    said = str(interrupt).removeprefix("interrupted; go on with: ")
    print("TRIALS", eval(said)['trials'])
"""


def test_what_an_interrupted_lagom_says_to_go_on_with_goes_on(project: Project) -> None:
    out = script(project, INTERRUPTED)
    assert "TRIALS {'total': 4, 'finished': 4, 'stopped': 0, 'diverged': 0, 'failed': 0}" in out
    (run_dir,) = project.path.glob("runs/*/*")
    command = f"lagom(..., resume={str(run_dir)!r})"
    assert f"\ngo on with: {command}\n" in out
    assert f"RAISED interrupted; go on with: {command}\n" in out
    assert "dotrain resume" not in out
    # As it stood at the interrupt.
    journal = run_dir / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if b'"type":"Finish"' in line.replace(b" ", b""))
    journal.write_bytes(b"".join(lines[: end + 1]))
    told = project.cli("status", str(run_dir))
    assert f"\ngo on with: {command}\n" in told.stdout, told
    refused = project.cli("resume", str(run_dir))
    assert refused.returncode == 2
    assert refused.stderr == f"{run_dir} was not started from a config; go on with: {command}\n"


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_may_be_text(project: Project, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    project.write("user.py", "def train(x): return x")
    search = {"space": {"x": {"type": "discrete", "values": [1, 2]}}, "optimizer": {"name": "grid"}}
    project.config(search=search, hparams={}, cluster={"kind": "inline"})
    project.write(
        "study.yaml",
        """
        train: user.py:train
        metric: score
        direction: max
        hparams: {x: 1}
        ablation: {components: {more: {x: 3}}, seeds: 2}
        cluster: {kind: inline}
        """,
    )
    options = {"quiet": True, "junit": kind("junit.xml")}
    found = experiment.run(kind("config.yaml"), runs_dir=kind("there"), **options)
    expected = {"trial_id": "t0001", "value": 2.0, "params": {"x": 2}, "marks": []}
    assert found.best == {**expected, "checkpoint": None}
    assert found.run_dir.parent.parent == project.path / "there"
    assert (project.path / "junit.xml").is_file()
    again = experiment.resume(kind(str(found.run_dir)), **options)
    assert again.best == found.best
    study = experiment.ablate(
        kind("study.yaml"), from_run=kind(str(found.run_dir)), runs_dir=kind("there"), **options
    )
    assert study["baseline"]["mean"] == 2.0


def test_a_study_takes_lists_for_the_names_in_them() -> None:
    study = AblationStudy()
    study.features.include(["sex", "age"], "class")
    study.features.include({"d", "c"}, (name for name in "ab"))
    study.model.layers.include(("dense_1", "dense_2"))
    study.model.layers.include_groups(["a", "b"], ("c", "d"), prefix="block_", pattern="*_bn")
    study.components.include("dropout", dropout=np.float64(0.5), name=None)
    section = study.section()
    assert section["features"] == ["sex", "age", "class", "c", "d", "a", "b"]
    assert section["layers"] == ["dense_1", "dense_2"]
    assert section["layer_groups"] == [
        *(["a", "b"], ["c", "d"]),
        *({"prefix": "block_"}, {"pattern": "*_bn"}),
    ]
    assert section["components"] == {"dropout": {"dropout": 0.5, "name": None}}


def test_what_was_included_can_be_seen_and_taken_out() -> None:
    study = AblationStudy()
    study.features.include("sex", "age", "class")
    study.features.exclude("age", ["sex"])
    assert study.features.names == ("class",)
    layers = study.model.layers
    layers.include_groups(["a", "b"], ["c"], prefix="block_", pattern="*_bn")
    layers.exclude_groups(["a", "b"], pattern="*_bn")
    assert layers.groups == (["c"], {"prefix": "block_"})
    study.set_ablator("add_one_in")
    section = study.section()
    assert section["ablator"] == {"name": "add_one_in"}
    assert (section["features"], section["layer_groups"]) == (
        ["class"],
        [["c"], {"prefix": "block_"}],
    )


def build() -> None:
    """Build nothing."""


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda s: s.features.include(3), "features.include: expected the name of a column, got 3"),
        (lambda s: s.features.include(""), "features.include: expected the name of a column"),
        (lambda s: s.features.include([]), "features.include: names no column"),
        (lambda s: s.features.include({"a": 1}), "features.include: expected the name of a column"),
        (lambda s: s.features.include("a", ["a"]), "features.include: 'a' is included already"),
        (
            lambda s: [s.features.include("sex"), s.features.exclude("sxe")],
            "features.exclude: 'sxe' is not included; did you mean 'sex'",
        ),
        (
            lambda s: s.model.layers.exclude_groups(["a"]),
            r"layers.exclude_groups: \['a'\] is not included",
        ),
        (lambda s: s.set_ablator(3), "ablator: expected a name"),
        (lambda s: s.model.layers.include(build), "layers.include: expected the name of a layer"),
        (
            lambda s: s.model.layers.include(type("Dense", (), {"name": "dense_2"})()),
            "layers.include: expected the name of a layer, got .*; write its name, 'dense_2'",
        ),
        (
            lambda s: s.model.layers.include_groups("text"),
            r"include_groups: expected lists of names, got the text 'text'; .* include\('text'\); "
            r".*: include_groups\(prefix='text'\)",
        ),
        (lambda s: s.model.layers.include_groups([["a"], ["b"]]), "a group is a list of names"),
        (lambda s: s.model.layers.include_groups([]), "a group is empty"),
        (lambda s: s.model.layers.include_groups(), "names no group"),
        (lambda s: s.model.layers.include_groups(prefix=""), "expected the name of a prefix"),
        (lambda s: s.model.layers.include_groups(prefix=["a"]), "expected the name of a prefix"),
        (
            lambda s: s.model.add_custom_generator(build, "no_skip"),
            "add_custom_generator: expected the name first, then the function",
        ),
        (lambda s: s.model.add_custom_generator("x", "y"), "expected a function, got 'y'"),
        (
            lambda s: [s.model.add_custom_generator("x", build) for _ in range(2)],
            "'x' is included already",
        ),
        (lambda s: s.model.set_base_generator("user.py:build"), "expected a function, got 'user"),
        (lambda s: s.set_dataset_generator(None), "expected a function, got None"),
        (lambda s: s.components.include("x"), "expected the hyperparameters that switch 'x' off"),
        (lambda s: s.components.include(build, a=1), "expected the name of a component"),
        (lambda s: s.components.include("x", a=[1]), "components.include: a: expected a finite"),
        (lambda s: s.components.include("x", a=float("nan")), "a: expected a finite number"),
        (
            lambda s: [s.components.include("x", a=n) for n in range(2)],
            "'x' is included already",
        ),
        (lambda s: AblationStudy(seeds=0), "seeds: expected a whole number >= 1, got 0"),
        (lambda s: AblationStudy(ablator=AblationStudy), "ablator: expected a name"),
        (
            lambda s: [s.set_dataset_generator(build), s.generators(None, lambda: 1)],
            "data: the study has set another function; take one out",
        ),
    ],
)
def test_a_study_refuses_where_it_is_written(write: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write(AblationStudy())


@pytest.mark.parametrize("name", ["features", "model", "seeds", "layers"])
def test_a_studys_attributes_cannot_be_set_by_mistake(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(AblationStudy(), name, ["sex"])


def test_what_is_no_study_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match="ablation: expected an AblationStudy, got"):
        inline(lambda: 1.0, project, ablation={"features": ["a"]})


ONE = Searchspace(x=("DOUBLE", [0.0, 1.0]))


def takes_x(x: float) -> float:
    return x


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hparams": {"y": 1}}, "hparams.y: no function takes 'y'; known: x"),
        (
            {"searchspace": Searchspace(xx=("DOUBLE", [0.0, 1.0]))},
            "searchspace.xx: no function takes 'xx'; did you mean 'x'\\?",
        ),
        (
            {"optimizer": {"name": "asha", "resource_max": 9}},
            r"test_python.py:\d+: takes_x\(\) doesn't ask for 'budget', which ASHA gives each trial",
        ),
        (
            {"metric": "val_loss"},
            "metric: the name 'val_loss' says that smaller is better, but without 'direction'",
        ),
    ],
)
def test_what_would_give_a_wrong_result_is_refused(
    project: Project, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        inline(takes_x, project, **{"searchspace": ONE, "num_trials": 2, **arguments})
    assert list(project.path.iterdir()) == []


def takes_more(x: float, y: float) -> float:
    return x + y


def takes_generators(model_gen: Any, data_gen: Any) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            takes_more,
            {},
            r"^train_fn: .*test_python.py:\d+: takes_more\(\) asks for 'y', which nobody provides; known",
        ),
        (
            takes_generators,
            {"searchspace": None, "model": build},
            r"^train_fn: .*: takes_generators\(\) asks for 'data_gen', but the call gives no 'data'$",
        ),
        (
            takes_x,
            {"hparams": {"x": 1}},
            r"^hparams.x: is searched as well \(search.space\); take one out$",
        ),
        (
            lambda x, budget: x,
            {"optimizer": {"name": "asha", "resource_max": 9}, "hparams": {"budget": 3}},
            "^hparams.budget: this name is reserved$",
        ),
        (
            takes_x,
            {"distribution": {"strategy": "multi_worker_mirrored", "workers": 2}},
            r"^distribution: .*: takes_x\(\) doesn't ask for 'dist_strategy'",
        ),
        (
            takes_x,
            {"optimizer": "ahsa", "early_stop": {"name": "median", "min_trials": "5"}, "seed": -1},
            r"(?s)^seed: .* than or equal to 0, got -1\noptimizer.name: unknown optimizer 'ahsa'; did "
            r"you mean 'asha'\?.*\nearly_stop.min_trials: expected a whole number, got '5'",
        ),
    ],
)
def test_what_a_config_refuses_is_refused_by_the_name_of_the_argument(
    project: Project, function: Any, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        inline(function, project, **{"searchspace": ONE, "num_trials": 2, **arguments})
    assert list(project.path.iterdir()) == []


def test_hyperparameters_that_are_no_mapping_are_refused(project: Project) -> None:
    with pytest.raises(UsageError, match=r"hparams: expected a mapping from names to values"):
        inline(takes_x, project, searchspace=ONE, num_trials=1, hparams=[1])


def test_one_observer_may_be_named_without_a_list(project: Project) -> None:
    with pytest.raises(UsageError, match=r"observers\[0\].name: unknown observer 'nobody'"):
        inline(takes_x, project, searchspace=ONE, num_trials=1, observers="nobody")


def test_an_instance_may_suggest_what_the_space_does_not_have(project: Project) -> None:
    class Both(AbstractOptimizer):
        def initialize(self) -> None:
            self.left = 2

        def get_suggestion(self, trial: object = None) -> Trial | None:
            self.left -= 1
            return Trial({"x": 1, "y": 2}, budget=3) if self.left >= 0 else None

    def train(x: float, y: float, budget: int) -> float:
        return x + y + budget

    result = inline(train, project, searchspace=ONE, optimizer=Both, num_trials=2)
    assert [trial.final_metric for trial in result.trials] == [6, 6]


def test_functions_that_may_take_anything_are_let_be(project: Project) -> None:
    for function in (lambda **more: more["x"], lambda hparams: hparams["x"]):
        result = inline(function, project, searchspace=ONE, num_trials=2, hparams={"y": 1})
        assert len(result.trials) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "note: direction: taken as max; write it to be sure\n"),
        ({"direction": "max"}, ""),
        ({"metric": "accuracy"}, ""),
        ({"metric": "val_loss", "direction": "min"}, ""),
        (
            {"metric": "val_loss", "direction": "max"},
            "warning: direction: is max, but the name 'val_loss' says that smaller is better\n",
        ),
    ],
)
def test_a_guessed_direction_is_said(
    project: Project, arguments: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inline(lambda: 0.5, project, quiet=False, **arguments)
    lines = capsys.readouterr().err.splitlines(keepends=True)
    assert "".join(line for line in lines if "direction: " in line) == said
    inline(lambda: 0.5, project, **arguments)
    assert capsys.readouterr().err == ""


def test_an_instance_whose_methods_can_not_be_called_is_refused(project: Project) -> None:
    class Rule(AbstractEarlyStop):
        def earlystop_check(self, trial: Trial) -> None:  # type: ignore[override]
            pass

    with pytest.raises(UsageError, match=r"test_python.py:\d+: earlystop_check\(self, trial\)"):
        inline(lambda: 1.0, project, early_stop=Rule())


def test_no_worker_outlives_a_run_that_could_not_begin(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a notebook whatever stays behind stays for ever."""
    before = psutil.Process().children(recursive=True)

    def refuse(path: Path, contents: Contents, *, sync: Sync) -> None:
        raise JournalError("no")

    monkeypatch.setattr(session, "Journal", refuse)
    options: dict[str, Any] = {"cluster": {"kind": "local", "workers": 1}, "num_trials": 2}
    with pytest.raises(JournalError, match="no"):
        inline(takes_x, project, searchspace=ONE, **options)
    assert psutil.Process().children(recursive=True) == before


class NeverBegins(AbstractOptimizer):
    def initialize(self) -> None:
        self.workers = psutil.Process().children(recursive=True)
        raise RuntimeError("no")

    def get_suggestion(self, trial: Trial | None = None) -> None:
        pass


def test_no_worker_starts_for_an_optimizer_that_cannot_begin(project: Project) -> None:
    optimizer = NeverBegins()
    before = psutil.Process().children(recursive=True)
    options: dict[str, Any] = {"cluster": {"kind": "local", "workers": 1}, "num_trials": 2}
    with pytest.raises(DotrainError, match="NeverBegins raised RuntimeError: no"):
        inline(takes_x, project, searchspace=ONE, optimizer=optimizer, **options)
    assert optimizer.workers == before


class Width(IntEnum):
    NARROW = 8
    WIDE = 64


class Kind(StrEnum):
    RELU = "relu"


def test_values_of_enumerations_and_numpy_are_what_they_stand_for(tmp_path: Path) -> None:
    fixed = {"kind": "relu", "rate": 0.5, "n": 3, "deep": [1, 64]}

    def train(width: int, **hparams: Any) -> float:
        assert hparams == fixed
        assert {name: type(hparams[name]) for name in fixed} == {
            name: type(value) for name, value in fixed.items()
        }
        assert type(width) is int
        return width

    result = experiment.lagom(
        train,
        Searchspace(width=("CATEGORICAL", list(Width))),
        "grid",
        hparams={
            "kind": Kind.RELU,
            "rate": np.float32(0.5),
            "n": np.array(3),
            "deep": (1, Width.WIDE),
        },
        metric="accuracy",
        cluster={"kind": "inline"},
        runs_dir=tmp_path,
        quiet=True,
    )
    assert sorted(trial.final_metric or 0 for trial in result.trials) == [8, 64]


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        (np.array([1, 2]), "; write .tolist() for a list"),
        ({1, 2}, "; write a list"),
        (object(), ""),
    ],
    ids=["array", "set", "object"],
)
def test_what_is_no_hyperparameter_is_refused_by_name(
    tmp_path: Path, value: Any, instead: str
) -> None:
    with pytest.raises(
        UsageError, match=rf"hparams: 'x': .* is no plain value \(.*\){re.escape(instead)}$"
    ):
        experiment.lagom(lambda x: 1.0, hparams={"x": value}, metric="accuracy", runs_dir=tmp_path)

    class Suggests(AbstractOptimizer):
        def initialize(self) -> None:
            pass

        def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
            return self.create_trial({"x": value})

    with pytest.raises(DotrainError, match="Suggests suggested hyperparameter 'x': "):
        experiment.lagom(
            lambda x: 1.0, Searchspace(x=("INTEGER", [0, 1])), Suggests(), 3, metric="accuracy",
            cluster={"kind": "inline"}, runs_dir=tmp_path, quiet=True,
        )  # fmt: skip
