"""The tutorial, typed in from top to bottom: its files, its commands, and what it shows of them."""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Project, warm
from tests.late import needs_torch

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


#: In the form of PyTorch's example, with the lines that the page changes.
SCRIPT = """
import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits


def train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    for data, target in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(data.to(device)), target.to(device)).backward()
        optimizer.step()


def test(model, device, test_loader):
    model.eval()
    correct = 0
    for data, target in test_loader:
        correct += (model(data.to(device)).argmax(1) == target.to(device)).sum().item()

    print('{}/{} ({:.0f}%)'.format(correct, len(test_loader.dataset),
        100. * correct / len(test_loader.dataset)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--epochs', type=int, default=14)
    parser.add_argument('--lr', type=float, default=1.0)
    parser.add_argument('--gamma', type=float, default=0.7)
    args = parser.parse_args()

    device = torch.device("cpu")
    images, labels = map(torch.as_tensor, load_digits(return_X_y=True))
    rows = torch.utils.data.TensorDataset(images.float() / 16, labels)
    train_loader = torch.utils.data.DataLoader(rows, 64, shuffle=True)
    test_loader = torch.utils.data.DataLoader(rows, 1000)
    model = torch.nn.Linear(64, 10).to(device)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=args.lr)

    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        test(model, device, test_loader)
        scheduler.step()


if __name__ == '__main__':
    main()
"""


@pytest.mark.slow
@needs_torch
def test_a_script_becomes_a_train_function(project: Project) -> None:
    script = SCRIPT
    (patch,) = (text for language, text in blocks() if language == "diff")
    hunks = re.split(r"^@@.*\n", patch, flags=re.MULTILINE)[1:]
    changed = [line for line in patch.splitlines() if line.startswith("+")]
    assert len(changed) <= 5
    for hunk in map(str.splitlines, hunks):
        before = "".join(f"{line[1:]}\n" for line in hunk if line[0] != "+")
        after = "".join(f"{line[1:]}\n" for line in hunk if line[0] != "-")
        assert script.count(before) == 1
        script = script.replace(before, after)
    project.write("main.py", script)
    (config,) = (text for _, text in blocks() if text.startswith("train: main.py:main"))
    project.write("mnist.yaml", config)
    less = ("-s", "search.num_trials=2", "-s", "hparams.epochs=2", "--json")
    done = project.cli("run", "mnist.yaml", *less)
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout)["best"]["value"] > 0.5
