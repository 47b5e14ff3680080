"""Asking a run's sampler: in a process of its own, so that neither slots nor the driver wait for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, final

import cloudpickle

from dotrain.core.events import Proposed
from dotrain.core.instructions import Ask
from dotrain.core.policy import AbstractOptimizer
from dotrain.core.sampling import Question
from dotrain.errors import PolicyError
from dotrain.executors.base import AbstractExecutor
from dotrain.samplers.process import Learner, told
from dotrain.space import Params, Searchspace, plain_params

#: How often the process may die before an answer has come.
_MOST_DEATHS = 3
#: How long it may take to end, in seconds.
_GRACE_S = 3.0
#: Its arithmetic takes one thread, as the trials beside it need theirs.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class AbstractAsker(ABC):
    """Puts questions to the sampler of an optimizer, one at a time, and has its answers."""

    def __init__(
        self, optimizer: AbstractOptimizer, seed: int, space: Searchspace | None = None
    ) -> None:
        """Ask nothing yet.

        Args:
            optimizer: Initialized; knows trials and outcomes.
            seed: Of the run.
            space: What will be searched when it is first asked, if that is another one than the optimizer searches now.
        """
        assert optimizer.proposals is not None
        self._optimizer = optimizer
        self._known = optimizer.proposals.outcomes
        self._earlier = optimizer.proposals.earlier
        self._sampler = optimizer.proposals.sampler
        self._space = optimizer.searchspace if space is None else space
        #: Whether there may be trials that don't lie in it.
        self._has_others = space is not None or optimizer.proposals.space is not None
        self._made_from = (self._sampler, self._space, seed)
        self._answers: deque[Proposed | PolicyError] = deque()
        self._forget()

    def _forget(self) -> None:
        """Take it that the sampler knows nothing."""
        self._learned = (0, 0)
        #: The numbers by which it knows trials: it is told of those in the space alone.
        self._numbers: dict[int, int] = {}
        self._outcomes = 0

    @abstractmethod
    def ask(self, ask: Ask) -> None:
        """Put a question; the one before has been answered."""

    def answers(self) -> list[Proposed]:
        """Return the answers that have come since the last call.

        Raises:
            PolicyError: If the sampler can't answer, or answers something else than was asked.
        """
        answers = []
        while self._answers:
            answer = self._answers.popleft()
            if isinstance(answer, PolicyError):
                raise answer
            answers.append(answer)
        return answers

    def close(self) -> None:  # noqa: B027 - not every one has anything to close
        """Ask no more; safe to call twice."""

    def _portion(self, ask: Ask) -> tuple[Any, ...]:
        """Return what the sampler doesn't know yet, and the question."""
        trials, outcomes = self._learned
        self._learned = (ask.trials, ask.outcomes)
        params = []
        for number in range(trials, ask.trials):
            if (one := self._params(number)) is not None:
                self._numbers[number] = len(self._numbers)
                params.append(one)
        ended = [
            replace(outcome, number=self._numbers[outcome.number])
            for outcome in self._known[outcomes : ask.outcomes]
            if outcome.number in self._numbers
        ]
        self._outcomes += len(ended)
        question = Question(ask.number, len(self._numbers), self._outcomes, ask.level)
        return params, ended, question

    def _params(self, number: int) -> Params | None:
        """Return the configuration of a trial, earlier ones first; None of one that isn't in the space."""
        earlier = self._earlier
        if number < len(earlier):
            params = earlier[number]
            return params if not self._has_others or params in self._space else None
        params = self._optimizer.trials[f"t{number - len(earlier):04d}"].params
        return self._space.reading(params) if self._has_others else params

    def _take(self, number: int, params: Any, is_drawn: bool) -> None:
        """Take in an answer, or say what is wrong with it."""
        name = type(self._sampler).__name__
        try:
            params = plain_params(params)
            if params not in self._space:
                raise TypeError("is not in the space")
        except (TypeError, AttributeError) as error:
            fault = f"{name} proposed {params!r}: {error}"
            self._answers.append(PolicyError(fault))
            return
        self._answers.append(Proposed(number, params, drawn=is_drawn or None))

    def _fail(self, why: str) -> None:
        self._answers.append(PolicyError(f"{type(self._sampler).__name__} {why}"))


