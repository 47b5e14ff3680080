"""Whether a long search of Keras trials grows: the memory of all its processes together.

    python benchmarks/memory.py [--trials 500]

Two local slots train a tiny Keras model on one batch, trial after trial. At each trial's end the
proportional set sizes (PSS) of the driver and of every process below it are added up: pages that
forked processes share count once. What is compared is the median of the twenty samples from trial
20 on with that of the last twenty, since trials that happen to run weigh a few megabytes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from measuring import DOTRAIN, ENVIRONMENT, HERE, Range, Row, print_table, search, write_config

TRIALS = 500
_FIRST = 20
_WINDOW = 20
_TARGET_PERCENT = 5.0
_TIMEOUT_S = 7200.0
_LOOK_S = 0.01


def total_pss_mb(pid: int) -> float:
    """Return the sum over a process and all below it, in MB."""
    try:
        parent = psutil.Process(pid)
        processes = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0.0
    return sum(_pss_kb(process.pid) for process in processes) / 1024.0


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def sampled(trials: int, folder: Path) -> list[float]:
    """Run a search; return the memory at each trial's end, in MB.

    Ends that are seen together share a sample.
    """
    config = {**search("", trials), "train": f"{HERE / 'functions_tensorflow.py'}:fit"}
    file = write_config(folder, config)
    command = [DOTRAIN, "run", str(file), "--runs-dir", str(folder), "--quiet"]
    samples: list[float] = []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    try:
        deadline_s = time.monotonic() + _TIMEOUT_S
        while process.poll() is None:
            assert time.monotonic() < deadline_s, "the search takes too long"
            ended = _ended(folder)
            if ended > len(samples) and (total := total_pss_mb(process.pid)):
                if _ended(folder) >= trials:
                    break  # processes end with the run
                samples += [total] * (ended - len(samples))
            time.sleep(_LOOK_S)
        code = process.wait(_TIMEOUT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert code == 0, f"exit code {code}"
    return samples


def _ended(folder: Path) -> int:
    journal = next(folder.glob("*/*/journal.jsonl"), None)
    return journal.read_bytes().count(b'"Finished"') if journal else 0


def measured(trials: int, folder: Path) -> Row:
    """Return the row of the table."""
    samples = sampled(trials, folder)
    first = min(_FIRST, len(samples) // 3)
    window = min(_WINDOW, max(1, len(samples) // 3))
    then, last = samples[first : first + window], samples[-window:]
    growth = 100.0 * (statistics.median(last) / statistics.median(then) - 1.0)
    return Row(
        f"memory of all processes after {trials} Keras trials",
        "MB",
        Range.of(last),
        Range.of(then),
        f"from trial {first} on",
        target=f"<= {_TARGET_PERCENT:g} % more",
        met=growth <= _TARGET_PERCENT,
    )


def main() -> None:
    """Measure, and print a table; exit 1 where memory has grown by more than the target."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS)
    asked = parser.parse_args()
    if asked.trials < _WINDOW:
        parser.error(f"--trials: at least {_WINDOW} are needed to see a growth")
    with tempfile.TemporaryDirectory(prefix="dotrain-memory-") as temporary:
        row = measured(asked.trials, Path(temporary))
    print_table([row], "memory, 2 local workers")
    sys.exit(0 if row.met else 1)


if __name__ == "__main__":
    main()
