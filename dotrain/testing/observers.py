"""What every observer promises, as a function that checks it; provisional."""

from __future__ import annotations

import contextlib
import io
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from dotrain.core.events import Event
from dotrain.core.instructions import Instruction
from dotrain.core.observer import Observer, RunView
from dotrain.errors import PolicyError
from dotrain.runs.definition import Experiment
from dotrain.runs.from_python import load_call
from dotrain.runs.session import resume, run
from dotrain.runs.stopped import take_up
from dotrain.space import Float, Searchspace
from dotrain.store import Record, RunDir, read_journal
from dotrain.testing.contracts import public

#: When the first driver ends, in seconds of virtual time; about half of the run.
_FIRST_S = 30.0


def check_observer(make: Callable[[], Observer]) -> None:
    """Check the contract of an observer with simulated searches; provisional, more may be asked.

    It raises nothing, whatever happens: promotions, failures, lost workers, divergence, early stops, an
    interrupt, a run that goes on under another driver, each with an instance of its own. It writes
    to no trial, and the run goes as it does without it. It prints nothing on stdout, which is for
    the result, and leaves no thread behind.

    Args:
        make: Returns a new instance.

    Raises:
        AssertionError: If a promise is broken.
    """
    before = set(threading.enumerate())
    other = "the run goes otherwise than without it"
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as out:
        expected = _search(Path(folder), ())
        try:
            found = _search(Path(folder), [_Watched(make()) for _ in range(2)])
        except PolicyError as error:  # it can't go on from there
            raise AssertionError(other) from error
    assert found == expected, other
    assert not out.getvalue(), f"prints on stdout: {out.getvalue()!r}"
    left = [one.name for one in threading.enumerate() if one not in before and not one.daemon]
    assert not left, f"leaves behind the thread {left[0]}"


class _Watched(Observer):
    """Hands everything on to an observer, and notes what that does wrong."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner
        self.faults: list[str] = []

    def start(self, run: RunView) -> None:
        self._run = run
        self._is_interrupted = False
        self._call("start", run)

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        self._call("on_event", event, instructions, time_s)
        if not self._is_interrupted and self._run.active:
            self._is_interrupted = True
            self._call("on_interrupt")

    def on_pulse(self, time_s: float) -> None:
        self._call("on_pulse", time_s)

    def close(self) -> None:
        self._call("close")

    def _call(self, method: str, *arguments: object) -> None:
        before = {name: deepcopy(public(trial)) for name, trial in self._run.trials.items()}
        try:
            getattr(self._inner, method)(*arguments)
        except (Exception, SystemExit) as error:
            self.faults.append(f"{method} raises {type(error).__name__}: {error}")
        after = {name: public(trial) for name, trial in self._run.trials.items()}
        changed = [name for name in after if after[name] != before[name]]
        self.faults += [f"{method} writes to {name}" for name in changed]


def _search(folder: Path, observers: Sequence[_Watched]) -> list[Record]:
    """Run a search under two drivers, each with an observer if there are any; return what happened."""
    first, second = observers[:1], observers[1:]
    began = run(_experiment(first, _FIRST_S), folder, Observer())
    _check(first)
    with take_up(began.run_dir) as stopped:
        ended = resume(_experiment(second, None), stopped, Observer(), quiet=True)
    _check(second)
    assert (began.status, ended.status) == ("time_limit", "finished")
    return list(read_journal(RunDir(began.run_dir).journal))[1:]


def _check(observers: Iterable[_Watched]) -> None:
    for one in observers:
        assert not one.faults, one.faults[0]


def _experiment(observers: Sequence[Observer], max_time_s: float | None) -> Experiment:
    options: dict[str, Any] = dict.fromkeys(("failing", "losing", "diverging"), 0.1)
    options |= {"seed": 0, **dict.fromkeys(("repeating", "duplicates", "late"), 0.3)}
    search = {
        "space": Searchspace(x=Float(range=(0.0, 1.0))),
        "optimizer": {"name": "asha", "resource_min": 3, "resource_max": 9},
        "num_trials": 20,
    }
    same: dict[str, Any] = {"name": "kit", "metric": "score", "seed": 0, "hparams": {}}
    same |= {"cluster": {"kind": "simulated", "workers": 3, "options": options}}
    same |= {"limits": {} if max_time_s is None else {"max_time_s": max_time_s}}
    rule = {"name": "median", "min_trials": 3}
    functions = {"train": _nothing, "model": None, "data": None}
    same["observers"] = observers
    return Experiment.of(load_call(functions, search, None, rule, None, same, goes_on=False))


def _nothing(x: float, budget: float) -> None:
    """Never called."""
