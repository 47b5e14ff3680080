"""What a model costs a search: slots that wait for it, the driver's memory, a resume; beside random, in one run.

    python benchmarks/models.py [--only busy many] [--trials 1000] [--many 10000] [--repeats 1]

Slots: eight, trials of 0.5 s, by turns. Memory and restore: trials that do nothing, whose model is asked 10,000 times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from carrying import Carried, carried
from measuring import Range, Row, events, print_table, search

from dotrain.core.scheduler import Scheduler
from dotrain.earlystop.none import NoStop
from dotrain.optimizers.model_based import TPE
from dotrain.space import Searchspace
from dotrain.store import restore

_SLOTS = 8
_SLEEP_S = 0.5
#: By how much slots may be less busy, and what a model may take of the driver's memory and of a resume.
_LESS_BUSY, _MORE_MEMORY, _MORE_TIME = 0.01, 3.0, 20.0


def config(optimizer: str, trials: int, workers: int, sleep_s: float) -> dict[str, Any]:
    """Return a search whose trials take so long."""
    name = "sleep" if sleep_s else "empty"
    given = search(name, trials, **({"seconds": sleep_s} if sleep_s else {"reports": 1}))
    given["search"]["optimizer"] = {"name": optimizer}
    return {**given, "cluster": {"kind": "local", "workers": workers}}


def busy_share(run: Carried) -> float:
    """Return which share of the slots' time went into trials."""
    began = {one["trial_id"]: one["t"] for one in events(run.records, "Started")}
    ended = {one["trial_id"]: one["t"] for one in events(run.records, "Finished")}
    took_s = sum(ended[name] - began[name] for name in ended)
    return float(took_s / (_SLOTS * run.taken_s))


def measure_busy(trials: int, repeats: int) -> Iterator[Row]:
    """How busy eight slots are with trials of 0.5 s."""
    shares: dict[str, list[float]] = {"tpe": [], "random": []}
    for _ in range(repeats):
        for name, found in shares.items():
            found.append(busy_share(carried(config(name, trials, _SLOTS, _SLEEP_S))))
    tpe, random = (Range.of([100 * share for share in found]) for found in shares.values())
    yield Row(
        f"{_SLOTS} slots, {trials} trials of {_SLEEP_S:g} s: busy",
        "%",
        tpe,
        random,
        other_name="random",
        target=f"at most {100 * _LESS_BUSY:g} point less",
        met=tpe.median >= random.median - 100 * _LESS_BUSY,
    )


def measure_many(trials: int) -> Iterator[Row]:
    """The driver's memory with very many trials, and how long their journal takes to be taken in."""
    tpe, random = (carried(config(name, trials, 2, 0.0)) for name in ("tpe", "random"))
    yield Row(
        f"driver's peak memory, {trials} trials",
        "MB",
        Range.of([tpe.peak_mb]),
        Range.of([random.peak_mb]),
        other_name="random",
        target=f"<= {_MORE_MEMORY:g} x",
        met=tpe.peak_mb <= _MORE_MEMORY * random.peak_mb,
    )
    yield from _restored(tpe, trials)


def _restored(run: Carried, trials: int) -> Iterator[Row]:
    header, *records = run.records
    optimizer = TPE()
    space = Searchspace(**header["config"]["search"]["space"])
    optimizer.setup(space, trials, header["direction"], header["seed"])
    optimizer.initialize()
    scheduler = Scheduler(optimizer, NoStop(), direction=header["direction"], seed=header["seed"])
    began = time.perf_counter()
    restore(scheduler, records)
    took_s = time.perf_counter() - began
    yield Row(
        f"restore {trials} trials, against reading their journal",
        "s",
        Range.of([took_s]),
        Range.of([run.read_s]),
        other_name="reading",
        target=f"<= {_MORE_TIME:g} x",
        met=took_s <= _MORE_TIME * run.read_s,
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=["busy", "many"], default=["busy", "many"])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    rows: list[Row] = []
    if "busy" in given.only:
        rows += measure_busy(given.trials, given.repeats)
    if "many" in given.only:
        rows += measure_many(given.many)
    print_table(rows, "a model beside random")


if __name__ == "__main__":
    main()
