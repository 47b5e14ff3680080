"""Real trainings in equal time: random without stopping, random with the median rule, ASHA.

MNIST-1D with a small network, on two workers of this machine; budget and time stand in the configs of `mnist1d_cnn/`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_CONFIGS = Path(__file__).with_name("mnist1d_cnn")
_RULES = ("random", "median", "asha")
#: Which part of the predicted ratio of trials is to be had.
_PART = 0.8


def measure_real(seeds: int = 3, *, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run the three searches by turns, so that the machine is alike for all.

    Args:
        seeds: How often.
        overrides: As of ``--set``.

    Returns:
        Each search's figures, and ASHA's trials over plain random's beside what ``check`` predicts.
    """
    found: dict[str, list[dict[str, Any]]] = {rule: [] for rule in _RULES}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(seeds):
            for rule in _RULES:
                config = str(_CONFIGS / f"{rule}.yaml")
                options = [o for one in (f"seed={seed}", *overrides) for o in ("--set", one)]
                where = ("--runs-dir", scratch, "--quiet", "--json")
                result = json.loads(_dotrain("run", config, *where, *options))
                found[rule].append(_figures(result))
    trials = {rule: sum(one["trials"] for one in runs) for rule, runs in found.items()}
    measured = trials["asha"] / max(1, trials["random"])
    predicted = _predicted()
    return {
        "runs": found,
        "trials": {
            "asha_over_random": measured,
            "predicted_by_check": predicted,
            "part_of_it": measured / predicted,
            "met": measured >= _PART * predicted,
        },
    }


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    counts = result["trials"]
    return {
        "trials": counts["total"] - counts["unfinished"],
        "stopped": counts["stopped"],
        "best": result["best"]["value"] if result["best"] else None,
        "seconds": result["elapsed_s"],
    }


def _predicted() -> float:
    """Return how many times more configurations ASHA has time for than whole trainings, by its rungs.

    A trial that goes on from its checkpoint takes the steps that a rung adds.
    """
    plan = json.loads(_dotrain("check", str(_CONFIGS / "asha.yaml"), "--json"))
    rungs = plan["rungs"]
    before = [0, *(rung["budget"] for rung in rungs[:-1])]
    steps = sum(
        rung["trials"] * (rung["budget"] - less) for rung, less in zip(rungs, before, strict=True)
    )
    return float(rungs[-1]["budget"] * plan["configurations"] / steps)


def _dotrain(*arguments: str) -> str:
    command = [sys.executable, "-m", "dotrain", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
