"""What the benchmarks have in common: running dotrain, summing up, and the table."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from dotrain.store import Record, read_journal

HERE = Path(__file__).resolve().parent
FUNCTIONS = HERE / "functions.py"
DOTRAIN = str(Path(sys.executable).with_name("dotrain"))
#: This checkout is what is measured; the early-stop rule is a module beside this file.
_PATH = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(_PATH)}
WORKERS = 2
_RUN_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Scale:
    """How much is measured; by turns with the reference, where there is one."""

    repeats: int = 5
    empty_trials: int = 400
    attempts: int = 200
    sleep_trials: int = 40
    stopped_trials: int = 240
    crashes: int = 5
    keras_trials: int = 500
    memory_trials: int = 1000
    memory_reports: int = 100
    commands: int = 9
    pairs: int = 15


QUICK = Scale(2, 40, 20, 6, 20, 1, 30, 50, 20, 3, 1)


@dataclass(frozen=True)
class Range:
    """The median of several measurements, and how far they spread."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """Sum up measurements."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One line of the table; `ratio` is dotrain's value over the other's.

    `paired` is the median of the ratios of runs right after each other, where there are such pairs.
    """

    metric: str
    unit: str
    dotrain: Range | None = None
    other: Range | None = None
    other_name: str = "optuna"
    target: str = ""
    met: bool | None = None
    paired: float | None = None

    @property
    def ratio(self) -> float | None:
        """Dotrain's median over the other's, or that of the pairs."""
        if self.paired is not None:
            return self.paired
        if self.dotrain is None or self.other is None:
            return None
        return self.dotrain.median / self.other.median


def run_dotrain(
    folder: Path,
    config: dict[str, Any],
    command: Sequence[str],
    expected: Sequence[int] = (0,),
) -> list[Record]:
    """Run a config in a process of its own, to one of the expected exit codes; return its journal."""
    runs = Path(tempfile.mkdtemp(dir=folder))
    file = write_config(runs, config)
    ended = subprocess.run(
        [*command, "run", str(file), "--runs-dir", str(runs), "--quiet"],
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
        timeout=_RUN_TIMEOUT_S,
    )
    assert ended.returncode in expected, f"exit code {ended.returncode}"
    (journal,) = runs.glob("*/*/journal.jsonl")
    return list(read_journal(journal))


def write_config(folder: Path, config: dict[str, Any]) -> Path:
    """Write a config for two local workers."""
    file = folder / "overhead.yaml"
    local = {"metric": "metric", "cluster": {"kind": "local", "workers": WORKERS}}
    file.write_text(yaml.safe_dump({**local, **config}))
    return file


def search(function: str, trials: int, *, stop: str = "none", **hparams: Any) -> dict[str, Any]:
    """Return the config of a random search."""
    return {
        "train": f"{FUNCTIONS}:{function}",
        "hparams": hparams,
        "search": {
            "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
            "num_trials": trials,
            "early_stop": {"name": stop},
        },
    }


def events(records: Sequence[Record], kind: str) -> list[Record]:
    """Return the records of one type."""
    return [record for record in records if record["type"] == kind]


def spread(records: Sequence[Record], first: str, last: str) -> float:
    """Return the seconds from the first record of one type to the last of another."""
    return float(events(records, last)[-1]["t"]) - float(events(records, first)[0]["t"])


def print_table(rows: Sequence[Row], title: str) -> None:
    """Print the rows to stdout."""
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("metric", "dotrain", "other", "ratio", "target", ""):
        table.add_column(heading, justify="left" if heading in ("metric", "target") else "right")
    for row in rows:
        other = f"{_shown(row.other, row.unit)} ({row.other_name})" if row.other else ""
        ratio = f"{row.ratio:.2f}x" if row.ratio is not None else ""
        ours = _shown(row.dotrain, row.unit) if row.dotrain else ""
        verdict = {True: "[green]met[/]", False: "[bold red]MISSED[/]", None: ""}[row.met]
        table.add_row(row.metric, ours, other, ratio, row.target, verdict)
    # A pipe has no width of its own, and folded rows are hard to read.
    Console(width=None if sys.stdout.isatty() else 170).print(table)


def _shown(measured: Range, unit: str) -> str:
    text = f"{measured.median:.4g} {unit}".strip()
    if measured.low == measured.high:
        return text
    return f"{text} ({measured.low:.4g} to {measured.high:.4g})"
