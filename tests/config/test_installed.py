"""What the environment can't do is refused before anything runs, at the user's own line."""

from __future__ import annotations

import pytest

from dotrain.config import load_config
from dotrain.config.errors import ConfigError
from dotrain.frameworks import registry
from tests.conftest import Project
from tests.late import hide

SOURCE = """
from contextlib import suppress
from typing import TYPE_CHECKING
import os

import wanting

try:
    import optional
except ImportError:
    optional = None
with suppress(ImportError):
    import dispensable
if TYPE_CHECKING:
    import only_types
if os.environ.get("PLOTS"):
    import conditional

def plot():
    import plotting

def train(x):
    with open(os.devnull):
        import within.a.call
    return x

def other(x):
    import elsewhere
    return x
"""


def test_what_is_imported_in_any_case_is_refused_where_it_stands(project: Project) -> None:
    file = project.write("user.py", SOURCE)
    config = project.config(train="user.py:train", hparams={"x": 1})
    with pytest.raises(ConfigError) as raised:
        load_config(config)
    text = str(raised.value)
    for line, name in ((6, "wanting"), (24, "within")):
        assert f"{file}:{line}:" in text
        assert f"'{name}' is imported and isn't installed: install the package that has it" in text
    assert text.count("installed") == 2


def test_names_that_dotrain_has_not_are_refused_where_they_are_imported(project: Project) -> None:
    source = """
    from dotrain import EarlyStop, KerasEpochEnd, experiment
    from dotrain.callbacks import KerasCheckpiont, KerasCheckpoint
    def train():
        from dotrain.callbacks import Nope
        return 1
    """
    file = project.write("user.py", source)
    with pytest.raises(ConfigError) as raised:
        load_config(project.config())
    assert [str(one).partition("train: ")[2] for one in raised.value.problems] == [
        f"{file}:2:1: 'KerasEpochEnd' isn't in dotrain: from dotrain.callbacks import KerasEpochEnd",
        f"{file}:3:1: dotrain.callbacks has no 'KerasCheckpiont'; did you mean KerasCheckpoint?",
        f"{file}:5:5: module 'dotrain.callbacks' has no attribute 'Nope'",
    ]


def test_what_may_be_imported_is_warned_of(project: Project) -> None:
    source = SOURCE.replace("import wanting", "").replace("import within.a.call", "pass")
    project.write("user.py", source)
    loaded = load_config(project.config(train="user.py:train", hparams={"x": 1}))
    told = [str(warning) for warning in loaded.warnings if "installed" in str(warning)]
    assert len(told) == 3
    for name in ("conditional", "plotting", "elsewhere"):
        said = f"'{name}' is imported and isn't installed, and fails if that line is reached"
        assert any(said in text for text in told)


def test_a_module_that_is_certain_makes_what_it_imports_so(project: Project) -> None:
    project.write("inner.py", "import wanting\n")
    project.write("user.py", "import inner\n\ndef train(x):\n    return x\n")
    with pytest.raises(ConfigError, match=r"inner\.py:1:1: 'wanting' is imported"):
        load_config(project.config(train="user.py:train", hparams={"x": 1}))
    project.write("user.py", "def plot():\n    import inner\n\ndef train(x):\n    return x\n")
    loaded = load_config(project.config(train="user.py:train", hparams={"x": 1}))
    assert any("inner.py:1:1: 'wanting'" in str(warning) for warning in loaded.warnings)


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("torch", "pip install 'dotrain[torch]'"),
        ("keras", "pip install 'dotrain[tensorflow]'"),
    ],
)
def test_a_framework_says_how_it_is_installed(
    project: Project, monkeypatch: pytest.MonkeyPatch, package: str, command: str
) -> None:
    hide(monkeypatch, package)
    project.write("user.py", f"import {package}\n\ndef train(x):\n    return x\n")
    with pytest.raises(ConfigError) as raised:
        load_config(project.config(train="user.py:train", hparams={"x": 1}))
    assert f"user.py:1:1: '{package}' is imported and isn't installed: {command}" in str(
        raised.value
    )


def test_a_strategy_without_its_framework_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "tensorflow")
    source = "def train(x, dist_strategy, reporter):\n    return x\n"
    project.write("user.py", source)
    distribution = {"strategy": "multi_worker_mirrored", "workers": 2}
    config = project.config(
        train="user.py:train", hparams={"x": 1}, distribution=distribution, cluster={"workers": 2}
    )
    with pytest.raises(ConfigError) as raised:
        load_config(config)
    assert (
        "distribution.strategy: MultiWorkerMirrored needs tensorflow: "
        "pip install 'dotrain[tensorflow]'" in str(raised.value)
    )
    where = ["cluster={kind: address, address: '127.0.0.1:9'}"]  # each worker is asked
    assert load_config(config, where).strategy is not None


def test_a_framework_that_can_not_be_imported_leaves_it_to_the_users_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = project.write("torch.py", "raise ImportError('half a package')\n")
    monkeypatch.syspath_prepend(broken.parent)
    monkeypatch.delitem(__import__("sys").modules, "torch", raising=False)
    registry.import_packages(["torch"])


def test_a_compiled_module_beside_the_code_is_there(project: Project) -> None:
    project.write("beside.so", "")
    project.write("package/user.py", "import beside\n")
    project.write("package/__init__.py", "")
    project.write("user.py", "import beside\nimport package.user\n\ndef train(x):\n    return x\n")
    assert not load_config(project.config(train="user.py:train", hparams={"x": 1})).warnings
