"""Train functions in JAX, the cases of exactness: the same code for one process and for several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import psutil

from dotrain.frameworks.rows import ArrayRows

ROWS, STEPS = 37, 20


def load(split: str = "train") -> Any:
    rng = np.random.RandomState(0)
    x = rng.normal(size=(ROWS, 12))
    y = rng.randint(0, 3, size=ROWS)
    names = {"features": x, "number": np.arange(ROWS)}
    if split == "tree":
        return names, y
    arrays = x, y, np.arange(ROWS)
    return ArrayRows(arrays) if split == "read by batches" else arrays


class Case(NamedTuple):
    """An optimizer, and in which batches the rows come.

    37 rows in batches of 12 end with one of 1, which nobody can share; of 8 with one of 5; batches of 7 are
    shared by nobody.
    """

    optimizer: Any
    size: int
    dropout: float = 0.0
    normalized: bool = False


CASES = {
    "a last batch of one row": Case(optax.adam(0.01), 12),
    "clipping, accumulation, dropout, batch normalization": Case(
        optax.MultiSteps(optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.5)), 2),
        8,
        0.5,
        True,
    ),
    "a size that divides by nothing": Case(optax.sgd(0.1, momentum=0.9), 7),
}


def forward(weights: Any, x: Any, key: Any, case: Case) -> Any:
    hidden = jax.nn.relu(x @ weights["in"] + weights["bias"])
    if case.normalized:
        hidden = (hidden - hidden.mean(0)) / jnp.sqrt(hidden.var(0) + 1e-5)
    if key is not None and case.dropout:
        hidden = hidden * jax.random.bernoulli(key, 1 - case.dropout, hidden.shape)
    return hidden @ weights["out"]


def fit(case: Case, data_gen: Any, strategy: Any, seed: int) -> tuple[list[float], list[int]]:
    """Return losses, weights and predictions, and which rows each step had."""
    key, first, second = jax.random.split(jax.random.key(seed), 3)
    weights = {
        "in": jax.random.normal(first, (12, 16)) / 4,
        "bias": jnp.zeros(16),
        "out": jax.random.normal(second, (16, 3)) / 4,
    }
    state = case.optimizer.init(weights)

    def loss_of(weights: Any, x: Any, y: Any, key: Any) -> Any:
        logits = forward(weights, x, key, case)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(weights: Any, state: Any, x: Any, y: Any, key: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_of)(weights, x, y, key)
        updates, state = case.optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state, loss

    losses: list[float] = []
    rows: list[int] = []
    epoch = 0
    while len(losses) < STEPS:
        for x, y, number in data_gen.batch(case.size, epoch=epoch):
            key, own = jax.random.split(key)
            weights, state, loss = step(weights, state, x, y, own)
            losses.append(float(loss))
            rows += strategy.whole(number).tolist()
        epoch += 1
    predicted = jax.jit(forward, static_argnums=(2, 3))(weights, load()[0], None, case)
    parts = [np.asarray(part).ravel() for part in (*jax.tree.leaves(weights), predicted)]
    return losses + np.concatenate(parts).tolist(), rows


def train(dist_strategy: Any, data_gen: Any, trial_dir: Path, seed: int) -> float:
    """Train every case; what they come to goes to ``cases.json``."""
    with dist_strategy() as strategy:
        # Compiling takes nearly all the time: more than two ranks do the first alone.
        chosen = list(CASES.items())[: 1 if jax.process_count() > 2 else None]
        found = {name: fit(case, data_gen, strategy, seed) for name, case in chosen}
    (batch, labels), *_ = data_gen.batch(12, "tree", shuffle=False)
    found["a tree"] = strategy.whole(batch["number"] + labels).tolist(), []
    (*_, number), *_ = data_gen.batch(12, "read by batches", shuffle=True)
    found["read by batches"] = strategy.whole(number).tolist(), []
    (trial_dir / "cases.json").write_text(json.dumps(found))
    held = len(batch["number"].addressable_shards[0].data) if jax.process_count() > 1 else 12
    (trial_dir / "held.json").write_text(json.dumps(held))
    connections = psutil.Process().net_connections("inet")
    ports = [one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN]
    (trial_dir / "listens.json").write_text(json.dumps(ports))
    return 1.0


def train_apart(dist_strategy: Any) -> float:
    """Never enter the strategy, which is refused."""
    return float(jax.jit(jnp.sum)(jnp.arange(3.0)))
