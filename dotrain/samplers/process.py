"""The process that a run's sampler lives in: it learns, and answers; ``python -m dotrain.samplers.process FD``.

It ends when the other end of the connection is gone.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Final, final

import cloudpickle

from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.seeding import derive_rng
from dotrain.space import Params, Searchspace

#: How often a model is asked for one configuration that meets the constraints.
_MOST_ASKED: Final = 10


@final
class Learner:
    """A sampler, and how much of what is known it has learned.

    Attributes:
        is_drawn: Whether the last answer was drawn at random, as no proposal met the space's constraints.
    """

    def __init__(self, sampler: AbstractSampler, space: Searchspace, seed: int) -> None:
        """Begin with nothing learned.

        Args:
            sampler: Is asked.
            space: What it proposes from.
            seed: Of the run.
        """
        self._sampler = sampler
        self._space = space
        self._seed = seed
        self._trials = 0
        self.is_drawn = False
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
        """Learn what is new, and answer a question that knows all of that and no more.

        What doesn't meet the space's constraints is asked for again; where the model won't, a random draw meets them.
        """
        self.learn(params, outcomes)
        self.is_drawn = False
        for again in range(_MOST_ASKED):
            proposed = self._sampler.propose(replace(question, again=again))
            # What is no configuration at all is refused where the answer is taken.
            if not isinstance(proposed, dict) or not self._space.unmet(proposed):
                return proposed
        self.is_drawn = True
        return self._space.sample(derive_rng(self._seed, "sampler", question.number, "drawn"))


def serve(connection: Connection) -> None:
    """Answer until nobody asks any more.

    Args:
        connection: Brings what imports go by, what `Learner` takes, pickled, and then what it is to answer; takes
            ``(True, (params, is_drawn))``, or ``(False, what went wrong)``.
    """
    path, pickled = connection.recv()
    sys.path[:] = path
    learner = None
    with suppress(EOFError, OSError):  # nobody asks any more
        while True:
            asked = connection.recv()
            try:
                learner = learner or Learner(*cloudpickle.loads(pickled))
                proposed = learner.answer(*asked)
                answer: tuple[bool, object] = True, (proposed, learner.is_drawn)
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
