"""How busy many workers of a Dask cluster are with short trials, beside plain futures of Dask; see `scale.py`."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from distributed import Client
from measuring import DOTRAIN, ENVIRONMENT, Range, Row, events, run_dotrain, search

_START_S = 600
#: Watching itself takes a tenth of a core in each of Dask's processes otherwise, more than there are here.
_ENVIRONMENT = {
    **ENVIRONMENT,
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


class Span(NamedTuple):
    """One call of the function: where, and from when to when."""

    worker: str
    began_s: float
    ended_s: float


def measure_busy(
    workers: int, rounds: int, seconds: float, repeats: int, folder: Path
) -> Iterator[Row]:
    """The same number of sleeps as trials and as futures, by turns, on one cluster.

    Args:
        workers: Processes, of a thread each.
        rounds: Sleeps for each of them.
        seconds: That each takes.
        repeats: How often each way.
        folder: For runs, and what the cluster says.
    """
    ours: list[float] = []
    theirs: list[float] = []
    gaps: list[float] = []
    their_gaps: list[float] = []
    with _cluster(workers, folder) as file, Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(workers, timeout=_START_S)
        for repeat in range(repeats):
            for is_ours in (repeat % 2 == 0, repeat % 2 == 1):
                if is_ours:
                    spans = _trials(client.scheduler.address, workers * rounds, seconds, folder)
                else:
                    spans = _futures(client, workers * rounds, seconds)
                (ours if is_ours else theirs).append(busy_share(spans, workers))
                (gaps if is_ours else their_gaps).append(1000.0 * _median_gap_s(spans))
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    what = f"{workers} workers, sleeps of {seconds:g} s"
    yield Row(
        f"{what}: busy",
        "%",
        Range.of([100.0 * share for share in ours]),
        Range.of([100.0 * share for share in theirs]),
        "futures",
        target=">= futures",
        met=ratio >= 1.0,
        paired=ratio,
    )
    yield Row(f"{what}: gap", "ms", Range.of(gaps), Range.of(their_gaps), "futures")


def busy_share(spans: Sequence[Span], workers: int) -> float:
    """Return which share of their time workers spend in the function, while there is enough to do.

    That is from when each has begun once until the last one begins.

    Args:
        spans: All calls.
        workers: How many there are.
    """
    first: dict[str, float] = {}
    for span in sorted(spans, key=lambda span: span.began_s):
        first.setdefault(span.worker, span.began_s)
    assert len(first) == workers, f"{len(first)} of {workers} workers had something to do"
    begin_s, end_s = max(first.values()), max(span.began_s for span in spans)
    inside = (min(s.ended_s, end_s) - max(s.began_s, begin_s) for s in spans)
    return sum(max(0.0, one) for one in inside) / (workers * (end_s - begin_s))


def _median_gap_s(spans: Sequence[Span]) -> float:
    by_worker: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.began_s):
        by_worker.setdefault(span.worker, []).append(span)
    return statistics.median(
        later.began_s - before.ended_s
        for there in by_worker.values()
        for before, later in itertools.pairwise(there)
    )


@contextmanager
def _cluster(workers: int, folder: Path) -> Iterator[Path]:
    """Start a scheduler and its workers; yield the file that says where."""
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    several = ["--nworkers", str(workers), "--nthreads", "1", "--memory-limit", "0"]
    with open(folder / "cluster.log", "w") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *line, *common],
                stdout=log, stderr=log, cwd=folder, env=_ENVIRONMENT,
            )
            for line in (["scheduler", "--port", "0"], ["worker", *several])
        ]  # fmt: skip
        try:
            while not file.exists():
                time.sleep(0.1)
            yield file
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait()


def _sleep(number: int, seconds: float) -> tuple[str, float, float]:
    began_s = time.monotonic()
    time.sleep(seconds)
    return str(os.getpid()), began_s, time.monotonic()


def _futures(client: Client, count: int, seconds: float) -> list[Span]:
    futures = [client.submit(_sleep, number, seconds, pure=False) for number in range(count)]
    return [Span(*found) for found in client.gather(futures)]


def _trials(address: str, count: int, seconds: float, folder: Path) -> list[Span]:
    cluster = {"kind": "address", "address": address, "connect_timeout_s": _START_S}
    config = {**search("sleep", count, seconds=seconds), "cluster": cluster}
    records = run_dotrain(folder, config, [DOTRAIN])
    slots = {record["trial_id"]: record["worker"] for record in events(records, "Started")}
    found = ((slots[r["trial_id"]], r["metrics"]) for r in events(records, "Finished"))
    return [Span(worker, end["began"], end["ended"]) for worker, end in found]
