"""CPU time of an attempt: dotrain's processes, and a fork and its end by hand, by turns.

    python benchmarks/attempt_cpu.py [--package torch] [--attempts 200] [--repeats 5]

Prints a line of JSON: the milliseconds of CPU that an attempt costs, a number for each turn. Ours are
those of the host of the slots (told once more, alone), its fork server, keepers and children; the
attempts report nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import psutil

from dotrain.attempts.host import Host
from dotrain.attempts.launch import RankLaunch
from dotrain.attempts.pipe import Pipe
from dotrain.core.instructions import Launch
from dotrain.core.strategy import Seat
from dotrain.distribution.single import Single
from dotrain.training.program import Program
from dotrain.usercode.function import FunctionRef, Functions

_SLOT = "slot"
#: Attempts that come before any is counted.
_WARM_ATTEMPTS = 5

#: Has imported what the fork server has; answers each line with the CPU seconds of that many forks.
_BY_HAND = """
import gc, os, resource, sys
import numpy.random, dotrain.attempts.fork_server, attempt_module
gc.collect()
gc.freeze()

def cpu_s():
    ours, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return ours.ru_utime + ours.ru_stime + children.ru_utime + children.ru_stime

print("ready", flush=True)
for line in sys.stdin:
    before_s = cpu_s()
    for _ in range(int(line)):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    print(cpu_s() - before_s, flush=True)
"""


class Attempts:
    """Runs attempts of an empty function on one slot, and counts what they cost."""

    def __init__(self, folder: Path, package: str) -> None:
        """Start the processes of the slot.

        Args:
            folder: Where `attempt_module.py` lies.
            package: What it imports, or ``""``.
        """
        function = FunctionRef("train", "attempt_module", str(folder), "attempt_module.py")
        packages = (package,) if package else ()
        program = Program(
            "benchmark",
            Functions(function, packages=packages),
            "metric",
            {},
            str(folder),
            strategy=cloudpickle.dumps(Single()),
        )
        self._ways: dict[Pipe, Callable[[], None]] = {}
        self._items: list[dict[str, Any]] = []
        self._keepers: list[psutil.Process] = []
        self._begun = 0
        self.host = Host(
            program,
            [_SLOT],
            environment=dict(os.environ),
            loop=self,
            emit=lambda name, token, item: self._items.append(item),
        )
        self._server = next(
            child for child in psutil.Process().children() if _is_fork_server(child)
        )

    def watch(self, way: Pipe, call: Callable[[], None]) -> None:
        """Call something whenever something has come."""
        self._ways[way] = call

    def unwatch(self, way: Pipe) -> None:
        """End that."""
        self._ways.pop(way, None)

    def run(self, attempts: int) -> None:
        """Run so many, one after another."""
        for _ in range(attempts):
            self._begun += 1
            self._items.clear()
            launch = Launch("run", f"t{self._begun:04}", 1, {"x": 1.0}, None, 3)
            self.host.begin(_SLOT, RankLaunch(launch, Seat(token=str(self._begun))))
            while not any("gone" in item for item in self._items):
                self._turn()
            ends = [item["end"] for item in self._items if "end" in item]
            assert [end["type"] for end in ends] == ["Finished"], self._items

    def _turn(self) -> None:
        ready, _, _ = select.select(list(self._ways), [], [])
        for way in ready:
            if way in self._ways:  # one may end another
                self._ways[way]()

    def cpu_s(self) -> float:
        """Return the CPU time of all processes so far."""
        return self.host_cpu_s() + self._processes_cpu_s()

    def host_cpu_s(self) -> float:
        """Return that of this process, which in a run is the driver."""
        ours = resource.getrusage(resource.RUSAGE_SELF)
        return ours.ru_utime + ours.ru_stime

    def _processes_cpu_s(self) -> float:
        # To look for them costs CPU too; a child's time is its keeper's once it has ended.
        self._keepers = self._keepers or self._server.children()
        times = [process.cpu_times() for process in (self._server, *self._keepers)]
        theirs = sum(t.user + t.system + t.children_user + t.children_system for t in times)
        return float(theirs)

    def close(self) -> None:
        """End the processes."""
        self.host.let_go()
        self.host.wait()


def _is_fork_server(process: psutil.Process) -> bool:
    return "dotrain.attempts.fork_server" in process.cmdline()


def measure(package: str, attempts: int, repeats: int) -> dict[str, list[float]]:
    """Return the milliseconds of an attempt, dotrain's and by hand, for each turn."""
    costs: dict[str, list[float]] = {"dotrain": [], "host": [], "by hand": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        imports = f"import {package}\n" if package else ""
        (folder / "attempt_module.py").write_text(f"{imports}\ndef train(x):\n    return x\n")
        path = os.pathsep.join([temporary, os.environ.get("PYTHONPATH", "")])
        by_hand = subprocess.Popen(
            [sys.executable, "-P", "-c", _BY_HAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        assert by_hand.stdin is not None
        assert by_hand.stdout is not None
        ours = Attempts(folder, package)
        try:
            assert by_hand.stdout.readline() == "ready\n"
            ours.run(_WARM_ATTEMPTS)
            ours.cpu_s()
            for _ in range(repeats):
                before_s, host_s = ours.cpu_s(), ours.host_cpu_s()
                ours.run(attempts)
                costs["dotrain"].append(1000.0 * (ours.cpu_s() - before_s) / attempts)
                costs["host"].append(1000.0 * (ours.host_cpu_s() - host_s) / attempts)
                by_hand.stdin.write(f"{attempts}\n")
                by_hand.stdin.flush()
                costs["by hand"].append(1000.0 * float(by_hand.stdout.readline()) / attempts)
        finally:
            ours.close()
            by_hand.kill()
            by_hand.wait()
    return costs


def main() -> None:
    """Measure one package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--package", default="", help="what the user's module imports")
    parser.add_argument("--attempts", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.package, asked.attempts, asked.repeats)))


if __name__ == "__main__":
    main()
