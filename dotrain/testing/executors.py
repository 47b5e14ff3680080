"""What every executor promises, as a function that checks it; provisional."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotrain.config.options import arguments_of
from dotrain.config.where import Cluster
from dotrain.core.observer import Observer
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.core.trial import Trial
from dotrain.errors import PolicyError
from dotrain.executors.base import AbstractExecutor
from dotrain.executors.inline import InlineExecutor
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.grid import GridSearch
from dotrain.runs.definition import Experiment
from dotrain.runs.from_python import load_call
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.space import Categorical, Float, Searchspace
from dotrain.store import RunDir, read_journal, replay

#: In so many seconds each of the small searches ends, on the slowest machine.
_ENOUGH_S = 100.0

ExecutorFactory = Callable[[], AbstractExecutor]

#: How the trial of each function ends, and what its error says.
_ENDS = {
    "raises": ("failed", "ValueError: no such thing"),
    "exits": ("failed", "SystemExit: 3"),
    "text": ("failed", "returned 'good' (str)"),
    "diverges": ("diverged", "returned nan"),
    "good": ("finished", ""),
}


def check_executor(make: ExecutorFactory) -> None:
    """Check the contract of an executor with small searches; provisional, more may be asked.

    It can be closed unstarted, and twice. Every report arrives, in order; a trial's random numbers
    follow from the seed alone; its output is in its log. A function that raises, exits, returns no
    number, diverges or can't be loaded ends its own trial only; one whose process ends is tried
    again. A stop is an error at the next report that only ``finally`` sees. A promoted trial goes
    on from its checkpoint. An error of a policy ends the run and is none of the function's. The
    journal alone tells all of it. Of an executor that is virtual, no function is called, and two
    runs are alike.

    Args:
        make: Returns a new instance, each time for one run.

    Raises:
        AssertionError: If a promise is broken.
    """
    unused = make()
    assert not list(unused.problems()), "what make() returns has problems"
    unknown = arguments_of(type(unused)).keys() - Cluster.model_fields.keys()
    assert not unknown, f"arguments that are no keys of `cluster:`: {', '.join(sorted(unknown))}"
    slots = unused.slots(1)
    assert slots is None or slots >= 1, "there will never be a slot"
    unused.close()
    unused.close()
    with tempfile.TemporaryDirectory(prefix="dotrain-kit-") as folder:
        for check in [_check_virtual] if unused.is_virtual else _CHECKS:
            check(make, Path(folder))
        if not (unused.is_virtual or unused.runs_in_this_process):
            _check_losses(make, Path(folder))


def _check_virtual(make: ExecutorFactory, folder: Path) -> None:
    def called(x: float, budget: int) -> float:
        raise AssertionError("a function is called, though nothing is trained")

    space = Searchspace(x=Float(range=(0.0, 1.0)))
    first, second = (_search(make(), called, folder, ASHA(resource_max=4), space) for _ in "12")
    assert first.status == "finished", f"the search ends as {first.status}: {first.error}"
    assert [_facts(t) for t in first.trials] == [_facts(t) for t in second.trials], (
        "two runs differ"
    )


def _check_ends(make: ExecutorFactory, folder: Path) -> None:
    def train(case: str, reporter: Any) -> Any:
        import random

        print("this is", case)
        for step in range(100):
            reporter.broadcast({"score": step / 2, "other": 1}, step=3 * step)
        match case:
            case "raises":
                raise ValueError("no such thing")
            case "exits":
                raise SystemExit(3)
            case "text" | "diverges":
                return "good" if case == "text" else float("nan")
        return random.random()

    space = Searchspace(case=Categorical(values=list(_ENDS)))
    result = _search(make(), train, folder, GridSearch(), space)
    assert result.status == "finished", f"the search ends as {result.status}: {result.error}"
    for trial in result.trials:
        name = trial.params["case"]
        state, message = _ENDS[name]
        said = trial.error.message if trial.error else trial.divergence or ""
        assert trial.state == state, f"a function that {name}: its trial is {trial.state}, {said}"
        assert message in said, f"a function that {name}: its trial says {said!r}"
        assert trial.step_history == list(range(0, 300, 3)), "reports are lost, or out of order"
        assert trial.metric_history == [step / 2 for step in range(100)], "values are changed"
        assert f"this is {name}" in _log(result, trial), "a trial's output isn't in its log"
    values = [trial.final_metric for trial in result.trials]
    reference = _search(InlineExecutor(), train, folder, GridSearch(), space)
    expected = [trial.final_metric for trial in reference.trials]
    assert values == expected, "random numbers don't follow from the seed alone"


def _check_stops(make: ExecutorFactory, folder: Path) -> None:
    def train(x: float, reporter: Any, trial_dir: Path) -> None:
        import time

        try:
            while True:
                try:
                    reporter.broadcast(x)
                    time.sleep(0.001)
                except Exception:
                    print("swallowed")
        finally:
            (trial_dir / "cleaned").touch()

    class AtStepTwo(AbstractEarlyStop):
        def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
            return {i: "enough" for i, trial in to_check.items() if trial.last_step == 2}

    result = _search(make(), train, folder, rule=AtStepTwo())
    for trial in result.trials:
        assert trial.state == "stopped", f"a trial that is told to stop is {trial.state}"
        cleaned = result.run_dir / "trials" / trial.trial_id / "cleaned"
        assert cleaned.exists(), "a stop passes `finally` by"
        assert "swallowed" not in _log(result, trial), "`except Exception` sees a stop"


def _check_checkpoints(make: ExecutorFactory, folder: Path) -> None:
    def train(x: float, checkpoint: Any, reporter: Any, budget: int) -> float:
        for step in range(checkpoint.step, budget):
            with checkpoint.save(step=step + 1):
                pass
            print("step", step)
            reporter.broadcast(x, step)
        return x

    result = _search(make(), train, folder, ASHA(resource_max=4, reduction_factor=2))
    promoted = [trial for trial in result.trials if trial.attempt > 1]
    assert promoted, f"no trial is promoted: {result.status}, {result.error}"
    for trial in promoted:
        assert trial.step_history == list(range(int(trial.budget or 0))), "steps are lost"
        steps = [line for line in _log(result, trial).splitlines() if line.startswith("step")]
        assert len(steps) == len(trial.step_history), "an attempt doesn't go on from a checkpoint"


def _check_broken_code(make: ExecutorFactory, folder: Path) -> None:
    def train(x: float) -> float:
        return x

    result = _search(make(), train, folder, pickled=b"no pickle")
    for trial in result.trials:
        told = f"{trial.state} after {trial.attempt} attempts, with {trial.error}"
        is_told = trial.error is not None and trial.attempt == 1
        assert is_told, f"a function can't be loaded, and its trial is {told}"


def _check_losses(make: ExecutorFactory, folder: Path) -> None:
    def train(x: float, trial_dir: Path) -> float:
        import os

        if x == 1 and not (trial_dir / "dead").exists():
            (trial_dir / "dead").touch()
            os._exit(7)
        return x

    result = _search(make(), train, folder)
    assert result.status == "finished", f"the search ends as {result.status}: {result.error}"
    for trial in result.trials:
        attempts = 2 if trial.params["x"] == 1 else 1
        told = f"{trial.state} after {trial.attempt} attempts: {trial.error}"
        is_right = trial.state == "finished" and trial.attempt == attempts
        assert is_right, f"a process ends without a word, and its trial is {told}"


def _check_policy_errors(make: ExecutorFactory, folder: Path) -> None:
    def train(x: float, reporter: Any) -> float:
        for step in range(5):
            try:
                reporter.broadcast(x, step)
            except Exception:
                print("swallowed")
        return x

    class Broken(AbstractEarlyStop):
        def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
            raise ZeroDivisionError("a rule's own mistake")

    result = _search(make(), train, folder, rule=Broken())
    assert isinstance(result.error, PolicyError), f"a rule's error becomes {result.error!r}"
    for trial in result.trials:
        assert trial.error is None, f"a rule's error is the function's: {trial.error}"
        log = RunDir(result.run_dir).trial_log(trial.trial_id)
        assert not log.exists() or "swallowed" not in log.read_text(), "a function sees it"


_CHECKS = (
    _check_ends,
    _check_stops,
    _check_checkpoints,
    _check_policy_errors,
    _check_broken_code,
)


def _search(
    executor: AbstractExecutor,
    train: Callable[..., Any],
    folder: Path,
    optimizer: AbstractOptimizer | None = None,
    space: Searchspace | None = None,
    rule: AbstractEarlyStop | None = None,
    pickled: bytes | None = None,
) -> Result:
    """Run a search of a function by value, and hold the journal against what came of it."""
    if space is None:
        space = Searchspace(x=Categorical(values=[1, 2, 3, 4]))
    optimizer = optimizer or GridSearch()
    num_trials = 6 if optimizer.needs_num_trials else None
    functions = {"train": train, "model": None, "data": None}
    search = {"space": space, "optimizer": optimizer, "num_trials": num_trials}
    same = {"name": "kit", "metric": "score", "seed": 0, "hparams": {}, "tensorboard": False}
    same["limits"] = {} if executor.is_virtual else {"max_time_s": _ENOUGH_S}
    loaded = load_call(functions, search, None, rule, None, same, goes_on=False)
    experiment = Experiment.of(loaded)
    # Whatever this process has imported, the kit's functions import no framework.
    parts = replace(experiment.functions, packages=())
    if pickled is not None:
        parts = replace(parts, train=replace(parts.train, pickled=pickled))
    experiment = replace(experiment, executor=executor, functions=parts)
    result = run(experiment, folder, Observer())
    missing = "no slot was offered, or the last event of an attempt is missing"
    assert result.status != "time_limit", f"after {_ENOUGH_S:g} s, {missing}"
    state = replay(read_journal(result.run_dir / "journal.jsonl"))
    state.book.validate()
    told = [_facts(trial) for trial in state.book.trials.values()]
    assert told == [_facts(trial) for trial in result.trials], "the journal tells another story"
    executor.close()
    return result


def _facts(trial: Trial) -> tuple[Any, ...]:
    return trial.trial_id, trial.state, trial.step_history, trial.metric_history, trial.attempt


def _log(result: Result, trial: Trial) -> str:
    return RunDir(result.run_dir).trial_log(trial.trial_id).read_text()
