"""What training by two workers costs under dotrain, against ranks started by hand in the same run.

    python benchmarks/distribution.py [--repeats 3] [--kills 4]

Everything runs on two cores of this machine, with one thread of TensorFlow's a rank. Nothing else
should run there: both ranks wait for whichever is slower. Three things are measured:

- steps per second, over whole epochs, the first left out: two trainings live at once, one through
  dotrain and one started by hand, and train an epoch by turns, while the other sleeps. So both see
  the same machine, whose speed drifts by more than what is looked for; ratios are medians over the
  pairs of epochs;
- the time from a trial's launch to its first report, made at the end of its first step. The
  launch's time is the journal's; what happens in between is stamped by the train function
  (`functions_distribution.py`). Reports carry the monotonic clock, so that the journal's is known
  by it, up to the quickest report's way (a millisecond or two);
- the time from the death of a rank, killed with SIGKILL, to the end of the retry's first step.

Missed targets are marked; they are no error. A process that is left behind is one.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import measuring
import psutil
import yaml
from measuring import DOTRAIN, HERE, Range, Row, events, print_table

from dotrain.executors.environment import available_cores, environment_of_attempts
from dotrain.executors.threads import share
from dotrain.store import Record, read_journal

FUNCTIONS = HERE / "functions_distribution.py"
WORKERS = 2
MODELS = ("mlp", "cnn")
WARM_TRIALS = 4
LONG_STEPS = 300
#: A rank is killed after so many steps.
_KILL_AT = 15
_TIMEOUT_S = 600.0
#: In the environment of every process that is started here, whoever its parent is.
_MARK = "DOTRAIN_BENCHMARK"
_TOKEN = secrets.token_hex(8)
ENVIRONMENT = {**measuring.ENVIRONMENT, _MARK: _TOKEN}

Stamps = Mapping[str, float]


class Journal:
    """The records of a run, by the monotonic clock.

    Its reports' values are readings of that clock, made when they were sent.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        reported = events(records, "Reported")
        # The quickest of them gives the distance of the clocks.
        zero_s = min(float(record["t"]) - float(record["value"]) for record in reported)
        self.records = [{**record, "t": float(record["t"]) - zero_s} for record in records]

    def of(self, kind: str) -> list[Record]:
        """Return the records of one type."""
        return events(self.records, kind)

    def first_reports(self) -> list[float]:
        """Return when each attempt reported first, in order."""
        first: dict[tuple[str, int], float] = {}
        for record in self.of("Reported"):
            first.setdefault((record["trial_id"], record["attempt"]), float(record["value"]))
        return list(first.values())


def config(function: str, *, exact: bool = True, **more: Any) -> dict[str, Any]:
    """Return the config of a training run by two workers."""
    strategy = {"strategy": "multi_worker_mirrored", "workers": WORKERS, "exact": exact}
    return {
        "train": f"{FUNCTIONS}:{function}",
        "metric": "metric",
        "distribution": strategy,
        "cluster": {"kind": "local", "workers": WORKERS},
        **more,
    }