@final
class HereAsker(AbstractAsker):
    """Asks in this process, where time is virtual or a debugger may look on."""

    _learner: Learner | None = None

    def ask(self, ask: Ask) -> None:
        """Put a question, and wait for the answer."""
        try:
            if self._learner is None:
                self._learner = Learner(*self._made_from)
            params = self._learner.answer(*self._portion(ask))
            self._take(ask.number, params, self._learner.is_drawn)
        except Exception as error:
            self._fail(f"raised {told(error)}")


@final
class AsideAsker(AbstractAsker):
    """Asks a process of its own, which is started at once, and again if it dies.

    Attributes:
        process: The same.
    """

    def __init__(
        self,
        optimizer: AbstractOptimizer,
        seed: int,
        wake: Callable[[], None],
        log: Path,
        space: Searchspace | None = None,
    ) -> None:
        """Start the process.

        Args:
            optimizer: As of `AbstractAsker`.
            seed: Of the run.
            wake: Is called when an answer has come, on another thread.
            log: Where the process writes what it has to say.
            space: As of `AbstractAsker`.
        """
        super().__init__(optimizer, seed, space)
        self._wake = wake
        self._log = log
        self._questions: deque[Ask | None] = deque()
        self._has_question = threading.Semaphore(0)
        self._closing = False
        self._start()
        self._thread = threading.Thread(target=self._run, name="dotrain-sampler", daemon=True)
        self._thread.start()

    def ask(self, ask: Ask) -> None:
        """Put a question; the answer comes later."""
        self._questions.append(ask)
        self._has_question.release()

    def close(self) -> None:
        """End the process."""
        if self._closing:
            return
        self._closing = True
        self._questions.append(None)
        self._has_question.release()
        self.process.terminate()  # it may be in the middle of a long answer
        self._thread.join(_GRACE_S)
        self._end()

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dotrain.samplers.process", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,  # Ctrl-C is for the driver alone
            )
        with contextlib.suppress(OSError):  # it is found to be gone, then
            self._connection.send((sys.path, cloudpickle.dumps(self._made_from)))
        self._forget()

    def _end(self) -> None:
        self._connection.close()
        try:
            self.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _run(self) -> None:
        while True:
            self._has_question.acquire()
            ask = self._questions.popleft()
            if ask is None:
                return
            self._have_answered(ask)
            if self._closing:
                return
            self._wake()

    def _have_answered(self, ask: Ask) -> None:
        for _ in range(_MOST_DEATHS):
            try:
                self._connection.send(self._portion(ask))
                is_well, answer = self._connection.recv()
            except (EOFError, OSError):
                if self._closing:
                    return
                self._end()
                self._start()
                continue
            if is_well:
                self._take(ask.number, *answer)
            else:
                self._fail(f"raised {answer}")
            return
        code = self.process.poll()
        self._fail(f"died {_MOST_DEATHS} times (exit status {code}); its last words: {self._log}")


def make_asker(
    optimizer: AbstractOptimizer,
    seed: int,
    executor: AbstractExecutor,
    logs: Path,
    space: Searchspace | None = None,
) -> AbstractAsker | None:
    """Return what asks an optimizer's sampler; None if it has none.

    Args:
        optimizer: Initialized.
        seed: Of the run.
        executor: Is woken when an answer has come.
        logs: Where a process may write what it has to say; it needn't exist.
        space: As of `AbstractAsker`.
    """
    if optimizer.proposals is None:
        return None
    if executor.is_virtual or executor.runs_in_this_process:
        return HereAsker(optimizer, seed, space)
    return AsideAsker(optimizer, seed, executor.wake, logs / "sampler.log", space)
