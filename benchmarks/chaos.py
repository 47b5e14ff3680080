"""Kill real processes at random moments, resume, and compare with what should have been.

    python benchmarks/chaos.py [--driver-kills 20] [--process-kills 60] [--disk-kills 200]
                               [--storage-kills 200] [--seed 0]

`driver`: a search on this machine whose driver is killed with SIGKILL at a random moment and
resumed, again and again; then the final set of trials is compared with that of an uninterrupted run.
`process`: one search in which an attempt, the keeper of a slot or the fork server is killed with
SIGKILL in the middle of a trial, by turns, again and again; every configuration must finish, and
promoted trials must go on from their checkpoints.
`disk`: a search on Dask workers that don't see the run directory, so that every file goes through dotrain;
its driver and its workers are killed by turns (`kill_disks`).
`storage`: the same, with files in an S3 storage whose server is killed, too. It is `s3rver`, a package of npm,
which keeps its data: `npm install s3rver`, and DOTRAIN_S3RVER names its command.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from dotrain.core.trial import Trial, TrialState
from dotrain.errors import JournalError
from dotrain.store import RunDir, read_journal, replay
from dotrain.store.kept import Kept
from dotrain.store.manifest import keys_of

TRAIN = """
import os, time

def train(x, reporter, checkpoint, budget):
    for step in range(checkpoint.step, budget):
        time.sleep({step_s})
        # First the report: killed between the two, the step is trained and reported once more.
        reporter.broadcast(x * (1 + step), step)
        with checkpoint.save(step=step + 1) as folder:
            (folder / "done").write_text(str(step))
    return x * budget
"""


_ROOT = Path(__file__).resolve().parents[1]
#: What makes a mount namespace; root needs no other user for it.
UNSHARE = ["unshare", *(["-m"] if os.getuid() == 0 else ["-rm"])]
#: How long a command may take that is not killed, in seconds.
_WHOLE_S = 600
#: How many of the moments at which a driver is killed are in the middle of its work.
_IN_WORK = 0.8


def write_project(folder: Path, *, num_trials: int, step_s: float, retries: int) -> Path:
    """Write a train function and an ASHA config; return the config."""
    (folder / "user.py").write_text(TRAIN.format(step_s=step_s))
    config = {
        "name": "chaos",
        "train": "user.py:train",
        "metric": "score",
        "direction": "max",
        "search": {
            "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
            "optimizer": {"name": "asha", "resource_max": 9},
            "num_trials": num_trials,
        },
        "cluster": {"kind": "local", "workers": 2},
        "limits": {"retries": retries},
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))
    return file


def command(*arguments: str) -> list[str]:
    """Return the command line of a dotrain command."""
    return [sys.executable, "-m", "dotrain", *arguments, "--quiet"]


@contextmanager
def started(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a dotrain command; nothing of it is left when the block ends."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(_ROOT), **(environment or {})},
    )
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(True) if process.poll() is None else []
        process.kill()
        process.wait()
        psutil.wait_procs(children, timeout=20)


def run_dir_of(folder: Path) -> Path | None:
    """Return the run directory, once its journal has begun."""
    return next((p.parent for p in folder.glob("runs/*/*/journal.jsonl")), None)


def configurations(trials: list[Trial]) -> list[tuple[Any, ...]]:
    """Return what a search that is broken off must share with one that isn't."""
    return [(t.trial_id, t.params, t.seed) for t in trials]


def check_trials(run_dir: Path) -> list[Trial]:
    """Assert that nothing is lost and nothing doubled; return the trials."""
    state = replay(read_journal(run_dir / "journal.jsonl"))
    state.book.validate()
    assert state.status == "finished", state.status
    trials = list(state.book.trials.values())
    for trial in trials:
        assert trial.state is TrialState.FINISHED, f"{trial.trial_id} is {trial.state}"
        assert trial.step_history == list(range(int(trial.budget or 0))), (
            f"{trial.trial_id}: steps {trial.step_history} of {trial.budget}"
        )
        assert trial.final_metric == trial.params["x"] * (trial.budget or 0)
        assert trial.promotions == trial.continued, f"{trial.trial_id} began again"
    return trials


