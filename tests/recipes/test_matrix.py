"""Every config shipped: sound, run in virtual time, and trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from dotrain.config import load_config
from dotrain.config.load import Mode
from dotrain.core.observer import Observer
from dotrain.errors import ResourcesUnavailable
from dotrain.runs.definition import Experiment
from dotrain.runs.session import run
from tests.conftest import ROOT, make_cluster
from tests.samples.recipes import NOT_SIMULATED, TRAINED

#: Made for the simulation; real training to its budgets would take hours.
SIMULATED = ("forecast",)
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
TRAINING = [config for config in CONFIGS if config.stem not in SIMULATED]
#: Two configurations, the better of which goes on.
ONE_PROMOTION = [
    "search.num_trials=2",
    "search.optimizer.resource_max=2",
    "search.optimizer.reduction_factor=2",
]
#: Less of the same, so that the matrix takes seconds.
SHORTER = {
    "digits-single": ["hparams.budget=1"],
    "digits-random": ["search.num_trials=2", "hparams.budget=1"],
    "digits-asha": ONE_PROMOTION,
    "digits-distributed": ["hparams.budget=1"],
    "digits-groups": ONE_PROMOTION,
    "digits-torch": ONE_PROMOTION,
    "loop-mirrored": ["hparams.epochs=1"],
    "titanic-ablation": [
        "ablation={features: [sex], layers: [dense_2], seeds: 1}",
        "hparams.budget=1",
    ],
    "digits-ablation": [
        "ablation={layer_groups: [{prefix: block2_}], components: {a: {augment: false}}, seeds: 1}",
        "hparams.budget=1",
    ],
    "digits-torch-ablation": [
        "ablation={layers: [block1.conv1], layer_groups: [{prefix: block2}], seeds: 1}",
        "hparams.budget=1",
    ],
    "cancer-ablation": ["ablation={features: [worst texture], seeds: 2}"],
    "titanic-feast": ["ablation={features: [sex, {view: relatives}], seeds: 2}"],
    "forecast": ["search.num_trials=20"],
    "jax-asha": ONE_PROMOTION,
    "sgd-asha": ["search.num_trials=9", "search.optimizer.resource_max=9"],
    "sgd-pruning": ["search.num_trials=9", "hparams.budget=3"],
    "sgd-hyperband": ["search.num_trials=9", "search.optimizer.resource_max=9"],
    "forest-front": ["search.num_trials=14"],
    "forest-constrained": ["search.num_trials=12"],
    "digits-pbt": [
        "search.optimizer={name: pbt, population: 4, interval: 1, resource_max: 3, quantile: 0.5}"
    ],
}


def load(config: Path, *overrides: str) -> Experiment:
    """What a config is for: its study if it has one, else its search or single run."""
    mode: Mode = "ablate" if config.stem.endswith(("-ablation", "-feast")) else "run"
    return Experiment.of(load_config(config, overrides, mode=mode))


def test_every_config_is_in_the_matrix() -> None:
    assert {config.stem for config in CONFIGS} == set(SHORTER)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_every_config_is_sound_as_shipped(config: Path) -> None:
    assert load(config).name == config.stem


#: Where each is trained: every kind of run on every executor, and Keras on each. More would train the
#: same once more: what an executor promises holds for any function (tests/executors/test_contract.py),
#: tests/recipes/test_same_numbers.py trains all of them inline, digits-distributed by two local workers, and below
#: digits-asha is trained in another mode. Most of the time goes to importing
#: TensorFlow: `local` does so once a run, each worker at an address too, this process once for all.
EXECUTORS = {
    "digits-single": ["local"],
    "digits-random": ["inline"],
    "digits-groups": ["address"],
    "digits-torch": ["local"],
    "loop-mirrored": ["local"],
    "titanic-ablation": ["inline"],
    "digits-ablation": ["inline"],
    "digits-torch-ablation": ["local"],
    "cancer-ablation": ["inline", "local", "address"],
    "titanic-feast": ["local"],
    "sgd-asha": ["inline", "local", "address"],
    "sgd-pruning": ["local"],
    "sgd-hyperband": ["inline"],
    "forest-front": ["local"],
    "forest-constrained": ["local"],
    "digits-pbt": ["local"],
    "jax-asha": ["local"],
}


def test_every_config_is_trained_somewhere_and_nothing_is_left_out() -> None:
    elsewhere = {name for name, _, _ in MODES.values()} | set(TRAINED["workers"])
    assert set(EXECUTORS) | elsewhere == {config.stem for config in TRAINING}
    assert {kind for kinds in EXECUTORS.values() for kind in kinds} == {
        "inline",
        "local",
        "address",
    }


# Keras and TensorFlow warn about themselves; inline, that would be in this process.
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kinds in EXECUTORS.items() for kind in kinds]
)
def test_every_config_is_trained(
    name: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cluster = make_cluster(kind, request)
    asked = load(ROOT / "configs" / f"{name}.yaml", *SHORTER[name], f"cluster={cluster}")
    result = run(asked, tmp_path, Observer())
    assert result.status == "finished", result.summary
    assert result.summary["trials"]["failed"] == 0, result.summary
    assert result.is_usable
    assert all(trial.final_metric is not None for trial in result.trials)
    if "promotions" in result.summary:
        promotions = result.summary["promotions"]
        assert promotions["from_checkpoint"] == promotions["total"] > 0


@pytest.mark.parametrize("name", ["digits-distributed", "digits-groups"])
def test_what_needs_several_workers_is_refused_inline(name: str, tmp_path: Path) -> None:
    asked = load(ROOT / "configs" / f"{name}.yaml", *SHORTER[name], "cluster={kind: inline}")
    with pytest.raises(ResourcesUnavailable, match=r"use cluster\.kind: local"):
        run(asked, tmp_path, Observer())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_processor_that_is_in_use_cannot_be_divided_inline(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.constant(1.0)  # TensorFlow runs in this process from here on, if it hasn't before
    config = ROOT / "configs" / "loop-mirrored.yaml"
    asked = load(config, *SHORTER["loop-mirrored"], "cluster={kind: inline}")
    failed = run(asked, tmp_path, Observer())
    assert "use cluster.kind: local" in failed.summary["failures"][0]["message"]


#: The same recipe in modes that no config of its own shows, and where.
MODES: dict[str, tuple[str, str, list[str]]] = {
    "asha with early stopping": (
        "digits-asha",
        "inline",
        [*SHORTER["digits-asha"], "search.early_stop={name: median, min_trials: 1}"],
    ),
    "ablation": (
        "digits-single",
        "inline",
        [
            *SHORTER["digits-single"],
            "ablation={layers: [dense], components: {dropout: {dropout: 0.0}}, seeds: 1}",
        ],
    ),
    "ablation by groups": (
        "digits-torch",
        "local",
        ["hparams={lr: 0.1, budget: 1}", "ablation={layers: ['4'], seeds: 1}"],
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("rehearsed_here")
@pytest.mark.parametrize("mode", MODES)
def test_one_recipe_unchanged_in_the_other_modes(
    mode: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name, kind, overrides = MODES[mode]
    what: Mode = "ablate" if "ablation" in mode else "run"
    overrides = [*overrides, f"cluster={make_cluster(kind, request)}"]
    loaded = load_config(ROOT / "configs" / f"{name}.yaml", overrides, mode=what)
    result = run(Experiment.of(loaded), tmp_path, Observer())
    assert result.status == "finished", result.summary
    assert result.summary["trials"]["failed"] == 0, result.summary


@pytest.mark.parametrize(
    "config", [c for c in CONFIGS if c.stem not in NOT_SIMULATED], ids=lambda config: config.stem
)
def test_every_config_runs_in_virtual_time(config: Path, tmp_path: Path) -> None:
    asked = load(config, *SHORTER[config.stem], "cluster={kind: simulated, workers: 4}")
    result = run(asked, tmp_path, Observer())
    assert result.status == "finished"
    assert result.summary["trials"]["finished"] + result.summary["trials"]["stopped"] > 0
