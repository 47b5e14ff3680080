"""Goes on from its checkpoint; ends its driver where the environment says so."""

import json
import os
import signal


def train(x, depth, width, budget, reporter, checkpoint, trial_dir):
    total = json.loads((checkpoint.latest / "total").read_text()) if checkpoint.latest else 0.0
    for step in range(checkpoint.step, budget):
        end_the_driver(trial_dir, step)
        total += x / (step + 1)
        with checkpoint.save(step=step + 1) as folder:
            (folder / "total").write_text(json.dumps(total))
        reporter.broadcast(loss(total, depth, width), step)
    return loss(total, depth, width)


def loss(total, depth, width):
    return 1 / (1 + total) + depth / (100 * width)


def end_the_driver(trial_dir, step):
    """As ``t0004 2 SIGKILL`` in the environment says: at which trial's step, and how."""
    trial, at, name = os.environ.get("END_THE_DRIVER", "none 0 SIGINT").split()
    if (trial_dir.name, str(step)) != (trial, at):
        return
    driver = json.loads((trial_dir.parents[1] / "lock").read_text())["pid"]
    os.kill(driver, getattr(signal, name))
    while driver != os.getpid():  # ends with its driver, and does nothing more
        signal.pause()
