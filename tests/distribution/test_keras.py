"""Keras on several replicas computes what one process would; what it can't is refused."""

from __future__ import annotations

import json
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
from tests.late import Late, needs_keras

pytestmark = [pytest.mark.slow, needs_keras, pytest.mark.filterwarnings("default")]

keras, cases = Late("keras"), Late("tests.distribution.keras_cases")

MODES: dict[str, dict[str, Any]] = {
    "single": {"strategy": "single"},
    "mirrored": {"strategy": "mirrored", "workers": 2},
    "workers": {"strategy": "multi_worker_mirrored", "workers": 2},
}
CASES = Path(__file__).with_name("keras_cases.py")


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directory of a trial of all cases, by mode."""
    folder = tmp_path_factory.mktemp("exactness")
    found = {}
    for mode, distribution in MODES.items():
        config = folder / f"{mode}.yaml"
        config.write_text(
            json.dumps(
                {
                    "train": f"{CASES}:train",
                    "metric": "done",
                    "hparams": {"is_mirrored": mode == "mirrored"},
                    "distribution": distribution,
                    # One core a process: sums come out in the same order.
                    "cluster": {"kind": "local", "workers": 2},
                }
            )
        )
        result = run(Experiment.of(load_config(config)), folder, Observer())
        trial_dir = result.run_dir / "trials" / "t0000"
        assert result.best, (trial_dir / "output.log").read_text()
        found[mode] = trial_dir
    return found


def test_training_is_the_same_on_one_process_two_devices_and_two_workers(
    histories: dict[str, Path],
) -> None:
    one, *others = (json.loads((path / "cases.json").read_text()) for path in histories.values())
    mirrored, workers = others
    assert one.keys() == workers.keys() > mirrored.keys()
    assert len(one) > 10
    assert len(mirrored) > 4
    for other in others:
        for name, numbers in other.items():
            assert numbers == pytest.approx(one[name], rel=1e-5, abs=1e-5), name


def test_the_model_is_saved_once_and_loads_in_a_plain_process(histories: dict[str, Path]) -> None:
    x, _ = cases.rows(37, 12)
    for path in histories.values():
        loaded = keras.models.load_model(path / "model.keras").predict(x, verbose=0).tolist()
        saved = json.loads((path / "predicted.json").read_text())
        for row, expected in zip(loaded, saved, strict=True):
            assert row == pytest.approx(expected, abs=1e-6)


def test_ranks_are_forked_from_a_process_that_has_imported_everything(
    histories: dict[str, Path],
) -> None:
    for mode in ("mirrored", "workers"):
        assert (histories[mode] / "imported.txt").read_text() == "0"


def recipe(tmp_path: Path, config: str, *overrides: str) -> Result:
    loaded = load_config(ROOT / "configs" / f"{config}.yaml", overrides)
    return run(Experiment.of(loaded), tmp_path, Observer())


# Keras' own loop is among the cases above, on two devices and by two workers.
def test_one_recipe_unchanged_has_the_same_history_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its convolutions compute otherwise for another number of rows.
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    results = [
        recipe(
            tmp_path,
            "loop-mirrored",
            "hparams.epochs=1",  # 1347 rows in batches of 64 leave a last one of 3
            f"distribution={json.dumps(distribution)}",
            "cluster.workers=2",
        )
        for distribution in MODES.values()
    ]
    one, *others = (result.trials[0] for result in results)
    assert one.metrics is not None
    for other in others:
        assert other.metrics is not None, other.error
        assert other.metric_history == pytest.approx(one.metric_history, abs=1e-5)
        assert other.metrics["loss"] == pytest.approx(one.metrics["loss"], abs=1e-5)


def test_replicas_drop_different_units(histories: dict[str, Path]) -> None:
    for path in histories.values():
        kept = json.loads((path / "dropout.json").read_text())
        # If both rows lost the same units, none would be kept in just one.
        assert set(kept) == {0.0, 1.0, 2.0}
        assert 16 < kept.count(1.0) < 48


REFUSED = {
    "steps_per_execution": ("model.compile('sgd', 'mse', steps_per_execution=2)", "would hang"),
    "jit_compile": ("model.compile('sgd', 'mse', jit_compile=True)", "XLA has no collective"),
    "reduction": (
        "model.compile('sgd', keras.losses.MeanSquaredError('mean_with_sample_weight'))",
        "can't be summed",
    ),
    "rows on every rank": ("model.compile('sgd', 'mse'); data = data.with_options(OFF)", "is OFF"),
    "no scope": ("pass\nmodel.compile('sgd', 'mse')", "has run nothing under its strategy"),
}


@pytest.fixture(scope="module")
def refused_by_workers(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One search: every case that is refused is a trial."""
    project = Project(tmp_path_factory.mktemp("refused"))
    return project.run(
        f"""
        import keras
        import numpy as np
        import tensorflow as tf

        OFF = tf.data.Options()
        OFF.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        REFUSED = {REFUSED!r}

        def train(case, dist_strategy):
            inside, _, outside = REFUSED[case][0].partition("\\n")
            names = {{"keras": keras, "OFF": OFF}}
            x = np.ones((8, 2), "float32")
            names["data"] = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4)
            def build():
                names["model"] = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
            with dist_strategy():
                if not outside:
                    build()
                exec(inside, names)
            if outside:
                build()
                exec(outside, names)
            names["model"].fit(names["data"], verbose=0)
            return 1
        """,
        search={
            "space": {"case": {"type": "categorical", "values": [*REFUSED]}},
            "optimizer": {"name": "grid"},
        },
        distribution=MODES["workers"],
        cluster={"kind": "local", "workers": 2},
    )


def trial_of(found: Result, case: str) -> Trial:
    (trial,) = (t for t in found.trials if t.params["case"] == case)
    return trial


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_with_the_reason(
    refused_by_workers: Result, case: str
) -> None:
    trial = trial_of(refused_by_workers, case)
    assert trial.error is not None
    assert REFUSED[case][1] in trial.error.message
    assert trial.error.kind == "setup"


def test_a_loop_of_ones_own_is_told_of_a_share_of_no_rows(histories: dict[str, Path]) -> None:
    assert "fewer rows than there are workers" in (histories["mirrored"] / "empty.txt").read_text()


def test_tensorflows_own_tutorial_runs_with_its_strategy_replaced(project: Project) -> None:
    result = project.run(
        "",
        train=f"{CASES.with_name('tutorial.py')}:main",
        metric="loss",
        direction="min",
        distribution=MODES["workers"],
        cluster={"kind": "local", "workers": 2},
    )
    (trial,) = result.trials
    assert result.best, project.log(result)
    assert trial.metrics is not None
    assert result.best["value"] < trial.metrics["first"]
