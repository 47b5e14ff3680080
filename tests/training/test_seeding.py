"""What attempts draw: the same each time, and never what an earlier attempt of the trial drew."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain import experiment
from dotrain.ablation.study import Arm, Study
from dotrain.runs.result import Result
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadSetup
from dotrain.training.generators import ModelGenerator, Sources
from dotrain.training.program import LoadedProgram, Program
from dotrain.training.seeding import attempt_seed, seed_everything
from dotrain.usercode.function import FunctionRef, Functions
from tests.conftest import Project

SEEDS = st.integers(0, 2**31 - 1)
INLINE = {"kind": "inline"}
ASHA = {
    "space": {"x": {"type": "discrete", "values": [1, 2, 3, 4, 5, 6]}},
    "optimizer": {"name": "asha", "resource_max": 4, "reduction_factor": 2},
    "num_trials": 6,
}
GRID = {"space": ASHA["space"], "optimizer": {"name": "grid"}}

SOURCE = """
import json, os, random, signal
import numpy as np

def load():
    return (np.arange(12),)

def train(x, seed, checkpoint, reporter, data_gen, budget=4):
    start = checkpoint.step
    batches = data_gen.batch(batch_size=5)
    for step in range(start, budget):
        order = [int(row) for rows, in batches for row in rows]
        print("drew", json.dumps([step, seed, random.random(), np.random.random(), order]))
        with checkpoint.save(step=step + 1):
            pass
        reporter.broadcast(x, step)
        if x == 2 and step == 1 and not start:
            AFTER_TWO_STEPS
    return x
"""


def drawn(project: Project, result: Result) -> dict[str, list[list[Any]]]:
    """Return (step, seed, a draw of Python's, one of NumPy's, an order of rows) of every step."""
    return {
        trial.trial_id: [
            json.loads(line.removeprefix("drew "))
            for line in project.log(result, trial.trial_id).splitlines()
            if line.startswith("drew ")
        ]
        for trial in result.trials
    }


def promoted(project: Project, after: str) -> Result:
    return project.run(SOURCE, data="user.py:load", search=ASHA, cluster=INLINE)


def retried(project: Project, after: str) -> Result:
    source = SOURCE.replace("AFTER_TWO_STEPS", "os.kill(os.getpid(), signal.SIGKILL)")
    cluster = {"kind": "local", "workers": 2}
    return project.run(source, data="user.py:load", search=GRID, cluster=cluster)


def resumed(project: Project, after: str) -> Result:
    source = SOURCE.replace("AFTER_TWO_STEPS", "os.kill(os.getpid(), signal.SIGINT)")
    project.write("user.py", source)
    project.config(data="user.py:load", search=GRID, cluster=INLINE, name=after)
    assert project.cli("run", "config.yaml", "-q").returncode == 130
    (run_dir,) = project.path.glob(f"runs/{after}/*")
    return experiment.resume(run_dir, quiet=True)


@pytest.mark.parametrize("make", [promoted, retried, resumed])
def test_no_attempt_draws_again_what_its_trial_drew_before(project: Project, make: Any) -> None:
    first = make(project, "first")
    assert first.status == "finished", first.summary
    assert any(trial.attempt > 1 for trial in first.trials)
    draws = drawn(project, first)
    for trial in first.trials:
        steps, seeds, *others = zip(*draws[trial.trial_id], strict=True)
        assert steps == tuple(range(int(trial.budget or 4)))
        assert set(seeds) == {trial.seed}, "what a function is given as its seed stays"
        for values in others:
            assert len({str(value) for value in values}) == len(steps), trial
        for order in others[-1]:
            assert sorted(order) == list(range(12))
    assert drawn(project, make(project, "second")) == draws


def test_an_attempt_that_begins_anew_draws_the_same_again(project: Project) -> None:
    result = project.run(
        """
        import json, os, random, signal
        def train(x, checkpoint, trial_dir, reporter):
            print("drew", json.dumps([random.random()]))
            if x == 2 and not (trial_dir / "before").exists():
                (trial_dir / "before").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return x
        """,
        search=GRID,
        cluster={"kind": "local", "workers": 2},
    )
    draws = drawn(project, result)
    assert [len(each) for each in draws.values()] == [1, 2, 1, 1, 1, 1]
    assert draws["t0001"][0] == draws["t0001"][1]
    for trial in result.trials:
        assert draws[trial.trial_id][0] == [random.Random(trial.seed).random()]


def test_a_state_that_a_checkpoint_restores_wins(project: Project) -> None:
    source = """
    import json, pickle, random
    import numpy as np

    def train(x, checkpoint, reporter, budget=4):
        if checkpoint.latest:
            python, numpy = pickle.loads((checkpoint.latest / "state").read_bytes())
            random.setstate(python)
            np.random.set_state(numpy)
        for step in range(checkpoint.step, budget):
            print("drew", json.dumps([random.random(), np.random.random()]))
            with checkpoint.save(step=step + 1) as folder:
                state = random.getstate(), np.random.get_state()
                (folder / "state").write_bytes(pickle.dumps(state))
            reporter.broadcast(x, step)
        return x
    """
    parts = project.run(source, search=ASHA, cluster=INLINE)
    top = [trial.trial_id for trial in parts.trials if trial.attempt == 3]
    assert top
    random_search = {**ASHA, "optimizer": {"name": "random"}}
    whole = drawn(project, project.run(source, search=random_search, cluster=INLINE))
    for trial_id in top:
        assert drawn(project, parts)[trial_id] == whole[trial_id]
        assert len(whole[trial_id]) == 4


@given(SEEDS, st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_seed_of_an_attempt_follows_from_seed_and_step(seed: int, step: int, other: int) -> None:
    assert attempt_seed(seed, 0) == seed
    derived = attempt_seed(seed, step)
    assert 0 <= derived < 2**31
    assert derived == attempt_seed(seed, step) != seed
    assert (derived == attempt_seed(seed, other)) is (step == other)


def test_it_is_the_same_in_every_version() -> None:
    assert [attempt_seed(7, step) for step in (0, 1, 2)] == [7, 1138604137, 1094016615]


def test_in_a_study_a_model_begins_alike_whatever_the_step() -> None:
    program = Program(
        *("token", Functions(FunctionRef("train")), "score", {}, "/nowhere"),
        study=Study({}, (Arm("baseline"),)),
    )
    loaded = LoadedProgram(program, lambda: None, random.random, None)

    def built(step: int) -> tuple[float, float]:
        sources = Sources(loaded, {}, {}, 7, resume_step=step)
        seed_everything(sources.attempt_seed)
        return ModelGenerator(sources).create(), random.random()

    assert [built(step)[0] for step in (0, 1, 2)] == [random.Random(7).random()] * 3
    assert len({built(step)[1] for step in (0, 1, 2)}) == 3
    assert built(2) == built(2)


WHOLE = """
import os, random, signal
import numpy as np

