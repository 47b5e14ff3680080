"""Runs of a study's arms in the journal: a field, and for older versions two parameters beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dotrain.ablation.components import Switch
from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.study import BASELINE, Arm, Study
from dotrain.core.arm import ArmRun
from dotrain.core.events import Event, Failed, Finished, SlotsChanged, Started
from dotrain.core.instructions import Launch
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Failure
from dotrain.earlystop.none import NoStop
from dotrain.errors import JournalError, PolicyError
from dotrain.space import Searchspace
from dotrain.store import Journal, Record, read_journal, replay, restore

NAME = "component:a"
STUDY = Study({NAME: Switch("a", {"a": 0})}, [Arm(BASELINE), Arm(NAME, (NAME,))])
HEADER: dict[str, Any] = {"name": "study", "metric": "m", "direction": "max", "seed": 3}
EVENTS: tuple[Event, ...] = (
    SlotsChanged(2),
    Started("t0000", 1),
    Started("t0001", 1),
    Finished("t0001", 1, 0.5),
    Failed("t0000", 1, Failure("exception", "ValueError: no")),
)


def new_scheduler() -> Scheduler:
    runner = StudyRunner(STUDY, 3)
    runner.setup(Searchspace(), None, "max", 3)
    runner.initialize()
    return Scheduler(runner, NoStop(), seed=3)


@pytest.fixture
def journal(tmp_path: Path) -> list[Record]:
    """Two arms with the first seed, and the first launches of the next."""
    path, scheduler = tmp_path / "journal.jsonl", new_scheduler()
    journal = Journal(path)
    journal.append_header({**HEADER, "study": {"arms": [], "seeds": []}})
    for time_s, event in enumerate(EVENTS):
        journal.append_event(event, time_s)
        for instruction in scheduler.handle(event, time_s):
            journal.append_instruction(instruction, time_s)
    journal.close()
    return list(read_journal(path))


def without(field: str, records: list[Record]) -> list[Record]:
    return [{k: v for k, v in record.items() if k != field} for record in records]


def test_a_launch_says_its_arm_and_older_versions_read_it_from_the_parameters(
    journal: list[Record],
) -> None:
    launches = [record for record in journal if record["type"] == "Launch"]
    assert [(record["arm"]["name"], record["arm"]["seed_index"]) for record in launches] == [
        *((BASELINE, 0), (NAME, 0)),
        *((BASELINE, 1), (NAME, 1)),
    ]
    for record in launches:
        arm, index = record["arm"].values()
        assert record["params"] == {"arm": arm, "seed": index}


@pytest.mark.parametrize("missing", ["", "arm"])
def test_a_trial_has_its_arm_and_no_parameters_whatever_version_wrote_it(
    journal: list[Record], missing: str
) -> None:
    trials = list(replay(without(missing, journal)).book.trials.values())
    assert [trial.arm for trial in trials] == [
        *(ArmRun(BASELINE, 0), ArmRun(NAME, 0)),
        *(ArmRun(BASELINE, 1), ArmRun(NAME, 1)),
    ]
    assert all(trial.params == {} for trial in trials)
    assert trials[1].varied == {"arm": NAME, "seed": 0}
    assert trials[0].seed == trials[1].seed != trials[2].seed


@pytest.mark.parametrize("missing", ["", "arm"])
def test_a_study_goes_on_whatever_version_wrote_it(journal: list[Record], missing: str) -> None:
    scheduler = new_scheduler()
    assert restore(scheduler, without(missing, journal)[1:]).unwritten == []
    assert scheduler.handle(Started("t0002", 1), 8.0) == []
    (launch,) = scheduler.handle(Finished("t0002", 1, 0.5), 9.0)
    assert (launch.arm, launch.params) == (ArmRun(BASELINE, 2), {})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        {"arm": {"name": NAME, "seed_index": 0}},
        {"params": {"arm": BASELINE, "seed": 4}},
    ],
)
def test_another_arm_than_the_recorded_one_is_refused(
    journal: list[Record], change: dict[str, Any]
) -> None:
    (index, *_) = (i for i, record in enumerate(journal) if record["type"] == "Launch")
    journal[index] = {**journal[index], **change}
    with pytest.raises(PolicyError, match="decided otherwise"):
        restore(new_scheduler(), journal[1:])


def test_a_launch_of_a_study_without_an_arm_is_damage(journal: list[Record]) -> None:
    index = next(i for i, record in enumerate(journal) if record["type"] == "Launch")
    journal[index] = {**without("arm", journal)[index], "params": {}}
    with pytest.raises(JournalError, match="has no 'arm'"):
        replay(journal)


def test_hyperparameters_of_these_names_are_no_arm(tmp_path: Path, journal: list[Record]) -> None:
    header = {k: v for k, v in journal[0].items() if k != "study"}
    (trial, *_) = replay([header, *without("arm", journal)[1:]]).book.trials.values()
    assert trial.arm is None
    assert trial.params == trial.varied == {"arm": BASELINE, "seed": 0}


def test_a_launch_of_a_search_has_no_arm(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append_instruction(Launch("drawn", "t0000", 1, {"x": 1}, None, seed=1), 0.0)
    journal.append_instruction(
        Launch("", "t0001", 1, {}, None, seed=1, arm=ArmRun(BASELINE, 0)), 0.0
    )
    journal.close()
    search, study = read_journal(tmp_path / "journal.jsonl")
    assert ("arm" in search, search["params"]) == (False, {"x": 1})
    assert (study["arm"]["name"], study["params"]) == (BASELINE, {"arm": BASELINE, "seed": 0})
