"""What the documentation shows runs as it stands."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from dotrain import Features, Searchspace, experiment
from dotrain.cli import app
from dotrain.config import load_config
from dotrain.config.options import arguments_in
from dotrain.testing import check_framework, check_optimizer, check_sampler
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.reporter import Reporter
from tests.conftest import ROOT, Project

#: The tours of the hardest rooms.
TOURS = sorted((ROOT / "dotrain").rglob("README.md"))
PAGES = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_the_plugins_of_the_guide_keep_the_contract() -> None:
    plugins, contract, *_ = blocks("docs/plugins.md", "python")
    names: dict[str, object] = {}
    exec(plugins + contract, names)
    test = names["test_contract"]
    assert callable(test)
    test()


def test_the_sampler_of_the_guide_keeps_the_contract() -> None:
    sampler = next(one for one in blocks("docs/plugins.md", "python") if "AbstractSampler" in one)
    module = types.ModuleType("of_the_guide")
    sys.modules[module.__name__] = module  # pickled by its name
    try:
        exec(sampler, vars(module))
        check_sampler(module.Neighbour)
        check_optimizer(module.Neighbours, num_trials=14)
    finally:
        del sys.modules[module.__name__]


def test_the_strategy_of_the_guide_runs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, strategy, *_ = blocks("docs/plugins.md", "python")
    project.write("my_module.py", strategy)
    # Other tests have modules of this name.
    monkeypatch.setitem(sys.modules, "my_module", None)
    del sys.modules["my_module"]
    result = project.run(
        """
        import os

        def train(dist_strategy):
            with dist_strategy() as seat:
                assert os.environ["RANK"] == str(seat.rank)
            return int(os.environ["WORLD_SIZE"])
        """,
        distribution={"strategy": "my_module:Launched", "workers": 2},
        cluster={"kind": "local", "workers": 2},
    )
    assert result.trials[0].final_metric == 2, result.summary


def test_the_framework_of_the_guide_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toyframe.py").write_text("import random\n\ngenerator = random.Random()\n")
    (tmp_path / "toyplugin.py").write_text(blocks("docs/plugins.md", "python")[-1])
    monkeypatch.syspath_prepend(tmp_path)
    names = ("toyplugin", "toyframe")
    plugin, toyframe = map(importlib.import_module, names)
    try:
        check_framework(plugin.Toy, draw=toyframe.generator.random)
    finally:  # another test has modules of these names
        for name in names:
            del sys.modules[name]


def table_of(function: Any) -> str:
    """The rows that docs/python.md has of a function's arguments: what its docstring says."""
    told = arguments_in(inspect.cleandoc(function.__doc__))
    rows = []
    for name, parameter in inspect.signature(function).parameters.items():
        default = "" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
        rows.append(f"| `{name}` | {default} | {told[name]} |".replace("|  |", "| |"))
    return "\n".join(rows)


@pytest.mark.parametrize("name", ["lagom", "run", "ablate", "resume"])
def test_the_python_page_tells_every_argument(name: str) -> None:
    rows = table_of(getattr(experiment, name))
    assert rows in (ROOT / "docs/python.md").read_text(), f"the rows of {name}:\n{rows}"


def attributes(page: str, title: str) -> set[str]:
    """The names that a section's table has, as they are called: ``save``, ``latest``."""
    section = (ROOT / page).read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {word for cell in cells for word in re.findall(r"`(?:\w+\.)?(\w+)[`(]", cell)}


def test_the_page_of_functions_tells_all_that_one_may_ask_for() -> None:
    page = "docs/function.md"
    first = (ROOT / page).read_text().partition("\n## ")[0]
    cells = [line.split("|")[1] for line in first.splitlines() if line.startswith("| `")]
    told = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    # `features` is what a model or data function asks for.
    assert told | {"features"} == Searchspace.RESERVED
    for title, cls, internal in (
        (
            "`reporter`",
            Reporter,
            {
                "divergence",
                "first_step",
                "go_on_from",
                "held",
                "log_file",
                "note",
                "raise_later",
                "trained",
            },
        ),
        ("`checkpoint`", Checkpoint, {"found_step", "has_step_up_to", "was_loaded", "was_read"}),
        ("`features`", Features, set()),
    ):
        own = {name for name in dir(cls) if name[0] != "_"}
        source = inspect.getsource(cls.__init__)
        own |= set(re.findall(r"self\.([a-z]\w*)\b.* = ", source))
        assert attributes(page, title) - {"column"} == own - internal, title
    generators = attributes(page, "`data_gen` and `model_gen`") - {"data_gen"}
    assert generators == {"load", "batch", "create", "features", "used"}


