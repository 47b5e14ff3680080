"""The power is cut: what has been synced is there, of the rest as much as chance wants."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain import Searchspace, experiment
from dotrain.core.events import EVENTS, AttemptEnd
from dotrain.core.instructions import Instruction, Stop
from dotrain.core.trial import TrialState
from dotrain.errors import UsageError
from dotrain.executors.simulated import SimulatedExecutor
from dotrain.store import Record, disk, journal, read_journal, replay
from tests.conftest import Project

SPACE = {"x": {"type": "float", "range": [0.0, 1.0]}}
ENDS = {name for name, cls in EVENTS.items() if issubclass(cls, AttemptEnd)}


@dataclass
class Disk:
    """What of a journal is on the disk, looked at whenever an instruction is carried out.

    Attributes:
        synced: So many bytes are.
        syncs: How often it was synced.
        moments: What is carried out, how much is synced then, and how much is written.
    """

    synced: int = 0
    syncs: int = 0
    moments: list[tuple[Instruction, int, int]] = field(default_factory=list)


@contextmanager
def watched(runs: Path) -> Iterator[Disk]:
    """Watch the journal of the run that is begun inside."""
    seen = Disk()
    carry_out = SimulatedExecutor.carry_out

    def note_sync(descriptor: int) -> None:
        seen.syncs += 1
        seen.synced = os.fstat(descriptor).st_size

    def note(executor: SimulatedExecutor, instruction: Instruction) -> None:
        (written,) = runs.glob("runs/*/*/journal.jsonl")
        seen.moments.append((instruction, seen.synced, written.stat().st_size))
        carry_out(executor, instruction)

    with (
        mock.patch.object(journal, "sync_data", note_sync),
        mock.patch.object(SimulatedExecutor, "carry_out", note),
    ):
        yield seen


ASHA = {"name": "asha", "resource_max": 9}
RANDOM = {"name": "random"}


def sections(
    sync: str | None = "trial", optimizer: dict[str, Any] = ASHA, **options: Any
) -> dict[str, Any]:
    made = {} if sync is None else {"journal": {"sync": sync}}
    return {
        "search": {
            "space": SPACE,
            "optimizer": optimizer,
            "num_trials": 9,
            "early_stop": {"name": "median", "min_trials": 2},
        },
        "limits": {"trial_timeout_s": 100.0, "max_failures": 99},
        "cluster": {"kind": "simulated", "workers": 3, "options": {"steps": 9, **options}},
        **made,
    }


def simulated(folder: Path, **settings: Any) -> tuple[Path, Disk]:
    """Run a search of promotions, stops and losses in virtual time."""
    folder.mkdir(exist_ok=True)
    project = Project(folder)
    project.write("user.py", "def train(x, budget=9): raise SystemError('not simulated')")
    with watched(folder) as seen:
        run_dir = project.run(**settings).run_dir
    return run_dir, seen


def facts(records: list[Record], kinds: set[str]) -> list[dict[str, Any]]:
    return [
        {k: r.get(k) for k in ("type", "trial_id", "attempt")}
        for r in records
        if r["type"] in kinds
    ]


def key(instruction: Instruction) -> tuple[Any, ...]:
    return (
        type(instruction).__name__,
        getattr(instruction, "trial_id", None),
        getattr(instruction, "attempt", None),
    )


faults = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "failing": st.sampled_from([0.0, 0.1]),
        "losing": st.sampled_from([0.0, 0.2]),
        "hanging": st.sampled_from([0.0, 0.1]),
        "duplicates": st.sampled_from([0.0, 0.3]),
        "optimizer": st.sampled_from([ASHA, RANDOM]),
    }
)


@given(options=faults, drawn=st.data())
@settings(max_examples=8)
def test_what_was_carried_out_or_counted_outlives_it(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any], drawn: st.DataObject
) -> None:
    outlives(tmp_path_factory.mktemp("power") / "it", options, drawn)


@pytest.mark.slow
@given(options=faults, drawn=st.data())
@settings(max_examples=40)
def test_what_was_carried_out_or_counted_outlives_it_often(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any], drawn: st.DataObject
) -> None:
    outlives(tmp_path_factory.mktemp("power") / "it", options, drawn)


def outlives(folder: Path, options: dict[str, Any], drawn: st.DataObject) -> None:
    """Run a search, cut its journal anywhere that a power cut may, and go on."""
    run_dir, seen = simulated(folder, **sections(**options))
    whole = (run_dir / "journal.jsonl").read_bytes()
    for number in range(2):
        at = drawn.draw(st.integers(0, len(seen.moments) - 1), label="carried out")
        _, synced, written = seen.moments[at]
        # Of the same length each time: that of a journal depends on where it lies.
        share = drawn.draw(st.integers(0, 1_000_000), label="journal cut")
        cut = synced + (written - synced) * share // 1_000_000
        copy = run_dir.parent / f"cut-{number}"
        copy.mkdir()
        shutil.copy(run_dir / "config.yaml", copy)
        (copy / "journal.jsonl").write_bytes(whole[:cut])
        left = list(read_journal(copy / "journal.jsonl"))
        done = {key(one) for one, _, _ in seen.moments[: at + 1] if not isinstance(one, Stop)}
        there = {tuple(one.values()) for one in facts(left, {"Launch", "Kill", "Finish"})}
        assert done <= there
        known = [json.loads(line) for line in whole[:written].splitlines()]
        assert facts(left, ENDS) == facts(known, ENDS)
        ended = replay(left).book.trials
        result = experiment.resume(copy, quiet=True)
        assert result.status == "finished"
        after = replay(read_journal(copy / "journal.jsonl"))
        after.book.validate()
        for trial in ended.values():
            again = after.book.trials[trial.trial_id]
            assert again.varied == trial.varied
            assert again.results[: len(trial.results)] == trial.results
            if trial.state in (TrialState.FAILED, TrialState.STOPPED, TrialState.DIVERGED):
                assert (again.state, again.attempt) == (trial.state, trial.attempt)


def test_it_is_synced_where_something_lasts_and_not_at_reports_and_stops(tmp_path: Path) -> None:
    run_dir, seen = simulated(tmp_path / "asha", **sections())
    kinds = [record["type"] for record in read_journal(run_dir / "journal.jsonl")]
    assert kinds.count("Launch") > 9, "none was promoted"
    run_dir, seen = simulated(tmp_path / "random", **sections(optimizer=RANDOM))
    records = list(read_journal(run_dir / "journal.jsonl"))
    kinds = [record["type"] for record in records]
    lasting = kinds.count("Run") + sum(kind in ENDS for kind in kinds) + 1  # the first launches
    assert kinds.count("Stop"), "none was stopped"
    # Here each launch but the first ones follows from an end.
    assert seen.syncs == lasting
    assert 2 * seen.syncs < len(records)


def test_every_record_is_synced_or_none_where_that_is_asked_for(tmp_path: Path) -> None:
    _, seen = simulated(tmp_path / "record", **sections("record", RANDOM))
    assert all(synced == written for _, synced, written in seen.moments)
    assert any(isinstance(one, Stop) for one, _, _ in seen.moments)
    for name, sync in (
        ("system", "system"),
        ("default", None),
    ):  # nothing is lost with made-up values
        _, seen = simulated(tmp_path / name, **sections(sync))
        assert seen.syncs == 0


INLINE = {
    "search": {"space": SPACE, "num_trials": 3},
    "cluster": {"kind": "inline"},
    "tensorboard": False,
}


@contextmanager
def noted() -> Iterator[list[str]]:
    """Note the names of what is synced, in order."""
    names: list[str] = []

    def note(descriptor: int) -> None:
        names.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

    with mock.patch.object(disk.os, "fsync", note), mock.patch.object(disk, "_sync_data", note):
        yield names


@pytest.mark.parametrize("sync", ["trial", "system"])
def test_what_a_resume_needs_is_on_the_disk_before_the_header(project: Project, sync: str) -> None:
    project.write("user.py", "def train(x): return x")
    with noted() as names:
        run_dir = project.run(**INLINE, journal={"sync": sync}, name="demo").run_dir
    folders = [run_dir.name, "demo", "runs", project.path.name]
    begins = ["code.zip", *folders, "config.yaml", "journal.jsonl"]
    if sync == "system":
        assert names == ["journal.jsonl"]  # when it is closed
        return
    assert names[: len(begins)] == begins
    assert names[len(begins) :] == ["journal.jsonl"] * (1 + 3 + 1)  # launches, ends, closing
    project.write("user.py", "def train(x): return -x")
    with noted() as names:
        experiment.resume(run_dir, ["search.num_trials=4"], code="current", quiet=True)
    (later,) = run_dir.glob("code-*.zip")
    assert names.index(later.name) < names.index(run_dir.name) < names.index("journal.jsonl")


def test_it_may_change_when_a_run_goes_on(project: Project) -> None:
    project.write("user.py", "def train(x): return x")
    run_dir = project.run(**INLINE).run_dir
    more = ["search.num_trials=4", "journal.sync=system"]
    with noted() as names:
        assert experiment.resume(run_dir, more, quiet=True).summary["trials"]["finished"] == 4
    assert names == ["journal.jsonl"]


def test_lagom_takes_it_too(tmp_path: Path) -> None:
    def call(**options: Any) -> experiment.Result:
        return experiment.lagom(
            lambda x: x,
            Searchspace(x=("DOUBLE", [0.0, 1.0])),
            num_trials=2,
            cluster={"kind": "inline"},
            tensorboard=False,
            runs_dir=tmp_path,
            quiet=True,
            **options,
        )

    with noted() as names:
        result = call()
    assert names.count("journal.jsonl") == 1 + 1 + 2 + 1
    with noted() as names:
        call(journal={"sync": "system"}, resume=result.run_dir)
    assert names == ["journal.jsonl"]
    with pytest.raises(UsageError, match=r"journal\.sync: expected 'trial', 'system' or 'record'"):
        call(journal={"sync": "always"})


def test_a_disk_that_breaks_ends_the_run_and_is_said(project: Project) -> None:
    project.write("user.py", "def train(x): return x")
    left = count()

    def breaks(descriptor: int) -> None:
        if next(left) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with mock.patch.object(disk, "_sync_data", breaks):
        result = project.run(**INLINE)
    assert result.status == "failed"
    assert "journal.jsonl to the disk: Input/output error; its last records may" in str(
        result.error
    )
    kinds = [record["type"] for record in read_journal(result.run_dir / "journal.jsonl")]
    assert kinds[-2:] == ["Finished", "Launch"]  # which nobody has carried out
    again = experiment.resume(result.run_dir, quiet=True)
    assert again.summary["trials"]["finished"] == 3


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_that_can_not_sync_is_said_and_no_reason_to_end(
    project: Project, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("user.py", "def train(x): return x")

    def cannot(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with mock.patch.object(disk, "_sync_data", cannot), mock.patch.object(disk.os, "fsync", cannot):
        run_dir = project.run(**INLINE).run_dir
        told = f"warning: {run_dir}: its file system can't sync, so a power cut may take"
        assert told in capsys.readouterr().err
        assert experiment.resume(run_dir, quiet=True).status == "finished"
        assert told not in capsys.readouterr().err
        experiment.resume(run_dir, ["journal.sync=system"])
        assert told not in capsys.readouterr().err
