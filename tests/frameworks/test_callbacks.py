"""The callbacks of all frameworks: they report, keep checkpoints, stop, and go on as if nothing had been.

What trains is in `callback_cases`, many cases in few runs: to import them all takes seconds.
"""

from __future__ import annotations

import importlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.marks import Mark
from dotrain.core.observer import Observer
from dotrain.core.trial import Trial, TrialState
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store.checkpoints import checkpoints_in
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadReport, BadSetup
from dotrain.training.logs import find_metric

NEEDED = ("lightning", "transformers", "skorch", "xgboost", "lightgbm", "catboost", "sklearn")
MISSING = [name for name in NEEDED if find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

CASES = Path(__file__).with_name("callback_cases.py")
KINDS = (
    *("loop", "lightning", "transformers", "skorch"),
    *("xgboost", "lightgbm", "catboost", "sgd", "forest", "folds"),
)
SAMPLED = ("xgboost_sampled", "lightgbm_sampled")


def run_cases(folder: Path, function: str = "train", **sections: Any) -> Result:
    config = folder / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "train": f"{CASES}:{function}",
                "metric": "score",
                "direction": "min",
                "cluster": {"kind": "inline"},
                **sections,
            }
        )
    )
    return run(Experiment.of(load_config(config)), folder, Observer())


def one_of(*values: Any) -> dict[str, Any]:
    return {"type": "categorical", "values": values}


def log(result: Result, trial: Trial) -> str:
    return (result.run_dir / "trials" / trial.trial_id / "output.log").read_text()


def test_what_was_killed_and_goes_on_ends_as_what_never_was(tmp_path: Path) -> None:
    result = run_cases(
        tmp_path,
        search={
            "space": {"kind": one_of(*KINDS, *SAMPLED), "dies_at": one_of(0, 1, 3)},
            "optimizer": {"name": "grid"},
        },
        cluster={"kind": "local", "workers": 2, "threads": 1},
    )
    found: dict[str, list[Trial]] = {}
    for trial in result.trials:
        assert trial.state == TrialState.FINISHED, log(result, trial)
        assert trial.step_history == [0, 1, 2, 3]
        assert trial.attempt == (2 if trial.varied["dies_at"] else 1)
        assert set(trial.marks) <= {Mark.CONTINUED, Mark.OTHER_VALUE}  # it returns what it is given
        found.setdefault(trial.varied["kind"], []).append(trial)
    for kind, trials in found.items():
        digests = {(trial.metrics or {})["digest"] for trial in trials}
        curves = {tuple(trial.metric_history) for trial in trials}
        said = [log(result, t).count("not as the uninterrupted training would") for t in trials]
        if kind in KINDS:
            assert (len(digests), len(curves)) == (1, 1), kind
            assert said == [0, 0, 0]
        else:
            assert len(digests) == 3, kind
            assert sorted(said) == [0, 1, 1]
            assert not any("draws once more" in log(result, trial) for trial in trials)


def test_a_stop_passes_through_every_framework(tmp_path: Path) -> None:
    result = run_cases(
        tmp_path,
        search={
            "space": {"kind": one_of(*KINDS)},
            "optimizer": {"name": "grid"},
            "early_stop": {"name": "threshold", "upper": -1.0, "min_steps": 1},
        },
        checkpoints={"keep": "last"},
    )
    for trial in result.trials:
        assert trial.state == TrialState.STOPPED, log(result, trial)
        assert len(trial.step_history) < 4
        folder = result.run_dir / "trials" / trial.trial_id / "checkpoint"
        assert checkpoints_in(folder)[-1].step == len(trial.step_history)


def test_what_is_reported_where_a_framework_has_ways_of_its_own(tmp_path: Path) -> None:
    cases = importlib.import_module("tests.frameworks.callback_cases")
    kinds = one_of(*cases.PECULIAR)
    result = run_cases(
        tmp_path, "train_peculiar", search={"space": {"kind": kinds}, "optimizer": {"name": "grid"}}
    )
    for trial in result.trials:
        assert trial.state == TrialState.FINISHED, log(result, trial)
        assert trial.step_history == cases.PECULIAR[trial.varied["kind"]][0], trial.varied
        assert "reported more than once" not in log(result, trial)


