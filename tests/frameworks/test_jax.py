"""JAX: trees in batches, its keys and numbers, and what is kept in a checkpoint."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotrain.core.strategy import PortTaken, Seat
from dotrain.frameworks.base import epoch_order
from dotrain.frameworks.jax.checkpoint import JaxCheckpoint
from dotrain.frameworks.jax.framework import Jax
from dotrain.frameworks.jax.multi_process import MultiProcess
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadSetup
from dotrain.training.numbers import as_number
from tests.conftest import Project

pytestmark = pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")


def test_trees_of_arrays_come_in_batches_of_their_own_form() -> None:
    import jax.numpy as jnp

    data = {"image": jnp.arange(10.0).reshape(5, 2), "more": (np.arange(5), [np.arange(5) * 2])}
    assert Jax().takes_data(data)
    batches = Jax().batches(data, 2, 3, 1)
    assert len(batches) == 3
    for epoch in (1, 2):
        read = list(batches)
        rows = [row for batch in read for row in batch["more"][0].tolist()]
        assert rows == epoch_order(5, 3, epoch).tolist()
        for batch in read:
            assert isinstance(batch["image"], np.ndarray)
            assert (batch["image"][:, 0] == batch["more"][0] * 2).all()
            assert (batch["more"][1][0] == batch["more"][0] * 2).all()


@pytest.mark.parametrize(
    "data", [{}, [], (), {"a": 1}, {"a": np.arange(2), "b": "c"}, np.arange(3)]
)
def test_what_is_no_tree_of_arrays_is_left_alone(data: Any) -> None:
    assert not Jax().takes_data(data)


def test_its_scalars_are_numbers_whatever_their_type() -> None:
    import jax
    import jax.numpy as jnp

    for dtype in ("float32", "bfloat16", "float16", "int32", "uint8"):
        assert as_number(jnp.asarray(3, dtype)) == 3.0
        assert as_number(jnp.asarray([3], dtype)) == 3.0
    for other in (jnp.asarray(True), jnp.asarray(1j), jnp.arange(2), jax.random.key(0)):
        assert as_number(other) is None


def state(seed: int, *, wide: int = 3) -> Any:
    import jax
    import jax.numpy as jnp

    key = jax.random.key(seed)
    weights = {"w": jax.random.normal(key, (2, wide)), "half": jnp.full(2, seed / 3, "bfloat16")}
    return {
        "weights": weights,
        "key": key,
        "old": jax.random.PRNGKey(seed),
        "step": seed,
        "rate": 0.5,
    }


def test_a_training_state_is_restored_to_the_bit(tmp_path: Path) -> None:
    import jax

    kept = JaxCheckpoint(Checkpoint(tmp_path, seed=1))
    fresh = state(0)
    assert kept.restore(fresh) is fresh
    drawn = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    kept.save(state(7), step=2)
    np.random.random()
    restored = kept.restore(fresh)
    assert np.random.get_state()[1].tolist() == drawn  # type: ignore[index, union-attr]
    expected = state(7)
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    assert (restored["step"], restored["rate"]) == (7, 0.5)
    assert type(restored["step"]) is int
    for name in ("w", "half"):
        saved, back = expected["weights"][name], restored["weights"][name]
        assert (saved.dtype, type(saved)) == (back.dtype, type(back))
        assert np.asarray(saved).tobytes() == np.asarray(back).tobytes()
    assert (restored["old"] == expected["old"]).all()
    assert jax.random.normal(restored["key"]) == jax.random.normal(expected["key"])


def test_a_state_of_another_form_is_refused(tmp_path: Path) -> None:
    kept = JaxCheckpoint(Checkpoint(tmp_path))
    kept.save(state(0), step=1)
    with pytest.raises(
        BadSetup,
        match=r"has \['weights'\]\['w'\] as float32\[2, 3\], the training as float32\[2, 4\]",
    ):
        kept.restore(state(0, wide=4))
    with pytest.raises(BadSetup, match=r"the training has not \"?'?\['key'\]"):
        kept.restore({name: leaf for name, leaf in state(0).items() if name != "key"})
    with pytest.raises(BadSetup, match="the checkpoint has not"):
        kept.restore({**state(0), "more": 1.0})


def test_beginning_anew_beside_a_checkpoint_is_refused(tmp_path: Path) -> None:
    JaxCheckpoint(Checkpoint(tmp_path)).save(state(0), step=1)
    with pytest.raises(BadSetup, match=r"of step 1 is there.*kept.restore\(state\)"):
        JaxCheckpoint(Checkpoint(tmp_path)).save(state(0), step=2)


FORKED = """
import os
import jax
import jax.numpy as jnp
{begin}

