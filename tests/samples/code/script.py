"""`python script.py [RUN_DIR]`: a search from Python, or the same call once more to go on."""

import os
import signal
import sys

from dotrain import Searchspace, experiment


def train(x, n, reporter, trial_dir, epochs=4):
    value = 0.0
    for step in range(epochs):
        if os.environ.get("END_THE_DRIVER") == f"{trial_dir.name} {step} SIGINT":
            os.kill(os.getpid(), signal.SIGINT)
        value = n * abs(x - 0.5) + 1 / (step + 1)
        reporter.broadcast(value, step)
    return {"loss": value, "steps": epochs}


if __name__ == "__main__":
    experiment.lagom(
        train,
        Searchspace(x=("DOUBLE", [0.0, 1.0]), n=("INTEGER", [1, 5])),
        optimizer={"name": "grid", "points": 3},
        name="lagom",
        direction="min",
        metric="loss",
        early_stop={"name": "median", "min_trials": 2},
        seed=7,
        cluster={"kind": "inline"},
        resume=sys.argv[1] if len(sys.argv) > 1 else None,
        quiet=True,
    )
