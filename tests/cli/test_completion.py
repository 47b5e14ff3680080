"""What the shell offers at Tab, asked as bash asks."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Project, warm

SPACE = {"space": {"width": {"type": "int", "range": [1, 3]}}, "num_trials": 3}


CODE = "import sys; sys.argv[0] = 'dotrain'; from dotrain.cli import main; main()"
#: What has been imported by the end.
PROBE = (
    "import atexit, sys;"
    "atexit.register(lambda: print('MODULES', *{n.split('.')[0] for n in sys.modules}));"
)


def asked(line: str) -> dict[str, str]:
    """Return the environment of a question; a space at the end of a line begins a new word."""
    words = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
    return {
        "_DOTRAIN_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }


def offered(folder: Path, line: str) -> list[str]:
    """Return what is offered at the end of a line."""
    done = warm().run([], folder, timeout_s=60, code=CODE, **asked(line))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


@pytest.fixture
def ran(project: Project) -> Project:
    """A folder with configs, other files, and a run."""
    project.run(
        "def train(width): return {'score': width, 'size': 2 * width}",
        search=SPACE,
        cluster={"kind": "inline"},
    )
    project.write("configs/big.yml", "")
    project.write(".hidden/config.yaml", "")
    project.write("notes.txt", "")
    return project


def test_commands_and_their_options(project: Project) -> None:
    commands = offered(project.path, "dotrain ")
    assert {"run", "ablate", "resume", "show", "init", "schema", "plugins"} <= set(commands)
    assert offered(project.path, "dotrain pl") == ["plugins"]
    assert "--runs-dir" in offered(project.path, "dotrain run --r")


@pytest.mark.parametrize("command", ["run", "ablate", "check"])
def test_configs_here_and_one_folder_down(ran: Project, command: str) -> None:
    assert offered(ran.path, f"dotrain {command} ") == ["config.yaml", "configs/big.yml"]
    assert offered(ran.path, f"dotrain {command} configs/") == ["configs/big.yml"]
    assert offered(ran.path, f"dotrain {command} notes") == []


@pytest.mark.parametrize("command", ["resume", "status", "show", "ablate x.yaml --from"])
def test_run_directories_wherever_one_begins_to_type(ran: Project, command: str) -> None:
    (run_dir,) = ran.path.glob("runs/*/*")
    name = str(run_dir.relative_to(ran.path))
    for typed in ("ru", "runs/", "runs/con", name[:-2]):
        assert offered(ran.path, f"dotrain {command} {typed}") == [name]
    assert offered(ran.path, f"dotrain {command} ") == ["config", "latest", name]
    assert offered(ran.path, f"dotrain {command} con") == ["config"]
    assert offered(ran.path, f"dotrain {command} conx") == []
    assert offered(run_dir.parent, f"dotrain {command} ") == [run_dir.name]
    elsewhere = f"dotrain {command.replace('show', 'show --runs-dir .')}"
    assert offered(ran.path / "runs", f"{elsewhere} con") == [
        *(["config"] if "show" in command else []),
        name.removeprefix("runs/"),
    ]


def test_columns_and_trials_of_the_run(ran: Project) -> None:
    (run_dir,) = ran.path.glob("runs/*/*")
    show = f"dotrain show {run_dir.relative_to(ran.path)}"
    columns = offered(ran.path, f"{show} --sort ")
    assert {"trial", "state", "score", "width", "size"} <= set(columns)
    assert offered(ran.path, f"{show} --sort wi") == ["width"]
    assert offered(ran.path, f"{show} ") == ["t0000", "t0001", "t0002"]
    for called in ("config", "latest", "config.yaml"):
        assert offered(ran.path, f"dotrain show {called} --sort wi") == ["width"]
        assert offered(ran.path, f"dotrain show {called} ") == ["t0000", "t0001", "t0002"]
    assert offered(ran.path, "dotrain show nowhere --sort ") == []
    assert offered(ran.path, "dotrain show nowhere ") == []


def test_templates(project: Project) -> None:
    assert offered(project.path, "dotrain init --template k") == ["keras"]


@pytest.mark.parametrize("line", ["dotrain r", "dotrain run c", "dotrain show ru"])
def test_tab_imports_nothing_heavy(ran: Project, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE + CODE],
        cwd=ran.path,
        env={**os.environ, **asked(line)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    *found, modules = done.stdout.splitlines()
    assert found
    loaded = set(modules.split())
    assert "typer" in loaded
    assert not loaded & {"tensorflow", "keras", "distributed", "dask", "numpy", "yaml", "rich"}


def test_bash_completes_with_the_script_that_it_is_given(ran: Project) -> None:
    """The whole way: the script of --show-completion, sourced and called as bash does."""
    bin_dir = Path(sys.executable).parent
    script = """
        source <(dotrain --show-completion bash)
        COMP_WORDS=(dotrain run conf) COMP_CWORD=2
        $(complete -p dotrain | sed 's/.*-F \\([^ ]*\\).*/\\1/') dotrain
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=ran.path,
        env={**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "SHELL": "/bin/bash"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["config.yaml", "configs/big.yml"], done.stderr
