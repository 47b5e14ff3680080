"""What training by two workers costs under dotrain with PyTorch, against `torchrun` in the same run.

    python benchmarks/distribution_torch.py [--repeats 3]

As `distribution.py`, on two cores of this machine, with one thread a rank:

- steps per second: two trainings live at once, one through dotrain (`ddp`, exact) and one that `torchrun` has started with PyTorch's
  own `DistributedDataParallel` and the same sampler, and train an epoch by turns; ratios are medians over the pairs;
- from a trial's launch to the end of its first step, of a run's second trial and later, against the time from
  `torchrun`'s command to the same.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distribution import ENVIRONMENT, WARM_TRIALS, WORKERS, started, through_dotrain
from measuring import HERE, Range, Row, print_table

from dotrain.executors.environment import available_cores, environment_of_attempts
from dotrain.executors.threads import share

FUNCTIONS = HERE / "functions_torch.py"
MODELS = ("mlp", "cnn")
_TIMEOUT_S = 600.0


def config(function: str, **more: Any) -> dict[str, Any]:
    """Return the config of a training run by two workers."""
    return {
        "train": f"{FUNCTIONS}:{function}",
        "metric": "metric",
        "direction": "max",
        "distribution": {"strategy": "ddp", "workers": WORKERS},
        "cluster": {"kind": "local", "workers": WORKERS},
        **more,
    }


def by_torchrun(out: Path, *folder: str) -> tuple[float, float]:
    """Train without dotrain; return when that began, and when rank 0 had ended."""
    environment = {
        **environment_of_attempts(share(available_cores(), WORKERS)),
        **ENVIRONMENT,
        "OMP_NUM_THREADS": "1",
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", str(WORKERS), str(FUNCTIONS), str(out), *folder]
    began_s = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S, env=environment)
    return began_s, float(json.loads(out.read_text())["first_step"])


def measure_throughput(folder: Path) -> Iterator[Row]:
    """The same training twice at once, through dotrain and by `torchrun`, epochs by turns."""
    here = folder / "train"
    here.mkdir()
    (here / "turn").write_text("dotrain")
    with started(here, config("by_turns", hparams={"folder": str(here)})) as process:
        by_torchrun(here / "out.json", str(here))
        code = process.wait(_TIMEOUT_S)
    assert code == 0, f"exit code {code}"
    for model in MODELS:
        ours, theirs = (
            json.loads((here / f"{who}-{model}.json").read_text()) for who in ("dotrain", "hand")
        )
        paired = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        yield Row(
            f"{model}, two workers, {len(ours)} epochs each",
            "steps/s",
            Range.of(ours),
            Range.of(theirs),
            "torchrun, the same sampler",
            ">= 0.97",
            paired >= 0.97,
            paired,
        )


def measure_start(repeats: int, folder: Path) -> Iterator[Row]:
    """From a launch to the end of the first step."""
    space = {"x": {"type": "float", "range": [0.0, 1.0]}}
    warm: list[float] = []
    theirs: list[float] = []
    for repeat in range(repeats):
        search = {"space": space, "num_trials": 1 + WARM_TRIALS}
        journal = through_dotrain(folder / f"start-{repeat}", config("start_up", search=search))
        launched = [float(record["t"]) for record in journal.of("Launch")]
        found = zip(journal.first_reports(), launched, strict=True)
        warm += [first_s - launched_s for first_s, launched_s in found][1:]
        began_s, ended_s = by_torchrun(folder / f"out-{repeat}.json")
        theirs.append(ended_s - began_s)
    ratio = statistics.median(warm) / statistics.median(theirs)
    yield Row(
        "from the second trial on: launch to first step",
        "s",
        Range.of(warm),
        Range.of(theirs),
        "torchrun",
        "<= 0.3 times",
        ratio <= 0.3,
    )


def main() -> None:
    """Measure everything, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="of starts")
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:WORKERS])
    load = os.getloadavg()[0]
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dotrain-distribution-") as temporary:
        folder = Path(temporary)
        rows = [*measure_throughput(folder), *measure_start(asked.repeats, folder)]
    took_s = time.monotonic() - began_s
    print_table(rows, f"distribution with PyTorch, in {took_s:.0f} s; load before it {load:.1f}")


if __name__ == "__main__":
    main()
