"""A port that is bound to all addresses takes connections from this machine alone."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.distribution.loopback import close_to_others, closed_to_others, is_loopback
from tests.distribution.conftest import own_address, reaches

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="these filters are Linux's")


@needs_linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_who_comes_from_elsewhere_gets_nowhere(family: socket.AddressFamily) -> None:
    elsewhere = own_address()
    both = family == socket.AF_INET6
    with socket.create_server(("", 0), family=family, dualstack_ipv6=both) as server:
        port = server.getsockname()[1]
        assert reaches("127.0.0.1", port)
        assert reaches(elsewhere, port)
        with closed_to_others(f"127.0.0.1:{port}"):
            pass
        assert reaches("127.0.0.1", port)
        assert not reaches(elsewhere, port)
        if both:
            assert reaches("::1", port)


@needs_linux
def test_a_port_is_closed_as_soon_as_it_is_there() -> None:
    elsewhere = own_address()
    with socket.create_server(("127.0.0.1", 0)) as before:
        port = before.getsockname()[1]
    with closed_to_others(f"127.0.0.1:{port}"), socket.create_server(("", port)) as server:
        # What connects before the watcher has looked, is none of the test's.
        while server.getsockopt(socket.SOL_SOCKET, 44) == 0:
            pass
        assert not reaches(elsewhere, port)


@needs_linux
def test_the_other_sockets_of_the_process_are_left_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = socket.socketpair()
    with one, other, socket.create_server(("", 0)) as server:
        # As a script sets it that downloads something.
        socket.setdefaulttimeout(30)
        try:
            assert close_to_others(server.getsockname()[1])
        finally:
            socket.setdefaulttimeout(None)
        assert [os.get_blocking(each.fileno()) for each in (one, other, server)] == [True] * 3


@needs_linux
def test_a_server_that_was_there_before_is_nobodys_business() -> None:
    elsewhere = own_address()
    with socket.create_server(("", 0)) as before:
        with closed_to_others("127.0.0.1:0"), socket.create_server(("", 0)) as server:
            port = server.getsockname()[1]
            while server.getsockopt(socket.SOL_SOCKET, 44) == 0:
                pass
            assert not reaches(elsewhere, port)
        assert reaches(elsewhere, before.getsockname()[1])


def test_what_is_open_to_the_network_on_purpose_is_left_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    elsewhere = own_address()
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with closed_to_others(f"{elsewhere}:{port}"):
            pass
        assert reaches(elsewhere, port)
    assert capsys.readouterr().err == ""


def test_a_port_that_cannot_be_closed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not close_to_others(port)
    with closed_to_others(f"127.0.0.1:{port}"):
        pass
    assert f"other machines may reach port {port}" in capsys.readouterr().err


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_only_one_network_of_version_4_is_this_machine(host: object, port: int) -> None:
    assert is_loopback(f"{host}:{port}") == host.is_loopback  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "is_its"),
    [
        *((one, True) for one in ("localhost:1", "localhost", "127.0.0.1", "::1", "[::1]:8786")),
        *(
            (one, False)
            for one in ("host:1", "host", "0.0.0.0:1", "[fd00::1]:1", "localhost.de:1", "127.de:1")
        ),
    ],
)
def test_addresses_of_this_machine(address: str, is_its: bool) -> None:
    assert is_loopback(address) is is_its
