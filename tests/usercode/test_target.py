"""The user's functions, found and judged by their source alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dotrain.errors import UsageError
from dotrain.usercode.target import find_target
from tests.folder import Folder


def config(train: str = "u.py:train", rest: str = "") -> str:
    return f"train: {train}\nmetric: m\n{rest}"


SPACE = """\
search:
  num_trials: 3
  space:
    lr: {type: float, range: [0, 1]}
    opt: {type: categorical, values: [sgd, adam]}
    momentum: {type: float, range: [0, 1], when: {opt: sgd}}
"""
ASHA = SPACE + "  optimizer: {name: asha, resource_max: 9}\n"


# What the function asks for


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "reporter",
        "lr, opt",
        "*, lr, opt=None",
        "lr, opt, momentum=0.0",
        "hparams, reporter, checkpoint, trial_dir, seed, dist_strategy",
        "unknown=1, **kwargs",
        "*args, **kwargs",
        "lr, fixed",
        "budget=None",
    ],
)
def test_a_function_that_asks_for_what_is_provided_loads(folder: Folder, signature: str):
    source = f"def train(model_gen, {signature}):\n    return 1.0\n\ndef build(**the_rest): ...\n"
    folder.write("u.py", source)
    folder.load(config(rest=SPACE + "hparams: {fixed: 1}\nmodel: u.py:build\n"))


PROVIDED = (
    "budget, checkpoint, data_gen, dataset_function, dist_strategy, hparams, model_function, "
    "model_gen, reporter, seed, trial_dir"
)


@pytest.mark.parametrize(
    ("signature", "rest", "messages"),
    [
        ("learnrate", "", [f"asks for 'learnrate', which nobody provides; known: {PROVIDED}"]),
        ("report", "", ["asks for 'report', which nobody provides; did you mean 'reporter'?"]),
        ("optt", SPACE, ["asks for 'optt', which nobody provides; did you mean 'opt'?"]),
        (
            "*, batch_siz",
            "hparams: {batch_size: 3}\n",
            ["asks for 'batch_siz', which nobody provides; did you mean 'batch_size'?"],
        ),
        (
            "reportr, sed",
            "",
            [
                "asks for 'reportr', which nobody provides; did you mean 'reporter'?",
                "asks for 'sed', which nobody provides; did you mean 'seed'?",
            ],
        ),
        (
            "budget",
            SPACE,
            ["asks for 'budget', which this optimizer doesn't give; write a default, "],
        ),
        ("model_gen", "", ["asks for 'model_gen', but the config has no 'model:'"]),
        ("model_function", "", ["asks for 'model_function', but the config has no 'model:'"]),
        ("data_gen", "", ["asks for 'data_gen', but the config has no 'data:'"]),
        ("dataset_function", "", ["asks for 'dataset_function', but the config has no 'data:'"]),
        (
            "momentum, lr",
            SPACE,
            ["asks for 'momentum', which only some trials have; write a default"],
        ),
        (
            "x, **hparams",
            "",
            [f"asks for 'x', which nobody provides; known: {PROVIDED}"],
        ),
    ],
)
def test_a_function_that_asks_for_what_nobody_provides_is_refused(
    folder: Folder, signature: str, rest: str, messages: list[str]
):
    file = folder.write("u.py", f"# first\ndef train({signature}):\n    return 1.0\n")
    found = [line for line in folder.problems(config(rest=rest)) if "asks for" in line]
    expected = [f"1:8: train: {file}:2: train() {message}" for message in messages]
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


def test_a_budget_is_provided_by_asha_and_by_hparams(folder: Folder):
    folder.write("u.py", "def train(budget, **hparams):\n    return 1.0\n")
    folder.load(config(rest=ASHA))
    folder.load(config(rest="hparams: {budget: 3}\n"))


def test_generators_are_provided_where_the_config_says_what_they_call(folder: Folder):
    folder.write("u.py", "def train(model_gen, data_gen):\n    return 1.0\n\ndef f():\n    pass\n")
    folder.load(config(rest="model: u.py:f\ndata: u.py:f\n"))


@pytest.mark.parametrize(
    "source",
    [
        "from json import loads as train\n",
        "from json import dumps as train\n",
        "from json import *\n",
        "import json as train\n",
        "def wrap(f): return f\n\n@wrap\ndef train(unknown): pass\n",
        "train = lambda unknown: 1.0\n",
        "train: object = make(3)\n",
        "train = other = make(3)\n",
        "first, train = make(3)\n",
        "class train:\n    def __init__(self, unknown): pass\n",
        "async def train(unknown): pass\n",
        "def train(unknown): pass\n\ntrain = wrap(train)\n",
    ],
    ids=lambda source: source.splitlines()[0],
)
def test_what_the_source_can_not_tell_is_not_judged(folder: Folder, source: str):
    folder.write("u.py", source)
    assert folder.load(config()).train.function == "train"


@pytest.mark.parametrize(
    "source",
    [
        "if True:\n    def train(unknown): pass\n",
        "if False:\n    pass\nelse:\n    def train(unknown): pass\n",
        "try:\n    import nothing\nexcept ImportError:\n    def train(unknown): pass\n",
        "def train(): pass\n\ndef train(unknown): pass\n",
        "# -*- coding: latin-1 -*-\n\ndef train(unknown, *, lr=3): 'ü'\n",
    ],
)
def test_the_last_function_of_the_name_is_the_one_judged(folder: Folder, source: str):
    folder.write("u.py", source)
    [found] = folder.problems(config())
    assert "asks for 'unknown', which nobody provides" in found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def trian(): pass\n", "has no function 'train'; did you mean 'trian'?"),
        ("def other(): pass\n", "has no function 'train'; known: other"),
        ("def outer():\n    def train(): pass\n", "has no function 'train'; known: outer"),
        ("class A:\n    def train(self): pass\n", "has no function 'train'"),
        ("", "has no function 'train'"),
    ],
)
def test_a_missing_function_is_an_error(folder: Folder, source: str, message: str):
    file = folder.write("u.py", source)
    assert folder.problems(config()) == [f"1:8: train: {file} {message}"]


def test_a_syntax_error_is_shown_in_the_users_file(folder: Folder):
    file = folder.write("u.py", "x = 1\ndef train(:\n    pass\n")
    [found] = folder.problems(config())
    assert found == f"1:8: train: {file}:2:11: syntax error: invalid syntax"


@pytest.mark.parametrize("data", [b"x = 1\0\ndef train(): pass\n", b"x = '\xff'\n"])
def test_a_file_that_is_no_python_text_is_a_syntax_error(folder: Folder, data: bytes):
    file = folder.write("u.py", "")
    file.write_bytes(data)
    [found] = folder.problems(config())
    assert found.startswith(f"1:8: train: {file}")
    assert "syntax error" in found
    assert "None" not in found


def test_model_and_data_are_checked_too(folder: Folder):
    folder.write("u.py", "def train(): pass\n")
    assert folder.problems(config(rest="model: u.py:bild\ndata: none.py:load\n"))[0] == (
        f"3:8: model: {folder.path / 'u.py'} has no function 'bild'; known: train"
    )


# Nothing is imported


def test_loading_does_not_import_the_users_module(folder: Folder):
    marker = folder.path / "marker"
    source = f"open({str(marker)!r}, 'w').close()\nraise RuntimeError\ndef train(): pass\n"
    folder.write("u.py", source)
    folder.write("pkg/__init__.py", source)
    folder.write("pkg/sub/__init__.py", source)
    folder.write("pkg/sub/m.py", source)
    for train in ("u.py:train", "u:train", "pkg/sub/m.py:train", "pkg.sub.m:train"):
        folder.load(config(train, rest=f"model: {train}\ndata: {train}\n"))
    assert not marker.exists()
    assert "pkg" not in sys.modules


def test_loading_a_config_imports_no_worker_and_no_framework(folder: Folder):
    folder.write("u.py", "import keras, tensorflow\ndef train(a): pass\n")
    file = folder.write("config.yaml", config(rest="search: {space: {a: [INTEGER, [0, 1]]}}\n"))
    script = """
