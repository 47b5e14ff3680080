"""A short sample of `make chaos`: real processes, killed at random moments."""

from __future__ import annotations

import os
import random

import pytest

from benchmarks.chaos import (
    can_unshare,
    kill_disks,
    kill_drivers,
    kill_processes,
    kill_storage,
    s3rver,
)

pytestmark = pytest.mark.slow


def test_killed_drivers_are_resumed_to_the_same_end() -> None:
    assert kill_drivers(3, random.Random(1), num_trials=27)["kills"] == 3


def test_killed_processes_lose_nothing() -> None:
    assert kill_processes(3, random.Random(1), num_trials=27)["kills"] == 9


@pytest.mark.skipif(not can_unshare(), reason="this machine gives nobody a mount namespace")
def test_without_a_shared_disk_killed_drivers_and_workers_lose_nothing() -> None:
    assert kill_disks(10, random.Random(1), num_trials=40)["kills"] == 10


@pytest.mark.skipif(not can_unshare(), reason="this machine gives nobody a mount namespace")
@pytest.mark.skipif(
    s3rver() is None and os.environ.get("DOTRAIN_REQUIRE_S3RVER") != "1",
    reason="there is no s3rver (npm install s3rver; DOTRAIN_S3RVER names its command)",
)
def test_with_a_storage_killed_drivers_workers_and_servers_lose_nothing() -> None:
    assert kill_storage(10, random.Random(2), num_trials=40)["kills"] == 10
