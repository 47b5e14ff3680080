"""The process that a run's sampler lives in: it learns, and answers; ``python -m dotrain.samplers.process FD``.

It ends when the other end of the connection is gone.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import final

import cloudpickle

from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.space import Params, Searchspace


@final
class Learner:
    """A sampler, and how much of what is known it has learned."""

    def __init__(self, sampler: AbstractSampler, space: Searchspace, seed: int) -> None:
        """Begin with nothing learned.

        Args:
            sampler: Is asked.
            space: What it proposes from.
            seed: Of the run.
        """
        self._sampler = sampler
        self._trials = 0
        sampler.begin(space, seed)

    def learn(self, params: Iterable[Params], outcomes: Iterable[Outcome]) -> None:
        """Learn what is new.

        Args:
            params: Those of the trials that came after those learned before.
            outcomes: Those that came after those learned before.
        """
        for one in params:
            self._sampler.learn_trial(self._trials, one)
            self._trials += 1
        for outcome in outcomes:
            self._sampler.learn_outcome(outcome)

    def answer(
        self, params: Iterable[Params], outcomes: Iterable[Outcome], question: Question
    ) -> Params:
        """Learn what is new, and answer a question that knows all of that and no more."""
        self.learn(params, outcomes)
        return self._sampler.propose(question)


def serve(connection: Connection) -> None:
    """Answer until nobody asks any more.

    Args:
        connection: Brings what imports go by, what `Learner` takes, pickled, and then what it is to answer; takes
            ``(True, params)``, or ``(False, what went wrong)``.
    """
    path, pickled = connection.recv()
    sys.path[:] = path
    learner = None
    with suppress(EOFError, OSError):  # nobody asks any more
        while True:
            asked = connection.recv()
            try:
                learner = learner or Learner(*cloudpickle.loads(pickled))
                answer: tuple[bool, Params | str] = True, learner.answer(*asked)
            except Exception as error:
                answer = False, told(error)
            connection.send(answer)


def told(error: BaseException) -> str:
    """Return what a sampler has raised, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error}\n"
        f"  at {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    )


def main(arguments: Sequence[str]) -> None:
    """Serve the connection of an inherited descriptor."""
    serve(Connection(int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
