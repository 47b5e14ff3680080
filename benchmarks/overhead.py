"""What dotrain costs on top of the user's own code, against optuna where the two compare.

Run it with the project's Python::

    python benchmarks/overhead.py [--quick] [--only NAME ...] [--output PATH]

Everything runs here, on two local workers. Missed targets are marked; they are no error.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna_side
import yaml
from rich.console import Console
from rich.table import Table

from dotrain.store import Record, read_journal

HERE = Path(__file__).resolve().parent
FUNCTIONS = HERE / "functions.py"
DOTRAIN = str(Path(sys.executable).with_name("dotrain"))
#: This checkout is what is measured; the early-stop rule is a module beside this file.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
WORKERS = 2
_RUN_TIMEOUT_S = 900.0

#: Runs the command line in a process that tells, at its end, what it has become.
_DRIVER = """
import json, re, sys
from pathlib import Path
from dotrain.cli import app
code = app(sys.argv[2:], standalone_mode=False)
peak_kb = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
told = {"peak_mb": peak_kb / 1024, "tensorflow": "tensorflow" in sys.modules}
Path(sys.argv[1]).write_text(json.dumps(told))
sys.exit(code)
"""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    repeats: int = 3
    empty_trials: int = 400
    sleep_trials: int = 40
    stopped_trials: int = 240
    first_reports: int = 5
    memory_trials: int = 1000
    memory_reports: int = 100
    commands: int = 9
    pairs: int = 15


QUICK = Scale(1, 40, 6, 20, 1, 50, 20, 3, 1)


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
    dotrain: Range
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
        return self.dotrain.median / self.other.median if self.other else None


def run_dotrain(folder: Path, config: dict[str, Any], command: Sequence[str]) -> list[Record]:
    """Run a config in a process of its own and return its journal."""
    runs = Path(tempfile.mkdtemp(dir=folder))
    file = write_config(runs, config)
    subprocess.run(
        [*command, "run", str(file), "--runs-dir", str(runs), "--quiet"],
        check=True,
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
        timeout=_RUN_TIMEOUT_S,
    )
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


def measure_throughput(scale: Scale, folder: Path) -> Iterator[Row]:
    """Empty trials of ten reports; from the first start to the last recorded result."""
    trials = scale.empty_trials
    ours: list[float] = []
    theirs: list[float] = []
    for repeat in range(scale.repeats):
        records = run_dotrain(folder, search("empty", trials, reports=10), [DOTRAIN])
        ours.append(trials / spread(records, "Started", "Finished"))
        journal = folder / f"throughput-{repeat}.log"
        spans = optuna_side.run_trials(journal, trials, reports=10, seconds=0.0)
        began_s, ended_s = min(s.began_s for s in spans), max(s.told_s for s in spans)
        theirs.append(trials / (ended_s - began_s))
    yield Row(
        "empty trials of 10 reports",
        "/s",
        Range.of(ours),
        Range.of(theirs),
        target=">= 1.0x optuna",
        met=statistics.median(ours) >= statistics.median(theirs),
    )


def measure_busy(scale: Scale, folder: Path) -> Iterator[Row]:
    """The share of the slots' time that trials of half a second spend in the train function."""
    records = run_dotrain(folder, search("sleep", scale.sleep_trials, seconds=0.5), [DOTRAIN])
    ends = [record["metrics"] for record in events(records, "Finished")]
    ours = _busy_percent([(end["began"], end["ended"]) for end in ends])
    spans = optuna_side.run_trials(folder / "busy.log", scale.sleep_trials, reports=0, seconds=0.5)
    theirs = _busy_percent([(span.began_s, span.ended_s) for span in spans])
    yield Row(
        "busy in trials of 0.5 s",
        "%",
        Range.of([ours]),
        Range.of([theirs]),
        target=">= 98 %",
        met=ours >= 98.0,
    )


def _busy_percent(spans: Sequence[tuple[float, float]]) -> float:
    inside = sum(ended - began for began, ended in spans)
    whole = max(ended for _, ended in spans) - min(began for began, _ in spans)
    return 100.0 * inside / (WORKERS * whole)


def measure_stop(scale: Scale, folder: Path) -> Iterator[Row]:
    """From a report that the rule stops to the exception in the train function."""
    config = search("until_stopped", scale.stopped_trials, stop="functions:StopAt")
    run_dotrain(folder, config, [DOTRAIN])
    files = folder.glob("**/trials/*/latency")
    latencies = sorted(1000.0 * float(file.read_text()) for file in files)
    assert len(latencies) == scale.stopped_trials, "a trial was not stopped"
    half = Range.of(latencies)
    yield Row("report to stop, median", "ms", half, target="< 10 ms", met=half.median < 10.0)
    p99 = latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))]
    yield Row("report to stop, 99th percentile", "ms", Range.of([p99]))


def measure_first(scale: Scale, folder: Path) -> Iterator[Row]:
    """From the command to the first report of a plain Python function."""
    waits = []
    for _ in range(scale.first_reports):
        began_s = time.monotonic()
        config = {"train": f"{FUNCTIONS}:first_report"}
        records = run_dotrain(folder, config, [DOTRAIN])
        # The clock is the same in every process of a Linux machine.
        waits.append(events(records, "Finished")[0]["metrics"]["at"] - began_s)
    taken = Range.of(waits)
    yield Row("command to first report", "s", taken, target="<= 4 s", met=taken.median <= 4.0)


