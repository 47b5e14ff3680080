"""How the scheduler's costs grow: 100,000 simulated trials on 10,000 simulated workers, and a long resume.

    python benchmarks/scale.py [--only decisions resume journal memory local dask busy]
        [--trials 100000] [--workers 10000] [--resume-trials 10000]

It prints the cost of a decision per report at the beginning and at the end of the search, the memory
per trial, how much longer the first launch of a resumed run takes than that of a fresh one, and what
one driver carries (`carrying.py`). Decisions and a resume are measured by default.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from busy import measure_busy
from carrying import measure_dask, measure_local, measure_memory
from measuring import print_table
from rich.console import Console
from rich.table import Table

from dotrain.core.events import Event, Reported, TimePassed
from dotrain.core.scheduler import Scheduler
from dotrain.earlystop.median import MedianStop
from dotrain.executors.simulated import SimulatedExecutor, SimulationModel
from dotrain.optimizers.asha import ASHA
from dotrain.space import Float, Searchspace
from dotrain.store import Journal

#: Reports that are averaged at either end.
_WINDOW = 20_000


def simulated_search(trials: int, workers: int) -> dict[str, float]:
    """Run a search with ASHA and the median rule; time every decision about a report."""
    optimizer = ASHA(resource_min=4, resource_max=36)
    optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), trials, "max", 0)
    optimizer.initialize()
    scheduler = Scheduler(optimizer, MedianStop())
    executor = SimulatedExecutor(workers, SimulationModel(losing=0.01, failing=0.001))
    costs_s: list[float] = []

    def post(event: Event) -> None:
        began = time.perf_counter()
        instructions = scheduler.handle(event, executor.clock_s())
        if isinstance(event, Reported):
            costs_s.append(time.perf_counter() - began)
        for instruction in instructions:
            executor.carry_out(instruction)

    gc.collect()
    before = _resident_bytes()
    began = time.monotonic()
    executor.start(None, post)
    while scheduler.status is None:
        deadline = scheduler.next_deadline()
        executor.pump(float("inf") if deadline is None else deadline - executor.clock_s())
        if deadline is not None and deadline <= executor.clock_s():
            post(TimePassed())
    elapsed_s = time.monotonic() - began
    assert scheduler.status == "finished", scheduler.status
    window = min(_WINDOW, len(costs_s) // 4)
    # The median of each window: a collection of garbage is no decision.
    first = statistics.median(costs_s[window : 2 * window]) * 1e6
    last = statistics.median(costs_s[-window:]) * 1e6
    return {
        "trials": len(scheduler.book.trials),
        "reports": len(costs_s),
        "elapsed_s": elapsed_s,
        "first_us": first,
        "last_us": last,
        "ratio": last / first,
        "bytes_per_trial": (_resident_bytes() - before) / max(1, len(scheduler.book.trials)),
    }


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def resumed_start(trials: int, reports: int) -> dict[str, float]:
    """Compare the time to the first launch of a fresh run and of a resumed long one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "user.py").write_text("def train(x): return x\n")
        config = {
            "name": "long",
            "train": "user.py:train",
            "metric": "score",
            "search": {"space": {"x": {"type": "float", "range": [0.0, 1.0]}}},
            "cluster": {"kind": "simulated", "workers": 8, "options": {"steps": reports}},
        }
        config["search"]["num_trials"] = trials  # type: ignore[index]
        (folder / "config.yaml").write_text(json.dumps(config))
        _dotrain(folder, "run", "config.yaml")
        (run_dir,) = folder.glob("runs/long/*")
        journal = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
        cut = journal[: len(journal) - 40]
        (run_dir / "journal.jsonl").write_bytes(b"".join(cut))
        inline = "cluster={kind: inline}"
        resumed_s = _dotrain(folder, "resume", str(run_dir), "--set", inline)
        fresh = ("run", "config.yaml", "--set", inline, "--set", "search.num_trials=5")
        return {
            "trials": trials,
            "records": len(cut),
            "resumed_s": resumed_s,
            "fresh_s": min(_dotrain(folder, *fresh) for _ in range(3)),
        }


def _dotrain(folder: Path, *arguments: str) -> float:
    began = time.monotonic()
    command = [sys.executable, "-m", "dotrain", *arguments, "--quiet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.monotonic() - began


def journal_rate(path: Path, events: int = 50_000) -> float:
    """Return how many records a second the journal takes."""
    journal = Journal(path)
    began = time.perf_counter()
    for number in range(events):
        journal.append_event(Reported("t0000", 1, number, 0.5), float(number))
    elapsed_s = time.perf_counter() - began
    journal.close()
    return events / elapsed_s


def add_decisions(table: Table, trials: int, workers: int) -> None:
    """Add what a decision costs as a search grows."""
    # A process each: memory that an earlier search has freed would count for the next.
    sizes = [trials // 2, trials]
    fresh = ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1)
    with fresh as pool:
        half, whole = pool.map(simulated_search, sizes, [workers] * 2)
    table.add_row("trials, reports", f"{whole['trials']:,}, {whole['reports']:,}", "")
    table.add_row("the whole simulation", f"{whole['elapsed_s']:.0f} s", "")
    table.add_row("decision per report, at first", f"{whole['first_us']:.1f} us", "")
    table.add_row("decision per report, at last", f"{whole['last_us']:.1f} us", "")
    table.add_row("last / first", f"{whole['ratio']:.2f}", "<= 2")
    shown = f"{half['bytes_per_trial']:,.0f}, {whole['bytes_per_trial']:,.0f} bytes"
    table.add_row("memory per trial, half and whole", shown, "equal: linear")


def add_resume(table: Table, trials: int, reports: int) -> None:
    """Add what a long journal costs a resume."""
    start = resumed_start(trials, reports)
    table.add_row("records in the journal resumed", f"{start['records']:,}", "")
    more = start["resumed_s"] - start["fresh_s"]
    shown = f"{start['resumed_s']:.2f} - {start['fresh_s']:.2f} = {more:.2f} s"
    table.add_row("resumed to its end, less a fresh run", shown, "<= 5 s")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("decisions", "resume", "journal", "memory", "local", "dask", "busy")
    parser.add_argument("--only", nargs="+", choices=parts, metavar="PART", default=parts[:3])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--resume-trials", type=int, default=10_000)
    parser.add_argument("--resume-reports", type=int, default=10)
    parser.add_argument("--busy-workers", type=int, default=64)
    parser.add_argument("--busy-repeats", type=int, default=4)
    options = parser.parse_args()
    table = Table("what", "measured", "target", box=None)
    if "decisions" in options.only:
        add_decisions(table, options.trials, options.workers)
    if "resume" in options.only:
        add_resume(table, options.resume_trials, options.resume_reports)
    if "journal" in options.only:
        with tempfile.TemporaryDirectory() as scratch:
            rate = journal_rate(Path(scratch, "journal.jsonl"))
        table.add_row("records a second", f"{rate:,.0f}", "")
    if table.rows:
        Console(width=100).print(table)
    carried = [
        *(measure_memory(10_000, 100) if "memory" in options.only else ()),
        *(measure_local(1000, 100, 16) if "local" in options.only else ()),
        *(measure_dask(300, 100, 16) if "dask" in options.only else ()),
    ]
    if "busy" in options.only:
        with tempfile.TemporaryDirectory() as scratch:
            carried += measure_busy(
                options.busy_workers, 12, 0.5, options.busy_repeats, Path(scratch)
            )
    if carried:
        print_table(carried, "what one driver carries")


if __name__ == "__main__":
    main()