def kill_drivers(kills: int, rng: random.Random, num_trials: int) -> dict[str, Any]:
    """Kill the driver of one search `kills` times, resume each time, and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, calm = Path(scratch, "killed"), Path(scratch, "calm")
        for place in (folder, calm):
            place.mkdir()
            write_project(place, num_trials=num_trials, step_s=0.1, retries=2)
        subprocess.run(command("run", "config.yaml"), cwd=calm, check=True, capture_output=True)
        done = 0
        resumes = 0
        while True:
            run_dir = run_dir_of(folder)
            arguments = ["resume", str(run_dir)] if run_dir else ["run", "config.yaml"]
            resumes += run_dir is not None
            written = journal_bytes(folder)
            with started(folder, *arguments) as process:
                if done < kills:
                    wait_for_work(process, folder, written, rng)
                    if process.poll() is None:
                        process.send_signal(signal.SIGKILL)
                        done += 1
                        continue
                assert process.wait(_WHOLE_S) == 0, f"exit code {process.returncode}"
                break
        assert done == kills, f"the search ended after {done} kills; give it more trials"
        assert resumes >= kills // 2, f"{kills} kills, and only {resumes} found a run to go on with"
        killed_dir, calm_dir = run_dir_of(folder), run_dir_of(calm)
        assert killed_dir is not None
        assert calm_dir is not None
        trials, expected = check_trials(killed_dir), check_trials(calm_dir)
        assert configurations(trials) == configurations(expected), "other configurations"
    return {"kills": done, "resumes": resumes, "trials": len(trials)}


#: What is killed in turn. A fork server is the driver's child, and a leader of a session as an attempt is.
VICTIMS = ("attempt", "keeper", "fork server")


def kill_processes(kills: int, rng: random.Random, num_trials: int) -> dict[str, Any]:
    """Kill processes of a search in the middle of its trials, each kind `kills` times."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_project(folder, num_trials=num_trials, step_s=0.2, retries=2 * kills)
        waiting = [*VICTIMS] * kills
        with started(folder, "run", "config.yaml") as process:
            while process.poll() is None:
                time.sleep(rng.uniform(0.1, 0.5))
                if not (waiting and is_training(folder)):
                    continue
                if victims := _found(folder, process.pid)[waiting[0]]:
                    with suppress(psutil.Error):
                        rng.choice(victims).kill()
                        waiting.pop(0)
            assert process.returncode == 0, f"exit code {process.returncode}"
        assert not waiting, f"the search ended before {waiting}; give it more trials"
        run_dir = run_dir_of(folder)
        assert run_dir is not None
        trials = check_trials(run_dir)
        told = [line.what for trial in trials for line in trial.story]
        lost = {
            "attempt": sum(what.startswith("its process was killed by SIGKILL") for what in told),
            "keeper": sum(what.startswith("its process was killed, with") for what in told),
        }
    # One that waits for its turn, or has just ended, costs nothing.
    assert all(lost.values()), f"nothing was lost by killing: {lost}"
    return {"kills": kills * len(VICTIMS), "losses": lost, "trials": len(trials)}


def is_training(folder: Path) -> bool:
    """Whether some trial is in the middle of its training."""
    run_dir = run_dir_of(folder)
    if run_dir is None:
        return False
    try:
        book = replay(read_journal(run_dir / "journal.jsonl")).book
    except JournalError:  # its header isn't there yet
        return False
    return any(trial.state is TrialState.RUNNING for trial in book.active.values())


def journal_bytes(folder: Path) -> int:
    """Return how much of a journal there is."""
    run_dir = run_dir_of(folder)
    return (run_dir / "journal.jsonl").stat().st_size if run_dir else 0


def wait_for_work(
    process: subprocess.Popen[bytes], folder: Path, written: int, rng: random.Random
) -> None:
    """Wait for a random moment at which a driver has something to lose; now and then for any moment.

    Args:
        process: The driver; if it ends, that is the moment.
        folder: Of its run.
        written: How much of the journal there was before it began.
        rng: Draws the moment.
    """
    if rng.random() < _IN_WORK:
        # What has been left running by the driver before doesn't count.
        while process.poll() is None and not (
            journal_bytes(folder) > written and is_training(folder)
        ):
            time.sleep(0.05)
    with suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0.05, 0.6))


