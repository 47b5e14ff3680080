"""Ranks find each other, or say whom they have waited for, where."""

from __future__ import annotations

import json
import os
import re
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.core.strategy import Seat
from dotrain.distribution.agreement import Chief, Follower
from dotrain.distribution.meeting import NotMet, Watched, past_proxies, tried
from tests.conftest import Project

SEAT = Seat(1, ("10.0.0.1:7", "[fd00::2]:8"), "node-a:9", "secret", ("worker-a", "worker-b"))
HOSTS = ["10.0.0.1", "fd00::2", "node-a"]


def test_without_a_proxy_nothing_is_set() -> None:
    assert past_proxies({"no_proxy": "x", "PATH": "/bin"}, SEAT) == {}
    assert past_proxies({"http_proxy": ""}, SEAT) == {}


NAMES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "grpc_proxy")
EXEMPT = ("no_proxy", "NO_PROXY", "no_grpc_proxy")


@given(
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(EXEMPT), st.sampled_from(["", "a", "a, b", "10.0.0.1,b"])),
)
def test_whoever_reads_the_variables_exempts_what_was_exempt_and_all_ranks(
    proxy: str, exempt: dict[str, str]
) -> None:
    new = {**exempt, **past_proxies({proxy: "http://proxy:1", **exempt}, SEAT)}

    def read(variables: dict[str, str], *names: str) -> list[str]:
        value = next((variables[name] for name in names if name in variables), "")
        return [part.strip() for part in value.split(",") if part.strip()]

    for names in (("no_grpc_proxy", "no_proxy"), ("no_proxy", "NO_PROXY"), ("no_proxy",)):
        now = read(new, *names)
        assert {*now} >= {*read(exempt, *names), *HOSTS}
        assert len(now) == len(set(now))
    if "NO_PROXY" in exempt:
        assert {*read(new, "NO_PROXY")} >= {*read(exempt, "NO_PROXY"), *HOSTS}


def free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_the_chief_says_who_has_not_come_and_where_to() -> None:
    agreement = free()
    chief = Chief(Seat(0, ("127.0.0.1:1",) * 3, agreement, "secret", ("a", "b", "c")))
    with pytest.raises(NotMet) as told:
        chief.meet(0.01)
    chief.close()
    assert "for rank 1 on b, rank 2 on c to come to " + agreement in str(told.value)
    assert "0.01 s (limits.group_start_s)" in str(told.value)


def test_another_rank_says_that_it_cant_reach_the_chief_and_why() -> None:
    agreement = free()
    with pytest.raises(NotMet) as told:
        Follower(Seat(1, ("127.0.0.1:1",) * 2, agreement, "secret", ("a", "b"))).meet(0.01)
    assert f"to reach rank 0 on a, the chief, at {agreement}: " in str(told.value)
    assert "refused" in str(told.value)


def test_a_call_that_hangs_is_told_with_whom_it_waits_for() -> None:
    told: list[str] = []
    over = threading.Event()

    def give_up(why: str) -> None:
        told.append(why)
        over.set()

    seat = Seat(0, ("127.0.0.1:1", free()), "127.0.0.1:1", "secret", ("a", "b"))
    with Watched(seat, 0.01, "Mine.begin", give_up) as watched:
        assert over.wait(60)
    assert watched.gave_up
    assert "0.01 s (limits.group_start_s) in Mine.begin" in told[0]
    assert f"rank 1 on b at {seat.addresses[1]}: ECONNREFUSED" in told[0]


def test_a_call_that_returns_is_nobodys_business() -> None:
    with Watched(SEAT, 1000, "Mine.begin", pytest.fail) as watched:
        pass
    assert not watched.gave_up


def test_an_address_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert tried(f"127.0.0.1:{server.getsockname()[1]}") == "it can be reached"


STRATEGY = """
    import contextlib, os, threading
    from dotrain.abc import AbstractStrategy

    class Deaf(AbstractStrategy):
        slots = 2

        def begin(self, seat):
            if seat.rank == 1:
                threading.Event().wait()

        def open(self):
            return contextlib.nullcontext()
"""


def test_a_group_that_doesnt_meet_ends_as_lost_and_says_who_waits_for_whom(
    project: Project,
) -> None:
    project.write("deaf.py", STRATEGY)
    result = project.run(
        "def train(dist_strategy):\n    dist_strategy()\n    return 1.0\n",
        distribution={"strategy": "deaf:Deaf"},
        cluster={"kind": "local", "workers": 2},
        limits={"group_start_s": 0.5, "retries": 0},
    )
    (failure,) = result.summary["failures"]
    assert re.search(
        r"rank 1: has waited 0\.5 s \(limits\.group_start_s\) in Deaf\.begin for the other ranks; "
        r"it is rank 1 on worker-1 at 127\.0\.0\.1:\d+; rank 0 on worker-0 at 127\.0\.0\.1:\d+: ",
        failure["message"],
    ), failure["message"]


@pytest.mark.slow
def test_ranks_reach_each_other_past_a_proxy(project: Project) -> None:
    project.write(
        "user.py",
        """
        import tensorflow as tf

        def train(dist_strategy):
            with dist_strategy() as strategy:
                total = strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)
            return float(total)
        """,
    )
    project.config(
        distribution={"strategy": "multi_worker_mirrored", "workers": 2},
        cluster={"kind": "local", "workers": 2},
        limits={"group_start_s": 60, "retries": 0},
    )
    proxy = {"http_proxy": "http://127.0.0.1:9"}  # nobody listens there
    done = project.cli("run", "config.yaml", "--json", env={**os.environ, **proxy})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"]["value"] == 2.0