def load():
    return {{"x": jnp.arange(24.0).reshape(8, 3), "y": jnp.arange(8)}}

@jax.jit
def step(weight, x, y, lr):
    loss, gradient = jax.value_and_grad(lambda w: jnp.mean((x @ w - y) ** 2))(weight)
    return weight - lr * gradient, loss

def train(lr, seed, data_gen, reporter, checkpoint, dist_strategy, budget=9):
    from dotrain.frameworks.jax.checkpoint import JaxCheckpoint
    kept = JaxCheckpoint(checkpoint)
    with dist_strategy() as strategy:
        assert strategy.mesh.size == 1
    weight = kept.restore(jax.random.normal(jax.random.key(seed), (3,)))
    for epoch in range(checkpoint.step, budget):
        for batch in data_gen.batch(4, epoch=epoch):
            weight, loss = step(weight, batch["x"], batch["y"], lr)
        kept.save(weight, step=epoch + 1)
        reporter.broadcast(loss, epoch)
    threads = os.listdir("/proc/self/task")
    names = [open(f"/proc/self/task/{{one}}/comm").read().strip() for one in threads]
    return {{"loss": loss, "eigen": names.count("tf_XLAEigen")}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begin", "said", "trials"),
    [("", "", 9), ("ONES = jnp.ones(3)", "starts threads of jaxlib", 3)],
    ids=["imported", "computes when it is imported"],
)
def test_many_attempts_on_processes_that_are_forked(
    project: Project, begin: str, said: str, trials: int
) -> None:
    """JAX warns at a fork of a process that it has started threads in, and may hang in it."""
    result = project.run(
        FORKED.format(begin=begin),
        data="user.py:load",
        metric="loss",
        direction="min",
        search={
            "num_trials": trials,
            "space": {"lr": {"type": "float", "range": [0.0001, 0.001]}},
            "optimizer": {"name": "asha", "resource_min": 1, "resource_max": 9},
        },
        cluster={"kind": "local", "workers": 2, "threads": 1},
    )
    assert [str(trial.state) for trial in result.trials] == ["finished"] * trials
    assert max(trial.attempt for trial in result.trials) == (3 if trials == 9 else 2)
    for trial in result.trials:
        # One thread computes; the others wait for it, or for files.
        assert trial.metrics is not None
        assert trial.metrics["eigen"] == 1
        assert "os.fork" not in project.log(result, trial.trial_id)
    told = (result.run_dir / "logs" / "workers.log").read_text()
    assert said in told
    assert "os.fork" not in told


def test_a_port_that_another_process_has_is_noticed_before_jaxlib_crashes_on_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PortTaken, match=address):
            MultiProcess(workers=2).begin(Seat(0, (address, "127.0.0.1:0")))


def test_the_death_of_a_rank_is_told_from_mistakes() -> None:
    strategy = MultiProcess(workers=2)
    gone = "UNKNOWN: Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:56738"
    assert strategy.peer_is_gone(ValueError(gone))
    assert not strategy.peer_is_gone(ValueError("shapes (2,) and (3,) don't fit"))
    for workers, message in ((None, "needs 'workers'"), (0, "expected a number >= 1, got 0")):
        with pytest.raises(ValueError, match=message):
            MultiProcess(workers=workers)
