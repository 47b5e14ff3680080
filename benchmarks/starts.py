"""From a command to its first report, against what any such process has to do; see `overhead.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import psutil
from measuring import (
    DOTRAIN,
    ENVIRONMENT,
    FUNCTIONS,
    HERE,
    Range,
    Row,
    Scale,
    events,
    run_dotrain,
)

_PLAIN_MOST = 1.6
_KERAS_MOST = 1.3
_TIMEOUT_S = 300.0
_LOOK_S = 0.002
_CONFIG = Path("configs", "digits-asha.yaml")

#: Imports TensorFlow and does a first step of the model of that config.
_FIRST_STEP = """
import tensorflow, keras
from recipes.digits import build_model, load_data
images, labels = load_data("train")
model = build_model()
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(images[:32], labels[:32], steps_per_epoch=1, verbose=0)
print("done", flush=True)
"""


def measure_first(scale: Scale, folder: Path) -> Iterator[Row]:
    """From the command to the first report of a plain Python function."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(scale.repeats):
        began_s = time.monotonic()
        config = {"train": f"{FUNCTIONS}:first_report"}
        records = run_dotrain(folder, config, [DOTRAIN])
        # The clock is the same in every process of a Linux machine.
        ours.append(events(records, "Finished")[0]["metrics"]["at"] - began_s)
        theirs.append(_taken_s([sys.executable, "-c", "import distributed"]))
    yield _row("plain command to first report", ours, theirs, "import distributed", _PLAIN_MOST)


def measure_digits(scale: Scale, folder: Path) -> Iterator[Row]:
    """From the command to the first report of a recipe's config, as it is."""
    if find_spec("tensorflow") is None:
        yield Row(f"{_CONFIG} to first report: TensorFlow isn't installed", "s")
        return
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(scale.repeats):
        ours.append(_first_report_s(Path(tempfile.mkdtemp(dir=folder))))
        theirs.append(_taken_s([sys.executable, "-c", _FIRST_STEP]))
    yield _row(f"{_CONFIG} to first report", ours, theirs, "import and first step", _KERAS_MOST)


def _row(
    metric: str, ours: Sequence[float], theirs: Sequence[float], other: str, most: float
) -> Row:
    ratio = statistics.median(mine / other_s for mine, other_s in zip(ours, theirs, strict=True))
    return Row(
        metric,
        "s",
        Range.of(ours),
        Range.of(theirs),
        other,
        target=f"<= {most:g}x",
        met=ratio <= most,
        paired=ratio,
    )


def _taken_s(command: Sequence[str]) -> float:
    began_s = time.monotonic()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=HERE.parent,
        env=ENVIRONMENT,
        timeout=_TIMEOUT_S,
    )
    return time.monotonic() - began_s


def _first_report_s(folder: Path) -> float:
    """Start the config, wait until its journal has a report, and end it."""
    command = [DOTRAIN, "run", str(_CONFIG), "--runs-dir", str(folder), "--quiet"]
    began_s = time.monotonic()
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=HERE.parent, env=ENVIRONMENT
        )
    try:
        while True:
            journal = next(folder.glob("*/*/journal.jsonl"), None)
            if journal is not None and b'"Reported"' in journal.read_bytes():
                return time.monotonic() - began_s
            assert process.poll() is None, f"{_CONFIG} has ended: see {folder / 'output'}"
            assert time.monotonic() < began_s + _TIMEOUT_S, f"{_CONFIG} reports nothing"
            time.sleep(_LOOK_S)
    finally:
        # Its processes end when it has; what is measured next has the machine to itself.
        below = (
            psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        )
        process.kill()
        process.wait()
        psutil.wait_procs(below, timeout=_TIMEOUT_S)
