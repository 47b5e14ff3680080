"""The part of `chaos.py` without a shared disk: a Dask cluster whose workers don't see the run directory.

Each worker has a mount namespace of its own, with an empty disk where the driver's runs lie, so that every
file goes through dotrain. Drivers and workers are killed by turns, in the middle of what they do.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.chaos import (
    check_trials,
    command,
    configurations,
    is_training,
    run_dir_of,
    started,
    write_project,
)

_ROOT = Path(__file__).resolve().parents[1]
#: What makes a mount namespace; root needs no other user for it.
UNSHARE = ["unshare", *(["-m"] if os.getuid() == 0 else ["-rm"])]
#: How long a command may take that is not killed, in seconds.
_WHOLE_S = 300


def can_unshare() -> bool:
    """Whether this machine gives us a mount namespace."""
    try:
        return subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Cluster:
    """A scheduler, and workers that don't see what lies in a folder."""

    def __init__(self, folder: Path, hidden: Path, workers: int) -> None:
        """Start them; `close` ends them.

        Args:
            folder: For their own files.
            hidden: The folder that the workers don't see.
            workers: How many.
        """
        self._folder, self._hidden = folder, hidden
        self._file = folder / "scheduler.json"
        self._log = open(folder / "log", "w")  # noqa: SIM115
        self._scheduler = self._start(["scheduler", "--port", "0"])
        self._workers = [self._worker() for _ in range(workers)]
        while not self._file.exists():
            time.sleep(0.05)
        self.address: str = json.loads(self._file.read_text())["address"]

    def _start(self, arguments: list[str], before: list[str] | None = None) -> Any:
        common = ["--scheduler-file", str(self._file), "--host", "127.0.0.1", "--no-dashboard"]
        return subprocess.Popen(
            [*(before or []), sys.executable, "-m", "dask", *arguments, *common],
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )

    def _worker(self) -> Any:
        shell = f"mount -t tmpfs none '{self._hidden}' && exec \"$@\""
        inside = [*UNSHARE, "sh", "-c", shell, "sh"]
        return self._start(["worker", "--nthreads", "1", "--no-nanny"], inside)

    def kill_one(self, rng: random.Random) -> None:
        """Kill a worker, and start another in its place."""
        index = rng.randrange(len(self._workers))
        self._workers[index].kill()
        self._workers[index].wait()
        self._workers[index] = self._worker()

    def close(self) -> None:
        """End all of it."""
        for process in (*self._workers, self._scheduler):
            process.kill()
            process.wait()
        self._log.close()


@contextmanager
def _cluster(scratch: Path, hidden: Path) -> Iterator[Cluster]:
    folder = scratch / "cluster"
    folder.mkdir()
    cluster = Cluster(folder, hidden, 2)
    try:
        yield cluster
    finally:
        cluster.close()


def kill_disks(kills: int, rng: random.Random, num_trials: int) -> dict[str, Any]:
    """Kill drivers and workers of one search `kills` times, by turns, and compare.

    Afterwards nothing is lost or doubled, each trial's files are at home and whole, and the
    configurations are those of a search that nobody has disturbed.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder, calm = scratch / "killed", scratch / "calm"
        for place in (folder, calm):
            (place / "runs").mkdir(parents=True)
            write_project(place, num_trials=num_trials, step_s=0.1, retries=2 * kills)
        subprocess.run(command("run", "config.yaml"), cwd=calm, check=True, capture_output=True)
        waiting = [("driver", "worker")[n % 2] for n in range(kills)]
        drivers = 0
        with _cluster(scratch, folder / "runs") as cluster:
            _settle(folder, cluster.address)
            while True:
                run_dir = run_dir_of(folder)
                arguments = ["resume", str(run_dir)] if run_dir else ["run", "config.yaml"]
                with started(folder, *arguments) as process:
                    if not _disturb(process, folder, cluster, waiting, rng):
                        assert process.returncode == 0, f"exit code {process.returncode}"
                        break
                    drivers += 1
        assert not waiting, f"the search ended before {waiting}; give it more trials"
        killed_dir, calm_dir = run_dir_of(folder), run_dir_of(calm)
        assert killed_dir is not None
        assert calm_dir is not None
        trials = check_trials(killed_dir)
        assert configurations(trials) == configurations(check_trials(calm_dir))
        for trial in trials:
            _check_files(killed_dir / "trials" / trial.trial_id, int(trial.budget or 0))
        assert not list(killed_dir.rglob(".partial-*")), "something half is left"
    return {"kills": kills, "drivers": drivers, "trials": len(trials)}


def _settle(folder: Path, address: str) -> None:
    file = folder / "config.yaml"
    config = json.loads(file.read_text())
    config["cluster"] = {"kind": "address", "address": address, "connect_timeout_s": 60}
    config["checkpoints"] = {"keep": "last"}
    file.write_text(json.dumps(config))


def _disturb(
    process: subprocess.Popen[bytes],
    folder: Path,
    cluster: Cluster,
    waiting: list[str],
    rng: random.Random,
) -> bool:
    """Kill what is next while a driver drives; return whether that was the driver itself."""
    while waiting:
        # Only what is in the middle of something has anything to lose.
        while not (process.poll() is not None or is_training(folder)):
            time.sleep(0.05)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.05, 1.0))
        if process.poll() is not None:
            return False
        if waiting.pop(0) == "driver":
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        cluster.kill_one(rng)
    process.wait(_WHOLE_S)
    return False


def _check_files(trial_dir: Path, steps: int) -> None:
    newest = max((trial_dir / "checkpoint").iterdir())
    assert newest.name == f"step-{steps:09d}", f"{newest} is not of step {steps}"
    done = (newest / "done").read_text()
    assert done == str(steps - 1), f"{newest} holds {done}"
    log = (trial_dir / "output.log").read_text()
    assert "--- finished: " in log.splitlines()[-1], f"{trial_dir} has no whole log: {log}"
