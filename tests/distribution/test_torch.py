"""PyTorch on several ranks computes what one process would; what it can't is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.core.trial import Trial
from dotrain.experiment import resume
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from tests.conftest import ROOT, Project
from tests.late import needs_torch

pytestmark = [pytest.mark.slow, needs_torch]

CASES = Path(__file__).with_name("torch_cases.py")
MODES: dict[str, dict[str, Any]] = {
    "single": {"strategy": "single"},
    "ddp, 1 rank": {"strategy": "ddp", "workers": 1},
    "ddp, 2 ranks": {"strategy": "ddp", "workers": 2},
    "ddp, 3 ranks": {"strategy": "ddp", "workers": 3},
    "ddp, 4 ranks": {"strategy": "ddp", "workers": 4},
    "fsdp, 3 ranks": {"strategy": "fsdp", "workers": 3},
}


def trial_dir_of(folder: Path, name: str, train: str, distribution: dict[str, Any]) -> Path:
    config = folder / f"{name}.yaml"
    config.write_text(
        json.dumps(
            {
                "train": train,
                "metric": "done",
                "distribution": distribution,
                "cluster": {"kind": "local", "workers": distribution.get("workers", 1)},
            }
        )
    )
    result = run(Experiment.of(load_config(config)), folder, Observer())
    trial_dir = result.run_dir / "trials" / "t0000"
    assert result.best, (trial_dir / "output.log").read_text()
    return trial_dir


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directory of a trial of all cases, by mode."""
    folder = tmp_path_factory.mktemp("exactness")
    return {
        mode: trial_dir_of(folder, mode, f"{CASES}:train", distribution)
        for mode, distribution in MODES.items()
    }


def flat(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    return [n for one in value for n in flat(one)] if isinstance(value, list) else [float(value)]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "single"])
def test_training_is_that_of_one_process(histories: dict[str, Path], mode: str) -> None:
    one, other = (json.loads((histories[m] / "cases.json").read_text()) for m in ("single", mode))
    assert len(one) > 10
    assert one["read by batches"] == one["dense"]
    within = 1e-4 if mode.startswith("fsdp") else 1e-5
    for name, expected in one.items():
        limit = 1e-2 if name == "half" else within
        for what, numbers in expected.items():
            if isinstance(numbers, dict):
                assert list(other[name][what]) == list(numbers), "names are those of one process"
            close = pytest.approx(flat(numbers), rel=limit, abs=limit)
            assert flat(other[name][what]) == close, f"{name}: {what}"


def test_ranks_drop_different_units(histories: dict[str, Path]) -> None:
    for path in histories.values():
        rows = json.loads((path / "dropped.json").read_text())
        assert len(rows) == 4
        assert len({tuple(row) for row in rows}) == 4


