"""Which workers a run uses, and which way the files of their trials go: asked once, and said once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import final

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
)
from dotrain.executors.dask.wire import NoAnswer, Wire
from dotrain.executors.dealing import Offer, Wish
from dotrain.results.text import count_text
from dotrain.store.storage import Place
from dotrain.training.program import Program

#: When a worker is asked again that can't be used for the moment, in seconds.
_AGAIN_S = 2.0


@final
@dataclass(eq=False)
class Worker:
    """A worker, from when it is first heard of.

    Attributes:
        address: Dask's.
        host: What its address says of its machine; when it is let in, the machine's name.
        name: For people; known when it is ready.
        offer: What it has, if anybody asks.
        slots: Their names, from when it is let in.
        is_in: Whether it has been let in; one without slots then waits for room.
    """

    address: str
    host: str
    name: str = ""
    offer: Offer | None = None
    slots: Sequence[str] = ()
    is_in: bool = False


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
        wish: Wish,
        say: Callable[[str], None],
        ask_again: Callable[[Sequence[str]], None],
    ) -> None:
        """Make it; nobody has been asked.

        Args:
            wire: To the workers.
            program: What attempts run.
            wish: What the run wants of them.
            say: Tells people.
            ask_again: Called with workers that may be of use by now.
        """
        self._wire = wire
        self._program = program
        self._wish = wish
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

    async def ask(self, workers: Sequence[Worker]) -> dict[str, Way | None]:
        """Ask workers, note their hosts and what they have, and say what came of it.

        Returns:
            By address, which way files go; None if it isn't used, or has gone.

        Raises:
            HomeError: If the run directory can't be written.
        """
        addresses = [worker.address for worker in workers]
        self.silent.update(addresses)
        with ExitStack() as finally_:
            try:
                asked = finally_.enter_context(question(self._program, self._wish))
            except OSError as error:
                raise HomeError(error) from error
            answers = await self._wire.ask(addresses, asked)
        ways: dict[str, Way | None] = dict.fromkeys(addresses)
        news: list[tuple[Way, str]] = []
        for worker in workers:
            address = worker.address
            answer = answers.get(address)
            if isinstance(answer, NoAnswer) and len(addresses) == 1:
                self._say_once(f"worker {address} isn't used yet: {answer}; it is asked again")
            host, verdict = await self._verdict(address, answer)
            if isinstance(verdict, Way):
                news.append((verdict, "" if verdict is Way.SHARED else host))
                ways[address] = verdict
                self.passing.pop(address, None)
                worker.host = host_name(worker.host, host, self._hosts)
                worker.offer = answer[0].offer if isinstance(answer, tuple) else None
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
            return site.host, decide(site, self._here, self._wish.needs)
        python = await self._wire.python_of(address)
        if python is None:
            return "", None
        # Dask hands over in an `Exception` what can't be sent itself.
        why = str(answer) if type(answer) is Exception else f"{type(answer).__name__}: {answer}"
        return "", other_python(python, self._here) or cant_load(why)

    def refuse(self, worker: Worker, why: str) -> None:
        """Don't use a worker whose slots can't be opened, and say so.

        Args:
            worker: It.
            why: What it says.
        """
        self._refuse(
            worker.address, worker.host, Refusal(f"it can't start processes there ({why})")
        )

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


def ways_text(ways: Iterable[tuple[Way, str]], storage: Place | None = None) -> str:
    """Return in a line which way files go, and for whom.

    Args:
        ways: Of each worker, with its host.
        storage: Where files are kept, if not in the run directory.
    """
    counts = Counter(ways)
    shared = sum(number for (way, _), number in counts.items() if way is Way.SHARED)
    carried = {host: number for (way, host), number in counts.items() if way is Way.CARRIED}
    stored = {host: number for (way, host), number in counts.items() if way is Way.STORED}
    top = "" if storage is None else storage.top
    parts = [f"{Way.SHARED.value} ({count_text(shared, 'worker')})"] if shared else []
    for on, name in (carried, Way.CARRIED.value), (stored, f"{Way.STORED.value}: {top}"):
        if on:
            hosts = ", ".join(
                f"{host}: {count_text(number, 'worker')}" for host, number in sorted(on.items())
            )
            parts.append(f"{name} ({hosts})")
    return "files: " + "; ".join(parts)