def _found(folder: Path, driver: int) -> defaultdict[str, list[psutil.Process]]:
    """Return what may be killed; keepers outlive their fork server, so it isn't asked for its children."""
    found = defaultdict(list)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != driver and Path(process.cwd()) == folder:
                leads = os.getsid(process.pid) == process.pid
                is_first = leads and process.ppid() == driver
                kind = "fork server" if is_first else "attempt" if leads else "keeper"
                found[kind].append(process)
    return found


def can_unshare() -> bool:
    """Whether this machine gives us a mount namespace."""
    try:
        return subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Cluster:
    """A scheduler, and workers that don't see what lies in a folder."""

    def __init__(
        self, folder: Path, hidden: Path, workers: int, environment: Mapping[str, str]
    ) -> None:
        """Start them; `close` ends them.

        Args:
            folder: For their own files.
            hidden: The folder that the workers don't see.
            workers: How many.
            environment: Their variables, beside this process's.
        """
        self._environment = environment
        self._folder, self._hidden = folder, hidden
        self._file = folder / "scheduler.json"
        self._log = open(folder / "log", "w")  # noqa: SIM115
        self._scheduler = self._start(["scheduler", "--port", "0"])
        self._workers = [self._worker() for _ in range(workers)]
        try:
            self.address = self._read_address()
        except BaseException:
            self.close()
            raise

    def _read_address(self) -> str:
        """Return where the scheduler listens; its file is there for a moment before it is written."""
        while self._scheduler.poll() is None:
            with suppress(FileNotFoundError, json.JSONDecodeError):
                return str(json.loads(self._file.read_text())["address"])
            time.sleep(0.05)
        raise AssertionError(f"the scheduler has ended: {(self._folder / 'log').read_text()}")

    def _start(self, arguments: list[str], before: list[str] | None = None) -> Any:
        common = ["--scheduler-file", str(self._file), "--host", "127.0.0.1", "--no-dashboard"]
        return subprocess.Popen(
            [*(before or []), sys.executable, "-m", "dask", *arguments, *common],
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(_ROOT), **self._environment},
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


def _free_port() -> int:
    """Return a free port that no client gets for its own end while the server is away."""
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class S3Server:
    """An S3 server that keeps its data when it is killed."""

    def __init__(self, folder: Path, command: str) -> None:
        """Start it; `close` ends it.

        Args:
            folder: For its data.
            command: Of s3rver.
        """
        port = _free_port()
        self._log = open(folder / "log", "w")  # noqa: SIM115
        places = ["--directory", str(folder), "--address", "127.0.0.1", "--port", str(port)]
        self._command = [command, *places, "--configure-bucket", "chaos"]
        #: What S3's libraries need to find it.
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "S3RVER",
            "AWS_SECRET_ACCESS_KEY": "S3RVER",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # it knows no other
            "AWS_MAX_ATTEMPTS": "1",  # who waits for it, and how long, is to be dotrain's affair
        }
        self._start()
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        """Kill it, and start another with the same data."""
        assert self._process.poll() is None, f"{self._command[0]} has ended by itself"
        self._process.kill()
        self._process.wait()
        self._start()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._log.close()


def s3rver() -> str | None:
    """Return the command of s3rver, or None if it isn't there."""
    return os.environ.get("DOTRAIN_S3RVER") or shutil.which("s3rver")


@contextmanager
def _cluster(scratch: Path, hidden: Path, server: S3Server | None) -> Iterator[Cluster]:
    folder = scratch / "cluster"
    folder.mkdir()
    cluster = Cluster(folder, hidden, 2, server.environment if server else {})
    try:
        yield cluster
    finally:
        cluster.close()


def kill_storage(kills: int, rng: random.Random, num_trials: int) -> dict[str, Any]:
    """As `kill_disks`, with files in a storage, whose server is killed, too."""
    command = s3rver()
    assert command is not None, "s3rver isn't there; see the head of this file"
    with tempfile.TemporaryDirectory() as folder:
        server = S3Server(Path(folder), command)
        try:
            return kill_disks(kills, rng, num_trials, server)
        finally:
            server.close()


