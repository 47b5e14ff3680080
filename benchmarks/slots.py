"""What an attempt costs its slot: CPU, the gap to the next one, a crash; see `overhead.py`."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import optuna_side
from measuring import DOTRAIN, ENVIRONMENT, HERE, Range, Row, Scale, events, run_dotrain, search

_CPU_MOST = 1.3
_GAP_MS = 2.0
_GAP_MORE_MS = 0.5
_CRASH_S = 0.3


def measure_attempts(scale: Scale, folder: Path) -> Iterator[Row]:
    """CPU of an attempt without reports, against a fork of the same process and its end by hand."""
    for package in ("", "torch", "tensorflow"):
        name = f"CPU of an attempt, {package or 'plain'}"
        if package and find_spec(package) is None:
            yield Row(f"{name}: not installed", "ms")
            continue
        command = [sys.executable, "-P", str(HERE / "attempt_cpu.py"), "--package", package]
        numbers = ["--attempts", str(scale.attempts), "--repeats", str(scale.repeats)]
        told = subprocess.run(
            [*command, *numbers],
            check=True,
            stdout=subprocess.PIPE,
            env={**ENVIRONMENT, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        ).stdout
        costs = json.loads(told)
        ratio = statistics.median(
            ours / theirs for ours, theirs in zip(costs["dotrain"], costs["by hand"], strict=True)
        )
        yield Row(
            name,
            "ms",
            Range.of(costs["dotrain"]),
            Range.of(costs["by hand"]),
            "fork by hand",
            target=f"<= {_CPU_MOST:g}x",
            met=ratio <= _CPU_MOST,
            paired=ratio,
        )
        yield Row(f"{name}: the host's part of it", "ms", Range.of(costs["host"]))


def measure_gap(scale: Scale, folder: Path) -> Iterator[Row]:
    """From the end of a function of half a second to the begin of the slot's next one."""
    ours: list[float] = []
    theirs: list[float] = []
    for repeat in range(scale.repeats):
        records = run_dotrain(folder, search("sleep", scale.sleep_trials, seconds=0.5), [DOTRAIN])
        slots = {record["trial_id"]: record["worker"] for record in events(records, "Started")}
        ends = [(slots[r["trial_id"]], r["metrics"]) for r in events(records, "Finished")]
        ours.append(_median_gap_ms((slot, end["began"], end["ended"]) for slot, end in ends))
        spans = optuna_side.run_trials(
            folder / f"gap-{repeat}.log", scale.sleep_trials, reports=0, seconds=0.5
        )
        theirs.append(_median_gap_ms((str(s.process), s.began_s, s.ended_s) for s in spans))
    gap, other = Range.of(ours), Range.of(theirs)
    yield Row(
        "median gap between trials of 0.5 s",
        "ms",
        gap,
        other,
        target=f"<= {_GAP_MS:g} ms, <= optuna + {_GAP_MORE_MS:g} ms",
        met=gap.median <= min(_GAP_MS, other.median + _GAP_MORE_MS),
    )


def _median_gap_ms(spans: Iterable[tuple[str, float, float]]) -> float:
    by_slot: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for slot, began_s, ended_s in spans:
        by_slot[slot].append((began_s, ended_s))
    gaps_s: list[float] = []
    for of_slot in by_slot.values():
        of_slot.sort()
        gaps_s += [began_s - ended_s for (_, ended_s), (began_s, _) in itertools.pairwise(of_slot)]
    return 1000.0 * statistics.median(gaps_s)


def measure_crash(scale: Scale, folder: Path) -> Iterator[Row]:
    """From a crash with TensorFlow imported to the first report of the slot's next trial."""
    if find_spec("tensorflow") is None:
        yield Row("crash to the next first report: TensorFlow isn't installed", "s")
        return
    waits_s: list[float] = []
    imports_s: list[float] = []
    for repeat in range(scale.repeats):
        runs = folder / str(repeat)
        runs.mkdir()
        config = {
            **search("", 2 * scale.crashes),
            "train": f"{HERE / 'functions_tensorflow.py'}:crash",
            "cluster": {"kind": "local", "workers": 1},
            "limits": {"retries": 0},
        }
        run_dotrain(runs, config, [DOTRAIN], expected=(0, 1))
        crashed = _stamps(runs, "crashed")
        assert len(crashed) == scale.crashes, f"{len(crashed)} trials have crashed"
        reported = _stamps(runs, "reported")
        for at_s in crashed:
            waits_s += [
                t for t in [min((r for r in reported if r > at_s), default=0.0) - at_s] if t > 0
            ]
        began_s = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", "import tensorflow"],
            check=True,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        imports_s.append(time.monotonic() - began_s)
    wait = Range.of(waits_s)
    yield Row(
        "crash, TensorFlow imported, to the next first report",
        "s",
        wait,
        Range.of(imports_s),
        "import tensorflow",
        target=f"<= {_CRASH_S:g} s",
        met=wait.median <= _CRASH_S,
    )


def _stamps(folder: Path, name: str) -> list[float]:
    return sorted(float(file.read_text()) for file in folder.glob(f"**/trials/*/{name}"))