@pytest.mark.parametrize("kind", ["lightning", "transformers", "skorch"])
def test_what_begins_from_anothers_checkpoint_trains_with_its_own_rate(
    tmp_path: Path, kind: str
) -> None:
    pbt = {"name": "pbt", "population": 4, "interval": 1, "resource_max": 3, "quantile": 0.5}
    space = {"lr": {"type": "float", "range": [0.001, 0.1], "scale": "log"}}
    result = run_cases(
        tmp_path,
        "train_rate",
        hparams={"kind": kind},
        search={"space": space, "optimizer": pbt},
    )
    assert any(trial.begins_from for trial in result.trials)
    for trial in result.trials:
        assert trial.metrics, log(result, trial)
        assert trial.metrics["used"] == pytest.approx(trial.params["lr"])


WRONG = {
    "lightning": "Lightning's callback_metrics have no 'auc'; they hold .*score",
    "transformers": "the Trainer's metrics have no 'auc'; they hold eval_loss",
    "skorch": "entries of skorch's history have no 'auc'; they hold .*valid_loss",
    "xgboost": "XGBoost's evaluations have no 'auc'; they hold train-logloss, valid-logloss",
    "lightgbm": "LightGBM's evaluations have no 'auc'; they hold valid-binary_logloss",
    "catboost": "CatBoost's evaluations have no 'auc'; they hold learn-Logloss, validation-Logloss",
}


def test_a_metric_that_was_not_logged_is_told_with_those_that_were(tmp_path: Path) -> None:
    result = run_cases(
        tmp_path,
        "train_without_metric",
        metric="auc",
        search={"space": {"kind": one_of(*WRONG)}, "optimizer": {"name": "grid"}},
    )
    for trial in result.trials:
        assert trial.error is not None
        assert re.search(WRONG[trial.varied["kind"]], trial.error.message), trial.error


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """One of two steps, of nothing."""
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    with checkpoint.save(step=2):
        pass
    return checkpoint


def test_a_training_that_begins_anew_beside_its_checkpoint_is_refused(
    checkpoint: Checkpoint,
) -> None:
    from dotrain import callbacks

    lightning = callbacks.LightningCheckpoint(checkpoint)
    with pytest.raises(BadSetup, match=r"checkpoint of epoch 2, .* at epoch 0: .*ckpt_path=keep"):
        lightning.on_train_start(SimpleNamespace(current_epoch=0, optimizers=[]), None)
    transformers = callbacks.TransformersCheckpoint(checkpoint)
    with pytest.raises(BadSetup, match="resume_from_checkpoint=keep"):
        transformers.on_train_begin(None, SimpleNamespace(global_step=0), None)
    xgboost = callbacks.XGBoostCheckpoint(checkpoint)
    with pytest.raises(BadSetup, match="xgb_model=keep"):
        xgboost.before_training(SimpleNamespace(num_boosted_rounds=int, save_model=print))
    with checkpoint.save(step=3) as folder:
        (folder / "snapshot").touch()
    catboost = callbacks.CatBoostCheckpoint(checkpoint)
    with pytest.raises(BadSetup, match=r"\*\*keep.params"):
        catboost.after_iteration(SimpleNamespace(iteration=1))
    lightgbm = callbacks.LightGBMCheckpoint(checkpoint)
    with pytest.raises(BadSetup, match="init_model=keep"):
        lightgbm(SimpleNamespace(begin_iteration=0, model=None))
    with pytest.raises(BadSetup, match=r"xgb\.cv trains several"):
        xgboost.before_training(SimpleNamespace(num_boosted_rounds=int))
    with pytest.raises(BadSetup, match=r"lgb\.cv trains several"):
        lightgbm(SimpleNamespace(model=SimpleNamespace(boosters=[])))


def test_a_trainer_that_never_evaluates_is_refused() -> None:
    from dotrain.callbacks import TransformersReport

    report = TransformersReport(SimpleNamespace(metric="loss"))  # type: ignore[arg-type]
    with pytest.raises(BadSetup, match="eval_strategy='epoch'"):
        report.on_train_begin(SimpleNamespace(eval_strategy="no"), None, None)


def test_of_several_data_sets_the_one_that_counts_is_named() -> None:
    results = {"valid": {"rmse": 0.5}, "train": {"rmse": 0.2}, "learn": {"mae": 0.1}}
    with pytest.raises(BadReport, match=r"say which one counts.*'valid-rmse' or 'train-rmse'"):
        find_metric(results, "rmse")
    assert find_metric(results, "valid-rmse")[1] == "valid-rmse"
    assert find_metric(results, "mae")[1] == "learn-mae"
    assert find_metric({**results, "test": {"mae": 0.3}}, "mae")[1] == "test-mae"
