"""A sampler is asked in a process of its own, which may be slow, fail or die; nothing depends on where it runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from dotrain.core.instructions import Ask
from dotrain.core.trial import Trial, TrialState
from dotrain.errors import PolicyError
from dotrain.optimizers.model_based import TPE
from dotrain.runs.asking import AsideAsker, HereAsker
from dotrain.space import Float, Searchspace
from dotrain.store import read_journal
from tests.conftest import Project

TRAIN = "def train(x, y): return -(x - 0.3) ** 2 - (y - 0.6) ** 2"
SPACE = {"x": {"type": "float", "range": [0.0, 1.0]}, "y": {"type": "float", "range": [0.0, 1.0]}}


def search(name: str = "tpe", **options: Any) -> dict[str, Any]:
    return {"space": SPACE, "num_trials": 9, "optimizer": {"name": name, **options}}


def tried(run_dir: Path) -> list[Any]:
    records = read_journal(run_dir / "journal.jsonl")
    return [record["params"] for record in records if record["type"] == "Launch"]


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    [
        ("inline", {"name": "tpe", "startup_trials": 3}),
        ("local", {"name": "tpe", "startup_trials": 3}),
        ("local", {"name": "cmaes", "population": 4}),
        ("local", {"name": "gp", "startup_trials": 3}),
        ("local", {"name": "qmc"}),
    ],
)
def test_where_it_is_asked_changes_no_proposal(
    project: Project, kind: str, optimizer: dict[str, Any]
) -> None:
    runs = [
        project.run(TRAIN, search=search(**optimizer), cluster={"kind": one, "workers": 1})
        for one in ("inline", kind)
    ]
    first, second = (tried(run.run_dir) for run in runs)
    assert len(first) == 9
    assert first == second


def test_what_it_was_asked_and_what_it_answered_is_in_the_journal(project: Project) -> None:
    result = project.run(TRAIN, search=search(startup_trials=3), cluster={"workers": 2})
    records = list(read_journal(result.run_dir / "journal.jsonl"))
    proposed = [record["params"] for record in records if record["type"] == "Proposed"]
    assert len(proposed) >= 4
    assert [record["number"] for record in records if record["type"] == "Ask"] == [
        *range(len(proposed))
    ]
    assert tried(result.run_dir)[-len(proposed) :] == proposed


PLUGIN = """
    from dotrain.optimizers.model_based import ModelSearch
    from dotrain.core.sampling import AbstractSampler

    class Sampler(AbstractSampler):
        def learn_trial(self, number, params): pass
        def learn_outcome(self, outcome): pass
        def propose(self, question):
            {propose}

    class Mine(ModelSearch):
        def __init__(self):
            self.sampler = Sampler()
"""


@pytest.mark.parametrize("kind", ["local", "inline"])
@pytest.mark.parametrize(
    ("propose", "told"),
    [
        ("return 1 / 0", "Sampler raised ZeroDivisionError: division by zero"),
        (
            "return {'x': 7.0, 'y': 0.5}",
            "Sampler proposed {'x': 7.0, 'y': 0.5}: is not in the space",
        ),
        ("return None", "Sampler proposed None"),
    ],
)
def test_a_sampler_that_cannot_answer_ends_the_run_with_its_own_line(
    project: Project, kind: str, propose: str, told: str
) -> None:
    project.write("mine.py", PLUGIN.format(propose=propose))
    result = project.run(TRAIN, search=search("mine:Mine"), cluster={"kind": kind, "workers": 1})
    assert result.status == "failed"
    assert told in str(result.error)
    assert ("mine.py:" in str(result.error)) == ("raised" in told)


def test_a_user_s_own_sampler_is_asked_like_ours(project: Project) -> None:
    project.write("mine.py", PLUGIN.format(propose="return {'x': 0.25, 'y': question.number / 10}"))
    result = project.run(TRAIN, search=search("mine:Mine"), cluster={"workers": 1})
    assert result.status == "finished"
    assert tried(result.run_dir)[3]["x"] == 0.25


def asker(folder: Path) -> tuple[AsideAsker, TPE]:
    optimizer = TPE(startup_trials=1)
    optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), 9, "max", 0)
    optimizer.initialize()
    optimizer.trials = {"t0000": Trial({"x": 0.5}, number=0, state=TrialState.FINISHED)}
    assert optimizer.proposals is not None
    optimizer.proposals.learn(Trial({"x": 0.5}, number=0, state=TrialState.FINISHED), 1.0)
    return AsideAsker(
        optimizer, 0, lambda: os.write(pipe[1], b"."), folder / "sampler.log"
    ), optimizer


pipe: tuple[int, int]


@pytest.fixture(autouse=True)
def answered() -> Any:
    """What tells of an answer."""
    global pipe
    pipe = os.pipe()
    yield
    for end in pipe:
        os.close(end)


def test_a_sampler_that_is_killed_is_started_again_and_proposes_the_same(tmp_path: Path) -> None:
    aside, optimizer = asker(tmp_path)
    here = HereAsker(optimizer, 0)
    try:
        for number in range(2):
            ask = Ask("", number, 1, 1)
            aside.process.kill()
            aside.ask(ask)
            here.ask(ask)
            os.read(pipe[0], 1)
            assert aside.answers() == here.answers() != []
    finally:
        aside.close()


def test_a_sampler_that_cannot_live_ends_the_run_and_names_its_log(tmp_path: Path) -> None:
    aside, optimizer = asker(tmp_path)
    assert optimizer.proposals is not None
    aside._made_from = (Fatal(), *aside._made_from[1:])
    aside.process.kill()
    try:
        aside.ask(Ask("", 0, 1, 1))
        os.read(pipe[0], 1)
        with pytest.raises(PolicyError, match=r"died 3 times.*sampler\.log"):
            aside.answers()
    finally:
        aside.close()


class Fatal:
    """Ends the process that it comes to."""

    def __reduce__(self) -> Any:
        return os._exit, (7,)


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    aside, _ = asker(tmp_path)
    process = psutil.Process(aside.process.pid)
    aside.close()
    aside.close()
    assert not process.is_running()


def test_a_question_that_a_killed_driver_has_put_is_put_again(project: Project) -> None:
    result = project.run(TRAIN, search=search(startup_trials=3), cluster={"workers": 1})
    lines = (result.run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    asked = next(i for i, line in enumerate(lines) if json.loads(line)["type"] == "Ask")
    copy = project.path / "runs" / "again"
    copy.mkdir()
    (copy / "config.yaml").write_bytes((result.run_dir / "config.yaml").read_bytes())
    (copy / "journal.jsonl").write_bytes(b"".join(lines[: asked + 1]))
    done = project.cli("resume", str(copy), "-q")
    assert done.returncode == 0, done.stderr
    launched = tried(copy)
    assert [one for i, one in enumerate(launched) if one not in launched[:i]] == tried(
        result.run_dir
    )
