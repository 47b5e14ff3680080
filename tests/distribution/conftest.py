"""A strategy without any framework: what holds for it holds for the groups of every strategy."""

from __future__ import annotations

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
