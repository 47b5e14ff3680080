"""What the tour of the core says is so."""

from __future__ import annotations

import re

import pytest

from dotrain.core.trial import TRANSITIONS, TrialState
from tests.conftest import ROOT
from tests.test_docs import blocks

PAGE = "dotrain/core/README.md"


def test_the_walk_goes_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    (code,), (said,) = blocks(PAGE, "python"), blocks(PAGE, "text")
    exec(code, {})
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == said.splitlines()


def test_every_transition_is_in_the_table() -> None:
    (table,) = re.findall(r"\| what happens .*?\n\n", (ROOT / PAGE).read_text(), re.DOTALL)
    told = {}
    for row in table.strip().splitlines()[2:]:
        what, states, after = (cell.strip() for cell in row.strip("|").split("|"))
        for name in re.findall(r"\b[A-Z]{3,}\b", states):
            state = TrialState[name]
            told[state, what] = state if after == "the same" else TrialState[after]
    assert told == TRANSITIONS
