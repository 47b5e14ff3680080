"""Where no proposal of a sampler meets the constraints, a draw takes its place, and the trial says so."""

from __future__ import annotations

from typing import Any

import pytest

from dotrain import experiment
from dotrain.store import read_journal
from tests.conftest import Project

SPACE = {name: {"type": "float", "range": [0.0, 1.0]} for name in ("x", "y")}


@pytest.mark.parametrize("cluster", [{"kind": "inline"}, {"workers": 1}])
def test_a_draw_in_place_of_proposals_is_no_proposal(
    project: Project, cluster: dict[str, Any]
) -> None:
    search = {
        "space": SPACE,
        "space_constraints": ["x + y <= 0.2"],
        "num_trials": 6,
        "optimizer": {"name": "qmc"},
    }
    run_dir = project.run("def train(x, y): return x", search=search, cluster=cluster).run_dir
    experiment.resume(run_dir, ["search.num_trials=9"], quiet=True)
    records = list(read_journal(run_dir / "journal.jsonl"))
    drawn = [bool(one.get("drawn")) for one in records if one["type"] == "Proposed"]
    reasons = [one["reason"] for one in records if one["type"] == "Launch"]
    # One point in fifty meets them.
    assert sum(drawn) >= 5
    assert reasons == [
        "random draw: no proposal meets the constraints" if one else "proposed by the sampler"
        for one in drawn
    ]
