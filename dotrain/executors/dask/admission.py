"""Which workers a run uses, and which way the files of their trials go: asked once, and said once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import final

from dotrain.executors.bookings import Slot
from dotrain.executors.dask.carrier import HomeError
from dotrain.executors.dask.holding import Holder, held_text
from dotrain.executors.dask.site import (
    Refusal,
    Site,
    Way,
    cant_load,
    decide,
    here,
    host_name,
    other_python,
    question,
    refusal_text,
    ways_text,
)
from dotrain.executors.dask.wire import NoAnswer, Wire
from dotrain.training.program import Program

#: When a worker is asked again that can't be used for the moment, in seconds.
_AGAIN_S = 2.0


@final
class Admission:
    """Lets workers in.

    Attributes:
        refused: Why workers aren't used, by address.
        passing: The same, where it may be otherwise soon; such a worker is asked again.
        silent: Workers that are being asked, or have not answered.
        held: Which other run has a worker, by address; for as long as that is known.
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
        #: The names of machines, by the addresses that their workers have.
        self._hosts: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.passing: dict[str, str] = {}
        self.silent: set[str] = set()
        self.held: dict[str, Holder] = {}

    async def ask(self, slots: Sequence[Slot]) -> dict[str, Way | None]:
        """Ask workers, name the hosts of their slots, and say what came of it.

        Returns:
            By address, which way files go; None if it isn't used, or has gone.

        Raises:
            HomeError: If the run directory can't be written.
        """
        addresses = [slot.address for slot in slots]
        self.silent.update(addresses)
        with ExitStack() as finally_:
            try:
                asked = finally_.enter_context(question(self._program))
            except OSError as error:
                raise HomeError(error) from error
            answers = await self._wire.ask(addresses, asked)
        ways: dict[str, Way | None] = dict.fromkeys(addresses)
        news: list[tuple[Way, str]] = []
        for slot in slots:
            address = slot.address
            answer = answers.get(address)
            if isinstance(answer, NoAnswer) and len(addresses) == 1:
                self._say_once(f"worker {address} isn't used yet: {answer}; it is asked again")
            host, verdict = await self._verdict(address, answer)
            if isinstance(verdict, Way):
                news.append((verdict, "" if verdict is Way.SHARED else host))
                ways[address] = verdict
                self.passing.pop(address, None)
                slot.host = host_name(slot.host, host, self._hosts)
            elif isinstance(verdict, Refusal):
                self._refuse(address, host, verdict)
        accepted = [address for address, way in ways.items() if way is not None]
        for address, problem in (await self._wire.settle(accepted)).items():
            ways[address] = None
            _, verdict = await self._verdict(address, problem)
            if isinstance(verdict, Refusal):
                self._refuse(address, "", verdict)
        if any(ways.values()) and not self._said.issuperset(news):
            self._said.update(news)
            self._say(ways_text(news, self._program.storage))
        return ways

    async def _verdict(
        self, address: str, answer: tuple[Site, Holder | None] | Exception | None
    ) -> tuple[str, Way | Refusal | None]:
        """Return a worker's host and what is to become of it; None where it has gone, or may answer yet."""
        if isinstance(answer, NoAnswer):
            self.silent.add(address)
            return "", None
        self.silent.discard(address)
        if isinstance(answer, tuple):
            site, holder = answer
            if holder is not None and holder.token != self._program.token:
                self.held[address] = holder
            return site.host, decide(site, self._here)
        python = await self._wire.python_of(address)
        if python is None:
            return "", None
        # Dask hands over in an `Exception` what can't be sent itself.
        why = str(answer) if type(answer) is Exception else f"{type(answer).__name__}: {answer}"
        return "", other_python(python, self._here) or cant_load(why)

    def refuse(self, slot: Slot, why: str) -> None:
        """Don't use a worker whose slot can't be opened, and say so.

        Args:
            slot: Its slot.
            why: What it says.
        """
        self._refuse(slot.address, slot.host, Refusal(f"it can't start processes there ({why})"))

    def took(self, address: str) -> None:
        """Note that a worker is this run's.

        Args:
            address: The worker's.
        """
        self.held.pop(address, None)

    def gone(self, address: str) -> None:
        """Forget a worker that has left the cluster; another may get its address.

        Args:
            address: The worker's.
        """
        self.refused.pop(address, None)
        self.passing.pop(address, None)
        self.held.pop(address, None)
        self.silent.discard(address)

    def waits_for(self) -> list[str]:
        """Return in lines why workers can't be used, or not yet."""
        lines = [*self.refused.values(), *self.passing.values()]
        lines += (f"worker {address} has not answered so far" for address in sorted(self.silent))
        if self.held:
            lines.append(f"{held_text(self.held.values())}; --wait waits for them")
        return lines

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def _refuse(self, address: str, host: str, refusal: Refusal) -> None:
        text = refusal_text(address, host, refusal)
        if refusal.passes:
            self.passing[address] = text
            loop = asyncio.get_running_loop()
            loop.call_later(_AGAIN_S, self._ask_again, [address])
        else:
            self.refused[address] = text
        # What passes is said in other words each time.
        what = (host, None if refusal.passes else refusal)
        if what not in self._said:
            self._said.add(what)
            self._say(text)
