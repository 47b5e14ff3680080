"""What each shipped config suggests, and what its first trials come to at one thread.

    PYTHONPATH=WHERE_THAT_DOTRAIN_LIES python tests/samples/recipes.py > tests/samples/recipes.json

Runs with whatever dotrain is importable.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store import read_journal

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
#: What the metrics depend on besides dotrain.
PACKAGES = ("numpy", "scikit-learn", "tensorflow", "keras", "torch")
#: They ask for other numbers than the metric, which a simulation hasn't got.
NOT_SIMULATED = ("forest-front", "forest-constrained")
#: As many launches are kept of each config; more would only be more of the same.
FIRST = 60

#: One thread, no GPU, and one choice of kernels on every processor that has AVX2: sums are then
#: made in one order, and rounded alike.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "PJRT_NPROC": "1",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
#: Of ranks, which have fewer rows each: which way oneDNN computes those, it chooses by the processor.
OF_RANKS = {**ONE_THREAD, "TF_ENABLE_ONEDNN_OPTS": "0"}
_INLINE = "cluster={kind: inline}"
#: The configs that are trained, by the process they share, and what makes them small. Five have no
#: metrics: forecast is never trained, digits-random trains as digits-asha, the groups of digits-groups train as
#: digits-distributed, and those of digits-torch are compared with one process elsewhere (tests/distribution/test_torch.py).
#: What titanic-feast trains on comes by Feast, which takes seconds to be imported: tests/recipes/test_matrix.py trains it.
TRAINED: Mapping[str, Mapping[str, list[str]]] = {
    "scikit-learn": {
        "cancer-ablation": ["ablation={features: [worst texture], seeds: 1}", _INLINE],
        "sgd-asha": ["search.num_trials=2", "search.optimizer.resource_max=3", _INLINE],
        "sgd-pruning": ["search.num_trials=2", "hparams.budget=3", _INLINE],
        "sgd-hyperband": ["search.num_trials=2", "search.optimizer.resource_max=3", _INLINE],
        "forest-front": ["search.num_trials=2", _INLINE],
        "forest-constrained": ["search.num_trials=2", "search.repeats=1", _INLINE],
        # Ends with its first trial.
        "digits-pbt": ["search.stop={target: 0.0}", _INLINE],
    },
    "keras": {
        # First: it divides the processor, which TensorFlow allows before it has used it.
        "loop-mirrored": ["hparams.epochs=1", _INLINE],
        "digits-single": ["hparams.budget=1", _INLINE],
        "digits-asha": ["search.num_trials=1", "search.optimizer.resource_max=3", _INLINE],
        "titanic-ablation": [
            "ablation={layers: [dense_2], seeds: 1}",
            "hparams.budget=1",
            _INLINE,
        ],
        "digits-ablation": [
            "ablation={layers: [block1_conv1], seeds: 1}",
            "hparams.budget=1",
            _INLINE,
        ],
    },
    "torch": {
        "digits-torch-ablation": [
            "ablation={layers: [block1.conv1], seeds: 1}",
            "hparams.budget=1",
            _INLINE,
        ],
    },
    "jax": {"jax-asha": ["search.num_trials=1", "search.optimizer.resource_max=3", _INLINE]},
    "workers": {"digits-distributed": ["hparams.budget=1"]},
}


def run_config(name: str, overrides: list[str], folder: Path) -> Result:
    """Run a shipped config with overrides."""
    mode: Any = "ablate" if name.endswith(("-ablation", "-feast")) else "run"
    loaded = load_config(CONFIGS / f"{name}.yaml", overrides, mode=mode)
    return run(Experiment.of(loaded), folder, Observer())


def suggestions(name: str, folder: Path) -> dict[str, Any]:
    """Return what a config launches in virtual time, in order; its draws, if it can't be simulated."""
    virtual = ["tensorboard=false"]
    if name in NOT_SIMULATED:
        virtual += [_INLINE, "search.num_trials=6", "search.repeats=1"]
    elif name != "forecast":
        virtual.append("cluster={kind: simulated, workers: 4}")
    result = run_config(name, virtual, folder)
    launches = [
        {key: record[key] for key in ("trial_id", "attempt", "budget", "seed", "params")}
        for record in read_journal(result.run_dir / "journal.jsonl")
        if record["type"] == "Launch"
    ]
    return {"count": len(launches), "first": launches[:FIRST]}


def metrics(name: str, overrides: list[str], folder: Path) -> list[dict[str, Any]]:
    """Return what the first attempts of a config's first trials come to."""
    result = run_config(name, overrides, folder)
    assert all(trial.attempt == 1 for trial in result.trials), result.summary
    return [
        {
            # Of a study the arm and the seed, which once were parameters.
            "params": getattr(trial, "varied", trial.params),
            "value": trial.final_metric,
            "reported": list(trial.metric_history),
            "metrics": dict(trial.metrics or {}),
        }
        for trial in result.trials
    ]


def metrics_of(group: str) -> dict[str, Any]:
    """Return the metrics of configs that share a process of their own, at one thread."""
    done = subprocess.run(
        [sys.executable, __file__, group],
        env={**os.environ, **(OF_RANKS if group == "workers" else ONE_THREAD)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print everything, or the metrics of one group in this process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if len(sys.argv) > 1:
            group = TRAINED[sys.argv[1]]
            print(json.dumps({name: metrics(name, given, folder) for name, given in group.items()}))
            return
        found = {
            "made_with": {name: version(name) for name in PACKAGES},
            "suggestions": {
                config.stem: suggestions(config.stem, folder)
                for config in sorted(CONFIGS.glob("*.yaml"))
            },
            "metrics": {name: metrics_of(name) for name in TRAINED},
        }
    text = json.dumps(found)
    for start in ('{"trial_id"', '{"params"'):
        text = text.replace(start, f"\n{start}")
    print(text)


if __name__ == "__main__":
    main()
