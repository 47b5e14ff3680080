"""The tutorial, typed in from top to bottom: its files, its commands, and what it shows of them."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, warm

PAGE = ROOT / "docs" / "tutorial.md"
SAME = doctest.OutputChecker()


def blocks() -> Iterator[tuple[str, str]]:
    """Yield (language, text) of each block of the page."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield (command, what the page shows of its output)."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


class Reader:
    """Somebody who follows the tutorial."""

    def __init__(self, folder: Path) -> None:
        self.start = self.folder = folder
        self.typed: list[str] = []

    def save(self, text: str) -> None:
        """Save a file whose first line names it; other text is only an excerpt."""
        named = re.match(r"# (\w+\.\w+)\n", text)
        if named:
            (self.folder / named[1]).write_text(text)

    def type(self, command: str, output: str) -> None:
        """Type a command, and compare what it prints, where the page shows it."""
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
            return
        done = self.run(command.replace("RUN_DIR", f"'{self.latest_run()}'"))
        self.typed.append(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if output:
            assert SAME.check_output(output, done.stdout, flags), f"{command}\n{done.stdout}"

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command: the first as a shell does, the rest forked from what has imported it."""
        program, *arguments = shlex.split(command)
        assert program == "dotrain"
        if self.typed:
            return warm().run(arguments, cwd=self.folder, timeout_s=100)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def latest_run(self) -> Path:
        journals = self.start.rglob("journal.jsonl")
        return max(journals, key=lambda file: file.stat().st_mtime_ns, default=Path()).parent


@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    for language, text in blocks():
        if language == "console":
            for command, output in commands(text):
                reader.type(command, output)
        else:
            reader.save(text)
    used = {command.split()[1] for command in reader.typed}
    assert used >= {"run", "check", "show", "status", "report", "resume", "ablate", "init"}
    assert (reader.latest_run() / "result.json").is_file()


def test_two_lines_are_all_that_makes_the_keras_project_distributed() -> None:
    templates = ROOT / "dotrain" / "scaffold" / "templates" / "keras"
    once, distributed = (
        yaml.safe_load((templates / f"{name}.yaml.template").read_text())
        for name in ("once", "distributed")
    )
    excerpt = next(text for _, text in blocks() if text.startswith("distribution:"))
    assert {**once, **yaml.safe_load(excerpt)} == distributed