def test_a_saved_state_loads_in_a_plain_process(histories: dict[str, Path]) -> None:
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); import torch_cases\n"
        "for file in sys.argv[2:]:\n"
        "    torch_cases.dense().load_state_dict(torch.load(file)['model'])\n"
    )
    files = [str(path / "model.pt") for path in histories.values()]
    done = subprocess.run(
        [sys.executable, "-c", code, str(CASES.parent), *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


#: What a train function does with a wrapped model of 2 columns, and what it is told.
REFUSED = {
    "past the wrapper": (
        "for x, y in batches: loss(strategy.unwrap(model)(x), y).backward()",
        "goes through the plain model",
    ),
    "rows of its own": ("loss(model(X), Y).backward()", "not from data_gen.batch()"),
    "a list of batches": (
        "[loss(model(x), y).backward() for x, y in list(batches)]",
        "several batches were taken",
    ),
    "fetched ahead": (
        "ahead = iter(batches); x, y = next(ahead); model(x); (x, y), _ = next(ahead), next(ahead); model(x)",
        "several batches were taken",
    ),
    "two in one pass": (
        "sum(loss(model(x), y) for x, y in batches).backward()",
        "go into one backward pass",
    ),
    "wrapped twice": (
        "for x, y in batches: loss(DistributedDataParallel(model)(x), y).backward()",
        "wrapped twice",
    ),
    "split twice": (
        "again = DataLoader(batches.dataset, batch_sampler=batches.batch_sampler)\n"
        "for x, y in again: loss(model(x), y).backward()",
        "split them once more",
    ),
    "a stream": ("strategy.batches(Stream())", "have no numbers"),
    "NaN of no rows": (
        "total = 0.0\n"
        "for x, y in batches: total += loss(model(x), y).item() * len(y)\n"
        "strategy.sum(total)",
        "a mean over no rows is",
    ),
    "an attribute": ("model.weight", "strategy.unwrap(model).weight works on one process"),
}


@pytest.fixture(scope="module")
def by_ranks(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One search of what goes wrong: all that is refused is tried in one trial, whose ranks are refused alike."""
    project = Project(tmp_path_factory.mktemp("ranks"))
    return project.run(
        f"""
        import json, os, signal
        import torch
        from torch import nn
        from dotrain.frameworks.torch.shares import SHARES
        from torch.nn.parallel import DistributedDataParallel
        from torch.utils.data import DataLoader, IterableDataset

        class Stream(IterableDataset):
            def __iter__(self):
                return iter(())

        X, Y = torch.ones(9, 2), torch.ones(9, 1)
        loss = nn.functional.mse_loss
        REFUSED = {REFUSED!r}

        def model_fn():
            return nn.Linear(2, 1)

        def data_fn():
            return X, Y

        def train_on(case, model, strategy, batches, reporter, checkpoint):
            first = not checkpoint.step
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            if not first:
                model.load_state_dict(torch.load(checkpoint.latest / "model.pt"))
            for epoch in range(checkpoint.step, 4):
                if case == "a lost rank" and epoch == 2 and first and strategy.rank == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                for x, y in batches:
                    optimizer.zero_grad()
                    loss(model(x), y).backward()
                    optimizer.step()
                with checkpoint.save(step=epoch + 1) as folder:
                    torch.save(model.state_dict(), folder / "model.pt")
                reporter.broadcast(strategy.sum(len(x)) if case == "a lost rank" else float("nan"), epoch)
            return 1

        def train(case, model_gen, data_gen, dist_strategy, reporter, checkpoint, trial_dir):
            if case == "nothing":
                strategy = dist_strategy()
                model = model_gen.create()
                for x, y in data_gen.batch(4):
                    loss(model(x), y).backward()
                return strategy.sum(strategy.mean(1.0))
            if case != "refused":
                with dist_strategy() as strategy:
                    model = model_gen.create()
                return train_on(case, model, strategy, data_gen.batch(4), reporter, checkpoint)
            said = {{}}
            for name, (code, _) in REFUSED.items():
                with dist_strategy() as strategy:
                    model = model_gen.create()
                names = dict(globals(), model=model, strategy=strategy, batches=data_gen.batch(4))
                SHARES.clear()
                try:
                    exec(code, names)
                except Exception as error:
                    said[name] = str(error)
            (trial_dir / "said.json").write_text(json.dumps(said))
            for x, y in data_gen.batch(4):
                loss(model(x), y).backward()
            return 1
        """,
        model="user.py:model_fn",
        data="user.py:data_fn",
        search={
            "space": {
                "case": {
                    "type": "categorical",
                    "values": ["refused", "nothing", "a lost rank", "a divergence"],
                }
            },
            "optimizer": {"name": "grid"},
        },
        distribution={"strategy": "ddp", "workers": 2},
        cluster={"kind": "local", "workers": 2},
    )


def trial_of(found: Result, case: str) -> Trial:
    (trial,) = (t for t in found.trials if t.params["case"] == case)
    return trial


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_right_is_refused_with_the_reason(by_ranks: Result, case: str) -> None:
    trial = trial_of(by_ranks, "refused")
    assert str(trial.state) == "finished", trial.error
    said = json.loads((by_ranks.run_dir / "trials" / trial.trial_id / "said.json").read_text())
    assert REFUSED[case][1] in said.get(case, "")


def test_a_function_that_trains_nothing_in_its_group_is_refused(by_ranks: Result) -> None:
    error = trial_of(by_ranks, "nothing").error
    assert error is not None
    assert "has trained nothing in its group" in error.message


def test_a_lost_rank_of_a_real_training_is_noticed_and_goes_on(by_ranks: Result) -> None:
    trial = trial_of(by_ranks, "a lost rank")
    assert str(trial.state) == "finished", trial.error
    assert trial.losses == 1
    assert trial.step_history == [0, 1, 2, 3]
    assert trial.metric_history == [1, 1, 1, 1], "the last batch has one row, of all ranks"
    assert any("rank 1: its process was killed by SIGKILL" in line.what for line in trial.story)


def test_a_divergence_is_that_of_all_ranks(by_ranks: Result) -> None:
    assert str(trial_of(by_ranks, "a divergence").state) == "diverged"


def test_asha_promotes_groups(project: Project) -> None:
    project.write(
        "user.py",
        """
        import torch
        from torch import nn

        def model_fn():
            return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

        def data_fn():
            made = torch.Generator().manual_seed(0)
            x = torch.randn(21, 2, generator=made)
            return x, x.sum(1, keepdim=True)

        def train(model_gen, data_gen, dist_strategy, reporter, checkpoint, lr, budget):
            with dist_strategy() as strategy:
                model = model_gen.create()
            optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
            if checkpoint.latest:
                state = torch.load(checkpoint.latest / "state.pt")
                strategy.load_full_state_dict(state, model, optimizer)
            print("from", checkpoint.step, "of", strategy.num_replicas_in_sync)
            for epoch in range(checkpoint.step, int(budget)):
                total = 0.0
                for x, y in data_gen.batch(8, epoch=epoch):
                    optimizer.zero_grad()
                    loss = nn.functional.mse_loss(model(x), y)
                    loss.backward()
                    optimizer.step()
                    total += float(strategy.mean(loss))
                state = strategy.full_state_dict(model, optimizer)
                with checkpoint.save(step=epoch + 1) as folder:
                    torch.save(state, folder / "state.pt")
                reporter.broadcast(total, epoch)
            return total
        """,
    )
    sections = {
        "train": "user.py:train",
        "model": "user.py:model_fn",
        "data": "user.py:data_fn",
        "metric": "loss",
        "direction": "min",
        "search": {
            "space": {"lr": {"type": "categorical", "values": [0.01, 0.03, 0.1]}},
            "optimizer": {
                "name": "asha",
                "resource_min": 1,
                "resource_max": 3,
                "reduction_factor": 3,
            },
            "num_trials": 3,
        },
        "cluster": {"kind": "local", "workers": 3},
    }
    values = {}
    for mode in ("ddp, 2 ranks", "fsdp, 3 ranks", "single"):
        config = project.path / "config.yaml"
        config.write_text(json.dumps({**sections, "distribution": MODES[mode]}))
        result = run(Experiment.of(load_config(config)), project.path / mode, Observer())
        assert result.summary["trials"]["failed"] == 0, project.log(result)
        best = max(result.trials, key=lambda trial: len(trial.step_history))
        assert best.step_history == [0, 1, 2], "it was promoted, and went on"
        values[mode] = best.metric_history
        assert "from 1 of" in (result.run_dir / "trials" / best.trial_id / "output.log").read_text()
    for mode in ("ddp, 2 ranks", "fsdp, 3 ranks"):
        assert values[mode] == pytest.approx(values["single"], rel=1e-4), mode


LOOP = """
import os, signal
import torch
from torch import nn

def model_fn():
    return nn.Linear(2, 1)

def data_fn():
    x = torch.randn(21, 2, generator=torch.Generator().manual_seed(0))
    return x, x.sum(1, keepdim=True)

def train(model_gen, data_gen, dist_strategy, reporter, checkpoint, driver=0, height=0.0):
    with dist_strategy() as strategy:
        model = model_gen.create()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    if checkpoint.latest:
        state = torch.load(checkpoint.latest / "state.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    print("from", checkpoint.step, "of", strategy.num_replicas_in_sync)
    for epoch in range(checkpoint.step, 4):
        total = 0.0
        for x, y in data_gen.batch(8, epoch=epoch):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            total += float(strategy.mean(loss))
        with checkpoint.save(step=epoch + 1) as folder:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, folder / "state.pt")
        reporter.broadcast(total + height, epoch)
        if driver and strategy.rank == 0 and epoch == 1:
            os.kill(driver, signal.SIGINT)
            while True:
                signal.pause()
    return total
"""


def of_a_loop(project: Project, **sections: Any) -> Path:
    project.write("user.py", LOOP)
    same = {"train": "user.py:train", "model": "user.py:model_fn", "data": "user.py:data_fn"}
    return project.config(**same, metric="loss", direction="min", **sections)


def test_a_run_goes_on_with_another_number_of_ranks(project: Project) -> None:
    given = {"cluster": {"kind": "local", "workers": 3}, "distribution": {"strategy": "ddp"}}
    given["distribution"]["workers"] = 3
    loaded = load_config(of_a_loop(project, hparams={"driver": os.getpid()}, **given))
    result = run(Experiment.of(loaded), project.path / "runs", Observer())
    assert result.status == "interrupted"
    again = resume(result.run_dir, ["distribution.workers=2"], quiet=True)
    log = (result.run_dir / "trials" / "t0000" / "output.log").read_text()
    assert "from 0 of 3" in log
    assert "from 2 of 2" in log
    alone = run(Experiment.of(load_config(of_a_loop(project))), project.path / "one", Observer())
    (trial,), (expected,) = again.trials, alone.trials
    assert trial.step_history == [0, 1, 2, 3]
    assert trial.metric_history == pytest.approx(expected.metric_history, rel=1e-4)


def test_a_stop_is_that_of_all_ranks(project: Project) -> None:
    config = of_a_loop(
        project,
        search={
            "space": {"height": {"type": "categorical", "values": [0.0, 1e6]}},
            "optimizer": {"name": "grid"},
            "early_stop": {"name": "threshold", "upper": 1e5},
        },
        distribution={"strategy": "ddp", "workers": 2},
        cluster={"kind": "local", "workers": 2},
    )
    result = run(Experiment.of(load_config(config)), project.path / "runs", Observer())
    low, high = result.trials
    assert (str(low.state), str(high.state)) == ("finished", "stopped")
    assert len(high.step_history) < 4


def test_a_mean_is_of_the_batch_that_was_trained_on(project: Project) -> None:
    """Though a validation came since, whose batches ranks share otherwise."""
    project.write(
        "user.py",
        """
        import torch
        from torch.nn.functional import mse_loss
        from dotrain.training.errors import BadSetup

        def rows_of(count):
            x = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
            return x, x.sum(1, keepdim=True)

        def train(dist_strategy, reporter):
            with dist_strategy() as strategy:
                torch.manual_seed(0)
                model = strategy.wrap(torch.nn.Linear(2, 1))
            for x, y in strategy.batches(rows_of(11), 8):  # the last one has 3 rows
                loss = mse_loss(model(x), y)
                loss.backward()
            before = float(strategy.mean(loss))
            with torch.no_grad():
                for x, y in strategy.batches(rows_of(12), 6):
                    model(x)
            assert abs(float(strategy.mean(loss)) - before) < 1e-6
            if strategy.num_replicas_in_sync > 1:
                try:
                    strategy.mean(loss.item())
                except BadSetup as error:
                    assert "of which one is this a mean" in str(error)
                else:
                    raise AssertionError("it can't be told")
            return before
        """,
    )
    found = []
    for distribution in (MODES["single"], MODES["ddp, 2 ranks"]):
        config = project.config(metric="loss", direction="min", distribution=distribution)
        (trial,) = run(Experiment.of(load_config(config)), project.path, Observer()).trials
        assert trial.error is None, trial.error
        found.append(trial.final_metric)
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_other_losses_are_exact_as_sums(project: Project) -> None:
    """A mean with weights of classes, which is none over rows."""
    project.write(
        "user.py",
        """
        import torch
        from torch.nn import functional as F

        def train(dist_strategy, reporter):
            made = torch.Generator().manual_seed(0)
            x, y = torch.randn(13, 4, generator=made), torch.randint(0, 3, (13,), generator=made)
            weights = torch.tensor([1.0, 5.0, 0.5])
            with dist_strategy() as strategy:
                model = strategy.wrap(torch.nn.Linear(4, 3))
            optimizer = torch.optim.SGD(model.parameters(), 0.5)
            for rows, labels in (b for _ in range(4) for b in strategy.batches((x, y), 6)):
                optimizer.zero_grad()
                total = strategy.sum(weights[labels].sum())
                loss = F.cross_entropy(model(rows), labels, weights, reduction="sum") / total
                loss.backward()
                optimizer.step()
                reporter.broadcast(float(strategy.sum(loss)))
            return float(sum(p.abs().sum() for p in model.parameters()))
        """,
    )
    found = {}
    for name, distribution in (
        ("one", MODES["single"]),
        ("two", {**MODES["ddp, 2 ranks"], "loss": "sum"}),
    ):
        config = project.path / f"{name}.yaml"
        sections = {"train": "user.py:train", "metric": "loss", "direction": "min"}
        config.write_text(json.dumps({**sections, "distribution": distribution}))
        (trial,) = run(Experiment.of(load_config(config)), project.path, Observer()).trials
        found[name] = [*trial.metric_history, trial.final_metric]
    assert found["two"] == pytest.approx(found["one"], rel=1e-5)


def test_trainers_take_the_group_and_train_as_under_torchrun(tmp_path: Path) -> None:
    for package in ("lightning", "transformers", "accelerate"):
        pytest.importorskip(package)
    trainers = CASES.with_name("trainers.py")
    ours = trial_dir_of(tmp_path, "ours", f"{trainers}:train", MODES["ddp, 2 ranks"])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(trainers), str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    losses, expected = (json.loads((f / "losses.json").read_text()) for f in (ours, tmp_path))
    assert losses == expected
    assert all(len(found) >= 4 for found in losses.values())


STARTS = """
import os
from pathlib import Path
import torch

def joined(rank, folder, ranks):
    store = torch.distributed.FileStore(str(Path(folder, "store")), ranks)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    one = torch.ones(1)
    torch.distributed.all_reduce(one)
    Path(folder, f"rank{rank}").write_text(str(int(one)))

def train(how, trial_dir):
    if how == "spawn":
        torch.multiprocessing.spawn(joined, (str(trial_dir), 2), nprocs=2)
        return float(sum(int(file.read_text()) for file in trial_dir.glob("rank*")))
    import lightning

    class Net(lightning.LightningModule):
        def configure_optimizers(self):
            return None

    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, default_root_dir=trial_dir,
        enable_checkpointing=False,
    )
    trainer.fit(Net(), [1])
    return 1
"""


@pytest.mark.parametrize("kind", ["local", "inline"])
def test_a_trainer_that_starts_processes_itself_works_or_is_refused(
    project: Project, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightning")
    # Lightning would have one started by `srun`.
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    ways = ["spawn", "script"] if kind == "local" else ["script"]
    result = project.run(
        STARTS,
        search={
            "space": {"how": {"type": "categorical", "values": ways}},
            "optimizer": {"name": "grid"},
        },
        cluster={"kind": kind},
        limits={} if kind == "inline" else {"trial_timeout_s": 100},
    )
    *spawned, script = result.trials
    assert [trial.final_metric for trial in spawned] == [4.0] * len(spawned), project.log(result)
    assert script.error is not None
    assert "strategy: ddp" in script.error.message
