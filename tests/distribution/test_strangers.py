"""What a run opens, and what another user of the machine can do with it: nothing."""

from __future__ import annotations

import json
import os
import pickle
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from dotrain.usercode.archive import Code, unpack
from tests.conftest import ROOT, Project, start
from tests.distribution.conftest import own_address, reaches
from tests.late import needs_torch

#: Somebody who is neither this user nor root.
STRANGER = 65534

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

#: Becomes another user, who needn't be able to read Python's own files, and tries ports given as JSON: with
#: nothing, held open to the end, and with what others' protocols take for orders. Prints how many bytes it
#: has got back each time.
TRIES = """
import encodings.idna, json, os, pickle, socket, sys

class Order:
    def __reduce__(self):
        return os.system, (f"touch '{sys.argv[2]}'",)

os.setgroups([])
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
said = [b"", pickle.dumps(Order()), b"#CHALLENGE#" + b"x" * 20, b"GET / HTTP/1.1\\r\\n\\r\\n", b"x" * 68]
silent, got = [], []
for host, port in json.loads(sys.argv[1]):
    for words in said:
        with socket.create_connection((host, port), timeout=20) as connection:
            try:
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)
                got.append(len(b"".join(iter(lambda: connection.recv(1000), b""))))
            except OSError:  # it was dropped; not connected any more is no ConnectionError
                got.append(0)
    silent += [socket.create_connection((host, port), timeout=20) for _ in range(100)]
print(json.dumps(got), flush=True)
sys.stdin.read()
"""


def sockets_of(root: subprocess.Popen[Any]) -> list[Any]:
    """All sockets that a process and its descendants have, but for those with no address."""
    parent = psutil.Process(root.pid)
    found = [
        c for p in (parent, *parent.children(recursive=True)) for c in p.net_connections("all")
    ]
    return [one for one in found if one.laddr]


def listening(root: subprocess.Popen[Any]) -> set[tuple[str, int]]:
    return {tuple(one.laddr) for one in sockets_of(root) if one.status == psutil.CONN_LISTEN}


@dataclass
class Paused:
    """A run while a function of it waits."""

    project: Project
    driver: subprocess.Popen[Any]

    def go_on(self) -> dict[str, Any]:
        """Let it finish, and return its result."""
        (self.project.path / "go").open("w").close()
        assert self.driver.wait(100) == 0, (self.project.path / "err").read_text()
        result: dict[str, Any] = json.loads((self.project.path / "out").read_text())
        return result


@contextmanager
def paused(project: Project, function: str, **sections: Any) -> Iterator[Paused]:
    """A run that waits until it is told to go on."""
    project.write("user.py", function)
    config = project.config(**sections)
    ready = project.moment("ready")
    os.mkfifo(project.path / "go")
    (project.path / "tmp").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(project.path / "tmp")}
    command = [sys.executable, "-m", "dotrain", "run", str(config), "--quiet", "--json"]
    with open(project.path / "out", "w") as out, open(project.path / "err", "w") as err:
        driver = start(command, cwd=project.path, env=environment, stdout=out, stderr=err)
        try:
            ready.wait(driver)
            yield Paused(project, driver)
        finally:
            driver.kill()
            driver.wait()


