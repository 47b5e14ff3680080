"""What dotrain's texts name, there is: commands, options, keys of the config, extras of the package."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from dotrain.cli import app
from dotrain.config.catalogue import catalogue
from dotrain.config.json_schema import config_schema
from tests.conftest import ROOT

PACKAGE = ROOT / "dotrain"
#: Words after "dotrain" that are no commands.
PROSE = {"that", "config", "has", "there", "sees", "itself"}
#: Options of other programs: of dask scheduler and dask worker, of tensorboard, of pip, of nvidia-smi.
OTHERS_OPTIONS = {
    "--port",
    "--logdir",
    "--editable",
    "--memory-limit",
    "--nthreads",
    "--query-gpu",
    "--format",
}

TEXTS = sorted(
    path
    for path in PACKAGE.rglob("*")
    if path.suffix in (".py", ".jinja", ".yaml", ".js") and path != PACKAGE / "__init__.py"
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def literals(file: Path) -> Iterator[str]:
    """Yield what a file may show: of a module its texts, docstrings among them."""
    source = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield source
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def found(pattern: str, files: list[Path]) -> dict[str, set[str]]:
    """Return what a pattern's group finds, with the files where."""
    places: dict[str, set[str]] = {}
    for file in files:
        for text in literals(file):
            for match in re.finditer(pattern, text):
                places.setdefault(match[1], set()).add(str(file.relative_to(ROOT)))
    return places


def unknown(places: dict[str, set[str]], known: set[str]) -> dict[str, set[str]]:
    assert places.keys() & known, "the pattern finds nothing"
    return {name: files for name, files in places.items() if name not in known}


@pytest.fixture(scope="module")
def group() -> Any:
    return typer.main.get_command(app)


def test_every_command_exists(group: Any) -> None:
    named = found(r"\bdotrain ([a-z]+)\b", TEXTS)
    assert not unknown(named, {*group.commands, *PROSE})
    in_pages = found(r"`(?:\$ )?dotrain ([a-z]+)\b", PAGES)
    assert not unknown(in_pages, set(group.commands))


def test_every_option_exists(group: Any) -> None:
    commands = [group, *group.commands.values()]
    options = {option for command in commands for p in command.params for option in p.opts}
    named = found(r"(?<![\w(-])(--[a-z][a-z-]+)", [t for t in TEXTS if t.suffix == ".py"])
    assert not unknown(named, options | OTHERS_OPTIONS | {"--help"})


def test_every_extra_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = found(r"dotrain\[([^\]]*)\]", [*TEXTS, *PAGES])
    listed = {extra: files for names, files in named.items() for extra in names.split(",")}
    assert not unknown(listed, set(project["optional-dependencies"]))


def properties(schema: dict[str, Any], part: Any) -> Iterator[str]:
    """Yield the names of all keys that a part of the schema allows, however deep."""
    if isinstance(part, list):
        for item in part:
            yield from properties(schema, item)
    elif isinstance(part, dict):
        yield from part.get("properties", {})
        if "$ref" in part:
            yield from properties(schema, schema["$defs"][part["$ref"].rsplit("/", 1)[1]])
        for key, inner in part.items():
            if key == "properties":
                inner = list(inner.values())
            if key != "$defs":
                yield from properties(schema, inner)


def test_every_key_of_the_config_exists() -> None:
    schema = config_schema(catalogue())
    sections = schema["properties"]
    known = {
        f"{section}.{name}"
        for section in sections
        for name in properties(schema, sections[section])
    }
    dotted = "search|cluster|limits|distribution|ablation"
    is_file_or_module = r"(?:yaml|md|study|warm)\b"
    named = found(rf"(?<![\w./])((?:{dotted})\.(?!{is_file_or_module})[a-z_]+)", [*TEXTS, *PAGES])
    assert not unknown(named, known)


#: Another word for what the glossary has a word for, and that one.
RETIRED = {
    r"resources?": "budget",
    r"objectives?": "metric",
    r"hyper-parameters?": "hyperparameter",
    r"experiment runs?": "run",
    r"sub-trials?": "attempt",
    r"pruners?": "early-stop rule",
}
#: Titles of papers, names of other libraries' modules, what is asked of a cluster, and the key that asks.
OTHERS_WORDS = re.compile(
    r"\"objective\": |"  # a parameter of XGBoost's and LightGBM's
    r"for Hyper-Parameter Optimization|importlib\.resources|papers say resource|in resources asked"
    r"|resource tracker|from resource import"
    r"|pruner=|\"pruner\""  # a parameter of Maggy's
    r"|[\"'`.(\[]resources\b|\bresources(?=[:.=`\",}])|(?:## |#|table: )resources|\bResources\b(?! [a-z])|test_resources"
)


@pytest.mark.parametrize("word", RETIRED)
def test_a_word_that_the_glossary_retired_is_gone(word: str) -> None:
    found_in = []
    for file in [*TEXTS, *PAGES]:
        text = OTHERS_WORDS.sub("", file.read_text(encoding="utf-8"))
        if re.search(rf"(?<![\w-]){word}(?![\w-])", text, re.IGNORECASE):
            found_in.append(str(file.relative_to(ROOT)))
    assert not found_in, f"say {RETIRED[word]}"


def test_the_glossary_has_each_word_once_and_only_words_that_are_used() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", text, re.MULTILINE)
    assert len(words) == len(set(words)) > 30
    code = " ".join(file.read_text(encoding="utf-8").lower() for file in TEXTS)
    assert [word for word in words if word.replace("-", " ") not in code.replace("-", " ")] == []
