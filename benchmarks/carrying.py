"""What one driver carries: runs through the command line, looked at from outside while they go on."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from measuring import DOTRAIN, ENVIRONMENT, Range, Row, events, search, spread

from dotrain.store import Record, read_journal

#: What the driver may take at 10,000 trials of 100 reports, and more for every 1,000, in MB.
_MOST_MB, _MORE_MB = 160.0, 5.0
#: How often a driver is looked at, in seconds.
_LOOK_S = 0.1
_TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Carried:
    """One run, and what its driver has taken.

    Attributes:
        records: Its journal.
        journal_bytes: How long that is.
        peak_mb: The driver's peak resident set, in MB (2**20 bytes, as the kernel tells it).
        cpu_s: The driver's processor time.
        descriptors: The most that the driver had open at once.
        read_s: How long reading the journal took.
    """

    records: list[Record]
    journal_bytes: int
    peak_mb: float = 0.0
    cpu_s: float = 0.0
    descriptors: int = 0
    read_s: float = 0.0

    @property
    def reports(self) -> int:
        """How many reports it has."""
        return len(events(self.records, "Reported"))

    @property
    def trials(self) -> int:
        """How many trials have finished."""
        return len(events(self.records, "Finished"))

    @property
    def taken_s(self) -> float:
        """From the first start to the last end, in seconds."""
        return spread(self.records, "Started", "Finished")


def carried(config: dict[str, Any]) -> Carried:
    """Run a config to its end, and watch its driver."""
    with tempfile.TemporaryDirectory(prefix="dotrain-scale-") as folder:
        file = Path(folder, "scale.yaml")
        file.write_text(yaml.safe_dump({"metric": "metric", "tensorboard": False, **config}))
        command = [DOTRAIN, "run", str(file), "--runs-dir", folder, "--quiet"]
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
        proc = Path("/proc", str(driver.pid))
        seen = Carried([], 0)
        while driver.poll() is None:
            try:
                seen.descriptors = max(seen.descriptors, len(os.listdir(proc / "fd")))
                peak = re.search(r"VmHWM:\s+(\d+)", (proc / "status").read_text())
                seen.peak_mb = int(peak[1]) / 1024 if peak else seen.peak_mb
                times = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]
                seen.cpu_s = sum(map(int, times)) / _TICKS_S
            except OSError:
                pass  # it has ended meanwhile
            time.sleep(_LOOK_S)
        assert driver.returncode == 0, f"exit code {driver.returncode}"
        (journal,) = Path(folder).glob("*/*/journal.jsonl")
        began = time.perf_counter()
        seen.records, seen.journal_bytes = list(read_journal(journal)), journal.stat().st_size
        seen.read_s = time.perf_counter() - began
        return seen


def simulated(trials: int, reports: int) -> dict[str, Any]:
    """Return a search of made-up values, which says what trials and reports take of a driver."""
    options = {"steps": reports}
    cluster = {"kind": "simulated", "workers": 8, "options": options}
    return {**search("empty", trials, reports=reports), "cluster": cluster}


def local(trials: int, reports: int, workers: int) -> dict[str, Any]:
    """Return a search on processes of this machine."""
    cluster = {"kind": "local", "workers": workers}
    return {**search("empty", trials, reports=reports), "cluster": cluster}


def dask(trials: int, reports: int, workers: int) -> dict[str, Any]:
    """Return a search on Dask's workers, whose scheduler is in the driver."""
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    cluster = {"kind": "distributed.LocalCluster", "options": options, "connect_timeout_s": 120.0}
    return {**search("empty", trials, reports=reports), "cluster": cluster}


def measure_memory(trials: int, reports: int) -> Iterator[Row]:
    """The driver's peak resident set, and what more trials and more of a journal take."""
    few, many = (carried(simulated(number, reports)) for number in (trials // 10, trials))
    more = 1000.0 * (many.peak_mb - few.peak_mb) / (many.trials - few.trials)
    yield Row(
        f"driver's peak memory (RSS), {many.trials} trials of {reports} reports",
        "MB",
        Range.of([many.peak_mb]),
        target=f"<= {_MOST_MB:g} MB",
        met=many.peak_mb <= _MOST_MB,
    )
    yield Row(
        "more for each 1,000 trials",
        "MB",
        Range.of([more]),
        target=f"<= {_MORE_MB:g} MB",
        met=more <= _MORE_MB,
    )
    yield Row("journal, a trial", "bytes", Range.of([many.journal_bytes / many.trials]))
    yield Row("journal, a report", "bytes", Range.of([many.journal_bytes / many.reports]))


def measure_local(trials: int, reports: int, workers: int) -> Iterator[Row]:
    """Reports and ends a second through processes of this machine, and descriptors a slot."""
    yield from _rates("local processes", local, trials, reports, workers)


def measure_dask(trials: int, reports: int, workers: int) -> Iterator[Row]:
    """The same through Dask's workers."""
    from distributed import LocalCluster

    yield from _rates("Dask workers", dask, trials, reports, workers)
    with LocalCluster(workers, threads_per_worker=1, dashboard_address=None) as cluster:
        address = {"kind": "address", "address": cluster.scheduler_address}
        there = carried({**search("empty", 4 * workers, reports=10), "cluster": address})
    what = f"{workers} Dask workers at an address: the driver's descriptors"
    yield Row(what, "", Range.of([there.descriptors]))


def _rates(name: str, config: Any, trials: int, reports: int, workers: int) -> Iterator[Row]:
    idle = carried(config(2, 1, 2))
    busy = carried(config(trials, reports, 2))
    rate, cost_s = busy.reports / busy.taken_s, (busy.cpu_s - idle.cpu_s) / busy.reports
    yield Row(f"2 {name}: reports a second", "/s", Range.of([rate]))
    yield Row(f"2 {name}: the driver's time for a report", "us", Range.of([1e6 * cost_s]))
    yield Row(f"2 {name}: driver's peak memory", "MB", Range.of([busy.peak_mb]))
    wide = carried(config(4 * workers, 10, workers))
    each = (wide.descriptors - idle.descriptors) / (workers - 2)
    more_mb = (wide.peak_mb - idle.peak_mb) / (workers - 2)
    yield Row(f"{workers} {name}: the driver's descriptors", "", Range.of([wide.descriptors]))
    yield Row(f"{workers} {name}: descriptors a worker", "", Range.of([each]))
    yield Row(f"{workers} {name}: the driver's memory a worker", "MB", Range.of([more_mb]))
