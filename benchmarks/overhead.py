"""What dotrain costs on top of the user's own code, each row beside its reference in the same run.

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
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import memory
import optuna_side
import slots
import starts
import syncing
from measuring import (
    DOTRAIN,
    ENVIRONMENT,
    HERE,
    QUICK,
    WORKERS,
    Range,
    Row,
    Scale,
    print_table,
    run_dotrain,
    search,
    spread,
    write_config,
)

_TRIALS_LEAST = 1.6

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
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    yield Row(
        "empty trials of 10 reports",
        "/s",
        Range.of(ours),
        Range.of(theirs),
        target=">= 1.6x, aim 1.8x",
        met=ratio >= _TRIALS_LEAST,
        paired=ratio,
    )


def measure_stop(scale: Scale, folder: Path) -> Iterator[Row]:
    """From a report that the rule stops to the exception in the train function."""
    config = search("until_stopped", scale.stopped_trials, stop="functions:StopAt")
    halves: list[float] = []
    p99s: list[float] = []
    for repeat in range(scale.repeats):
        runs = folder / str(repeat)
        runs.mkdir()
        run_dotrain(runs, config, [DOTRAIN])
        files = runs.glob("**/trials/*/latency")
        latencies = sorted(1000.0 * float(file.read_text()) for file in files)
        assert len(latencies) == scale.stopped_trials, "a trial was not stopped"
        halves.append(statistics.median(latencies))
        p99s.append(latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))])
    for what, measured, most_ms in (("median", halves, 4.0), ("99th percentile", p99s, 10.0)):
        taken = Range.of(measured)
        yield Row(
            f"report to stop, {what}",
            "ms",
            taken,
            target=f"<= {most_ms:g} ms",
            met=taken.median <= most_ms,
        )


def measure_growth(scale: Scale, folder: Path) -> Iterator[Row]:
    """The memory of all processes of a long search of Keras trials."""
    if find_spec("tensorflow") is None:
        yield Row("memory of Keras trials: TensorFlow isn't installed", "MB")
        return
    yield memory.measured(scale.keras_trials, folder)


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
    "attempts": slots.measure_attempts,
    "gap": slots.measure_gap,
    "stop": measure_stop,
    "crash": slots.measure_crash,
    "first": starts.measure_first,
    "digits": starts.measure_digits,
    "growth": measure_growth,
    "memory": measure_memory,
    "cli": measure_cli,
    "tensorboard": measure_tensorboard,
    "sync": syncing.measured,
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
