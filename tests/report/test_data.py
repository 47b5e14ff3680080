"""`dotrain data`: what a function would get, for people and for programs."""

from __future__ import annotations

import json

from tests.conftest import Project

TABLE = "age,sex,when,y\n" + "".join(
    f"{'' if n == 3 else 20 + n},{'mf'[n % 2]},2026-01-{n + 10},{n % 2}\n" for n in range(10)
)
CONFIG = {
    "data": {
        "file": "t.csv",
        "label": "y",
        "columns": ["age", "sex", "old"],
        "derive": {"old": "age > 23"},
        "split": {"time": "when", "validation": 0.3},
    }
}


def test_it_tells_columns_splits_and_lineage(project: Project) -> None:
    project.write("user.py", "def train(data_gen): return 1.0\n")
    project.write("t.csv", TABLE)
    config = str(project.config(**CONFIG))
    done = project.cli("data", config, "--head", "2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("source  ")
    assert lines[0].endswith("t.csv (file)")
    assert lines[2:4] == ["rows    7 train, 3 validation", "label   y, int64: itself"]
    assert [line.split() for line in lines[5:9]] == [
        ["column", "type", "missing", "becomes", "computed"],
        ["age", "double", "1", "(10.0%)", "scaled:", "mean", "23,", "deviation", "2"],
        ["sex", "string", "2", "columns:", "f,", "m"],
        ["old", "bool", "1", "(10.0%)", "2", "columns:", "False,", "True", "age", ">", "23"],
    ]
    assert [line.split() for line in lines[10:]] == [
        ["age", "sex", "old", "y"],
        ["20.0", "m", "False", "0"],
        ["21.0", "f", "False", "1"],
    ]
    told = json.loads(project.cli("data", config, "--json", "--head", "1").stdout)
    assert told["rows"] == {"train": 7, "validation": 3}
    assert told["head"] == [{"age": 20.0, "sex": "m", "old": False, "y": 0}]
    assert [column["name"] for column in told["columns"]] == ["age", "sex", "old"]
    assert told["columns"][2]["derived_from"] == ["age"]
    assert list(told["identity"]["files"]) == ["t.csv"]
    # A run of it has the same in its journal, and the same table.
    project.cli("run", config, "-q")
    assert len(list((project.path / "runs" / ".data").iterdir())) == 1


def test_what_is_no_table_is_refused(project: Project) -> None:
    project.write("user.py", "def train(data_gen): return 1.0\ndef load(): return 1\n")
    done = project.cli("data", str(project.config(data="user.py:load")))
    assert done.returncode == 2
    assert "data: names a function, user.py:load, which gives what it likes" in done.stderr
    project.write("t.csv", "a,y\n1,\n2,3\n")
    done = project.cli("data", str(project.config(data={"file": "t.csv", "label": "y"})))
    assert done.returncode == 2
    assert "data.label: label column 'y': 1 of 2 are missing" in done.stderr
    assert done.stdout == ""
