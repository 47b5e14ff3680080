"""Run directories of every kind, made in virtual time or in this process: milliseconds each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.runs.definition import Experiment
from dotrain.runs.session import run

#: What a careless page would take for its own markup or script.
HOSTILE = "</script><img src=x onerror=alert(1)>&amp;{{ 7*7 }}"

_TRAIN = "def train(dist_strategy, budget=None, {}):\n    return 0.0\n"
_SPACE = {
    "lr": {"type": "float", "range": [1e-4, 1e-1], "scale": "log"},
    "units": {"type": "int", "range": [16, 128]},
    "width": {"type": "discrete", "values": [16, 32, 64]},
    "activation": {"type": "categorical", "values": ["relu", "tanh"]},
    "leak": {"type": "float", "range": [0.0, 0.5], "when": {"activation": "relu"}},
}


def make_run(folder: Path, function: str = "", mode: Any = "run", **sections: Any) -> Path:
    """Run a config and return its run directory; in virtual time unless it says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [*sections.get("hparams", {}), *sections.get("search", {}).get("space", {})]
    arguments = ", ".join(f"{name}=None" for name in names)
    (folder / "user.py").write_text(function or _TRAIN.format(arguments))
    one = {} if "metrics" in sections else {"metric": "accuracy", "direction": "max"}
    config = {"train": "user.py:train", **one, **sections}
    config.setdefault("cluster", {"kind": "simulated", "workers": 4})
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))
    loaded = load_config(file, mode=mode)
    return run(Experiment.of(loaded), folder / "runs", Observer()).run_dir


def search(folder: Path, **sections: Any) -> Path:
    """ASHA with the median rule; some trials fail, some lose their worker."""
    return make_run(
        folder,
        **{
            "name": "search",
            "search": {
                "space": _SPACE,
                "optimizer": {"name": "asha", "resource_min": 3, "resource_max": 27},
                "early_stop": {"name": "median"},
                "num_trials": 60,
            },
            "hparams": {"batch_size": 64},
            "cluster": {
                "kind": "simulated",
                "workers": 4,
                "options": {"failing": 0.05, "losing": 0.02, "seed": 3},
            },
            **sections,
        },
    )


def ablation(folder: Path) -> Path:
    """Three components, six seeds."""
    return make_run(
        folder,
        mode="ablate",
        name="study",
        metric="loss",
        direction="min",
        hparams={"augment": True, "dropout": 0.2, "decay": 0.1},
        ablation={
            "components": {
                "augmentation": {"augment": False},
                "dropout": {"dropout": 0.0},
                HOSTILE: {"decay": 0.0},
            },
            "seeds": 6,
        },
    )


def group(folder: Path) -> Path:
    """A search in which each trial takes two slots."""
    return search(
        folder,
        name="group",
        distribution={"strategy": "multi_worker_mirrored", "workers": 2},
    )


def front(folder: Path, **sections: Any) -> Path:
    """A search by three metrics with hostile names; some trials are infeasible, one has no value of all."""
    function = (
        "def train(x, n, reporter):\n"
        "    reporter.broadcast(x, step=0)\n"
        f"    return {{'accuracy': x, {HOSTILE!r}: x * x + n, 'image': -n, 'memory': n}}\n"
    )
    return make_run(
        folder,
        function,
        **{
            "name": "front",
            "metrics": {"accuracy": "max", HOSTILE: "min", "image": "max"},
            "search": {
                "space": {
                    "x": {"type": "float", "range": [0.0, 1.0]},
                    "n": {"type": "int", "range": [1, 9]},
                },
                "num_trials": 25,
                "constraints": {"memory": {"max": 8}},
            },
            "cluster": {"kind": "inline"},
            **sections,
        },
    )


def crashed(folder: Path) -> Path:
    """A search whose driver died in the middle of writing a record."""
    path = search(folder)
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = lines[: len(lines) // 2]
    journal.write_bytes(b"".join(kept) + lines[len(kept)][:20])
    (path / "result.json").unlink()
    return path


def hostile(folder: Path) -> Path:
    """Names, values and messages that look like markup."""
    function = (
        "def train(choice, other, reporter):\n"
        "    reporter.broadcast({'accuracy': other, 'image': 1.0}, step=0)\n"
        f"    if other > 0.5: raise ValueError({HOSTILE!r} + choice)\n"
        "    return {'accuracy': other, 'image': 1.0}\n"
    )
    return make_run(
        folder,
        function,
        name="hostile",
        cluster={"kind": "inline"},
        limits={"max_failures": 100},
        search={
            "space": {
                "choice": {"type": "categorical", "values": [HOSTILE, "</style>", "'\"`"]},
                "other": {"type": "float", "range": [0.0, 1.0]},
            },
            "num_trials": 25,
        },
    )


def big(folder: Path, trials: int = 1000, reports: int = 20) -> Path:
    """A thousand trials with twenty reports each."""
    with pytest.MonkeyPatch.context() as patch:
        # To look at so many trials after each of so many events would take a minute of a core.
        patch.delenv("DOTRAIN_VALIDATE", raising=False)
        return make_run(
            folder,
            name="big",
            search={"space": _SPACE, "num_trials": trials},
            cluster={"kind": "simulated", "workers": 8, "options": {"steps": reports}},
        )


def without_a_finished_trial(folder: Path) -> Path:
    """A live run, or rather one that crashed, before its first trial came to an end."""
    path = search(folder)
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if b'"Finished"' in line)
    journal.write_bytes(b"".join(lines[:end]))
    (path / "result.json").unlink()
    return path


def never_launched(folder: Path) -> Path:
    """A journal with nothing but its header."""
    path = search(folder)
    journal = path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    (path / "result.json").unlink()
    return path