@pytest.mark.parametrize("index", range(3))
def test_the_functions_that_the_pages_show_run(project: Project, index: int) -> None:
    source = blocks("docs/function.md", "python")[index]
    keys: dict[str, Any] = {"metric": "loss"} if "loss" in source else {}
    data = {"data": "user.py:load_data"} if "load_data" in source else {}
    hparams = {name: 0.1 for name in ("lr", "x") if f", {name}" in source}
    result = project.run(source, cluster={"kind": "inline"}, hparams=hparams, **keys, **data)
    assert result.best, project.log(result)


@pytest.mark.parametrize(("page", "said"), [("python", "optimizer"), ("maggy", "'finished': 6")])
def test_the_scripts_of_a_page_run(tmp_path: Path, page: str, said: str) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(f"docs/{page}.md", "python")))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    assert said in done.stdout


def test_the_config_of_the_readme_is_sound(tmp_path: Path) -> None:
    (config,) = blocks("README.md", "yaml")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    file = tmp_path / "config.yaml"
    file.write_text(config)
    assert load_config(file).space.names == ("lr", "units", "activation")


CLUSTERS = [page for page in PAGES if page.startswith("docs/clusters/")]


@pytest.mark.parametrize("page", CLUSTERS)
def test_the_configs_of_clusters_are_sound(page: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def train(x=0.0, y=0.0, **rest): return x\n")
    configs = blocks(page, "yaml")
    assert configs
    for config in configs:
        file = tmp_path / "config.yaml"
        file.write_text(config)
        loaded = load_config(file)
        assert loaded.executor.slots(1) in (None, 2, 4)


HEADS = {
    "torch": """
import torch
from torch import load, save
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from sklearn.datasets import load_digits
def load_data():
    images, labels = load_digits(return_X_y=True)
    return images.astype("float32") / 16, labels
def build_model():
    return torch.nn.Linear(64, 10)
def accuracy(model):
    images, labels = load_data()
    return (model(torch.tensor(images)).argmax(1).numpy() == labels).mean()
""",
    "keras": """
import keras
from dotrain.callbacks import KerasCheckpoint, KerasEpochEnd
from recipes.digits import build_model, load_data
""",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("index", "package"), [*enumerate(HEADS)])
def test_the_train_functions_of_the_readme_run(project: Project, index: int, package: str) -> None:
    pytest.importorskip(package)
    function = blocks("README.md", "python")[index]
    result = project.run(
        HEADS[package] + function,
        model="user.py:build_model",
        data="user.py:load_data",
        metric="val_accuracy",
        hparams={"lr": 0.001, "budget": 2},
        cluster={"kind": "inline"},
    )
    assert result.best, project.log(result)
    assert len(result.trials[0].metric_history) == 2


def commands() -> Iterator[tuple[str, list[str]]]:
    for page in ("README.md", *PAGES):
        for block in blocks(page, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$"), comments=True)
                if line.startswith("$ dotrain ") and ">" not in words:
                    yield page, words[1:]
                elif line.startswith("$ dotrain "):
                    yield page, words[1 : words.index(">")]


@pytest.mark.parametrize(("page", "words"), list(commands()))
def test_every_command_in_the_docs_is_one(page: str, words: list[str]) -> None:
    root: Any = typer.main.get_command(app)
    if words[0].startswith("--"):
        assert words[0] in {o for parameter in root.params for o in parameter.opts}
    else:
        # Parsing refuses what no command or option is; nothing is run.
        root.commands[words[0]].make_context(words[0], words[1:])


def test_every_page_and_file_that_is_linked_exists() -> None:
    for page in (ROOT / "README.md", *(ROOT / page for page in PAGES), *TOURS):
        for link in re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page}: {link}"


@pytest.mark.parametrize("page", TOURS, ids=lambda page: page.parent.name)
def test_every_module_and_file_of_a_tour_is_there(page: Path) -> None:
    text = page.read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    modules = [name.removesuffix(".py") for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert {f"{name}.py" for name in modules} >= {
        file.name for file in page.parent.glob("*.py") if file.name != "__init__.py"
    }, "a module isn't shown"
    for name in modules:
        assert (page.parent / f"{name}.py").exists(), name
    for path in re.findall(r"`((?:tests|docs|dotrain)/[\w/]+(?:\.\w+)?)/?`", text):
        assert (ROOT / path).exists(), path
