"""Finding optimizers and early-stop rules by name and by module."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from dotrain import plugins
from dotrain.config import ConfigError, load_config
from dotrain.earlystop.median import MedianStop
from dotrain.errors import UsageError
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.grid import GridSearch
from dotrain.optimizers.random import RandomSearch
from dotrain.optimizers.single import Single
from dotrain.plugins import EARLY_STOP, OPTIMIZERS, load_plugin
from tests.conftest import Project

PLUGIN = """\
from typing import Annotated

from annotated_types import Ge

from dotrain import AbstractOptimizer


class Mine(AbstractOptimizer):
    def __init__(self, *, depth: Annotated[int, Ge(1)], wide: bool = False) -> None:
        if depth > 9:
            raise ValueError("depth over 9 takes for ever")
        self.depth, self.wide = depth, wide

    def initialize(self) -> None: ...

    def get_suggestion(self, trial=None):
        return None


class Unfinished(AbstractOptimizer):
    def initialize(self) -> None: ...


class Unrelated: ...


def function(): ...
"""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    plugins.registered.cache_clear()
    known = set(sys.modules)
    path = list(sys.path)
    yield
    plugins.registered.cache_clear()
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if name.startswith("user_"):
            del sys.modules[name]


@pytest.fixture
def user_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "user_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    return "user_plugin"


def register(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    def entry_points(*, group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in points]

    monkeypatch.setattr(plugins, "entry_points", entry_points)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("random", RandomSearch),
        ("grid", GridSearch),
        ("asha", ASHA),
        ("single", Single),
        ("randomsearch", RandomSearch),
        ("RandomSearch", RandomSearch),
        ("gridsearch", GridSearch),
        ("singlerun", Single),
        ("dotrain.optimizers.asha:ASHA", ASHA),
    ],
)
def test_an_optimizer_goes_by_its_name_maggys_name_or_its_place(name: str, expected: type):
    assert load_plugin(OPTIMIZERS, name) is expected


def test_the_two_kinds_of_plugins_are_kept_apart():
    assert load_plugin(EARLY_STOP, "median") is MedianStop
    with pytest.raises(UsageError, match="unknown early-stop rule 'random'"):
        load_plugin(EARLY_STOP, "random")
    with pytest.raises(UsageError, match=r"is no subclass of dotrain\.AbstractEarlyStop"):
        load_plugin(EARLY_STOP, "dotrain.optimizers.asha:ASHA")


def test_a_module_of_the_users_own_is_found(user_plugin: str):
    assert load_plugin(OPTIMIZERS, f"{user_plugin}:Mine").__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ahsa", r"unknown optimizer 'ahsa'; did you mean 'asha'\? \(or module:Class\)"),
        (
            "xyz",
            r"unknown optimizer 'xyz'; known: asha, bohb, cmaes, gp, grid, hyperband, pbt, qmc, random, single, tpe",
        ),
        ("no_such_module:X", "can't be loaded: No module named 'no_such_module'"),
        ("user_plugin:Nothing", "can't be loaded: .*has no attribute 'Nothing'"),
        ("user_plugin:", "can't be loaded"),
        (":Mine", "can't be loaded"),
        (".user_plugin:Mine", "can't be loaded"),
        ("user_plugin:Unrelated", r"is no subclass of dotrain\.AbstractOptimizer"),
        ("user_plugin:function", r"is no subclass of dotrain\.AbstractOptimizer"),
        ("user_plugin:Unfinished", "can't be used: it lacks get_suggestion"),
        ("dotrain.core.policy:AbstractOptimizer", "it lacks get_suggestion, initialize"),
    ],
)
@pytest.mark.usefixtures("user_plugin")
def test_a_plugin_that_can_not_be_used_says_why(name: str, message: str):
    with pytest.raises(UsageError, match=message):
        load_plugin(OPTIMIZERS, name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (:", "SyntaxError"),
        ("raise UserWarning('no')", "UserWarning: no"),
    ],
)
def test_a_module_that_fails_on_import_is_an_error_of_the_plugin(
    user_plugin: str, tmp_path: Path, source: str, message: str
):
    (tmp_path / "user_broken.py").write_text(source)
    with pytest.raises(UsageError, match=f"optimizer 'user_broken:X' can't be loaded: {message}"):
        load_plugin(OPTIMIZERS, "user_broken:X")


def test_an_installed_plugin_goes_by_its_registered_name(
    user_plugin: str, monkeypatch: pytest.MonkeyPatch
):
    register(monkeypatch, ("mine", f"{user_plugin}:Mine"), ("random", "user_broken:X"))
    assert load_plugin(OPTIMIZERS, "mine").__name__ == "Mine"


def test_an_installed_plugin_that_is_broken_disturbs_nobody_else(monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, ("broken", "no_such_module:X"), ("asha", "dotrain.optimizers.asha:ASHA"))
    assert load_plugin(OPTIMIZERS, "asha") is ASHA
    with pytest.raises(UsageError, match="optimizer 'no_such_module:X' can't be loaded"):
        load_plugin(OPTIMIZERS, "broken")


def test_two_packages_with_one_name_for_two_plugins_are_refused(monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, ("asha", "dotrain.optimizers.asha:ASHA"), ("asha", "theirs:ASHA"))
    with pytest.raises(UsageError, match=r"two packages register .*'asha'.*theirs:ASHA"):
        load_plugin(OPTIMIZERS, "asha")
    assert load_plugin(OPTIMIZERS, "dotrain.optimizers.asha:ASHA") is ASHA


def test_one_plugin_that_is_registered_twice_is_one_plugin(monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, *[("asha", "dotrain.optimizers.asha:ASHA")] * 2)
    assert load_plugin(OPTIMIZERS, "asha") is ASHA


# In a config


def write_config(folder: Path, optimizer: str) -> Path:
    (folder / "t.py").write_text("def train(**hparams): pass\n")
    file = folder / "config.yaml"
    file.write_text(
        "train: t.py:train\nmetric: m\nsearch:\n  num_trials: 1\n"
        f"  space: {{a: [INTEGER, [0, 1]]}}\n  optimizer: {{name: {optimizer}}}\n"
    )
    return file


def test_the_arguments_of_a_plugin_are_its_keys_in_the_config(user_plugin: str, tmp_path: Path):
    file = write_config(tmp_path, f"{user_plugin}:Mine, depth: 3, wide: true")
    optimizer = load_config(file).optimizer
    assert (optimizer.depth, optimizer.wide) == (3, True)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("", "6:3: search.optimizer.depth: required key is missing"),
        (
            ", depth: 0",
            "6:48: search.optimizer.depth: expected a number greater than or equal to 1",
        ),
        (", depth: '3'", "6:48: search.optimizer.depth: expected a whole number, got '3'"),
        (", depth: 3, wide: 1", "6:57: search.optimizer.wide: expected true or false, got 1"),
        (", depth: 3, dpth: 1", "6:51: search.optimizer.dpth: unknown key; did you mean 'depth'?"),
        (", depth: 10", "6:14: search.optimizer: depth over 9 takes for ever"),
    ],
)
def test_a_wrong_option_of_a_plugin_has_its_place(
    user_plugin: str, tmp_path: Path, keys: str, message: str
):
    file = write_config(tmp_path, f"'{user_plugin}:Mine'{keys}")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value).startswith(f"{file}:{message}")


def test_a_plugin_may_lie_beside_the_config_or_above_it(tmp_path: Path):
    (tmp_path / "user_plugin.py").write_text(PLUGIN)
    (tmp_path / "configs").mkdir()
    file = write_config(tmp_path / "configs", "user_plugin:Mine, depth: 3")
    assert load_config(file).optimizer.depth == 3


def test_a_plugin_that_fails_is_reported_at_its_name_with_all_the_rest(tmp_path: Path):
    file = write_config(tmp_path, "no_such_module:X")
    with pytest.raises(ConfigError) as caught:
        load_config(file, ["sed=1"])
    assert str(caught.value).splitlines() == [
        "--set sed=1: sed: unknown key; did you mean 'seed'?",
        f"{file}:6:21: search.optimizer.name: optimizer 'no_such_module:X' can't be loaded: "
        "No module named 'no_such_module'",
    ]


# What is called as the interface says

BASES = {
    "AbstractEarlyStop": (EARLY_STOP, "def earlystop_check(self, a, b, c): ..."),
    "AbstractOptimizer": (
        OPTIMIZERS,
        "def initialize(self): ...\n    def get_suggestion(self, trial=None): ...",
    ),
    "AbstractStrategy": (plugins.STRATEGIES, "def open(self): ..."),
    "AbstractAblator": (plugins.ABLATORS, "def arms(self, components): ..."),
    "AbstractExecutor": (
        plugins.EXECUTORS,
        "def slots(self, a): ...\n    def start(self, a, b): ...\n    def carry_out(self, a): ...\n"
        "    def pump(self, a): ...\n    def close(self): ...",
    ),
    "Observer": (plugins.OBSERVERS, "def start(self, run): ..."),
    "AbstractFramework": (plugins.FRAMEWORKS, "def seed(self, seed): ..."),
}


def test_every_group_has_its_interface_here() -> None:
    assert {plugins.BASES[group].__name__: group for group in plugins.BASES} == {
        base: group for base, (group, _) in BASES.items()
    }


def load_with(tmp_path: Path, base: str, method: str) -> type:
    group, least = BASES[base]
    (tmp_path / "user_mine.py").write_text(
        f"from dotrain import {base}\n\nclass Mine({base}):\n    {least}\n\n    {method}\n"
    )
    return load_plugin(group, "user_mine:Mine", tmp_path)


@pytest.mark.parametrize(
    ("base", "method", "message"),
    [
        (
            "AbstractEarlyStop",
            "def earlystop_check(self, trial): ...",
            r"early-stop rule 'Mine' can't be used: .*user_mine.py:\d+: "
            r"earlystop_check\(self, trial\) can't be called as "
            r"earlystop_check\(to_check, finalized_trials, direction\); "
            r"expected def earlystop_check\(self, to_check, finalized_trials, direction\)",
        ),
        ("AbstractEarlyStop", "def earlystop_check(this, a, b, c, d): ...", "can't be called as"),
        ("AbstractEarlyStop", "def earlystop_check(): ...", "can't be called as"),
        ("AbstractEarlyStop", "def on_report(self, trial): ...", r"on_report\(trial, step, value"),
        ("AbstractOptimizer", "def initialize(): ...", r"expected def initialize\(self\)"),
        ("AbstractOptimizer", "def get_suggestion(self): ...", r"\(self, trial=None\)"),
        ("AbstractOptimizer", "async def get_suggestion(self, trial): ...", "is async"),
        ("AbstractOptimizer", "def get_suggestion(self, *, trial=None): ...", "can't be called"),
        ("AbstractOptimizer", "def finalize_experiment(self): ...", r"\(self, trials\)"),
        ("AbstractOptimizer", "finalize_experiment = 3", "finalize_experiment is 3, not a method"),
        ("AbstractOptimizer", "def gives_budget(self): ...", "a value such as False"),
        (
            "AbstractStrategy",
            "def slots(self): return 2",
            "slots is a method; expected a @property",
        ),
        ("AbstractStrategy", "def begin(self): ...", r"begin\(self, seat\)"),
        ("AbstractAblator", "def arms(self): ...", r"arms\(self, components\)"),
        ("AbstractExecutor", "def pump(self): ...", r"pump\(self, timeout_s\)"),
        ("AbstractExecutor", "def concurrent(self): ...", "a value such as True"),
        ("Observer", "def close(self, run): ...", r"expected def close\(self\)"),
        ("Observer", "def on_pulse(self): ...", r"on_pulse\(self, time_s\)"),
        (
            "AbstractFramework",
            "def batches(self, data): ...",
            r"batches\(self, data, size, seed, epoch\)",
        ),
        ("AbstractFramework", "def packages(self): ...", r"a value such as \(\)"),
    ],
)
def test_a_method_that_the_interface_can_not_call_is_refused(
    tmp_path: Path, base: str, method: str, message: str
):
    with pytest.raises(UsageError, match=message):
        load_with(tmp_path, base, method)


@pytest.mark.parametrize(
    ("base", "method"),
    [
        ("AbstractEarlyStop", "def earlystop_check(to_check, finalized_trials, direction): ..."),
        ("AbstractEarlyStop", "def earlystop_check(trials, done, which): ..."),
        ("AbstractEarlyStop", "def earlystop_check(this, a, b, c): ..."),
        ("AbstractEarlyStop", "def earlystop_check(*args): ..."),
        ("AbstractOptimizer", "def get_suggestion(self, trial): ..."),
        ("AbstractOptimizer", "def get_suggestion(self, *args, **more): ..."),
        ("AbstractOptimizer", "def get_suggestion(self, trial=None, hurry=False): ..."),
        ("AbstractOptimizer", "@staticmethod\n    def get_suggestion(trial): ..."),
        ("AbstractOptimizer", "@classmethod\n    def get_suggestion(cls, trial): ..."),
        ("AbstractOptimizer", "def create_trial(self): ..."),
        ("AbstractStrategy", "slots = 3"),
        ("AbstractStrategy", "slots = property(lambda self: 2)"),
    ],
)
def test_a_method_that_can_be_called_will_do(tmp_path: Path, base: str, method: str):
    assert load_with(tmp_path, base, method).__name__ == "Mine"


def test_check_refuses_a_wrong_method_of_every_kind_that_a_config_names(project: Project) -> None:
    wrong = {
        "AbstractOptimizer": "def get_suggestion(self): ...",
        "AbstractEarlyStop": "def on_end(self): ...",
        "AbstractStrategy": "def begin(self): ...",
        "AbstractAblator": "def arms(self): ...",
        "AbstractExecutor": "def pump(self): ...",
        "Observer": "def on_pulse(self): ...",
    }
    source = "from dotrain import *\n"
    for base, method in wrong.items():
        source += f"\nclass My{base}({base}):\n    {BASES[base][1]}\n    {method}\n"
    project.write("mine.py", source)
    project.write("user.py", "def train(x=1.0): return x\n")
    file = project.config(
        search={
            "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
            "num_trials": 2,
            "optimizer": {"name": "mine:MyAbstractOptimizer"},
            "early_stop": {"name": "mine:MyAbstractEarlyStop"},
        },
        distribution={"strategy": "mine:MyAbstractStrategy"},
        ablation={"components": {"x": {"x": 0.0}}, "ablator": {"name": "mine:MyAbstractAblator"}},
        cluster={"kind": "mine:MyAbstractExecutor"},
        observers=[{"name": "mine:MyObserver"}],
    )
    done = project.cli("check", file.name)
    assert done.returncode == 2
    for kind, base in [
        ("optimizer", "AbstractOptimizer"),
        ("early-stop rule", "AbstractEarlyStop"),
        ("strategy", "AbstractStrategy"),
        ("ablator", "AbstractAblator"),
        ("executor", "AbstractExecutor"),
        ("observer", "Observer"),
    ]:
        call = wrong[base].removeprefix("def ").removesuffix(": ...")
        (line,) = (line for line in done.stderr.splitlines() if f"'My{base}' can't" in line)
        assert line.startswith(f"{file.name}:")
        assert f"{kind} 'My{base}' can't be used: " in line
        assert f"{call} can't be called as " in line


def test_check_refuses_a_wrong_method_of_a_framework_that_the_code_imports(
    project: Project,
) -> None:
    info = project.path / "site" / "toyframe-1.0.dist-info"
    project.write(f"site/{info.name}/METADATA", "Name: toyframe\nVersion: 1.0\n")
    project.write(
        f"site/{info.name}/entry_points.txt", "[dotrain.frameworks]\ntoyframe = toyplugin:Toy\n"
    )
    project.write("site/toyframe.py", "")
    project.write(
        "site/toyplugin.py",
        """\
        from dotrain import AbstractFramework

        class Toy(AbstractFramework):
            def seed(self): ...
        """,
    )
    project.write("user.py", "import toyframe\n\ndef train(): return 1.0\n")
    places = [str(info.parent), *filter(None, sys.path)]
    done = project.cli(
        "check",
        project.config().name,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    told = (
        "framework 'Toy' can't be used: ",
        "seed(self) can't be called as seed(seed); expected def seed(self, seed)",
    )
    assert all(part in done.stderr for part in told)

    script = project.write(
        "script.py",
        """\
        import toyframe
        from dotrain import experiment
        from dotrain.errors import UsageError

        try:
            experiment.lagom(lambda: 1.0, cluster={"kind": "inline"}, quiet=True)
        except UsageError as error:
            print(error)
        """,
    )
    called = subprocess.run(
        [sys.executable, script.name],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert called.stdout.startswith("train_fn: "), called
    assert all(part in called.stdout for part in told)


@pytest.mark.parametrize("group", list(plugins.BASES))
def test_our_own_plugins_keep_to_their_interfaces(group: str):
    for found in plugins.find_plugins(group):
        assert found.error == ""


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("dotrain.distribution.mirrored:Mirrored", "mirrored"),
        ("dotrain.distribution.multi_worker:MultiWorkerMirrored", "multi_worker_mirrored"),
    ],
)
def test_a_strategy_is_found_where_earlier_versions_had_it(place: str, name: str) -> None:
    """Runs of `lagom` have written the place down, and go on by it."""
    found = load_plugin(plugins.STRATEGIES, place)
    assert found is load_plugin(plugins.STRATEGIES, name)