@contextmanager
def started(folder: Path, settings: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a config in a process of its own; its runs go to `folder`."""
    file = folder / "distribution.yaml"
    file.write_text(yaml.safe_dump(dict(settings)))
    command = [DOTRAIN, "run", str(file), "--runs-dir", str(folder), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def journal_of(folder: Path) -> Path | None:
    """Return the journal of the run in `folder`, once there is one."""
    return next(folder.glob("*/*/journal.jsonl"), None)


def through_dotrain(folder: Path, settings: Mapping[str, Any]) -> Journal:
    """Run a config to its end."""
    folder.mkdir()
    with started(folder, settings) as process:
        code = process.wait(_TIMEOUT_S)
    assert code == 0, f"exit code {code}"
    file = journal_of(folder)
    assert file is not None
    return Journal(list(read_journal(file)))


def by_hand(way: str, folder: Path | None = None) -> dict[str, float]:
    """Train without dotrain; return what rank 0 (of one or two) has measured.

    Args:
        folder: Where to take turns with another training, or None.
        way: ``one``, ``exact`` or ``plain``, as in `functions_distribution.py`.
    """
    environment = {**environment_of_attempts(share(available_cores(), WORKERS)), **ENVIRONMENT}
    environment.pop("TF_CONFIG", None)
    command = [sys.executable, str(FUNCTIONS), way, *([str(folder)] if folder else [])]
    addresses = [] if way == "one" else free_addresses()
    began_s = time.monotonic()
    with ExitStack() as ended:
        ranks = []
        for index in range(len(addresses) or 1):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            own = {**environment, "TF_CONFIG": json.dumps(task)} if addresses else environment
            rank = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=own
            )
            ended.callback(rank.kill)
            ranks.append(rank)
        said = [rank.communicate(timeout=_TIMEOUT_S)[0] for rank in ranks]
        assert all(rank.returncode == 0 for rank in ranks), f"{way}: a rank failed"
    return {**json.loads(said[0]), "command": began_s}


def free_addresses() -> list[str]:
    """Return an address for each rank."""
    with ExitStack() as all_at_once:
        servers = [
            all_at_once.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(WORKERS)
        ]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


# ---- steps per second ----

#: dotrain as it is by default, or with ``exact: false``; and what is started by hand: ranks with
#: dotrain's strategy, ranks with TensorFlow's, or one process.
PAIRS = (
    (True, "exact", "by hand, dotrain's strategy", 0.95),
    (False, "plain", "exact: false; by hand, TensorFlow's", 0.95),
    (True, "plain", "by hand, TensorFlow's, not exact", None),
    (True, "one", "one core, no workers", None),
)


def measure_throughput(folder: Path) -> Iterator[Row]:
    """The same training twice at once, through dotrain and by hand, epochs by turns."""
    for number, (exact, way, name, target) in enumerate(PAIRS):
        _say(f"training, {number + 1} of {len(PAIRS)}: {name}")
        here = folder / f"train-{number}"
        here.mkdir()
        (here / "turn").write_text("dotrain")
        settings = config("by_turns", exact=exact, hparams={"folder": str(here)})
        with started(here, settings) as process:
            by_hand(way, here)
            code = process.wait(_TIMEOUT_S)
        assert code == 0, f"exit code {code}"
        for model in MODELS:
            ours, theirs = (
                json.loads((here / f"{who}-{model}.json").read_text())
                for who in ("dotrain", "hand")
            )
            paired = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            yield Row(
                f"{model}, two workers, {len(ours)} epochs each",
                "steps/s",
                Range.of(ours),
                Range.of(theirs),
                name,
                f">= {target}" if target else "",
                paired >= target if target else None,
                paired,
            )


# ---- from a launch to the first step ----

#: What the time goes to, cold: each from one stamp to the next.
COLD = {
    "launched to packages imported": ("launched", "first_line"),
    "user's module imported": ("first_line", "imported"),
    "forked": ("imported", "forked"),
    "cluster started (strategy.begin), ranks agreed": ("forked", "entered"),
    "model built and compiled": ("entered", "compiled"),
    "first step: data, tracing, running": ("compiled", "first_step"),
}
WARM = {
    "launched to forked": ("launched", "forked"),
    **{name: pair for name, pair in COLD.items() if pair[0] in ("forked", "entered", "compiled")},
}
BY_HAND = {
    "packages imported": ("command", "imported"),
    "cluster started (strategy.begin)": ("begin", "entered"),
    "model built and compiled": ("entered", "compiled"),
    "first step: data, tracing, running": ("compiled", "first_step"),
}


def measure_start(repeats: int, folder: Path) -> Iterator[Row]:
    """From a launch to the first step: of a run's first trial, and of later ones."""
    search = {
        "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
        "num_trials": 1 + WARM_TRIALS,
    }
    colds: list[Stamps] = []
    warms: list[Stamps] = []
    hands: list[Stamps] = []
    began: list[Stamps] = []
    for repeat in range(repeats):
        _say(f"starts, {repeat + 1} of {repeats}")
        began_s = time.monotonic()
        journal = through_dotrain(folder / f"start-{repeat}", config("start_up", search=search))
        finished = [record["metrics"] for record in journal.of("Finished")]
        launches = [float(record["t"]) for record in journal.of("Launch")]
        first, *later = (
            {**stamps, "launched": launched_s, "first_step": first_s}
            for stamps, launched_s, first_s in zip(
                finished, launches, journal.first_reports(), strict=True
            )
        )
        began.append({**first, "command": began_s})
        colds.append(first)
        warms += later
        hands.append(by_hand("exact"))
    assert len(warms) == WARM_TRIALS * repeats
    cold = _span(colds, "launched", "first_step")
    warm = _span(warms, "launched", "first_step")
    hand = _span(hands, "command", "first_step")
    forked = 100.0 * statistics.mean(bool(stamps["forked"]) for stamps in (*colds, *warms))
    yield Row(
        "trials forked with everything imported",
        "%",
        Range.of([forked]),
        target="100 %",
        met=forked == 100.0,
    )
    yield Row("cold: launch to first step", "s", cold, target="<= 8 s", met=cold.median <= 8.0)
    yield from _parts(COLD, colds)
    yield Row("warm: launch to first step", "s", warm, target="<= 2 s", met=warm.median <= 2.0)
    yield from _parts(WARM, warms)
    whole = _span(began, "command", "first_step")
    yield Row("command to first step", "s", whole, hand, "by hand, dotrain's strategy")
    yield from _parts(BY_HAND, hands, "  by hand: ")


def _span(stamps: Sequence[Stamps], begin: str, end: str) -> Range:
    return Range.of([each[end] - each[begin] for each in stamps])


def _parts(
    parts: Mapping[str, tuple[str, str]], stamps: Sequence[Stamps], prefix: str = "  "
) -> Iterator[Row]:
    for name, (begin, end) in parts.items():
        # A process that was forked before the import has no stamp of its fork.
        if known := [each for each in stamps if each[begin] and each[end]]:
            yield Row(f"{prefix}{name}", "s", _span(known, begin, end))


# ---- from a rank's death to the retry's first step ----


def measure_recovery(kills: int, folder: Path) -> Iterator[Row]:
    """Kill ranks in the middle of training: each in turn, the chief first."""
    folder.mkdir()
    settings = config("long", hparams={"steps": LONG_STEPS}, limits={"retries": kills})
    killed: list[float] = []
    with started(folder, settings) as process:
        for attempt in range(1, kills + 1):
            _say(f"killing rank {(attempt - 1) % WORKERS}, {attempt} of {kills}")
            run_dir = _wait_for_steps(folder, process, attempt)
            pid = _pid_of(run_dir, (attempt - 1) % WORKERS)
            killed.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)
        code = process.wait(_TIMEOUT_S)
    assert code == 0, f"exit code {code}"
    file = journal_of(folder)
    assert file is not None
    journal = Journal(list(read_journal(file)))
    lost = [float(record["t"]) for record in journal.of("Lost")]
    first_s = journal.first_reports()[1:]
    assert len(lost) == len(first_s) == kills, f"{kills} kills, {len(lost)} attempts lost"
    whole = [first - dead for first, dead in zip(first_s, killed, strict=True)]
    noticed = [told - dead for told, dead in zip(lost, killed, strict=True)]
    yield Row(f"rank killed to retry's first step, {kills} times", "s", Range.of(whole))
    yield Row("  until all ranks were gone, and the driver knew", "s", Range.of(noticed))


