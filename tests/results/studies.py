"""Results of studies whose runs came out as told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dotrain.core import events as e
from dotrain.core.arm import ArmRun
from dotrain.core.book import TrialBook
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import RunStatus
from dotrain.core.limits import Limits
from dotrain.core.trial import Trial
from dotrain.results import StudyResult, result_of

RUN_DIR = Path("/runs/my study/2026")
#: A trial that failed, and one that is still running.
FAILED, RUNNING = "failed", "running"
Outcome = float | str


def make_result(
    arms: Mapping[str, Sequence[Outcome]],
    *,
    seeds: int = 3,
    steps: int = 2,
    status: str = "finished",
    direction: str = "max",
    **study: Any,
) -> StudyResult:
    """Return the result of a study whose runs came out as told, in the order of the seeds.

    Every step takes half a second; an arm with fewer outcomes than seeds has not got further.
    """
    book = TrialBook(0, Limits())
    time_s = 0.0
    for index in range(seeds):
        for name, outcomes in arms.items():
            if index >= len(outcomes):
                continue
            trial = Trial({}, arm=ArmRun(name, index))
            book.accept(trial)
            key = (trial.trial_id, 1)
            book.launch(trial, None, "a test", time_s, 1)
            book.apply(e.Started(*key, "worker", 0), time_s)
            outcome = outcomes[index]
            if outcome == RUNNING:
                continue
            for step in range(steps):
                time_s += 0.5
                book.apply(e.Reported(*key, step, 0.1), time_s)
            if isinstance(outcome, str):
                failure = Failure(
                    FailureKind.EXCEPTION, "ValueError: [bad] shape", "net.py:3 in build"
                )
                book.apply(e.Failed(*key, failure), time_s)
            else:
                time_s += 0.25
                book.apply(e.Finished(*key, outcome), time_s)
    book.validate()
    listed = [
        {
            "name": name,
            "kind": name.split(":")[0],
            "left_out": [] if name == "baseline" else name.split("+"),
        }
        for name in arms
    ]
    header = {
        **{"name": "my study", "metric": "val_accuracy", "direction": direction, "seed": 0},
        "config": {"train": "net.py:train"},
        "study": {
            "arms": listed,
            "seeds": [1000 + index for index in range(seeds)],
            **{"adds": False, "params": {}, "changes": {}, **study},
        },
    }
    result = result_of(header, book.trials.values(), RunStatus(status), 61.23456, RUN_DIR)
    told = result.to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert isinstance(result, StudyResult)
    return result