@contextmanager
def a_stranger_at(ports: set[tuple[str, int]], marker: Path) -> Iterator[list[int]]:
    command = [sys.executable, "-I", "-c", TRIES, json.dumps([*ports]), str(marker), str(STRANGER)]
    with subprocess.Popen(
        command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


def test_a_local_run_opens_nothing_and_its_files_are_its_users_own(project: Project) -> None:
    function = """
        def train():
            open("ready", "w").close()
            open("go").read()
            return 1.0
    """
    with paused(project, function, cluster={"kind": "local", "workers": 2}) as run:
        driver = run.driver
        assert len(psutil.Process(driver.pid).children(recursive=True)) >= 4
        assert sockets_of(driver) == [], "ports, abstract sockets and those with a path"
        for entry in (project.path / "tmp").iterdir():
            assert not stat.S_IMODE(entry.stat().st_mode) & 0o077, entry
        assert run.go_on()["best"]["value"] == 1.0


def test_unpacked_code_is_its_users_own(tmp_path: Path) -> None:
    file = tmp_path / "user.py"
    file.write_text("secret = 1")
    folder = unpack(Code.of({file: "user.py"}).archive, tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@needs_root
def test_a_stranger_does_nothing_at_the_port_of_a_group(ranks: Project) -> None:
    function = """
        def train(dist_strategy, reporter):
            with dist_strategy() as seat:
                pass
            reporter.broadcast(1, 0)
            if seat.rank == 0:
                open("ready", "w").close()
                open("go").read()
            reporter.broadcast(2, 1)
            return 3
    """
    marker = ranks.path / "marker"
    pair = {"strategy": "ranks:Ranks", "workers": 2}
    cluster = {"kind": "local", "workers": 2}
    with paused(ranks, function, distribution=pair, cluster=cluster) as run:
        ports = listening(run.driver)
        (place,) = ports
        assert place[0] == "127.0.0.1", "where the chief tells its decisions, and no other"
        with a_stranger_at(ports, marker) as got:
            # The chief says something random to whoever comes; no more to one who proves nothing.
            assert set(got) <= {0, 32}
            assert run.go_on()["best"]["value"] == 3
    assert not marker.exists()


@pytest.mark.slow
@needs_root
def test_what_tensorflow_opens_is_closed_to_other_machines(project: Project) -> None:
    elsewhere = own_address()
    function = """
        def train(dist_strategy):
            import tensorflow as tf

            strategy = dist_strategy()
            with strategy:
                one = tf.Variable(1.0)
            rank = strategy.cluster_resolver.task_id
            if rank == 0:
                open("ready", "w").close()
                open("go").read()
            return float(strategy.reduce("sum", strategy.run(lambda: one * 2), axis=None))
    """
    pair = {"strategy": "multi_worker_mirrored", "workers": 2}
    cluster = {"kind": "local", "workers": 2}
    with paused(project, function, distribution=pair, cluster=cluster) as run:
        ports = listening(run.driver)
        # The named exceptions: one for each rank, see SECURITY.md.
        tensorflows = {(host, port) for host, port in ports if host != "127.0.0.1"}
        assert (len(ports), len(tensorflows)) == (3, 2)
        for _, port in tensorflows:
            assert reaches("127.0.0.1", port), "TensorFlow's ranks reach each other"
            assert not reaches(elsewhere, port)
        marker = project.path / "marker"
        with a_stranger_at(ports - tensorflows, marker) as got:
            assert set(got) <= {0, 32}
            assert run.go_on()["best"]["value"] == 4.0
    assert not marker.exists()


@pytest.mark.slow
@needs_torch
def test_what_pytorch_opens_is_at_the_loopback_interface_and_bears_strangers(
    project: Project,
) -> None:
    function = """
        import torch

        def train(dist_strategy):
            strategy = dist_strategy()
            torch.distributed.all_reduce(torch.ones(1))
            if strategy.rank == 0:
                open("ready", "w").close()
                open("go").read()
            return strategy.sum(2.0)
    """
    pair = {"strategy": "ddp", "workers": 2}
    cluster = {"kind": "local", "workers": 2}
    with paused(project, function, distribution=pair, cluster=cluster) as run:
        ports = listening(run.driver)
        # The chief's, the store's, and gloo's in each rank: see SECURITY.md.
        assert len(ports) == 4
        assert {host for host, _ in ports} == {"127.0.0.1"}
        silent = [socket.create_connection(port) for port in ports for _ in range(20)]
        for port in ports:
            for words in (
                b"",
                b"GET / HTTP/1.1\r\n\r\n",
                pickle.dumps(["an order"]),
                b"\xff" * 200,
            ):
                with socket.create_connection(port) as connection, suppress(OSError):
                    connection.sendall(words)
        assert run.go_on()["best"]["value"] == 4.0
        for connection in silent:
            connection.close()


@pytest.mark.slow
def test_ranks_on_one_host_of_a_cluster_are_at_its_loopback_interface(ranks: Project) -> None:
    result = ranks.run(
        """
        def train(dist_strategy):
            with dist_strategy() as seat:
                addresses = [*seat.addresses, seat.agreement]
            print(addresses)
            return sum(address.startswith("127.0.0.1:") for address in addresses)
        """,
        distribution={"strategy": "ranks:Ranks", "workers": 2},
        cluster={
            "kind": "distributed.LocalCluster",
            "options": {
                "host": own_address(),
                "n_workers": 2,
                "threads_per_worker": 1,
                "dashboard_address": ":0",
                "security": True,
            },
        },
    )
    assert result.trials[0].final_metric == 3, ranks.log(result)
