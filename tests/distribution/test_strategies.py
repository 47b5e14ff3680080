"""What holds for a group of ranks holds for those of every strategy: the same tests, over all of them.

One search by ASHA for each: a trial that is promoted, then broken off, one that loses a rank, one that is stopped. It goes on with
another number of ranks.
"""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dotrain.config import load_config
from dotrain.core.marks import Mark
from dotrain.core.observer import Observer
from dotrain.core.trial import Trial, TrialState
from dotrain.experiment import resume
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store import read_journal
from tests.distribution.linear.happening import BATCH, MOMENTUM, RATE, load

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

FUNCTIONS = Path(__file__).with_name("linear")
#: By strategy: the module of its train function, and what must be installed.
STRATEGIES = {
    "multi_worker_mirrored": ("by_keras", "tensorflow"),
    "ddp": ("by_torch", "torch"),
    "fsdp": ("by_torch", "torch"),
    "jax": ("by_jax", "jax"),
}


def curve(epochs: int) -> list[float]:
    """The losses of the training, computed in NumPy by one process."""
    x, y = (part.astype("float64") for part in load())
    weight = velocity = np.zeros((2, 1))
    losses = []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, len(x), BATCH):
            rows, wanted = x[start : start + BATCH], y[start : start + BATCH]
            off = rows @ weight - wanted
            total += float((off**2).sum())
            velocity = MOMENTUM * velocity + 2 * rows.T @ off / len(rows)
            weight = weight - RATE * velocity
        losses.append(total / len(x))
    return losses


@pytest.fixture(scope="module", params=STRATEGIES)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The search, broken off with 2 ranks, and ended with 3."""
    module, package = STRATEGIES[request.param]
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    functions = FUNCTIONS / f"{module}.py"
    folder = tmp_path_factory.mktemp("group")
    config = folder / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "train": f"{functions}:train",
                "data": f"{functions}:data",
                **({"model": f"{functions}:model"} if package == "torch" else {}),
                "metric": "loss",
                "direction": "min",
                "value": "last",
                "hparams": {"driver": os.getpid()},
                "search": {
                    "space": {"case": {"type": "categorical", "values": ["plain", "lost", "high"]}},
                    "optimizer": {
                        "name": "asha",
                        "resource_min": 2,
                        "resource_max": 6,
                        "reduction_factor": 3,
                    },
                    "num_trials": 3,
                    "early_stop": {"name": "threshold", "upper": 1e5},
                },
                "distribution": {"strategy": request.param, "workers": 2},
                "cluster": {"kind": "local", "workers": 3},
                "checkpoints": {"keep": "last"},
            }
        )
    )
    broken = run(Experiment.of(load_config(config)), folder / "runs", Observer())
    assert broken.status == "interrupted", broken.summary
    return resume(broken.run_dir, ["distribution.workers=3"], quiet=True)


def trial_of(found: Result, case: str) -> Trial:
    (trial,) = (trial for trial in found.trials if trial.params["case"] == case)
    return trial


def logs(found: Result, case: str) -> dict[str, str]:
    folder = found.run_dir / "trials" / trial_of(found, case).trial_id
    return {file.name: file.read_text() for file in sorted(folder.glob("*.log"))}


def test_a_group_computes_what_one_process_would_whatever_happens_to_it(result: Result) -> None:
    for case, epochs, height in (("plain", 6, 0.0), ("lost", 2, 1.0)):
        trial = trial_of(result, case)
        assert trial.state == TrialState.FINISHED, logs(result, case)
        assert trial.step_history == list(range(epochs))
        expected = [loss + height for loss in curve(epochs)]
        assert trial.metric_history == pytest.approx(expected, rel=1e-5)


def test_it_speaks_with_the_voice_of_rank_0(result: Result) -> None:
    said = logs(result, "lost")
    assert list(said) == ["output-rank1.log", "output.log"]
    for name, text in said.items():
        rank = int(name == "output-rank1.log")
        assert {*re.findall(r"rank (\d) of 2", text)} == {str(rank)}
    for trial in result.trials:
        folder = result.run_dir / "trials" / trial.trial_id
        assert (folder / "who.txt").read_text().startswith("rank 0 of")
        (kept,) = (folder / "checkpoint").iterdir()
        assert not (kept / "who.txt").exists() or (kept / "who.txt").read_text() == "0"


def test_a_stop_ends_all_ranks_at_the_same_epoch(result: Result) -> None:
    assert trial_of(result, "high").state == TrialState.STOPPED
    said = logs(result, "high").values()
    chief, other = (re.findall(r"past epoch \d+", text) for text in said)
    assert chief == other
    assert all("stopped early" in text for text in said)


def test_a_lost_rank_is_noticed_and_the_trial_goes_on_whole(result: Result) -> None:
    trial = trial_of(result, "lost")
    assert (trial.losses, trial.attempt) == (1, 2)
    assert any("rank 1: its process was killed by SIGKILL" in line.what for line in trial.story)
    for text in logs(result, "lost").values():
        assert "of 2 from 1" in text


def test_a_promoted_group_goes_on_from_its_checkpoint_with_another_number_of_ranks(
    result: Result,
) -> None:
    trial = trial_of(result, "plain")
    begun = re.findall(r"rank 0 of (\d) from (\d)", logs(result, "plain")["output.log"])
    assert begun == [("2", "0"), ("2", "2"), ("3", "3")]
    assert trial.marks == [Mark.CONTINUED]
    assert result.summary["promotions"]["from_checkpoint"] == 1
    assert result.best is not None
    assert result.best["trial_id"] == trial.trial_id


def test_it_holds_all_its_workers_or_none(result: Result) -> None:
    launched = [
        record["slots"]
        for record in read_journal(result.run_dir / "journal.jsonl")
        if record["type"] == "Launch"
    ]
    assert launched == [2] * (len(launched) - 1) + [3]