def kill_disks(
    kills: int, rng: random.Random, num_trials: int, server: S3Server | None = None
) -> dict[str, Any]:
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
        victims = ["driver", "worker"] + (["server", "worker", "server"] if server else [])
        waiting = [victims[n % len(victims)] for n in range(kills)]
        drivers = 0
        with _cluster(scratch, folder / "runs", server) as cluster:
            _settle(folder, cluster.address, server)
            while True:
                run_dir = run_dir_of(folder)
                arguments = ["resume", str(run_dir)] if run_dir else ["run", "config.yaml"]
                written = journal_bytes(folder)
                environment = server.environment if server else {}
                with started(folder, *arguments, environment=environment) as process:
                    if not _disturb(process, folder, written, cluster, server, waiting, rng):
                        assert process.returncode == 0, f"exit code {process.returncode}"
                        break
                    drivers += 1
        assert not waiting, f"the search ended before {waiting}; give it more trials"
        killed_dir, calm_dir = run_dir_of(folder), run_dir_of(calm)
        assert killed_dir is not None
        assert calm_dir is not None
        trials = check_trials(killed_dir)
        assert configurations(trials) == configurations(check_trials(calm_dir))
        if server is not None:
            killed_dir = _copied(killed_dir, scratch / "copied", server)
        for trial in trials:
            _check_files(killed_dir / "trials" / trial.trial_id, int(trial.budget or 0))
        left = [str(path.relative_to(killed_dir)) for path in killed_dir.rglob(".partial-*")]
        assert not left, f"something half is left: {left}"
    return {"kills": kills, "drivers": drivers, "trials": len(trials)}


def _copied(run_dir: Path, to: Path, server: S3Server) -> Path:
    """Return where the files of a run were copied to, out of the storage; only they are there."""
    command = [sys.executable, "-m", "dotrain", "artifacts", str(run_dir), "--to", str(to)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), **server.environment}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    before = dict(os.environ)
    os.environ.update(server.environment)
    try:
        kept = Kept(RunDir(run_dir))
        named = {key for manifest in kept.manifests().values() for key in keys_of(manifest)}
        there = set(kept.storage().list_keys())
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert there == named, f"left in the storage: {there - named}, gone: {named - there}"
    return to


def _settle(folder: Path, address: str, server: S3Server | None) -> None:
    file = folder / "config.yaml"
    config = json.loads(file.read_text())
    config["cluster"] = {"kind": "address", "address": address, "connect_timeout_s": 60}
    config["checkpoints"] = {"keep": "last"}
    if server is not None:
        config["storage"] = "s3://chaos/runs"
    file.write_text(json.dumps(config))


def _disturb(
    process: subprocess.Popen[bytes],
    folder: Path,
    written: int,
    cluster: Cluster,
    server: S3Server | None,
    waiting: list[str],
    rng: random.Random,
) -> bool:
    """Kill what is next while a driver drives; return whether that was the driver itself."""
    while waiting:
        wait_for_work(process, folder, written, rng)
        if process.poll() is not None:
            return False
        victim = waiting.pop(0)
        if victim == "driver":
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        if victim == "server" and server is not None:
            server.kill()
        else:
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


def main() -> None:
    """Run all, print what was seen, exit 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver-kills", type=int, default=20)
    parser.add_argument("--process-kills", type=int, default=60)
    parser.add_argument("--disk-kills", type=int, default=200)
    parser.add_argument("--storage-kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    began = time.monotonic()
    if options.driver_kills:
        print("driver:", kill_drivers(options.driver_kills, rng, options.trials), flush=True)
    if options.process_kills:
        kills = options.process_kills // len(VICTIMS)
        print("process:", kill_processes(kills, rng, options.trials), flush=True)
    if options.disk_kills:
        found = kill_disks(options.disk_kills, rng, max(options.trials, 3 * options.disk_kills))
        print("disk:", found, flush=True)
    if options.storage_kills and s3rver() is None:
        print("storage: left out, s3rver isn't there; see the head of this file")
    elif options.storage_kills:
        trials = max(options.trials, 3 * options.storage_kills)
        print("storage:", kill_storage(options.storage_kills, rng, trials), flush=True)
    print(f"nothing lost, nothing doubled, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
