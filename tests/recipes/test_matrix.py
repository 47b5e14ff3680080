"""Every config shipped, on every executor that can run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.definition import Experiment
from dotrain.errors import ResourcesUnavailable
from dotrain.report.console import Quiet
from dotrain.running import run
from tests.conftest import ROOT, Project

#: Made for the simulation; real training to its budgets would take hours.
SIMULATED = ("forecast",)
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
TRAINING = [config for config in CONFIGS if config.stem not in SIMULATED]
#: Less of the same, so that the matrix takes seconds.
SHORTER = {
    "digits-single": ["hparams.budget=1"],
    "digits-random": ["search.num_trials=3", "hparams.budget=2"],
    "digits-asha": ["search.num_trials=4", "search.optimizer.resource_max=3"],
    "digits-distributed": ["hparams.budget=1"],
    "digits-groups": ["search.num_trials=3", "search.optimizer.resource_max=3"],
    "loop-mirrored": ["hparams.epochs=1"],
    "forecast": ["search.num_trials=20"],
    "sgd-asha": ["search.num_trials=9", "search.optimizer.resource_max=9"],
}


def test_every_config_is_in_the_matrix() -> None:
    assert {config.stem for config in CONFIGS} == set(SHORTER)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_every_config_is_sound_as_shipped(config: Path) -> None:
    loaded = load_config(config)
    assert loaded.settings.name == config.stem


# Keras and TensorFlow warn about themselves; inline, that would be in this process.
@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("config", TRAINING, ids=lambda config: config.stem)
def test_every_config_runs_on_every_executor(
    config: Path, cluster: dict[str, Any], tmp_path: Path
) -> None:
    overrides = [*SHORTER[config.stem], f"cluster={cluster}"]
    asked = Experiment.of_config(load_config(config, overrides))
    if asked.strategy.slots > 1 and cluster["kind"] == "inline":
        with pytest.raises(ResourcesUnavailable, match=r"use cluster\.kind: local"):
            run(asked, tmp_path, Quiet())
        return
    if asked.strategy.own_process and cluster["kind"] == "inline":
        # TensorFlow runs in this process already: its CPU can't be divided any more.
        failed = run(asked, tmp_path, Quiet())
        assert "use cluster.kind: local" in failed.summary["failures"][0]["message"]
        return
    result = run(asked, tmp_path, Quiet())
    assert result.status == "finished", result.summary
    assert result.summary["trials"]["failed"] == 0, result.summary
    assert result.best is not None
    assert result.best["value"] > 0.1
    if "promotions" in result.summary:
        promotions = result.summary["promotions"]
        assert promotions["from_checkpoint"] == promotions["total"]


def test_devices_of_this_very_process_are_trained_on_inline(project: Project) -> None:
    config = ROOT / "configs" / "loop-mirrored.yaml"
    shorter = ["--set", "hparams.epochs=1", "--set", "cluster={kind: inline}", "--json"]
    done = project.cli("run", str(config), *shorter)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"]["value"] > 0.1


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_every_config_runs_in_virtual_time(config: Path, tmp_path: Path) -> None:
    overrides = [*SHORTER[config.stem], "cluster={kind: simulated, workers: 4}"]
    asked = Experiment.of_config(load_config(config, overrides))
    result = run(asked, tmp_path, Quiet())
    assert result.status == "finished"
    assert result.summary["trials"]["finished"] + result.summary["trials"]["stopped"] > 0
