"""A strategy without any framework: what holds for it holds for the groups of every strategy."""

from __future__ import annotations

import select
import socket

import psutil
import pytest

from tests.conftest import Project

STRATEGY = '''
from pathlib import Path

from dotrain.core.strategy import AbstractStrategy, PortTaken


class Scope:
    def __init__(self, seat):
        self.seat = seat

    def __enter__(self):
        return self.seat

    def __exit__(self, *error):
        return None


class Ranks(AbstractStrategy):
    """Ranks that train nothing together."""


    def __init__(self, workers: int = 2, first_ports_are_taken: str = "") -> None:
        self.workers = workers
        self.marker = first_ports_are_taken

    @property
    def slots(self):
        return self.workers

    def begin(self, seat):
        self.seat = seat
        if self.marker and seat.rank == 1:
            marker = Path(self.marker)
            tries = marker.read_text() if marker.exists() else ""
            marker.write_text(tries + seat.addresses[1] + " ")
            if len(tries.split()) < 2:
                raise PortTaken(seat.addresses[1])

    def open(self):
        return Scope(self.seat)
'''


@pytest.fixture
def ranks(project: Project) -> Project:
    """A project whose strategy is ``ranks:Ranks``."""
    project.write("ranks.py", STRATEGY)
    return project


def own_address() -> str:
    """An address of this machine that isn't on its loopback interface."""
    for interface in psutil.net_if_addrs().values():
        for one in interface:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return str(one.address)
    pytest.skip("this machine has no address but those of its loopback interface")


def reaches(host: str, port: int) -> bool:
    """Whether a connection within this machine, which is made at once or never, is made."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as connection:
        connection.setblocking(False)
        connection.connect_ex((host, port))
        return bool(select.select([], [connection], [], 0)[1])