import sys
from pathlib import Path
import dotrain.config
from dotrain.config import ConfigError, load_config
try:
    load_config(Path(sys.argv[1]), sys.argv[2:])
except ConfigError:
    print("refused")
print([m for m in ("distributed", "dask", "tensorflow", "keras", "torch") if m in sys.modules])
"""
    for overrides, said in [(["search.num_trials=3"], "[]\n"), ([], "refused\n[]\n")]:
        done = subprocess.run(
            [sys.executable, "-c", script, str(file), *overrides],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == said


# Where it is looked for


def test_a_path_is_looked_for_beside_the_config_then_in_every_folder_above(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = folder.path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder.write("elsewhere/recipes/y.py", "def wrong(): pass\n")
    above = folder.write("recipes/y.py", "def train(): pass\n")
    text = config("recipes/y.py:train")
    target = folder.load(text, file="configs/deep/x.yaml").train
    assert (target.file, target.root, target.module) == (above, folder.path, "recipes.y")
    nearer = folder.write("configs/deep/recipes/y.py", "def train(): pass\n")
    assert folder.load(text, file="configs/deep/x.yaml").train.file == nearer


def test_the_places_tried_are_listed(folder: Folder):
    found = "\n".join(folder.problems(config("no/where.py:train"), file="a/b/x.yaml"))
    tried = [str(place / "no/where.py") for place in (folder.path / "a/b", folder.path / "a")]
    assert found.startswith("1:8: train: no file no/where.py; tried\n    " + "\n    ".join(tried))
    assert "\n    /no/where.py" in found


@pytest.mark.parametrize(
    ("place", "module"),
    [("u", "u"), ("pkg.m", "pkg.m"), ("ns.sub.m", "ns.sub.m"), ("pkg", "pkg")],
)
def test_a_module_is_found_beside_the_config_packages_without_init_included(
    folder: Folder, place: str, module: str
):
    for name in ("u.py", "pkg/__init__.py", "pkg/m.py", "ns/sub/m.py"):
        folder.write(name, "def train(): pass\n")
    target = folder.load(config(f"{place}:train"), file="configs/x.yaml").train
    assert (target.module, target.root) == (module, folder.path)
    assert target.file.is_relative_to(folder.path)


def test_a_module_is_found_on_pythons_path(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    library = Folder(tmp_path_factory.mktemp("library"))
    file = library.write("some_library/m.py", "def train(unknown): pass\n")
    monkeypatch.syspath_prepend(library.path)
    [found] = folder.problems(config("some_library.m:train"))
    assert found.startswith(f"1:8: train: {file}:1: train() asks for 'unknown'")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("u.py", "expected path.py:function or module:function, got 'u.py'"),
        ("':train'", "expected path.py:function or module:function, got ':train'"),
        ("'u.py:'", "expected path.py:function or module:function, got 'u.py:'"),
        ("'u.py:a.b'", "expected path.py:function or module:function, got 'u.py:a.b'"),
        ("'u.py:train()'", "expected path.py:function or module:function, got 'u.py:train()'"),
        ("no_such_module:train", "no module 'no_such_module' beside the config"),
        ("u.no_such_module:train", "no module 'u.no_such_module' beside the config"),
        ("recipes/u:train", "'recipes/u' is neither a path that ends in .py nor a module name"),
        ('"a\\0.py:train"', "no file a\0.py; tried"),
        (f"{'x' * 300}.py:train", f"no file {'x' * 300}.py; tried"),
    ],
)
def test_a_function_that_is_named_wrongly_is_explained(folder: Folder, train: str, message: str):
    folder.write("u.py", "def train(): pass\n")
    [found] = folder.problems(config(train))
    assert found.startswith(f"1:8: train: {message}")


def test_a_folder_is_no_file(folder: Folder):
    folder.write("u.py/inner.txt", "")
    assert folder.problems(config())[0].startswith("1:8: train: no file u.py; tried")


def test_a_path_may_go_up_or_be_absolute_or_have_any_name(folder: Folder):
    file = folder.write("my-train (1).py", "def train(): pass\n")
    for place in (file.name, f"../{folder.path.name}/{file.name}", str(file)):
        target = folder.load(config(f'"{place}:train"')).train
        assert (target.file, target.root) == (file, folder.path)


def test_a_link_is_a_file_where_it_stands(folder: Folder, tmp_path_factory: pytest.TempPathFactory):
    real = Folder(tmp_path_factory.mktemp("real")).write("o.py", "def train(): pass\n")
    link = folder.path / "recipes" / "y.py"
    link.parent.mkdir()
    link.symlink_to(real)
    for train in ("recipes/y.py:train", "recipes.y:train"):
        loaded = folder.load(config(train))
        assert (loaded.train.file, loaded.train.module) == (link, "recipes.y")
        assert loaded.closure.files == {link: "recipes/y.py"}


@pytest.mark.parametrize(
    "name", ['it\'s a "folder"', "ünï 漢", "two\nlines", "a:1:2", "%s {x} $HOME"]
)
def test_a_folder_of_any_name_works(folder: Folder, name: str):
    inner = Folder(folder.path / name)
    inner.write("recipes/y.py", "from recipes import z\ndef train(): pass\n")
    inner.write("recipes/z.py", "")
    loaded = inner.load(config("recipes/y.py:train"), file="configs/x.yaml")
    assert sorted(loaded.closure.files.values()) == ["recipes/y.py", "recipes/z.py"]
    assert inner.problems(config("recipes/y.py:train", "sed: 1\nnme: 1\n")) == [
        "3:1: sed: unknown key; did you mean 'seed'?",
        "4:1: nme: unknown key; did you mean 'name'?",
    ]


def test_a_target_can_be_found_without_a_config(folder: Folder):
    folder.write("u.py", "def train(a, b=1, *, c, d=2, **more): pass\n")
    signature = find_target("u.py:train", folder.path).signature()
    assert signature.required == ("a", "c")
    assert signature.optional == ("b", "d")
    assert (signature.takes_any, signature.line) == (True, 1)
    with pytest.raises(UsageError, match="no file"):
        find_target("v.py:train", Path("/"))
