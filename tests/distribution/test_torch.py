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


def trial_dir_of(
    folder: Path, name: str, train: str, distribution: dict[str, Any], **hparams: Any
) -> Path:
    config = folder / f"{name}.yaml"
    config.write_text(
        json.dumps(
            {
                "train": train,
                "metric": "done",
                "hparams": hparams,
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
        mode: trial_dir_of(
            *(folder, mode, f"{CASES}:train", distribution), sharded=mode.startswith("fsdp")
        )
        for mode, distribution in MODES.items()
    }


def flat(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    return [n for one in value for n in flat(one)] if isinstance(value, list) else [float(value)]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "single"])
def test_training_is_that_of_one_process(histories: dict[str, Path], mode: str) -> None:
    one, other = (json.loads((histories[m] / "cases.json").read_text()) for m in ("single", mode))
    assert one["read by batches"] == one["dense"]
    assert len(other) > 5
    within = 1e-4 if mode.startswith("fsdp") else 1e-5
    for name in other:
        expected = one[name]
        limit = 1e-2 if name == "half" else within
        for what, numbers in expected.items():
            if isinstance(numbers, dict):
                assert list(other[name][what]) == list(numbers), "names are those of one process"
            close = pytest.approx(flat(numbers), rel=limit, abs=limit)
            assert flat(other[name][what]) == close, f"{name}: {what}"


def test_every_case_is_trained_by_2_ranks_and_by_more(histories: dict[str, Path]) -> None:
    by = {
        mode: {*json.loads((path / "cases.json").read_text())} for mode, path in histories.items()
    }
    assert by["ddp, 3 ranks"] | by["ddp, 4 ranks"] == by["ddp, 2 ranks"] == by["single"]
    assert len(by["single"]) > 10


def test_other_losses_are_exact_as_sums(histories: dict[str, Path], tmp_path: Path) -> None:
    of_sums = {**MODES["ddp, 2 ranks"], "loss": "sum"}
    found = trial_dir_of(tmp_path, "sums", f"{CASES}:train_sums", of_sums)
    two, one = (
        json.loads((path / "sums.json").read_text()) for path in (found, histories["single"])
    )
    assert two == pytest.approx(one, rel=1e-5)


def test_ranks_drop_different_units(histories: dict[str, Path]) -> None:
    for path in histories.values():
        rows = json.loads((path / "dropped.json").read_text())
        assert len(rows) == 4
        assert len({tuple(row) for row in rows}) == 4


def test_a_saved_state_loads_in_a_plain_process(histories: dict[str, Path]) -> None:
    import torch

    from tests.distribution import torch_cases

    for path in histories.values():
        torch_cases.dense().load_state_dict(torch.load(path / "model.pt")["model"])


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
        import json
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

        def train(case, model_gen, data_gen, dist_strategy, reporter, trial_dir):
            if case == "nothing":
                strategy = dist_strategy()
                model = model_gen.create()
                for x, y in data_gen.batch(4):
                    loss(model(x), y).backward()
                return strategy.sum(strategy.mean(1.0))
            if case == "a divergence":
                with dist_strategy() as strategy:
                    model = model_gen.create()
                for x, y in data_gen.batch(4):
                    loss(model(x), y).backward()
                reporter.broadcast(float("nan"))
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
                    "values": ["refused", "nothing", "a divergence"],
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


def test_a_divergence_is_that_of_all_ranks(by_ranks: Result) -> None:
    assert str(trial_of(by_ranks, "a divergence").state) == "diverged"


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
    torch.distributed.destroy_process_group()  # else its threads may end the process by an abort

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
