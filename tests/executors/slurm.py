"""A real Slurm on this machine: one controller, several nodes, in a folder of its own.

As root: Debian's `slurmctld`, `slurmd`, `slurm-client`, `munge`. Nothing of it is left when it is closed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import start

#: Set where a missing Slurm is a mistake: then its tests fail instead of being skipped.
REQUIRED = os.environ.get("DOTRAIN_REQUIRE_SLURM") == "1"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")


def why_not() -> str:
    """Why there can be none here, or ``""``."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    if os.geteuid() != 0:
        return "needs root, as whom Slurm starts jobs"
    try:
        import dask_jobqueue  # noqa: F401
    except ImportError:
        return "needs dask-jobqueue: pip install 'dotrain[slurm]'"
    return ""


def free_ports(number: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


class Slurm:
    """The daemons, until `close`."""

    def __init__(self, folder: Path, nodes: int = 4) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._daemons: list[subprocess.Popen[Any]] = []
        host = socket.gethostname().partition(".")[0]
        control, *ports = free_ports(1 + nodes)
        key, socket_, config = folder / "key", folder / "munge" / "socket", folder / "slurm.conf"
        (folder / "munge").mkdir(mode=0o755)
        (folder / "state").mkdir()
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        lines = [
            "ClusterName=tests",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={control}",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={socket_}",
            "CredType=cred/munge",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/spool-%n",
            f"SlurmctldPidFile={folder}/slurmctld.pid",
            f"SlurmdPidFile={folder}/slurmd-%n.pid",
            "SlurmdParameters=config_overrides",  # nodes larger than this machine
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "MpiDefault=none",
            "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core",
            "ReturnToService=2",
            "OverTimeLimit=0",
            "KillWait=2",
            "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
            *(
                f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
                "CPUs=8 RealMemory=16000"
                for number, port in enumerate(ports)
            ),
        ]
        config.write_text("\n".join(lines) + "\n")
        self.environment = {**os.environ, "SLURM_CONF": str(config)}
        munge = [f"--key-file={key}", f"--socket={socket_}", f"--log-file={folder}/munge/log"]
        munge += [f"--pid-file={folder}/munge/pid", f"--seed-file={folder}/munge/seed"]
        try:
            self._start("munged", "--foreground", "--force", *munge)
            self._start("slurmctld", "-D", "-f", str(config))
            for number in range(nodes):
                self._start("slurmd", "-D", "-N", f"n{number}", "-f", str(config))
            # Waits for the controller and for every node.
            self.run("srun", "--nodes", str(nodes), "true")
        except BaseException:
            self.close()
            raise

    def _start(self, *command: str) -> None:
        with open(self._folder / f"{command[0]}.out", "a") as out:
            self._daemons.append(start(command, stdout=out, stderr=out, env=self.environment))

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self._words()}"
        return done.stdout

    def _words(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in self._folder.glob("*.out"))

    def jobs(self) -> dict[str, str]:
        """The state of each job in the queue."""
        listed = self.run("squeue", "--noheader", "--format", "%i %T").splitlines()
        return dict(line.split() for line in listed)

    def close(self) -> None:
        if len(self._daemons) > 2:
            subprocess.run(
                ["scancel", "--signal=KILL", "--full", "--user=root"],
                env=self.environment, capture_output=True, timeout=60, check=False,
            )  # fmt: skip
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
