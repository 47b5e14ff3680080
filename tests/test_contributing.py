"""The recipes of the guide for contributors, each followed on a copy of the tree."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_docs import blocks

PAGE = "docs/contributing.md"
COPIED = ("pyproject.toml", "README.md", "docs/config.md", "tests/test_layers.py")

TRAIN = """
import toyframe


def train(x, reporter):
    for step in range(3):
        reporter.broadcast(x * step, step)
    return toyframe.generator.random()
"""
CONFIG = """
train: user.py:train
metric: score
direction: max
search:
  space: {x: {type: float, range: [0.0, 1.0]}}
  num_trials: 3
"""

INLINE = ("-s", "cluster.kind=inline")

#: By the recipe: which block of docs/plugins.md is its class, where a config names it, and its kit.
PLUGINS = {
    "Add an optimizer": (0, "search.optimizer.name", "check_optimizer"),
    "Add an early-stop rule": (0, "search.early_stop.name", "check_early_stop"),
    "Add an executor": (-2, "cluster.kind", ""),
    "Add a framework": (-1, "", "check_framework"),
}


class Tree:
    """A copy of what a change touches, as if it were installed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(ROOT / "dotrain", path / "dotrain")
        for name in COPIED:
            (path / name).parent.mkdir(exist_ok=True)
            shutil.copy2(ROOT / name, path / name)

    def follow(self, recipe: str) -> list[str]:
        """Make the changes that a recipe shows, and return the lines that it adds."""
        page = (ROOT / PAGE).read_text()
        text = page.partition(f"### {recipe}\n")[2].partition("\n### ")[0]
        added = []
        for patch in re.findall(r"```diff\n(.*?)```", text, re.DOTALL):
            for part in patch.split("--- ")[1:]:
                name, *hunks = re.split(r"^@@.*\n", part, flags=re.MULTILINE)
                for hunk in hunks:
                    added += self.change(self.path / name.strip(), hunk.splitlines())
        assert added, "the recipe shows no change"
        return added

    def change(self, file: Path, hunk: list[str]) -> list[str]:
        """Change a file at the one place where the lines stand that a hunk keeps or takes out."""
        before = "".join(f"{line[1:]}\n" for line in hunk if line[:1] != "+")
        after = "".join(f"{line[1:]}\n" for line in hunk if line[:1] != "-")
        text = file.read_text() if file.exists() else ""
        if before:
            assert text.count(before) == 1, (
                f"{file.relative_to(self.path)} is not as shown: {before}"
            )
        file.write_text(text.replace(before, after) if before else after)
        return [line[1:] for line in hunk if line[:1] == "+"]

    def install(self) -> None:
        """Write what an installation would: the entry points of the copy."""
        groups = tomllib.loads((self.path / "pyproject.toml").read_text())["project"][
            "entry-points"
        ]
        points = configparser.ConfigParser()
        points.optionxform = str  # type: ignore[assignment,method-assign]
        points.read_dict(groups)
        info = self.path / "dotrain-0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dotrain\nVersion: 0\n")
        with (info / "entry_points.txt").open("w") as file:
            points.write(file)

    def python(self, *arguments: str) -> str:
        """Run Python on the copy and return what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(self.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path / "tree")
    (tree.path / "user.py").write_text(TRAIN)
    (tree.path / "toyframe.py").write_text("import random\n\ngenerator = random.Random()\n")
    (tree.path / "config.yaml").write_text(CONFIG)
    yield tree
    shutil.rmtree(tree.path)


@pytest.mark.parametrize("recipe", PLUGINS)
def test_a_plugin_comes_with_dotrain(tree: Tree, recipe: str) -> None:
    block, key, kit = PLUGINS[recipe]
    (point,) = (line for line in tree.follow(recipe) if " = " in line and ":" in line)
    name, module, cls = re.fullmatch(r'(\w+) = "([\w.]+):(\w+)"', point).groups()  # type: ignore[union-attr]
    place = tree.path / module.replace(".", "/")
    file = place / "__init__.py" if recipe == "Add a framework" else place.with_suffix(".py")
    file.parent.mkdir(exist_ok=True)
    assert not file.exists()
    code = blocks("docs/plugins.md", "python")[block]
    if block == 0:
        code = code.replace("from dotrain import", "from dotrain.core.policy import")
    file.write_text(code)
    tree.install()

    choice = ["-s", f"{key}={name}"] if key else []
    command = (
        "-m",
        "dotrain",
        "run",
        "config.yaml",
        "--json",
        "-s",
        "cluster.kind=inline",
        *choice,
    )
    result = json.loads(tree.python(*command))
    assert result["trials"]["finished"] == 3
    if not key:  # its generator is seeded
        assert json.loads(tree.python(*command))["best"] == result["best"]
    if kit:
        more = ", draw=__import__('toyframe').generator.random" if "framework" in kit else ""
        tree.python(
            "-c",
            f"from {module} import {cls}; from dotrain.testing import {kit}; {kit}({cls}{more})",
        )
    if key:
        tree.python("-m", "dotrain.config.reference", "docs/config.md")
        assert f"| `{name}` |" in (tree.path / "docs/config.md").read_text()


def test_a_report_is_on_the_page(tree: Tree) -> None:
    tree.follow("Add a report")
    tree.install()
    run = json.loads(tree.python("-m", "dotrain", "run", "config.yaml", "--json", *INLINE))
    page = tree.python("-m", "dotrain", "report", run["run_dir"]).strip()
    assert '<h2 id="slowest">Slowest trials</h2>\n<ol><li>t' in Path(page).read_text()


def test_a_key_is_in_the_schema_on_the_page_and_does_something(tree: Tree) -> None:
    tree.follow("Add a config key")
    tree.install()
    command = ("-m", "dotrain", "run", "config.yaml", "--json", *INLINE, "-s", "limits.max_steps=3")
    assert json.loads(tree.python(*command))["trials"]["total"] == 1
    assert '"max_steps"' in tree.python("-m", "dotrain", "schema")
    tree.python("-m", "dotrain.config.reference", "docs/config.md")
    assert "| `max_steps` | whole number >= 1 |" in (tree.path / "docs/config.md").read_text()
