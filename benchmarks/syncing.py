"""What a journal costs that is on the disk before anything follows from what lasts."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import DOTRAIN, Range, Row, Scale, run_dotrain, search, spread

from dotrain.store import check_place

#: The most that a search of trials of half a second may take longer, in percent.
_LONGER_PERCENT = 2.0
#: About what an end and a launch write.
_RECORDS = b"x" * 600


def measured(scale: Scale, folder: Path) -> Iterator[Row]:
    """The same searches with `journal.sync` trial and system, by turns."""
    yield Row("one sync of this disk", "ms", Range.of(_syncs_ms(folder / "file")))
    yield Row("trying out the file system", "ms", Range.of(_tries_ms(folder)))
    short = search("sleep", scale.sleep_trials, seconds=0.5)
    longer = _longer_percent(short, scale.repeats, folder)
    yield Row(
        "a search of trials of 0.5 s longer, synced",
        "%",
        longer,
        target=f"<= {_LONGER_PERCENT:g} %",
        met=longer.median <= _LONGER_PERCENT,
    )
    empty = search("empty", 2 * scale.empty_trials, reports=10)
    yield Row(
        "a search of empty trials longer, synced",
        "%",
        _longer_percent(empty, scale.pairs, folder),
    )
    stopped = search("until_stopped", scale.stopped_trials, stop="functions:StopAt")
    stops_ms: dict[str, list[float]] = {"trial": [], "system": []}

    def stop_ms(runs: Path, sync: str) -> None:
        run_dotrain(runs, {**stopped, "journal": {"sync": sync}}, [DOTRAIN])
        waits_s = [float(file.read_text()) for file in runs.glob("**/trials/*/latency")]
        stops_ms[sync].append(1000.0 * statistics.median(waits_s))

    _by_turns(stop_ms, scale.repeats, folder)
    yield Row(
        "report to stop, median",
        "ms",
        Range.of(stops_ms["trial"]),
        Range.of(stops_ms["system"]),
        "not synced",
    )


def _syncs_ms(path: Path) -> list[float]:
    taken: list[float] = []
    with open(path, "ab", buffering=0) as file:
        for _ in range(100):
            file.write(_RECORDS)
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(1000.0 * (time.perf_counter() - began_s))
    return taken


def _tries_ms(folder: Path) -> list[float]:
    taken: list[float] = []
    for _ in range(20):
        began_s = time.perf_counter()
        check_place(folder, "")
        taken.append(1000.0 * (time.perf_counter() - began_s))
    return taken


def _longer_percent(config: dict[str, Any], pairs: int, folder: Path) -> Range:
    """From the first start to the last recorded result, pair by pair."""
    taken_s: dict[str, list[float]] = {"trial": [], "system": []}

    def run(runs: Path, sync: str) -> None:
        records = run_dotrain(runs, {**config, "journal": {"sync": sync}}, [DOTRAIN])
        taken_s[sync].append(spread(records, "Started", "Finished"))

    _by_turns(run, pairs, folder)
    both = zip(taken_s["trial"], taken_s["system"], strict=True)
    return Range.of([100.0 * (synced / other - 1.0) for synced, other in both])


def _by_turns(run: Callable[[Path, str], None], pairs: int, folder: Path) -> None:
    """Each is the first of every other pair: what a machine is busy with besides comes and goes."""
    for pair in range(pairs):
        for sync in ("trial", "system")[:: 1 if pair % 2 else -1]:
            runs = folder / f"{len(list(folder.iterdir()))}"
            runs.mkdir()
            run(runs, sync)
