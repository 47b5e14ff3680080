"""Workers that don't see the user's files: what goes to them, and how the user reads of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.runs.tables import with_table
from tests.conftest import Project

CANARY = "canary-7d0c9a41e6"
GRID: dict[str, Any] = {
    "space": {"n": {"type": "categorical", "values": [0, 1]}},
    "optimizer": {"name": "grid"},
}

READS = """
    from pathlib import Path

    HERE = Path(__file__).parent

    def train(n):
        return float(open(HERE / "data" / "x.csv").read()) + n
"""

FAILS = """
    from pkg import inner

    def train(n):
        return inner.fail(n)
"""


def run_away(project: Project, source: str = "", /, **sections: Any) -> Result:
    """Run a config whose files have gone from where the driver read them when workers look."""
    if source:
        project.write("user.py", source)
    asked = Experiment.of(load_config(project.config(**sections)))
    asked = with_table(asked, project.path / "runs")
    of_table = [] if asked.rows is None else asked.rows.files
    for place in [*map(Path, asked.functions.code.digests), *of_table]:
        place.rename(f"{place}.gone")
    return run(asked, project.path / "runs", Observer())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_shipped_files_lie_beside_the_code_wherever_it_runs(
    project: Project, temporary: Path
) -> None:
    project.write("data/x.csv", "3")
    cluster = {"kind": "local", "workers": 2}
    result = run_away(project, READS, ship=["data/*.csv"], search=GRID, cluster=cluster)
    assert [trial.final_metric for trial in result.trials] == [3.0, 4.0]
    # Nothing is left of them when the run is over.
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_failures_name_the_users_own_files(
    project: Project, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    project.write("pkg/__init__.py", "")
    project.write("pkg/inner.py", "def fail(n):\n    raise ValueError(f'{__file__} has {n}')\n")
    result = run_away(project, FAILS, search=GRID, cluster={"kind": "local", "workers": 2})
    (group,) = result.summary["failures"]
    assert (group["count"], group["location"]) == (
        2,
        os.path.join("pkg", "inner.py") + ":2 in fail",
    )
    assert group["message"].startswith(f"ValueError: {project.path / 'pkg' / 'inner.py'} has ")
    error = result.trials[0].error
    assert error is not None
    assert f'File "{project.path / "user.py"}", line 5, in train' in error.traceback
    assert "return inner.fail(n)" in error.traceback
    for told in (error.traceback, project.log(result)):
        assert "dotrain-code-" not in told


def test_a_file_that_was_not_named_is_asked_for(project: Project, temporary: Path) -> None:
    project.write("data/x.csv", "3")
    (project.path / "data" / "x.csv").chmod(0o600)
    result = run_away(project, READS, search=GRID, cluster={"kind": "inline"})
    (group,) = result.summary["failures"]
    assert "it didn't go with the code to this worker: name it under 'ship:'" in group["message"]
    assert f"{project.path}/data/x.csv" in group["message"]


def test_a_function_of_a_script_finds_what_lies_beside_the_script(
    project: Project, temporary: Path
) -> None:
    project.write("x.csv", "5")
    script = project.write(
        "script.py",
        """
        import sys
        from pathlib import Path
        from dotrain.experiment import lagom

        def train():
            return float((Path(__file__).parent / "x.csv").read_text())

        if __name__ == "__main__":
            from dotrain.attempts import host
            known = host.Host.__init__

            def gone(self, program, *args, **kwargs):
                for place in program.functions.code.digests:
                    Path(place).rename(f"{place}.gone")
                known(self, program, *args, **kwargs)

            host.Host.__init__ = gone
            result = lagom(train, ship=["x.csv"], cluster={"workers": 1}, quiet=True)
            print(result.best["value"])
        """,
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=project.path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("5.0\n", 0), done.stderr


WITNESS = """
    import os
    from pathlib import Path

    def train(n, trial_dir):
        seen = os.environ["A_CANARY"]
        assert len(seen) == 17 and seen[::-1] == "6e14a9c0d7-yranac", "another value"
        assert os.environ["PLAIN"] == "p"
        lines = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                lines.append(Path("/proc", pid, "cmdline").read_text())
            except OSError:
                pass
        assert not any(seen in line for line in lines)
        if n == 1:
            raise ValueError("one fails, so that messages are made")
        return 1.0
