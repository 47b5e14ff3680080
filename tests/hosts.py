"""Hosts on this machine: each has a network, a name and a `/` of its own, and what it is given besides.

A network of our own joins them, at whose first address the driver and Dask's scheduler are; these see the
disk that the tests see. Nothing of it can be seen from outside, and it goes with its last process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, start
from tests.warm import Warm

_IS_ROOT = os.getuid() == 0
#: What gives a process namespaces of its own; root needs no other user for it.
_UNSHARE = ["unshare", "--mount", "--net", "--uts", *([] if _IS_ROOT else ["--map-root-user"])]
#: What a run on Dask imports.
_IMPORTED = ("distributed", "dotrain.executors.dask.slots", "dotrain.experiment")
_NETWORK = "10.77.0"
SCHEDULER = f"tcp://{_NETWORK}.1:8786"
NAMES = ("first", "second")

#: A bridge for the driver, and for each host that is named a cable to it.
_LAN = f"""
mount -t tmpfs none /run
ip link set lo up
ip link add lan type bridge
ip address add {_NETWORK}.1/24 dev lan
ip link set lan up
number=2
for name in "$@"; do
    ip netns add $name
    ip link add cable$number type veth peer name eth0 netns $name
    ip link set cable$number master lan up
    ip -n $name link set lo up
    ip -n $name address add {_NETWORK}.$number/24 dev eth0
    ip -n $name link set eth0 up
    number=$((number + 1))
done
"""
#: Enter another `/`: `hostname, its root, its size, read only and other folders that it has, -- command`.
_HOST = """
hostname "$1"
root=$2
mount -t tmpfs -o "size=$3" none "$root"
shift 3
mkdir -m 1777 "$root/tmp"
for folder in /bin /sbin /lib* /usr /etc /opt /dev /proc /sys; do
    if [ -L "$folder" ]; then cp -P "$folder" "$root$folder"
    elif [ -d "$folder" ]; then mkdir -p "$root$folder"; mount --rbind "$folder" "$root$folder"; fi
done
way=bind
while [ "$1" != -- ]; do
    if [ "$1" = --read-only ]; then way=bind,ro
    else
        mkdir -p "$root$1"
        mount --bind "$1" "$root$1"
        mount -o "remount,$way" "$root$1"
        way=bind
    fi
    shift
done
shift
exec chroot "$root" "$@"
"""


def _script(text: str) -> list[str]:
    return ["sh", "-ec", text, "sh"]


@cache
def _why_none() -> str:
    """Return why this machine gives us no hosts, or nothing."""
    try:
        tried = [*_UNSHARE, *_script(f"{_LAN}\nip netns exec one true\nchroot / true"), "one"]
        done = subprocess.run(tried, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


class Lan:
    """Hosts for Dask workers, and a driver's; `close` ends them."""

    def __init__(
        self, folder: Path, names: Sequence[str] = NAMES, settings: Mapping[str, str] | None = None
    ) -> None:
        """Make the network; no process but a scheduler runs in it.

        Args:
            folder: For its own files.
            names: Of the hosts.
            settings: Dask's, in the environment of whatever is started.
        """
        if why := _why_none():
            pytest.skip(f"this machine gives nobody namespaces: {why}")
        folder.mkdir()
        self._folder = folder
        self._names = tuple(names)
        self._settings = dict(settings or {})
        self._log = open(folder / "log", "w")  # noqa: SIM115
        self._processes: list[subprocess.Popen[Any]] = []
        # It has the namespaces until its input ends.
        self._holder = start(
            [*_UNSHARE, *_script(f"{_LAN}\necho\nexec cat"), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"\n"
        self._dask(self._enter("--net"), "scheduler", f"{_NETWORK}.1", "--port", "8786")
        self.driver = Warm(
            lambda line, **more: start([*self._enter("--net"), *line], **more), ROOT, *_IMPORTED
        )

    def worker(
        self, name: str, folders: Sequence[str], path: Sequence[Path] = (ROOT,), size: str = "50%"
    ) -> subprocess.Popen[Any]:
        """Start a worker.

        Args:
            name: Of the host.
            folders: What it sees besides what is installed; after ``--read-only`` one that it can't write.
            path: Where its Python looks first.
            size: Of its disk, as of a tmpfs.
        """
        root = self._folder / f"root-{len(self._processes)}"
        root.mkdir()
        installed = [str(place) for place in (sys.base_prefix, sys.prefix, ROOT)]
        seen = [part for place in installed for part in ("--read-only", place)]
        return self._dask(
            [
                *self._enter("--mount", "--net", "--uts"),
                *("nsenter", f"--net=/run/netns/{name}", "unshare", "--mount", "--uts"),
                *_script(_HOST),
                *(name, str(root), size, *seen, *folders, "--"),
            ],
            *("worker", f"{_NETWORK}.{self._names.index(name) + 2}", SCHEDULER),
            *("--nthreads", "1", "--no-nanny"),
            path=path,
        )

    def wait_for_workers(self, number: int) -> None:
        """Wait until so many are with the scheduler."""
        done = self.run(
            "from distributed import Client\n"
            f"with Client({SCHEDULER!r}, timeout=60, set_as_default=False) as client:\n"
            f"    client.wait_for_workers({number}, timeout=60)"
        )
        assert done.returncode == 0, done.stderr

    def run(
        self, code: str, cwd: Path = ROOT, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run Python in a process of its own at the driver's."""
        return self.driver.run([], cwd, timeout_s, code, **self._settings)

    def cable(self, name: str) -> str:
        """Return the name, at the driver's, of the cable to a host."""
        return f"cable{self._names.index(name) + 2}"

    def end(self, process: subprocess.Popen[Any]) -> None:
        """End what was started, whatever it does."""
        process.kill()
        process.wait()

    def close(self) -> None:
        """End all of it."""
        for process in self._processes:
            self.end(process)
        self.driver.close()  # what still runs there has no scheduler any more
        with self._holder:
            self._holder.kill()
        self._log.close()

    def _enter(self, *namespaces: str) -> list[str]:
        user = [] if _IS_ROOT else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self._holder.pid), *user, *namespaces]

    def _dask(
        self,
        before: list[str],
        kind: str,
        host: str,
        *arguments: str,
        path: Sequence[Path] = (ROOT,),
    ) -> subprocess.Popen[Any]:
        dask = [sys.executable, "-m", "dask", kind, "--host", host, "--no-dashboard", *arguments]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms",
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
            "HOME": "/tmp",
            "TMPDIR": "/tmp",
            **self._settings,
        }
        options: dict[str, Any] = {"stdout": self._log, "stderr": self._log, "env": environment}
        process = start([*before, *dask], cwd=self._folder, **options)
        self._processes.append(process)
        return process
