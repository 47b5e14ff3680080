"""What TensorBoard shows of a run is what the journal says of it; writing it disturbs nobody."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import types
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain import Searchspace, experiment
from dotrain.config import load_config
from dotrain.config.errors import ConfigError
from dotrain.core import events, instructions
from dotrain.core.events import Diverged, Event, Finished, Noted, Reported, SlotsChanged, Started
from dotrain.core.instructions import Instruction
from dotrain.core.marks import Mark
from dotrain.core.observer import Observer, RunView
from dotrain.core.policy import AbstractOptimizer
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.median import MedianStop
from dotrain.errors import UsageError
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.report.reading import read_run
from dotrain.report.tensorboard import (
    End,
    Files,
    Follower,
    Item,
    Restart,
    Scalars,
    Start,
    TensorBoard,
    event_files,
    write_all,
)
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.space import Categorical, Discrete, Domain, Float, Int
from dotrain.store import Journal, Record, RunDir, replay_each
from dotrain.testing.simulation import simulate
from tests.conftest import ROOT, Project
from tests.late import hide

# TensorBoard asks for this module before it tries TensorFlow, which these tests can do without.
sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))

OURS = "events.out.tfevents.*.dotrain"
USER = "def train(**hparams): raise SystemError('not simulated')"
SPACE: dict[str, Any] = {
    "lr": {"type": "float", "range": [1e-4, 1e-1], "scale": "log"},
    "units": {"type": "int", "range": [16, 128]},
    "width": {"type": "discrete", "values": [16, 32, 64]},
    "activation": {"type": "categorical", "values": ["relu", "tanh"]},
    "opt": {"type": "categorical", "values": ["sgd", "adam", None]},
    "momentum": {"type": "float", "range": [0.0, 0.99], "when": {"opt": "sgd"}},
    "amsgrad": {"type": "categorical", "values": [True, False], "when": {"opt": "adam"}},
}
#: What the table has of a trial beside its hyperparameters.
COLUMNS = ("state", "marks", "budget", "steps", "seconds")
FAULTS = {"losing": 0.1, "failing": 0.05, "duplicates": 0.2, "late": 0.5, "stragglers": 0.1}


@dataclass(frozen=True)
class Board:
    """A run as TensorBoard's own HParams backend tells it."""

    experiment: Any
    rows: Mapping[str, Any]
    scalars: Mapping[str, Mapping[str, list[tuple[int, float, float]]]]

    @property
    def domains(self) -> dict[str, Any]:
        return {i.name: i for i in self.experiment.hparam_infos if i.name not in COLUMNS}

    @property
    def groups(self) -> dict[str, Any]:
        """The rows by trial, of one run."""
        found = {name.split("/")[-1]: row for name, row in self.rows.items()}
        assert len(found) == len(self.rows)
        return found

    def params(self, trial_id: str) -> dict[str, Any]:
        shown = cells(self.groups[trial_id])
        return {name: value for name, value in shown.items() if name not in COLUMNS}

    def columns(self, trial_id: str) -> dict[str, Any]:
        shown = cells(self.groups[trial_id])
        return {name: shown.get(name) for name in COLUMNS}

    def metrics(self, trial_id: str) -> dict[str, float]:
        return metrics_of(self.groups[trial_id])

    def curve(self, trial_id: str, tag: str) -> list[tuple[int, float]]:
        points = self.scalars.get(f"trials/{trial_id}", {}).get(tag, [])
        return [(step, value) for step, value, _ in points]


def cells(row: Any) -> dict[str, Any]:
    return {name: getattr(v, v.WhichOneof("kind")) for name, v in row.hparams.items()}


def metrics_of(row: Any) -> dict[str, float]:
    """Return the numbers of a row, without those of a callback of the user's."""
    return {m.name.tag: m.value for m in row.metric_values if not m.name.group}


def row_of(run_dir: Path, trial_id: str) -> str:
    """Return the name of a trial's row."""
    return "/".join([*run_dir.parts[-2:], trial_id])


def read_board(logdir: Path) -> Board:
    """Read what is there now."""
    return TensorBoardServer(logdir).reload()


class TensorBoardServer:
    """TensorBoard's event multiplexer, as with ``--load_fast=false``."""

    def __init__(self, logdir: Path) -> None:
        from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
        from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

        self.logdir = str(logdir)
        self.multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0})
        self.provider = MultiplexerDataProvider(self.multiplexer, self.logdir)

    def reload(self) -> Board:
        """Read what is new, as it does every few seconds."""
        self.multiplexer.AddRunsFromDirectory(self.logdir)
        self.multiplexer.Reload()
        return ask(self.provider)


