"""Who else is on this machine."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.executors.neighbours import others_here, people


@given(st.sets(st.integers(0, 70_000)), st.integers(0, 70_000))
def test_services_and_oneself_are_nobody_else(uids: set[int], own: int) -> None:
    found = people(uids, own)
    assert found <= uids - {own}
    assert not found & {0, 1, 999, 65534}
    assert found | {own} >= {uid for uid in uids if 1000 <= uid <= 60000}


@pytest.mark.parametrize(
    ("uids", "logins", "expected"),
    [
        ([0, 33, 65534], [], False),
        ([0, 54321], [], True),
        ([0], ["somebody"], True),  # processes may be hidden
        ([0], ["unknown", "root"], False),
    ],
)
def test_processes_and_logins_tell(
    monkeypatch: pytest.MonkeyPatch, uids: list[int], logins: list[str], expected: bool
) -> None:
    processes = [SimpleNamespace(info={"uids": SimpleNamespace(real=uid)}) for uid in uids]
    processes.append(SimpleNamespace(info={"uids": None}))  # gone meanwhile
    monkeypatch.setattr(psutil, "process_iter", lambda names: processes)
    monkeypatch.setattr(psutil, "users", lambda: [SimpleNamespace(name=name) for name in logins])
    known = {"somebody": 50_001, "root": 0}
    monkeypatch.setattr("pwd.getpwnam", lambda name: SimpleNamespace(pw_uid=known[name]))
    monkeypatch.setattr("os.getuid", lambda: 1234)
    assert others_here() is expected
