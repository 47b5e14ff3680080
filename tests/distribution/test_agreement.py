"""The chief decides, the others follow, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.strategy import PortTaken, Seat
from dotrain.distribution.agreement import _MOST_STRANGERS, Chief, Follower, join
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
        follower.meet(20)
        follower.begin(7)
        decided = [follower.stop(own) for own in heard[: len(stops)]]
        follower.close()
        return decided

    with ThreadPoolExecutor(2) as pool:
        following = [pool.submit(follow, seat) for seat in others]
        chief = Chief(chief_seat)
        chief.meet(20)
        chief.begin(7)
        assert [chief.stop(reason) for reason in stops] == stops
        assert [future.result(20) for future in following] == [stops, stops]
    chief.close()


def began(chief: Chief, step: int, follower: Follower, own_step: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        beginning = pool.submit(chief.begin, step)
        try:
            follower.meet(20)
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


def connected(seat: Seat) -> socket.socket:
    host, _, port = seat.agreement.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def all_of(stranger: socket.socket) -> bytes:
    """What the chief sends to whoever sends nothing more."""
    with contextlib.suppress(ConnectionError):
        stranger.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: stranger.recv(100), b""))
    return b""


def begin_among_strangers(chief: Chief, other: Seat) -> None:
    """The chief and the other rank find each other, whoever else is there."""
    follower = Follower(other)
    began(chief, 3, follower, 3)
    assert chief.stop("enough") == "enough"
    assert follower.stop(None) == "enough"
    follower.close()
    chief.close()


@settings(max_examples=20, deadline=None)
@given(said=st.binary(max_size=200) | st.sampled_from([b"secret\n", b"GET / HTTP/1.1\r\n\r\n"]))
def test_a_stranger_learns_nothing_and_counts_for_nobody(said: bytes) -> None:
    chief_seat, other = seats(2)
    chief = Chief(chief_seat)
    follower = Follower(other)
    with connected(chief_seat) as stranger, ThreadPoolExecutor(1) as pool:
        beginning = pool.submit(chief.begin, 3)
        with contextlib.suppress(ConnectionError):
            stranger.sendall(said)
        assert len(all_of(stranger)) in (0, 32), "something random, and nothing else"
        assert not beginning.done()
        follower.meet(20)
        follower.begin(3)
        beginning.result(20)
    follower.close()
    chief.close()


def test_what_a_rank_has_sent_is_of_no_use_to_whoever_has_heard_it() -> None:
    chief_seat, other = seats(2)
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as between, ThreadPoolExecutor(2) as pool:
        address = f"127.0.0.1:{between.getsockname()[1]}"
        follower = Follower(replace(other, agreement=address))
        joining = pool.submit(lambda: (follower.meet(20), follower.begin(0)))
        with between.accept()[0] as victim:
            chief = Chief(chief_seat)
            with connected(chief_seat) as first:
                victim.sendall(first.recv(32))
                while len(heard) < 68:
                    heard += victim.recv(100)
            with connected(chief_seat) as again:
                again.sendall(heard)
                assert len(all_of(again)) in (0, 32)
            # What follows has no proof of the chief's; the rank takes nothing from it.
            victim.sendall(b"x" * 32)
            assert victim.recv(1) == b""
        # It tries again, at the chief itself.
        with between.accept()[0] as victim, connected(chief_seat) as way:
            victim.sendall(way.recv(32))
            way.sendall(victim.recv(100))
            beginning = pool.submit(chief.begin, 0)
            victim.sendall(way.recv(32))
            way.sendall(victim.recv(1))
            victim.sendall(way.recv(100))
            joining.result(20)
            beginning.result(20)
    follower.close()
    chief.close()


def test_the_chief_begins_when_every_rank_has_found_its_checkpoint() -> None:
    chief_seat, other = seats(2)
    chief, follower = Chief(chief_seat), Follower(other)
    with ThreadPoolExecutor(1) as pool:
        meeting = pool.submit(follower.meet, 20)
        chief.meet(20)
        meeting.result(20)
        beginning = pool.submit(chief.begin, 3)
        assert not beginning.done(), "the other might find what it saves next"
        follower.begin(3)
        beginning.result(20)
    follower.close()
    chief.close()


def test_strangers_that_say_nothing_keep_nobody_out() -> None:
    chief_seat, other = seats(2)
    chief = Chief(chief_seat, patience_s=3600)
    with contextlib.ExitStack() as there:
        silent = [there.enter_context(connected(chief_seat)) for _ in range(_MOST_STRANGERS + 5)]
        begin_among_strangers(chief, other)
        assert len(all_of(silent[0])) == 32, "the oldest is dropped, and has learnt nothing"


def test_whoever_says_nothing_is_dropped_in_time() -> None:
    chief_seat, _ = seats(2)
    chief = Chief(chief_seat, patience_s=0.05)
    with connected(chief_seat) as silent:
        assert len(b"".join(iter(lambda: silent.recv(100), b""))) == 32
    chief.close()


def test_too_many_open_files_are_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    chief_seat, other = seats(2)
    chief = Chief(chief_seat)
    accept, tries = socket.socket.accept, iter([True, True])

    def refused(server: socket.socket) -> tuple[socket.socket, Any]:
        if next(tries, False):
            raise OSError(errno.EMFILE, "too many open files")
        return accept(server)

    monkeypatch.setattr(socket.socket, "accept", refused)
    connected(chief_seat).close()  # the chief's thread waits in `accept` as it was
    begin_among_strangers(chief, other)
    assert next(tries, None) is None


def test_nothing_listens_when_the_chief_has_ended() -> None:
    chief_seat, other = seats(2)
    chief = Chief(chief_seat)
    begin_among_strangers(chief, other)
    with pytest.raises(ConnectionRefusedError):
        connected(chief_seat)


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
