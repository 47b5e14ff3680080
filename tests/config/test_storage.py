"""`storage:` of the config: what can't be is told with its place, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dotrain.cli import app
from dotrain.config import ConfigError, load_config
from dotrain.config.plan import make_plan
from tests.conftest import Project

SEARCH = {"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 2}


def problems(project: Project, *overrides: str, **sections: Any) -> list[str]:
    project.write("user.py", "def train(x): return x")
    file = project.config(search=SEARCH, **sections)
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return [str(problem).removeprefix(str(file)) for problem in caught.value.problems]


def test_a_url_with_a_secret_is_refused_where_it_stands_and_not_repeated(project: Project) -> None:
    url = "s3://an-id:canary@bucket/folder"
    (found,) = problems(project, storage=url)
    place, _, message = found.partition(": storage: ")
    assert place.count(":") == 2
    assert message.startswith("a URL with credentials in it would be written to the run directory")
    assert "canary" not in found
    (found,) = problems(project, f"storage={url}")
    assert found.startswith("--set storage=...: storage: a URL with credentials")
    assert "canary" not in found


@pytest.mark.parametrize(
    ("kind", "url", "expected"),
    [
        ("simulated", "file:///folder", "kind 'simulated' trains nothing, so there is nothing to keep"),
        ("local", "memory://folder", "gone with the process that keeps it, and kind 'local' has several"),
        ("inline", "s4://folder", "unknown protocol 's4'"),
        ("mine:Mine", "file:///folder", "kind 'mine:Mine' keeps files in the run directory only"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    project: Project, kind: str, url: str, expected: str
) -> None:
    project.write(
        "mine.py",
        """
        from dotrain.executors.inline import InlineExecutor

        class Mine(InlineExecutor):
            stores_files = False
        """,
    )
    cluster = {"kind": kind}
    (found,) = problems(project, storage=url, cluster=cluster)
    assert expected in found


def test_check_says_where_files_are_kept(project: Project, tmp_path: Path) -> None:
    project.write("user.py", "def train(x): return x")
    file = project.config(search=SEARCH, storage=f"file://{tmp_path}/store")
    assert make_plan(load_config(file))["storage"] == f"file://{tmp_path}/store"
    assert not (tmp_path / "store").exists()
    done = CliRunner().invoke(app, ["check", str(file)])
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("storage "))
    assert line.split() == ["storage", f"file://{tmp_path}/store"]
