"""A linear model in JAX, for `jax`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from happening import BATCH, MOMENTUM, RATE, epochs, happen, height, load, tell


def data() -> Any:
    return load()


@jax.jit
def step(weight: Any, velocity: Any, x: Any, y: Any) -> Any:
    loss, gradient = jax.value_and_grad(lambda w: jnp.mean((x @ w - y) ** 2))(weight)
    velocity = MOMENTUM * velocity + gradient
    return weight - RATE * velocity, velocity, loss


def train(
    data_gen: Any,
    dist_strategy: Any,
    checkpoint: Any,
    reporter: Any,
    trial_dir: Any,
    case: str,
    driver: int,
    budget: int,
) -> None:
    begins_at, rank, ranks = checkpoint.step, jax.process_index(), jax.process_count()
    state = np.zeros((2, 2, 1), "float32")
    if checkpoint.latest:
        state = np.load(checkpoint.latest / "state.npy")
    weight, velocity = state
    tell(trial_dir, rank, ranks, begins_at)
    with dist_strategy():
        for epoch in range(begins_at, epochs(case, budget)):
            happen(case, epoch, begins_at, rank, ranks, driver)
            total = 0.0
            for x, y in data_gen.batch(BATCH, shuffle=False):
                weight, velocity, loss = step(weight, velocity, x, y)
                total += float(loss) * len(x)
            with checkpoint.save(step=epoch + 1) as folder:
                np.save(folder / "state.npy", np.stack([weight, velocity]))
                (folder / "who.txt").write_text(str(rank))
            reporter.broadcast(total / 21 + height(case), epoch)
            print("past epoch", epoch)