def ask(provider: Any) -> Board:
    """Ask the HParams plugin's backend and the scalars'."""
    from google.protobuf import json_format
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import (
        api_pb2,
        backend_context,
        get_experiment,
        list_session_groups,
    )

    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = RequestContext()
    found = get_experiment.Handler(asked, context, "", api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(slice_size=100_000, allowed_statuses=[0, 1, 2, 3])
    listed = list_session_groups.Handler(asked, context, "", request).run()
    # As the plugin answers a browser: what JSON can't hold raises here.
    json_format.MessageToJson(listed)
    series = provider.read_scalars(
        asked, experiment_id="", plugin_name="scalars", downsample=100_000
    )
    return Board(
        found,
        {group.name: group for group in listed.session_groups},
        {
            name: {
                tag: [(d.step, d.value, d.wall_time) for d in data] for tag, data in tags.items()
            }
            for name, tags in series.items()
        },
    )


def f32(value: float) -> float:
    """Return a number as TensorBoard keeps it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def shown(value: Any) -> Any:
    """Return a hyperparameter as the table shows it."""
    return "None" if value is None else value


def simulated(project: Project, display: Any = None, **sections: Any) -> Result:
    project.write("user.py", USER)
    cluster = {"workers": 8, **sections.pop("cluster", {})}
    config = project.config(
        **{
            "name": "sim",
            "metric": "val_accuracy",
            "tensorboard": True,
            "cluster": {"kind": "simulated", **cluster},
            "limits": {"max_failures": 1000},
            **sections,
        }
    )
    asked = Experiment.of(load_config(config))
    return run(asked, project.path / "runs", display or Observer())


def search(num_trials: int, **more: Any) -> dict[str, Any]:
    return {
        "space": SPACE,
        "num_trials": num_trials,
        "optimizer": {"name": "asha", "resource_max": 9},
        "early_stop": {"name": "median"},
        **more,
    }


def check(board: Board, trials: Sequence[Trial], metric: str = "val_accuracy") -> None:
    """Compare what TensorBoard shows with the trials of the run."""
    begun = [trial for trial in trials if trial.state not in (TrialState.NEW, TrialState.LAUNCHED)]
    assert set(board.groups) == {trial.trial_id for trial in begun}
    for trial in begun:
        assert board.params(trial.trial_id) == {k: shown(v) for k, v in trial.varied.items()}
        history = list(zip(trial.step_history, map(f32, trial.metric_history), strict=True))
        assert board.curve(trial.trial_id, metric) == history
        metrics = board.metrics(trial.trial_id)
        assert metrics.pop(metric, None) == (history[-1][1] if history else None)
        if trial.final_metric is None:
            assert f"result/{metric}" not in metrics
        else:
            assert metrics.pop(f"result/{metric}") == f32(trial.final_metric)
            others = {k: f32(v) for k, v in (trial.metrics or {}).items()}
            assert metrics == others
        assert board.columns(trial.trial_id) == {
            "state": str(trial.state),
            "marks": ", ".join(trial.marks),
            "budget": trial.budget,
            "steps": trial.steps_run,
            "seconds": round(trial.busy_s, 3),
        }


def folders_of_files(run_dir: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(run_dir)) for path in run_dir.rglob(OURS))


# --- what is shown ---


@pytest.mark.parametrize("optimizer", [{"name": "asha", "resource_max": 9}, {"name": "random"}])
def test_a_search_of_some_hundred_trials_is_shown_as_it_was(
    project: Project, optimizer: dict[str, Any]
) -> None:
    result = simulated(
        project,
        search=search(300, optimizer=optimizer),
        cluster={"workers": 20, "options": FAULTS},
    )
    trials = result.trials
    states = {trial.state for trial in trials}
    if optimizer["name"] == "asha":
        assert any(trial.promotions for trial in trials)
    else:
        assert TrialState.STOPPED in states
    assert {TrialState.FINISHED, TrialState.FAILED} <= states
    assert any(trial.losses for trial in trials)

    board = read_board(result.run_dir)

    check(board, trials)
    success, failure = 1, 2
    for trial in trials:
        (session,) = board.groups[trial.trial_id].sessions
        assert session.name == f"trials/{trial.trial_id}"
        assert session.status == (failure if trial.state is TrialState.FAILED else success)
        assert 0 <= session.start_time_secs <= session.end_time_secs


def test_every_column_is_of_one_type(project: Project) -> None:
    board = read_board(simulated(project, search=search(60)).run_dir)
    text, truth, number = 1, 2, 3
    assert {info.name: info.type for info in board.experiment.hparam_infos} == {
        "lr": number,
        "units": number,
        "width": number,
        "activation": text,
        "opt": text,
        "momentum": number,
        "amsgrad": truth,
        "state": text,
        "marks": text,
        "budget": number,
        "steps": number,
        "seconds": number,
    }
    assert set(board.domains["opt"].domain_discrete) == {"sgd", "adam", "None"}


# --- several runs at once ---


def test_trials_of_two_runs_are_rows_of_their_own_with_all_columns(project: Project) -> None:
    def made(low: float, **more: Any) -> Result:
        return project.run(
            """
            def train(x, reporter, depth=None, state=None):
                reporter.broadcast(x, 0)
                if x % 1 > 0.7:
                    raise ValueError("too large")
                return x
            """,
            name="same",
            cluster={"kind": "inline"},
            search={
                "space": {"x": {"type": "float", "range": [low, low + 1.0]}, **more},
                "num_trials": 6,
            },
        )

    runs = [
        made(0.0, depth={"type": "int", "range": [1, 9]}),
        made(10.0, state={"type": "categorical", "values": ["a", "b"]}),
    ]
    board = read_board(project.path / "runs")
    assert len(board.rows) == 12
    for run_ in runs:
        assert {str(trial.state) for trial in run_.trials} == {"finished", "failed"}
        for trial in run_.trials:
            row = board.rows[row_of(run_.run_dir, trial.trial_id)]
            shown = cells(row)
            assert shown.pop("state") == str(trial.state)
            assert shown.pop("marks") == ""
            assert shown.pop("steps") == 1
            assert shown.pop("seconds") == round(trial.busy_s, 3)
            renamed = {"param.state" if k == "state" else k: v for k, v in trial.params.items()}
            assert shown == renamed
            value = f32(trial.params["x"])
            result = {} if trial.error else {"result/score": value}
            assert metrics_of(row) == {"score": value, **result}
    columns = {info.name for info in board.experiment.hparam_infos}
    assert columns == {"x", "depth", "param.state", "state", "marks", "steps", "seconds"}


def test_a_run_of_an_older_version_that_goes_on_hides_nothing(project: Project) -> None:
    """It named rows after the trial alone, and said of one run which columns there are."""
    from tensorboard.compat.proto.event_pb2 import Event as FileEvent
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    result = simulated(project, search=search(9))
    run_dir, name = result.run_dir, OURS.replace("*", "1")
    content = HParamsPluginData(experiment={"description": "old"}).SerializeToString()
    value = {
        "tag": "_hparams_/experiment",
        "metadata": {"plugin_data": {"plugin_name": "hparams", "content": content}},
        "tensor": {"dtype": 1, "tensor_shape": {"dim": [{"size": 0}]}},
    }
    record = FileEvent(summary={"value": [value]})
    (run_dir / name).write_bytes(event_files.encode([*event_files.file_start(0.0), record]))
    (file,) = (run_dir / "trials" / "t0003").glob(OURS)
    old = event_files.trial_start(0.0, "t0003", {"lr": 0.5}, {})
    file.write_bytes(event_files.encode(event_files.file_start(0.0)) + old)
    assert read_board(run_dir).experiment.description == "old"

    journal = run_dir / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-9]))
    resumed = experiment.resume(run_dir, quiet=True)

    board = read_board(run_dir)
    check(board, resumed.trials)
    assert set(board.domains) == set(SPACE)
    assert set(board.rows) == {row_of(run_dir, trial.trial_id) for trial in resumed.trials}


def test_a_row_has_the_same_name_however_its_run_is_spelled(project: Project) -> None:
    dirs = [simulated(project, search=search(2)).run_dir for _ in range(4)]
    names = {row_of(run_dir, name) for run_dir in dirs for name in ("t0000", "t0001")}
    assert len(names) == 8
    for index, run_dir in enumerate(dirs[:2]):
        assert project.cli("report", f"{run_dir}/trials/..", "--tensorboard").returncode == 0
        link = project.path / f"links-{index}" / "same"
        link.parent.mkdir()
        link.symlink_to(dirs[2 + index])
        assert project.cli("report", str(link), "--tensorboard").returncode == 0
    assert set(read_board(project.path / "runs").rows) == names


def test_other_numbers_are_shown_as_they_were_last_reported_or_returned(project: Project) -> None:
    user = """
        def train(x, reporter):
            for step in range(3):
                reporter.broadcast({"score": x + step, "loss": -x - step}, step)
            return {"score": x, "test_loss": 0.5}
        """
    result = project.run(
        user,
        cluster={"kind": "inline"},
        search={"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 3},
    )
    board = read_board(result.run_dir)
    tags = {info.name.tag for info in board.experiment.metric_infos}
    assert tags == {"score", "result/score", "loss", "test_loss"}
    for trial in result.trials:
        x = trial.params["x"]
        metrics = board.metrics(trial.trial_id)
        assert metrics["result/score"] == f32(x)
        assert metrics["test_loss"] == 0.5
        assert board.curve(trial.trial_id, "loss") == [(s, f32(-x - s)) for s in range(3)]


def test_a_function_that_only_returns_has_a_result_and_no_curve(project: Project) -> None:
    result = project.run(
        "def train(batch_size): return batch_size / 64",
        cluster={"kind": "inline"},
        hparams={"batch_size": 32},
    )
    board = read_board(result.run_dir)
    # Nothing is searched: the fixed values are all there is to tell.
    assert board.params("t0000") == {"batch_size": 32}
    assert list(board.domains) == ["batch_size"]
    assert board.curve("t0000", "result/score") == [(0, 0.5)]
    assert board.curve("t0000", "score") == []


def test_of_an_ablation_the_arms_and_seeds_are_shown(project: Project) -> None:
    project.write("user.py", "def train(rate=0.1, augment=True): raise SystemError")
    config = project.config(
        cluster={"kind": "simulated", "workers": 2},
        ablation={"components": {"rate": {"rate": 0.0}, "aug": {"augment": False}}, "seeds": 3},
        tensorboard=True,
    )
    asked = Experiment.of(load_config(config, mode="ablate"))
    result = run(asked, project.path / "runs", Observer())
    board = read_board(result.run_dir)
    check(board, result.trials, "score")
    arms = ["baseline", "component:rate", "component:aug"]
    assert set(board.domains["arm"].domain_discrete) == set(arms)


def test_wall_times_are_those_of_the_run(project: Project) -> None:
    result = simulated(project, search=search(5), cluster={"workers": 1})
    (times,) = (
        [time_s for _, _, time_s in tags["val_accuracy"]]
        for name, tags in read_board(result.run_dir).scalars.items()
        if name == "trials/t0000"
    )
    reported = [
        record["t"]
        for record in read_run(result.run_dir).records
        if record["type"] == "Reported" and record["trial_id"] == "t0000"
    ]
    assert times == pytest.approx(reported, abs=1e-5)  # a simulation begins at time 0


# --- a law: whatever happens, what is shown is what the book says ---


class Shown:
    """What TensorBoard makes of the records of one trial."""

    def __init__(self) -> None:
        self.curves: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        self.starts: list[Start] = []
        self.ends: list[End] = []

    def take(self, item: Item) -> None:
        match item:
            case Scalars(step=step, values=values):
                for tag, value in values.items():
                    self.curves[tag].append((step, value))
            case Restart(step=step):
                for tag, curve in self.curves.items():
                    self.curves[tag] = [point for point in curve if point[0] < step]
            case Start():
                self.starts.append(item)
            case End():
                self.ends.append(item)


probability = st.floats(0, 0.5)


@given(
    seed=st.integers(0, 1000),
    checkpoints=st.booleans(),
    faults=st.fixed_dictionaries(
        dict.fromkeys(("losing", "failing", "duplicates", "late", "stragglers"), probability)
    ),
)
def test_after_every_record_the_curves_are_the_histories(
    seed: int, checkpoints: bool, faults: dict[str, float]
) -> None:
    done = simulate(
        ASHA(resource_max=9),
        MedianStop(min_trials=2),
        space=Searchspace(x=Float(range=(0.0, 1.0))),
        num_trials=9,
        seed=seed,
        workers=3,
        checkpoints=checkpoints,
        **faults,
    )
    follower = Follower({"metric": "m"})
    boards: defaultdict[str, Shown] = defaultdict(Shown)
    for state, record in replay_each(records_of(done.log)):
        trial = state.book.trials.get(record.get("trial_id", ""))
        if trial is None:
            continue
        board = boards[trial.trial_id]
        for item in follower.news(trial, record["t"], record.get("metrics")):
            board.take(item)
        history = list(zip(trial.step_history, trial.metric_history, strict=True))
        assert board.curves["m"] == history
        results = [value for _, value in board.curves["result/m"]]
        assert results[-1:] == ([] if trial.final_metric is None else [trial.final_metric])
    for trial_id, board in boards.items():
        trial = state.book.trials[trial_id]
        for item in follower.rest(trial, run_is_over=True):
            board.take(item)
        # Its row, and all of it at the end.
        assert len({(start.time_s, *start.params) for start in board.starts}) <= 1
        for start in board.starts[:-1]:
            assert start.columns == {}
        for start in board.starts[-1:]:
            assert start.columns["state"] == str(trial.state)
        assert len(board.starts) in (0, 2)
        assert [end.failed for end in board.ends] == (
            [trial.state is TrialState.FAILED] if trial.state.ended else board.ends and [False]
        )


def records_of(log: Sequence[tuple[float, Event, Sequence[Instruction]]]) -> Iterator[Record]:
    yield {"type": "Run", "seed": 0, "limits": {}}
    for time_s, event, decided in log:
        for data in (events.to_record(event), *map(instructions.to_record, decided)):
            yield {"t": time_s, **data}


# --- a run that goes on, and one whose journal is all there is ---


def test_after_a_crash_nothing_is_doubled_and_nothing_lost(project: Project) -> None:
    options = {**FAULTS, "checkpoints": False}
    whole = simulated(project, search=search(30), cluster={"workers": 3, "options": options})
    journal = whole.run_dir / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for tenth in (1, 5, 9):
        # Its files are ahead of its journal, one is torn, and the user has some of his own.
        copy = whole.run_dir.parent / f"after-{tenth}"
        shutil.copytree(whole.run_dir, copy)
        (copy / "journal.jsonl").write_bytes(b"".join(lines[: len(lines) * tenth // 10]))
        torn = next((copy / "trials" / "t0000").glob(OURS))
        torn.write_bytes(torn.read_bytes()[:-7])
        mine = copy / "trials" / "t0000" / "train" / "events.out.tfevents.1.host"
        mine.parent.mkdir()
        numbers = event_files.scalars(0.0, 0, {"epoch_loss": 1.0})
        mine.write_bytes(event_files.encode([*event_files.file_start(0.0), numbers]))

        resumed = experiment.resume(copy, quiet=True)

        assert mine.exists()
        begun = [trial.trial_id for trial in resumed.trials]
        assert folders_of_files(copy) == sorted(f"trials/{trial_id}" for trial_id in begun)
        check(read_board(copy), resumed.trials)
    assert read_board(copy).scalars["trials/t0000/train"]


def test_a_trial_that_begins_again_keeps_its_earlier_result(project: Project) -> None:
    # Promoted, it asks for a checkpoint, ignores it, and fails before it gets anywhere.
    user = """
        def train(x, reporter, checkpoint, budget):
            if budget > 1:
                reporter.broadcast(2.0, 0)
                raise ValueError("too much")
            reporter.broadcast(1.0, 0)
            with checkpoint.save(1) as folder:
                (folder / "state").write_text("")
            return 1.5
        """
    result = project.run(
        user,
        cluster={"kind": "inline"},
        search={
            "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
            "num_trials": 3,
            "optimizer": {"name": "asha", "resource_max": 3},
        },
    )
    (failed,) = (trial for trial in result.trials if trial.state is TrialState.FAILED)
    assert failed.final_metric == 1.5
    board = read_board(result.run_dir)
    check(board, result.trials, "score")
    assert board.curve(failed.trial_id, "score") == [(0, 2.0)]


def test_from_a_journal_alone_the_same_files_are_written(project: Project) -> None:
    live = simulated(project, search=search(40), cluster={"options": FAULTS})
    # Rows are named after the run directory.
    copy = live.run_dir.parents[2] / "copy" / live.run_dir.parent.name / live.run_dir.name
    copy.mkdir(parents=True)
    shutil.copy(live.run_dir / "journal.jsonl", copy)
    for _ in range(2):  # the second replaces the first
        done = project.cli("report", str(copy), "--tensorboard")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{copy}\n", "")
    first, second = (
        {
            path.parent.relative_to(run_dir): path.read_bytes()
            for path in run_dir.glob(f"trials/*/{OURS}")
        }
        for run_dir in (live.run_dir, copy)
    )
    assert first == second
    assert len(first) == 40
    check(read_board(copy), live.trials)


@pytest.mark.parametrize(
    ("optimizer", "finished"), [({"name": "random"}, 1), ({"name": "asha", "resource_max": 9}, 0)]
)
def test_of_a_run_that_crashed_a_trial_is_over_if_nothing_can_come_after(
    project: Project, optimizer: dict[str, Any], finished: int
) -> None:
    faults = {**FAULTS, "failing": 0.3}
    live = simulated(project, search=search(60, optimizer=optimizer), cluster={"options": faults})
    journal = live.run_dir / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    crashed = read_run(live.run_dir)
    write_all(crashed)
    board = read_board(live.run_dir)
    check(board, crashed.trials)
    states = {trial.trial_id: trial.state for trial in crashed.trials}
    status = defaultdict(set)
    for trial_id, group in board.groups.items():
        status[states[trial_id]].add(group.sessions[0].status)
    assert status[TrialState.FINISHED] == {finished}
    assert status[TrialState.FAILED] == {2}
    assert status[TrialState.RUNNING] == {0}


def test_while_a_driver_writes_nobody_else_does(project: Project) -> None:
    result = simulated(project, search=search(3))
    journal = result.run_dir / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-3]))
    (result.run_dir / "lock").write_text(
        json.dumps({"pid": os.getpid(), "host": "elsewhere", "started_s": 0.0})
    )
    with pytest.raises(UsageError, match="wait for its end"):
        write_all(read_run(result.run_dir))


# --- odd values ---


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (None, 3, 3.0),
        (None, 2**53 + 1, float(2**53)),
        (None, 10**400, str(10**400)[:157] + "..."),
        (None, math.nan, "nan"),
        (None, True, True),
        (None, [1, 2], "[1, 2]"),
        (None, "x" * 200, "x" * 157 + "..."),
        (None, "a\ud800b", "a\\ud800b"),
        (Int(range=(1, 3)), 10**400, None),
        (Float(range=(0.0, 1.0)), math.inf, None),
        (Float(range=(0.0, 1.0)), "large", None),
        (Categorical(values=(True, False)), 1, None),
        (Categorical(values=(1, 2.5)), 2.5, 2.5),
        (Categorical(values=(1, True, None)), True, "True"),
        (Discrete(values=(1, 2)), 2, 2.0),
    ],
)
def test_a_value_is_shown_as_its_column_can_hold_it_or_not_at_all(
    domain: Domain | None, value: Any, expected: Any
) -> None:

    kind = event_files.Column
    column = kind.of_domain(domain) if domain else kind.of_value(value)
    found = column.value(value)
    assert (found, type(found)) == (expected, type(expected))


def test_numbers_beyond_what_tensorboard_can_hold_break_nothing(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.post(SlotsChanged(1))
    live.post(Started("t0000", 1))
    for step, value in ((0, 1e300), (2**40, -1e300), (2**70, 1.0)):
        live.post(Reported("t0000", 1, step, value, {"loss": 1e-300}))
    live.post(Finished("t0000", 1, 1e300))
    live.observer.close()
    board = read_board(tmp_path)
    assert [value for _, value in board.curve("t0000", "m")] == [math.inf, -math.inf, 1.0]
    assert board.metrics("t0000")["result/m"] == math.inf


def test_the_quick_checksum_and_the_slow_one_are_the_same() -> None:
    from google_crc32c import value as quick
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as slow

    for data in (b"", b"\x00", b"brain.Event:2", bytes(range(256)) * 3):
        assert quick(data) == slow(data)


# --- what it costs, and whom it disturbs ---


class Live:
    """A run of one trial, event by event, with an observer that has a clock of its own."""

    def __init__(
        self, path: Path, trials: int = 1, optimizer: AbstractOptimizer | None = None
    ) -> None:
        self.run_dir = RunDir(path)
        self.now_s = 100.0
        optimizer = optimizer or RandomSearch()
        optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), trials, "max", 0)
        optimizer.initialize()
        self.scheduler = Scheduler(optimizer, MedianStop())
        journal = Journal(self.run_dir.journal)
        header = journal.append_header(
            {"name": "live", "metric": "m", "direction": "max", "seed": 0, "limits": {}}
            | {"started_at": "2026-11-22T08:15:00+00:00", "config": {}}
        )
        journal.close()
        self.observer = TensorBoard()
        self.observer.clock = lambda: self.now_s
        self.observer.start(RunView(self.scheduler, path, [header]))

    def post(self, event: Event) -> None:
        self.observer.on_event(event, self.scheduler.handle(event, self.now_s), self.now_s)

    def pulse(self, seconds: float) -> None:
        self.now_s += seconds
        self.observer.on_pulse(self.now_s)

    def steps(self, trial_id: str = "t0000") -> list[int]:
        return [step for step, _ in read_board(self.run_dir.path).curve(trial_id, "m")]


def test_a_report_is_there_within_a_second_or_so_and_not_written_one_by_one(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.post(SlotsChanged(1))
    live.post(Started("t0000", 1))
    live.post(Reported("t0000", 1, 0, 0.5))
    file = next((tmp_path / "trials" / "t0000").glob(OURS))
    size = file.stat().st_size
    for step in range(1, 9):
        live.pulse(0.1)
        live.post(Reported("t0000", 1, step, 0.5))
    assert file.stat().st_size == size
    live.pulse(0.3)
    assert live.steps() == list(range(9))
    # After a quiet time, at once: there may be no pulse while a function runs in this process.
    live.now_s += 600.0
    live.post(Reported("t0000", 1, 9, 0.5))
    assert live.steps() == list(range(10))


def test_while_it_runs_a_trial_that_has_ended_is_told_from_one_that_runs(tmp_path: Path) -> None:
    live = Live(tmp_path, trials=2)
    live.post(SlotsChanged(2))
    live.post(Started("t0000", 1))
    live.post(Started("t0001", 1))
    live.post(Reported("t0001", 1, 0, 0.5))
    live.post(Finished("t0000", 1, 0.25))
    live.pulse(2.0)
    board = read_board(tmp_path)
    statuses = {name: group.sessions[0].status for name, group in board.groups.items()}
    assert statuses == {"t0000": 1, "t0001": 0}
    assert board.metrics("t0000") == {"result/m": 0.25}
    assert board.metrics("t0001") == {"m": 0.5}
    assert [board.columns(name)["state"] for name in ("t0000", "t0001")] == ["finished", None]


def test_a_tensorboard_that_watches_has_the_values_once_and_a_new_one_the_whole_row(
    tmp_path: Path,
) -> None:
    live = Live(tmp_path)
    live.post(SlotsChanged(1))
    live.post(Started("t0000", 1))
    live.post(Reported("t0000", 1, 0, 0.5))
    live.pulse(2.0)
    watching = TensorBoardServer(tmp_path)
    board = watching.reload()
    assert board.curve("t0000", "m") == [(0, 0.5)]
    assert board.columns("t0000")["state"] is None
    live.post(Reported("t0000", 1, 1, 0.75))
    live.post(Finished("t0000", 1, 0.75))
    live.pulse(2.0)
    for board, state in ((watching.reload(), None), (read_board(tmp_path), "finished")):
        assert board.curve("t0000", "m") == [(0, 0.5), (1, 0.75)]
        assert board.groups["t0000"].sessions[0].status == 1
        # It keeps the row that it has read: better nothing than what was true once.
        assert board.columns("t0000")["state"] == state
    assert len(list((tmp_path / "trials" / "t0000").glob(OURS))) == 1


def test_a_step_that_is_reported_again_has_its_last_value(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.post(SlotsChanged(1))
    live.post(Started("t0000", 1))
    for value, replaces in ((0.1, None), (0.2, None), (0.3, 1), (0.4, 2), (0.5, None)):
        step = {0.1: 0, 0.5: 2}.get(value, 1)
        live.post(Reported("t0000", 1, step, value, replaces=replaces))
    live.observer.close()
    board = read_board(tmp_path)
    assert board.curve("t0000", "m") == [(0, f32(0.1)), (1, f32(0.4)), (2, f32(0.5))]
    assert board.columns("t0000")["marks"] == "replaced"


def test_every_mark_of_a_trial_has_room_in_its_row(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.post(SlotsChanged(1))
    live.post(Started("t0000", 1))
    live.post(Reported("t0000", 1, 0, 0.5))
    live.observer.on_pulse(1.0)
    for mark in Mark:
        live.post(Noted("t0000", 1, mark, "as it says"))
    live.post(Finished("t0000", 1, 0.5, unlike="as it says"))
    live.observer.close()
    columns = read_board(tmp_path).columns("t0000")
    assert columns["marks"] == ", ".join(Mark)
    assert columns["state"] == "finished"


def test_a_trial_that_diverged_has_its_state_and_no_result(tmp_path: Path) -> None:
    asha = ASHA(resource_max=3)
    live = Live(tmp_path, trials=3, optimizer=asha)
    live.post(SlotsChanged(1))
    for name in ("t0000", "t0001", "t0002"):
        live.post(Started(name, 1))
        live.post(Reported(name, 1, 0, 0.5))
        live.post(Finished(name, 1, 0.5))
    (promoted,) = live.scheduler.book.active
    live.post(Started(promoted, 2, resume_step=1))
    live.post(Reported(promoted, 2, 1, 0.6))
    live.post(Diverged(promoted, 2, "reported nan at step 2"))
    live.observer.close()
    board = read_board(tmp_path)
    assert board.columns(promoted)["state"] == "diverged"
    assert board.curve(promoted, "m") == [(0, 0.5), (1, f32(0.6))]
    assert math.isnan(board.metrics(promoted)["result/m"])
    statuses = {name: row.sessions[0].status for name, row in board.groups.items()}
    assert statuses == {**dict.fromkeys(("t0000", "t0001", "t0002"), 1), promoted: 2}


def test_no_more_than_a_few_files_are_open_at_a_time(project: Project) -> None:
    class Counting(Observer):
        most = 0

        def on_pulse(self, time_s: float) -> None:
            self.most = max(self.most, len(os.listdir("/proc/self/fd")))

    display = Counting()
    before = len(os.listdir("/proc/self/fd"))
    simulated(project, display, search=search(60), cluster={"workers": 60})
    assert 0 < display.most <= before + 5


def test_a_disk_that_is_full_ends_only_the_writing(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Listening(Observer):
        heard = 0

        def on_event(self, *arguments: Any) -> None:
            self.heard += 1

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    healthy, starved = Listening(), Listening()
    expected = simulated(project, healthy, search=search(20))
    monkeypatch.setattr(Files, "append", fail)
    result = simulated(project, starved, search=search(20))
    assert result["best"] == expected["best"]
    assert starved.heard == healthy.heard > 20
    warning = "warning: TensorBoard's files are incomplete: [Errno 28] No space left on device"
    assert warning in capsys.readouterr().err


def test_a_display_that_breaks_takes_nothing_with_it(project: Project) -> None:
    class Broken(Observer):
        calls = 0

        def on_event(self, *arguments: Any) -> None:
            self.calls += 1
            raise OSError("the terminal is gone")

    display = Broken()
    result = simulated(project, display, search=search(20))
    assert display.calls == 1
    check(read_board(result.run_dir), result.trials)


def test_the_driver_imports_no_tensorflow(project: Project) -> None:
    project.write("user.py", "def train(x): return x")
    config = project.config(
        search={"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 2},
        cluster={"kind": "inline"},
        tensorboard=True,
    )
    code = (
        "import sys; from pathlib import Path; from dotrain import experiment\n"
        f"experiment.run(Path({str(config)!r}), runs_dir=Path('runs'), quiet=True)\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.split())
    assert "tensorboard" in imported
    assert not imported & {"tensorflow", "keras", "torch", "grpc"}


# --- the key of the config ---


def without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "tensorboard")


def test_without_the_package_nothing_is_written_and_nothing_said(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_tensorboard(monkeypatch)
    result = project.run("def train(): return 1.0", cluster={"kind": "inline"})
    assert folders_of_files(result.run_dir) == []
    assert capsys.readouterr().err == ""


def test_without_the_package_asking_for_it_is_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_tensorboard(monkeypatch)
    project.write("user.py", "def train(): return 1.0")
    with pytest.raises(ConfigError, match=r"config.yaml:1:\d+: tensorboard: .*pip install"):
        load_config(project.config(tensorboard=True))
    with pytest.raises(UsageError, match=r"tensorboard: .*pip install"):
        experiment.lagom(lambda: 1.0, tensorboard=True)


@pytest.mark.parametrize(
    ("asked", "kind", "written"),
    [
        (None, "inline", True),
        (False, "inline", False),
        (None, "simulated", False),  # what is made up needs no pictures, unless asked for
        (True, "simulated", True),
    ],
)
def test_it_is_written_by_default_or_as_the_config_says(
    project: Project, asked: bool | None, kind: str, written: bool
) -> None:
    key = {} if asked is None else {"tensorboard": asked}
    result = project.run("def train(): return 1.0", cluster={"kind": kind}, **key)
    assert bool(folders_of_files(result.run_dir)) == written


def test_it_may_be_switched_on_when_a_run_goes_on(project: Project) -> None:
    result = simulated(project, search=search(9), tensorboard=False)
    journal = result.run_dir / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-9]))
    resumed = experiment.resume(result.run_dir, ["tensorboard=true"], quiet=True)
    check(read_board(resumed.run_dir), resumed.trials)
