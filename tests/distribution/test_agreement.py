"""The chief decides, the others follow, and nobody waits for ever."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.strategy import PortTaken, Seat
from dotrain.distribution.agreement import Chief, Follower, join
from dotrain.training.errors import BadSetup


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def seats(ranks: int) -> list[Seat]:
    addresses = tuple(f"127.0.0.1:{rank}" for rank in range(ranks))
    agreement = f"127.0.0.1:{free_port()}"
    return [Seat(rank, addresses, agreement, "secret") for rank in range(ranks)]


@settings(max_examples=20, deadline=None)
@given(
    stops=st.lists(st.none() | st.text(min_size=1), max_size=20),
    heard=st.lists(st.none() | st.just("heard only here"), min_size=20, max_size=20),
)
def test_every_rank_gets_the_chiefs_decisions_in_order(
    stops: list[str | None], heard: list[str | None]
) -> None:
    chief_seat, *others = seats(3)

    def follow(seat: Seat) -> list[str | None]:
        follower = Follower(seat)
        follower.begin(7)
        decided = [follower.stop(own) for own in heard[: len(stops)]]
        follower.close()
        return decided

    with ThreadPoolExecutor(2) as pool:
        following = [pool.submit(follow, seat) for seat in others]
        chief = Chief(chief_seat)
        chief.begin(7)
        assert [chief.stop(reason) for reason in stops] == stops
        assert [future.result(20) for future in following] == [stops, stops]
    chief.close()


def began(chief: Chief, step: int, follower: Follower, own_step: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        beginning = pool.submit(chief.begin, step)
        try:
            follower.begin(own_step)
        finally:
            beginning.result(20)


def test_a_rank_that_reports_after_the_chief_has_ended_is_told_so() -> None:
    chief_seat, other = seats(2)
    chief = Chief(chief_seat)
    follower = Follower(other)
    began(chief, 0, follower, 0)
    chief.close()
    assert follower.stop(None) == "the chief has ended"
    assert follower.stop(None) == "the chief has ended"
    follower.close()


def test_a_rank_that_cannot_see_the_checkpoint_fails_with_what_to_do() -> None:
    chief_seat, other = seats(2)
    chief = Chief(chief_seat)
    follower = Follower(other)
    with pytest.raises(BadSetup, match=r"step 0, the chief one of step 5.*file system"):
        began(chief, 5, follower, 0)
    follower.close()
    chief.close()


def test_a_stranger_without_the_token_learns_nothing() -> None:
    chief_seat, _ = seats(2)
    chief = Chief(chief_seat)
    host, _, port = chief_seat.agreement.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as stranger:
        stranger.sendall(b"guess\n")
        assert stranger.recv(100) == b""
    chief.close()


def test_a_taken_port_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(PortTaken):
            Chief(Seat(0, ("127.0.0.1:1", "127.0.0.1:2"), taken, "secret"))


def test_one_rank_agrees_with_itself() -> None:
    alone = join(Seat())
    alone.begin(3)
    assert alone.stop(None) is None
    assert alone.stop("enough") == "enough"