def measure_memory(scale: Scale, folder: Path) -> Iterator[Row]:
    """The driver's peak memory, and whether it imports what only workers need."""
    trials, reports = scale.memory_trials, scale.memory_reports
    told = folder / "driver.json"
    driver = [sys.executable, "-c", _DRIVER, str(told)]
    records = run_dotrain(folder, search("empty", trials, reports=reports), driver)
    peak = json.loads(told.read_text())["peak_mb"]
    yield Row(
        f"driver's memory, {trials} trials of {reports} reports",
        "MB",
        Range.of([peak]),
        target="< 200 MB",
        met=peak < 200.0,
    )
    rate = trials * reports / spread(records, "Started", "Finished")
    yield Row("reports, meanwhile", "/s", Range.of([rate]))
    if find_spec("tensorflow") is None:
        return
    run_dotrain(folder, {"train": f"{HERE / 'functions_tensorflow.py'}:train"}, driver)
    imported = bool(json.loads(told.read_text())["tensorflow"])
    yield Row(
        "TensorFlow imported by the driver of a trial that uses it",
        "",
        Range.of([float(imported)]),
        target="0",
        met=not imported,
    )


def measure_cli(scale: Scale, folder: Path) -> Iterator[Row]:
    """What the commands that run nothing cost."""
    file = write_config(folder, search("empty", 10, reports=10))
    commands = {
        "help": [DOTRAIN, "--help"],
        "typer": [sys.executable, "-c", "import typer"],
        "check": [DOTRAIN, "check", str(file)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(scale.commands):
        for name, command in commands.items():
            began_s = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
            times[name].append(time.perf_counter() - began_s)
    cost = {name: Range.of(values) for name, values in times.items()}
    relative = cost["help"].median / cost["typer"].median
    more_s = cost["check"].median - cost["help"].median
    yield Row(
        "dotrain --help",
        "s",
        cost["help"],
        cost["typer"],
        "import typer",
        target="< 3x typer",
        met=relative < 3.0,
    )
    yield Row(
        "dotrain check",
        "s",
        cost["check"],
        cost["help"],
        "--help",
        target="< --help + 1 s",
        met=more_s < 1.0,
    )


def measure_tensorboard(scale: Scale, folder: Path) -> Iterator[Row]:
    """Empty trials of ten reports, with TensorBoard's files and without, in turn.

    How much longer it takes, pair by pair: from the first start to the last recorded result, and
    the whole command, which ends when the rest has been written.
    """
    search_s: list[float] = []
    command_s: list[float] = []
    for pair in range(scale.pairs):
        spans: dict[bool, tuple[float, float]] = {}
        # Each is the first of every other pair: what a machine is busy with besides comes and goes.
        for written in (pair % 2 == 0, pair % 2 == 1):
            config = search("empty", 2 * scale.empty_trials, reports=10)
            began_s = time.monotonic()
            records = run_dotrain(folder, {**config, "tensorboard": written}, [DOTRAIN])
            taken_s = time.monotonic() - began_s
            spans[written] = spread(records, "Started", "Finished"), taken_s
        search_s.append(100.0 * (spans[True][0] / spans[False][0] - 1.0))
        command_s.append(100.0 * (spans[True][1] / spans[False][1] - 1.0))
    for what, more in (("the search", search_s), ("the whole command", command_s)):
        taken = Range.of(more)
        yield Row(
            f"{what} longer, with TensorBoard's files",
            "%",
            taken,
            target="< 5 %",
            met=taken.median < 5.0,
        )


MEASURES: dict[str, Callable[[Scale, Path], Iterator[Row]]] = {
    "throughput": measure_throughput,
    "busy": measure_busy,
    "stop": measure_stop,
    "first": measure_first,
    "memory": measure_memory,
    "cli": measure_cli,
    "tensorboard": measure_tensorboard,
}


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    packages = ("dotrain", "dask", "distributed", "optuna", "typer")
    return {
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def print_table(rows: Sequence[Row], title: str) -> None:
    """Print the rows to stdout."""
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("metric", "dotrain", "other", "ratio", "target", ""):
        table.add_column(heading, justify="left" if heading in ("metric", "target") else "right")
    for row in rows:
        other = f"{_shown(row.other, row.unit)} ({row.other_name})" if row.other else ""
        ratio = f"{row.ratio:.2f}x" if row.ratio is not None else ""
        verdict = {True: "[green]met[/]", False: "[bold red]MISSED[/]", None: ""}[row.met]
        table.add_row(row.metric, _shown(row.dotrain, row.unit), other, ratio, row.target, verdict)
    # A pipe has no width of its own, and folded rows are hard to read.
    Console(width=None if sys.stdout.isatty() else 170).print(table)


def _shown(measured: Range, unit: str) -> str:
    text = f"{measured.median:.4g} {unit}".strip()
    if measured.low == measured.high:
        return text
    return f"{text} ({measured.low:.4g} to {measured.high:.4g})"


def main() -> None:
    """Measure what was asked for; print it and write it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run; the numbers mean little")
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="NAME", default=[*MEASURES])
    parser.add_argument("--output", type=Path, default=HERE / "results" / "overhead.json")
    asked = parser.parse_args()
    scale = QUICK if asked.quick else Scale()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="dotrain-overhead-") as temporary:
        for name in asked.only:
            print(f"measuring {name} ...", file=sys.stderr)
            folder = Path(temporary, name)
            folder.mkdir()
            rows += MEASURES[name](scale, folder)
    print_table(rows, f"overhead, {WORKERS} local workers")
    measured = [{**asdict(row), "ratio": row.ratio} for row in rows]
    result = {"machine": machine(), "scale": asdict(scale), "metrics": measured}
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
