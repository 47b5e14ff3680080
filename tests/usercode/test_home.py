"""What was unpacked elsewhere is told of by the paths that the user knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.usercode import home
from dotrain.usercode.home import Moved

HERE = Path("/tmp/dotrain-code-0/0123456789abcdef")
PLACES = {
    "train.py": "/home/u/my project/train.py",
    "pkg/inner.py": "/home/u/my project/pkg/inner.py",
    "other/deep/m.py": "/opt/lib/other/deep/m.py",
}
MOVED = Moved(HERE, PLACES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'File "{HERE}/train.py", line 3', 'File "/home/u/my project/train.py", line 3'),
        (f"{HERE}/other/deep/m.py:4", "/opt/lib/other/deep/m.py:4"),
        # What isn't there is where it would be beside the others.
        (f"no '{HERE}/pkg/x.csv'", "no '/home/u/my project/pkg/x.csv'"),
        (f"no '{HERE}/other/x.csv'", "no '/opt/lib/other/x.csv'"),
        (f"no '{HERE}/data/x.csv'", "no '/home/u/my project/data/x.csv'"),
        (f"{HERE}/train.pyc", "/home/u/my project/train.pyc"),
        (f"in {HERE}.", "in /home/u/my project."),
        (f"{HERE}/train.py and {HERE}/pkg/inner.py.",
         "/home/u/my project/train.py and /home/u/my project/pkg/inner.py."),
        (f"{HERE}0/train.py", f"{HERE}0/train.py"),
        ("/home/u/train.py", "/home/u/train.py"),
    ],
)  # fmt: skip
def test_paths_are_those_of_the_driver(text: str, told: str) -> None:
    assert MOVED.at_home(text) == told


@given(st.text(), st.sampled_from(sorted(PLACES)), st.text())
def test_no_text_is_lost_around_a_path(before: str, name: str, after: str) -> None:
    text = f"{before}\n{HERE}/{name}\n{after}"
    assert MOVED.at_home(text) == f"{before}\n{PLACES[name]}\n{after}"


def test_what_stayed_behind_is_told_from_what_came_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "_moved", {HERE: MOVED})
    assert home.stayed_behind(f"{HERE}/data.csv")
    assert not any(map(home.stayed_behind, [f"{HERE}/train.py", "/else/data.csv", b"x", None]))
    assert home.elsewhere("/home/u/my project/train.py") == f"{HERE}/train.py"
    assert home.elsewhere("/home/u/no.py") == "/home/u/no.py"


def test_paths_are_shown_from_where_the_driver_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "_moved", {HERE: MOVED})
    monkeypatch.setattr(home, "_looks_from", ["/home/u/my project"])
    assert home.shown(f"{HERE}/pkg/inner.py") == os.path.join("pkg", "inner.py")
    assert home.shown("/opt/lib/other/deep/m.py") == "/opt/lib/other/deep/m.py"