def load():
    return (np.arange(12),)

def train(x, checkpoint, reporter, data_gen, budget=4):
    order = []
    if checkpoint.latest:
        order = (checkpoint.latest / "order").read_text().split()
        assert checkpoint.restore_random_state()
    for epoch in range(checkpoint.step, budget):
        order += [str(row) for rows, in data_gen.batch(5, epoch=epoch) for row in rows]
        order += [repr(random.random()), repr(np.random.random())]
        with checkpoint.save(step=epoch + 1) as folder:
            (folder / "order").write_text(" ".join(order))
        reporter.broadcast(x, epoch)
    print("drew", order)
    return x
"""


def test_continued_is_uninterrupted(project: Project) -> None:
    parts = project.run(WHOLE, data="user.py:load", search=ASHA, cluster=INLINE)
    top = [trial.trial_id for trial in parts.trials if trial.attempt == 3]
    assert top
    random_search = {**ASHA, "optimizer": {"name": "random"}}
    whole = project.run(WHOLE, data="user.py:load", search=random_search, cluster=INLINE)
    for trial_id in top:
        last, once = (
            [line for line in project.log(run, trial_id).splitlines() if line.startswith("drew")]
            for run in (parts, whole)
        )
        assert (len(last), len(once)) == (3, 1)
        assert last[-1] == once[-1]


def test_what_another_trial_has_saved_is_not_drawn_again(tmp_path: Path) -> None:
    with Checkpoint(tmp_path, seed=1).save(step=1):
        pass
    state = random.getstate()
    assert not Checkpoint(tmp_path, seed=2).restore_random_state()
    assert Checkpoint(tmp_path, seed=1).restore_random_state()
    assert random.getstate() == state
    (latest,) = tmp_path.glob("step-*")
    (latest / ".random-state.json").unlink()
    assert not Checkpoint(tmp_path, seed=1).restore_random_state()
    assert not Checkpoint(tmp_path / "none", seed=1).restore_random_state()


def test_the_best_of_a_trial_is_that_of_all_its_attempts(project: Project) -> None:
    source = """
    def train(x, checkpoint, reporter, budget=4):
        for step in range(checkpoint.step, budget):
            with checkpoint.save(step=step + 1):
                pass
            reporter.broadcast(x if step == 0 else 0.0, step)
        print("last", reporter.last)
        return reporter.best
    """
    result = project.run(source, search=ASHA, cluster=INLINE)
    top = [trial for trial in result.trials if trial.attempt == 3]
    assert top
    for trial in top:
        assert trial.metric_history == [trial.params["x"], 0.0, 0.0, 0.0]
        assert trial.final_metric == trial.params["x"]


@pytest.mark.parametrize("damage", ["", '{"seed": 1, "st', "[]", "null", "{}", '{"seed": 1}'])
def test_a_damaged_state_is_told_with_its_file(tmp_path: Path, damage: str) -> None:
    checkpoint = Checkpoint(tmp_path, seed=1)
    with checkpoint.save(step=1):
        pass
    (latest,) = tmp_path.glob("step-*")
    (latest / ".random-state.json").write_text(damage)
    with pytest.raises(BadSetup, match=r"random-state.json: .* damaged"):
        checkpoint.restore_random_state()


def test_generators_that_were_restored_before_the_model_is_made_are_refused(
    project: Project,
) -> None:
    source = """
    import random

    def build():
        return random.random()

    def train(x, checkpoint, reporter, model_gen, budget=4):
        checkpoint.restore_random_state()
        model_gen.create()
        for step in range(checkpoint.step, budget):
            with checkpoint.save(step=step + 1):
                pass
            reporter.broadcast(x, step)
        return x
    """
    result = project.run(source, model="user.py:build", search=ASHA, cluster=INLINE)
    failed = [trial for trial in result.trials if trial.error]
    assert {trial.attempt for trial in failed} == {2}
    for trial in failed:
        assert "restore_random_state() came before model_gen.create()" in trial.error.message
    behind = source.replace("model_gen.create()", "pass").replace(
        "checkpoint.restore_random_state()", "model_gen.create(); checkpoint.restore_random_state()"
    )
    result = project.run(behind, model="user.py:build", search=ASHA, cluster=INLINE)
    assert not any(trial.error for trial in result.trials)