"""


def check_canary(project: Project, cluster: dict[str, Any], temporary: Path) -> None:
    project.write("user.py", WITNESS)
    project.config(search=GRID, cluster=cluster, env=["A_CANARY", {"PLAIN": "p"}])
    environment = {**os.environ, "A_CANARY": CANARY, "TMPDIR": str(temporary)}
    done = project.cli("run", "config.yaml", env=environment)
    checked = project.cli("check", "config.yaml", env=environment)
    assert "1 finished" in done.stdout + done.stderr or '"finished": 1' in done.stdout, done
    assert "one fails" in done.stdout
    shown = [done.stdout, done.stderr, checked.stdout, checked.stderr]
    assert not any(CANARY in text for text in shown)
    files = [path for path in (*project.path.rglob("*"), *temporary.rglob("*")) if path.is_file()]
    assert any(path.name == "journal.jsonl" for path in files)
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    journal = next(path for path in files if path.name == "journal.jsonl")
    header = json.loads(journal.read_text().splitlines()[0])
    assert '["A_CANARY", {"PLAIN": "p"}]' in json.dumps(header)


def test_the_value_of_a_bare_name_is_written_nowhere(project: Project, temporary: Path) -> None:
    check_canary(project, {"kind": "local", "workers": 2}, temporary)


def test_inline_variables_are_set_for_the_time_of_the_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_CANARY", CANARY)
    monkeypatch.setenv("PLAIN", "as before")
    source = WITNESS.replace("if n == 1", "if n == 2")
    project.write("user.py", source)
    sections: dict[str, Any] = {"search": GRID, "env": ["A_CANARY", {"PLAIN": "p"}]}
    result = project.run(cluster={"kind": "inline"}, **sections)
    assert result.summary["trials"]["finished"] == 2, result.summary["failures"]
    assert os.environ["PLAIN"] == "as before"


@pytest.mark.slow
def test_the_same_on_workers_that_were_started_by_hand(
    project: Project, dask_address: str, temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_canary(project, {"kind": "address", "address": dask_address}, temporary)
    # Nor in the logs of the scheduler and the workers.
    logs = [*tmp_path_factory.getbasetemp().glob("dask*/cluster/log")]
    assert logs
    assert not any(CANARY in log.read_text() for log in logs)


@pytest.mark.slow
def test_workers_of_a_cluster_share_what_was_shipped_and_get_the_table(
    project: Project, dask_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    project.write("data/x.csv", "3")
    project.write("t.csv", "a,b\n" + "1,0\n2,1\n" * 10)
    source = """
        from pathlib import Path

        HERE = Path(__file__).parent

        def train(n, data_gen, trial_dir):
            rows = sum(len(labels) for _, labels in data_gen.batch(4))
            (trial_dir / "where").write_text(str(HERE))
            if n == 1:
                raise ValueError(HERE)
            return rows + float((HERE / "data" / "x.csv").read_text())
    """
    result = run_away(
        project,
        source,
        ship=["data"],
        data={"file": "t.csv", "label": "b"},
        search={**GRID, "space": {"n": {"type": "categorical", "values": [0, 1, 2, 3]}}},
        cluster={"kind": "address", "address": dask_address},
    )
    assert [trial.final_metric for trial in result.trials] == [19.0, None, 19.0, 19.0]
    (group,) = result.summary["failures"]
    assert group["message"] == f"ValueError: {project.path}"
    assert group["location"] == "user.py:10 in train"
    places = {path.read_text() for path in result.run_dir.glob("trials/*/where")}
    assert len(places) == 1, "one unpacking for all workers of the host"
    assert "dotrain-code-" in places.pop()