def _wait_for_steps(folder: Path, process: subprocess.Popen[bytes], attempt: int) -> Path:
    """Wait until an attempt has made its steps; return the run directory."""
    while process.poll() is None:
        file = journal_of(folder)
        if file is not None:
            reported = events(list(read_journal(file)), "Reported")
            if sum(record["attempt"] == attempt for record in reported) >= _KILL_AT:
                return file.parent
        time.sleep(0.05)
    raise AssertionError(f"the run ended before attempt {attempt}")


def _pid_of(run_dir: Path, rank: int) -> int:
    """Return the process that has been a trial's rank last, as its output says."""
    name = "output.log" if rank == 0 else f"output-rank{rank}.log"
    (log,) = run_dir.glob(f"trials/*/{name}")
    lines = log.read_text(errors="replace").splitlines()
    return int([line for line in lines if line.startswith("pid ")][-1].split()[1])


def left_behind() -> list[psutil.Process]:
    """Return the processes that live though all runs are over."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(_MARK) == _TOKEN:
                found.append(process)
    return found


# ---- all of it ----


def _say(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


def main() -> None:
    """Measure everything, print a table; exit 1 if a process is left behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="of starts")
    parser.add_argument("--kills", type=int, default=4)
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:WORKERS])
    began_s = time.monotonic()
    load = os.getloadavg()[0]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="dotrain-distribution-") as temporary:
        folder = Path(temporary)
        rows += measure_throughput(folder)
        rows += measure_start(asked.repeats, folder)
        rows += measure_recovery(asked.kills, folder / "recovery")
        left = left_behind()
    count = float(len(left))
    rows.append(Row("processes left behind", "", Range.of([count]), target="0", met=not left))
    took_s = time.monotonic() - began_s
    print_table(rows, f"distribution, in {took_s:.0f} s; load before it {load:.1f}")
    for process in left:
        print("left behind:", process.pid, process.cmdline())
        process.kill()
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
