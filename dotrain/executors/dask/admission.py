"""Which workers a run uses, and which way the files of their trials go: asked once, and said once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import final

from dotrain.executors.dask.carrier import HomeError
from dotrain.executors.dask.site import (
    Refusal,
    Site,
    Way,
    cant_load,
    decide,
    here,
    other_python,
    question,
    refusal_text,
    ways_text,
)
from dotrain.executors.dask.wire import Wire
from dotrain.training.program import Program

#: When a worker is asked again that can't be used for the moment, in seconds.
_AGAIN_S = 2.0


@final
class Admission:
    """Lets workers in.

    Attributes:
        refused: Why workers aren't used, by address.
        last: The same, and of those that will be asked again.
        unloadable: What workers said that can't load dotrain.
    """

    def __init__(
        self,
        wire: Wire,
        program: Program,
        say: Callable[[str], None],
        ask_again: Callable[[Sequence[str]], None],
    ) -> None:
        """Make it; nobody has been asked.

        Args:
            wire: To the workers.
            program: What attempts run.
            say: Tells people.
            ask_again: Called with workers that may be of use by now.
        """
        self._wire = wire
        self._program = program
        self._say = say
        self._ask_again = ask_again
        self._here = here()
        self._said: set[object] = set()
        self.refused: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self.unloadable = ""

    def forget(self, address: str) -> None:
        """Note that a worker has gone: another may come with its address."""
        self.refused.pop(address, None)
        self.last.pop(address, None)

    async def ask(self, addresses: Sequence[str]) -> dict[str, Way | None]:
        """Ask workers, and say what came of it.

        Returns:
            By address, which way files go; None if it isn't used, or has gone.

        Raises:
            HomeError: If the run directory can't be written.
        """
        with ExitStack() as finally_:
            try:
                asked = finally_.enter_context(question(self._program))
            except OSError as error:
                raise HomeError(error) from error
            answers = await self._wire.ask(addresses, asked)
        ways: dict[str, Way | None] = {}
        news: list[tuple[Way, str]] = []
        for address in addresses:
            answer = answers.get(address)
            verdict = await self._verdict(address, answer)
            if isinstance(verdict, Way) and isinstance(answer, Site):
                news.append((verdict, "" if verdict is Way.SHARED else answer.host))
                ways[address] = verdict
                self.last.pop(address, None)
                continue
            ways[address] = None
            if isinstance(verdict, Refusal):
                self._refuse(address, answer.host if isinstance(answer, Site) else "", verdict)
        if not self._said.issuperset(news):
            self._said.update(news)
            self._say(ways_text(news, self._program.storage))
        return ways

    async def _verdict(self, address: str, answer: object) -> Way | Refusal | None:
        if isinstance(answer, Site):
            return decide(answer, self._here)
        python = await self._wire.python_of(address)
        if python is None:
            return None
        why = self.unloadable
        if answer is not None:  # Dask hands over in an `Exception` what can't be sent itself
            why = str(answer) if type(answer) is Exception else f"{type(answer).__name__}: {answer}"
        return other_python(python, self._here) or cant_load(why)

    def _refuse(self, address: str, host: str, refusal: Refusal) -> None:
        text = refusal_text(address, host, refusal)
        self.last[address] = text
        if refusal.passes:
            loop = asyncio.get_running_loop()
            loop.call_later(_AGAIN_S, self._ask_again, [address])
        else:
            self.refused[address] = text
        # What passes is said in other words each time.
        what = (host, None if refusal.passes else refusal)
        if what not in self._said:
            self._said.add(what)
            self._say(text)
