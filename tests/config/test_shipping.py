"""Which files go with the code: patterns, packages' data, the table; and what may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dotrain.config import shipping
from dotrain.config.loaded import LoadedConfig
from dotrain.config.plan import make_plan
from dotrain.report.result import print_plan
from dotrain.runs import tables
from dotrain.runs.definition import Experiment
from dotrain.runs.tables import with_table
from dotrain.training.program import Program
from tests.folder import Folder

HEAD = "train: t.py:train\nmetric: m\ndirection: max\n"
ELSEWHERE = "cluster: {kind: address, address: 'tcp://127.0.0.1:1'}\n"


def shipped(loaded: LoadedConfig) -> set[str]:
    return set(Experiment.of(loaded).functions.code.files)


def test_what_is_named_goes_into_the_archive_where_it_lies(folder: Folder) -> None:
    for name in ("data/a.csv", "data/deep/b.csv", "c.json", "d.txt"):
        folder.write(name, name)
    loaded = folder.load(HEAD + "ship: [data, '*.json']\n")
    assert shipped(loaded) == {"t.py", "data/a.csv", "data/deep/b.csv", "c.json"}
    assert loaded.shipment.named == 3


def test_a_changed_file_is_changed_code(folder: Folder) -> None:
    folder.write("a.csv", "1")
    text = HEAD + "ship: [a.csv]\n"
    before = Experiment.of(folder.load(text)).functions.code
    folder.write("a.csv", "2")
    after = Experiment.of(folder.load(text)).functions.code
    assert before.digest != after.digest
    assert not before.is_here()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("no/*.csv", "'no/*.csv' matches no file below {folder}"),
        ("../t.py", "expected a pattern of files below the config's folder, {folder}, got '../t.py'"),
        ("data/../../x", "expected a pattern of files below the config's folder, {folder}"),
        ("/etc/hosts", "expected a pattern of files below the config's folder, {folder}"),
        ("''", "expected a pattern of files below the config's folder, {folder}, got ''"),
        ("empty", "'empty' matches no file below {folder}"),
    ],
)  # fmt: skip
def test_a_pattern_that_names_nothing_or_leads_out_is_refused_at_its_line(
    folder: Folder, pattern: str, message: str
) -> None:
    (folder.path / "empty").mkdir()
    folder.write("a.csv", "")
    (found,) = folder.problems(f"{HEAD}ship:\n  - a.csv\n  - {pattern}\n")
    assert found.startswith(f"6:5: ship[1]: {message.format(folder=folder.path)}")


def test_a_file_that_would_take_the_place_of_code_is_refused(folder: Folder) -> None:
    project = folder.path / "project"
    folder.write("top/model.py", "def model(): pass\n")
    folder.write("project/model.py", "not even code")
    folder.write("project/t.py", "def train(model_gen): return 1.0\n")
    text = "train: t.py:train\nmodel: ../top/model.py:model\nmetric: m\nship: [model.py]\n"
    (found,) = Folder(project).problems(text)
    assert found.startswith("4:8: ship[0]: ")
    assert f"{project / 'model.py'} would lie where the code has another file, model.py" in found


def test_a_config_in_another_folder_than_its_code(folder: Folder) -> None:
    folder.write("configs/data/a.csv", "")
    text = HEAD + "ship: [data/a.csv]\n"
    loaded = folder.load(text, file="configs/c.yaml")
    assert shipped(loaded) == {"t.py", "configs/data/a.csv"}
    folder.write("src/u.py", "def train(): return 1\n")
    text = text.replace("t.py:", "../src/u.py:")
    (found,) = folder.problems(text, file="configs/c.yaml")
    place, root = folder.path / "configs/data/a.csv", folder.path / "src"
    assert (
        found == f"4:8: ship[0]: {place} can't lie beside the code, which is imported from {root}"
    )


def test_more_than_fits_is_refused_with_what_is_largest(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "MOST_BYTES", 1_000_000)
    (folder.path / "small.bin").write_bytes(bytes(400_000))
    (folder.path / "large.bin").write_bytes(bytes(700_000))
    folder.load(HEAD + "ship: [large.bin]\n")
    (found,) = folder.problems(HEAD + "ship: ['*.bin']\n")
    large, small = folder.path / "large.bin", folder.path / "small.bin"
    assert found == (
        f"4:7: ship: 2 files, the largest {large} (0.7 MB), {small} (0.4 MB) and the code make 1.1 "
        "MB, and no more than 1 MB go with the code; put the largest where workers see them (a "
        "shared disk, a bucket), and give the function their path"
    )


def test_the_data_of_packages_go_along_unless_they_are_too_much(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("pkg/__init__.py", "")
    folder.write("pkg/m.py", "def train(): return 1\n")
    folder.write("pkg/words.txt", "words")
    text = "train: pkg.m:train\nmetric: m\ndirection: max\n"
    assert shipped(folder.load(text)) == {"pkg/__init__.py", "pkg/m.py", "pkg/words.txt"}
    monkeypatch.setattr(shipping, "MOST_BYTES", 100)
    (folder.path / "pkg/large.bin").write_bytes(bytes(200))
    loaded = folder.load(text)
    assert shipped(loaded) == {"pkg/__init__.py", "pkg/m.py"}
    assert not loaded.warnings
    (left_out,) = loaded.shipment.left_out
    assert f"{folder.path / 'pkg/large.bin'} (0.0002 MB)" in left_out
    # Where workers may not see them, a person is told when the run begins.
    (warning,) = folder.load(text + ELSEWHERE).warnings
    assert "the data of packages don't go with the code" in str(warning)


def test_the_table_goes_along_where_workers_may_not_see_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write("t.csv", "a,b\n1,2\n3,4\n")
    text = HEAD + "data: {file: t.csv, label: b}\n"

    def program(loaded: LoadedConfig) -> Program:
        ready = with_table(Experiment.of(loaded), folder.path / "runs")
        return ready.program("t", Path("/x"))

    assert program(folder.load(text)).table_files.files == {}
    there = program(folder.load(text + ELSEWHERE))
    table, mask = sorted(there.table_files.files)
    assert (table, mask[:13]) == ("0-table.arrow", "1-validation-")
    # It is no part of the code: where trials run may change in a resume.
    assert list(there.functions.code.files) == ["t.py"]
    monkeypatch.setattr(shipping, "MOST_BYTES", 90)
    (folder.path / "t.csv").write_text("a,b\n" + "1,2\n" * 50)
    loaded = folder.load(text + ELSEWHERE)
    (warning,) = loaded.warnings
    assert f"{folder.path / 't.csv'} doesn't go along" in str(warning)
    capsys.readouterr()
    monkeypatch.setattr(tables, "MOST_BYTES", 90)
    assert not program(loaded).table_files.files
    assert f"{folder.path / 't.csv'} doesn't go along" in capsys.readouterr().err


def test_check_says_what_goes_along_in_a_line(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write("a.csv", "x" * 4000)
    folder.write("t.csv", "a,b\n1,2\n")
    text = HEAD + "ship: [a.csv]\ndata: {file: t.csv, label: b}\n" + ELSEWHERE
    plan = make_plan(folder.load(text))
    assert json.loads(json.dumps(plan["ships"]))["named"] == 1
    print_plan(plan)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ships")]
    table = folder.path / "t.csv"
    assert line.split(maxsplit=1)[1] == (
        f"2 files, 0.00408 MB: 1 of code, 1 named by 'ship:'; and {table}, 8e-06 MB"
    )
