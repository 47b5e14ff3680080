"""A trial's log is handed on as it grows, to the end of its attempt and no further."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dotrain.core.trial import TrialState
from dotrain.errors import UsageError
from dotrain.report.following import Following, follow_log
from dotrain.store import Holder, RunDir, read_journal, replay
from tests.conftest import Project

FAULTY: dict[str, Any] = {
    "search": {
        "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
        "optimizer": {"name": "asha", "resource_max": 4, "reduction_factor": 2},
        "num_trials": 8,
    },
    "cluster": {"kind": "simulated", "workers": 2, "options": {"losing": 0.3, "failing": 0.1}},
    "limits": {"retries": 1},
}


def test_it_is_over_only_where_nothing_runs_or_waits(project: Project) -> None:
    run_dir = project.run("def train(x, budget): return x", **FAULTY).run_dir
    records = list(read_journal(run_dir / "journal.jsonl"))
    whole = replay(records).book.trials
    assert any(trial.losses for trial in whole.values())
    for trial_id in whole:
        launched = next(i for i, r in enumerate(records, 1) if r.get("trial_id") == trial_id)
        state = replay(records[:launched])
        following = Following(state, state.book.trials[trial_id])
        assert not following.is_over
        for count in range(launched, len(records)):
            following.take(records[count])
            trial = replay(records[: count + 1]).book.trials[trial_id]
            busy = trial.state.active or trial.state is TrialState.WAITING
            assert following.is_over is not busy or count == len(records) - 1
        assert following.is_over


def test_what_comes_while_it_looks_is_handed_on_and_the_end_of_the_attempt_ends_it(
    project: Project,
) -> None:
    function = "def train(x):\n    print('first')\n    print('second', flush=True)\n    return x"
    result = project.run(function, cluster={"kind": "inline"}, hparams={"x": 1})
    run_dir = RunDir(result.run_dir)
    log = run_dir.trial_log("t0000")
    printed, lines = log.read_bytes(), run_dir.journal.read_bytes().splitlines(keepends=True)
    begun = next(i for i, line in enumerate(lines, 1) if b'"Started"' in line)
    half = printed.index(b"second")
    log.write_bytes(printed[:half])
    # A record that is half written is none yet.
    torn = len(lines[begun]) // 2
    run_dir.journal.write_bytes(b"".join(lines[:begun]) + lines[begun][:torn])
    run_dir.lock.write_text(json.dumps(asdict(Holder.me())))
    handed: list[bytes] = []
    looks = 0

    def go_on(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            assert b"".join(handed) == printed[:half]
            log.write_bytes(printed)
        elif looks == 2:
            assert b"".join(handed) == printed
            with open(run_dir.journal, "ab") as journal:
                journal.write(lines[begun][torn:] + b"".join(lines[begun + 1 :]))

    follow_log(run_dir.path, "0", handed.append, go_on)
    assert (looks, b"".join(handed)) == (2, printed)
    assert b"second\n--- finished: 1" in printed


def test_without_a_driver_it_prints_what_is_there(project: Project, tmp_path: Path) -> None:
    result = project.run("def train(x): return x", cluster={"kind": "inline"}, hparams={"x": 1})
    lines = (result.run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (result.run_dir / "journal.jsonl").write_bytes(b"".join(lines[:4]))
    log = RunDir(result.run_dir).trial_log("t0000")
    done = project.cli("show", str(result.run_dir), "t0000", "--follow")
    assert (done.returncode, done.stdout) == (0, log.read_text())
    log.unlink()
    done = project.cli("show", str(result.run_dir), "t0000", "--follow")
    assert (done.returncode, done.stdout) == (0, "")


def test_what_can_not_be_followed_is_refused(project: Project) -> None:
    result = project.run("def train(x): return x", cluster={"kind": "inline"}, hparams={"x": 1})
    with pytest.raises(UsageError, match="no trial '9'"):
        follow_log(result.run_dir, "9", print)
    for arguments in ([], ["0", "--json"], ["0", "--top", "1"]):
        done = project.cli("show", str(result.run_dir), *arguments, "--follow")
        assert (done.returncode, "takes a TRIAL" in done.stderr) == (2, True), done.stderr
