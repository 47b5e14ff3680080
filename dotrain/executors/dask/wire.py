"""What is said to the workers of a run, in Dask's words; who says it when is `slots`' business."""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from distributed import Client, Future
from distributed.comm import get_address_host

from dotrain.executors.dask.calls import call_host, look, settle
from dotrain.executors.dask.carrier import FilesLost
from dotrain.executors.dask.farewell import attend
from dotrain.executors.dask.holding import Holder
from dotrain.executors.dask.names import task_key, topic_of, worker_of
from dotrain.executors.dask.site import Question, Site
from dotrain.executors.dask.slot import SlotHost, serve_slots
from dotrain.executors.group import Group
from dotrain.executors.table import ranks_of

#: (time, message) as Dask's event stream has it.
OnEvent = Callable[[tuple[float, Any]], None]


#: How long slots may take to end, in seconds.
_ENDING_S = 6.0
#: How long all workers may take to answer a question that they are asked together, in seconds.
_TOGETHER_S = 2.0
#: How long to wait before one is asked again whose connection broke, in seconds.
_BROKEN_S = 1.0
#: How long a worker may take that is asked alone, in seconds.
ANSWER_S = 10.0


class NoAnswer(Exception):
    """A worker hasn't answered in time: it may hang, or be busy."""


async def _end(future: Future) -> None:
    with contextlib.suppress(Exception):
        await future


class Wire:
    """The connection to the workers of one run."""

    def __init__(self, client: Client, host: SlotHost) -> None:
        """Make it.

        Args:
            client: Connected.
            host: What is put on each worker that is used.
        """
        self._client = client
        self._host = host
        self._token = token = host.program.token
        self._topic = topic_of(token)
        #: By the worker's address: which `SlotHost` it has, and the Dask task behind its slots.
        self._serials: dict[str, str] = {}
        self._held: dict[str, Future] = {}

    def listen(self, on_message: OnEvent, on_cluster_event: OnEvent) -> None:
        """Hear what slots tell, and which workers come and go."""
        self._client.subscribe_topic(self._topic, on_message)
        self._client.subscribe_topic("all", on_cluster_event)

    async def workers(self) -> list[str]:
        """Return the addresses of all workers, as the scheduler knows them now."""
        return list((await self._client.scheduler.identity(n_workers=-1))["workers"])

    def known_workers(self) -> list[str]:
        """Return the same as the client has last heard."""
        return list(self._client.scheduler_info(n_workers=-1).get("workers", ()))

    async def ask(
        self, addresses: Sequence[str], question: Question
    ) -> dict[str, tuple[Site, Holder | None] | Exception]:
        """Ask workers about the place that they are in, and which run has them.

        Returns:
            What each says, or why it doesn't; `NoAnswer` after some time, which is longer if only
            one is asked.
        """
        answers: dict[str, tuple[Site, Holder | None] | Exception]
        answers = await self._each(addresses, look, question)
        return answers

    async def settle(self, addresses: Sequence[str]) -> dict[str, Exception]:
        """Put this run's `SlotHost` on workers; return why not, by address."""
        host = self._host.anew()
        self._serials.update(dict.fromkeys(addresses, host.serial))
        answers, _ = await asyncio.gather(
            self._each(addresses, settle, host), self._attend(addresses)
        )
        return {a: answer for a, answer in answers.items() if isinstance(answer, Exception)}

    async def _attend(self, addresses: Sequence[str]) -> None:
        """Ask the workers' nannies to let them say farewell; without that, they go without one."""
        asked = self._client.run(
            attend, self._host.program.grace_s,
            workers=list(addresses), nanny=True, on_error="ignore",
        )  # fmt: skip
        with contextlib.suppress(Exception):
            await asyncio.wait_for(asked, _TOGETHER_S)

    async def _each(self, addresses: Sequence[str], function: Any, *arguments: Any) -> Any:
        """Run something on workers; one that hangs holds up the others for a moment only."""

        async def ask(several: Sequence[str], within_s: float) -> Any:
            asked = self._client.run(function, *arguments, workers=list(several), on_error="return")
            return await asyncio.wait_for(asked, within_s)

        async def alone(address: str) -> Any:
            within_s = ANSWER_S if len(addresses) == 1 else _TOGETHER_S
            try:
                answer = (await ask([address], within_s))[address]
            except TimeoutError:
                return NoAnswer(f"it has not answered for {within_s:g} s")
            except Exception as error:
                answer = error
            if isinstance(answer, OSError):  # Dask's; that tells nothing of what is there
                await asyncio.sleep(_BROKEN_S)
                return NoAnswer(f"the connection to it broke ({answer})")
            return answer

        found: dict[str, Any] = {}
        if len(addresses) > 1:
            with contextlib.suppress(Exception):
                found = await ask(addresses, _TOGETHER_S)
        left = [a for a in addresses if a not in found or isinstance(found[a], OSError)]
        found.update(zip(left, await asyncio.gather(*map(alone, left)), strict=True))
        return found

    async def files(self, slot: str, method: str, *arguments: Any) -> Any:
        """Call a method of a slot's `Scratch`.

        Raises:
            FilesLost: If the disk there has something against it.
            Exception: If the worker has gone.
        """
        answers = await self._client.run(
            call_host, self._token, "files", slot, method, *arguments, workers=[worker_of(slot)]
        )
        found, problem = answers[worker_of(slot)] or (None, FilesLost("its slot has been closed"))
        if problem is not None:
            raise problem
        return found

    def hold(
        self,
        address: str,
        carried: bool,
        seen: Sequence[Sequence[str] | None],
        on_end: Callable[[str], None],
    ) -> None:
        """Submit the task that serves a worker's slots.

        Args:
            address: The worker's.
            carried: Whether the files of its trials are carried.
            seen: The GPUs that each slot sees; None are the worker's.
            on_end: Called on the loop with the task's status when it has ended.
        """
        task = self._held[address] = self._client.submit(
            serve_slots,
            self._token,
            self._serials[address],
            carried,
            seen,
            key=task_key(self._token, address, self._serials[address]),
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        loop = asyncio.get_running_loop()

        # Dask calls back on a thread of its own.
        def done(future: Future) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(on_end, future.status)

        task.add_done_callback(done)

    def release(self, address: str) -> None:
        """Let go of the task behind a worker's slots."""
        if (task := self._held.pop(address, None)) is not None:
            task.release()

    async def launch(self, group: Group) -> dict[str, Exception]:
        """Send every rank of a group to the worker of its slot; what goes wrong is as of `tell`.

        Raises:
            Exception: If the ranks can't get their addresses; nothing has been sent then.
        """
        ranks = Counter(map(worker_of, group.addresses))
        reserved: list[tuple[str, str]] = []
        if len(group.addresses) > 1:
            alone = len({get_address_host(worker) for worker in ranks}) == 1
            answers = await self._client.run(
                call_host, self._token, "reserve", ranks, workers=[*ranks], alone=alone
            )
            reserved = [answers[worker_of(slot)].pop() for slot in group.addresses]
        return await self.tell([*ranks], "launch", ranks_of(group, reserved))

    async def tell(
        self, addresses: Sequence[str], method: str, *arguments: Any
    ) -> dict[str, Exception]:
        """Call a method of `SlotHost` on some workers; return what went wrong, by address."""
        try:
            answers = await self._client.run(
                call_host, self._token, method, *arguments,
                workers=list(addresses), on_error="return",
            )  # fmt: skip
        except Exception as error:
            return dict.fromkeys(addresses, error)
        return {a: answer for a, answer in answers.items() if isinstance(answer, Exception)}

    async def python_of(self, address: str) -> str | None:
        """Return a worker's version of Python; None if it doesn't answer."""
        asked = self._client.run(platform.python_version, workers=[address])
        try:
            found = await asyncio.wait_for(asked, ANSWER_S)
        except Exception:
            return None
        return str(found[address])

    async def quit(self, addresses: Iterable[str]) -> None:
        """End whatever runs on some workers; they begin nothing any more."""
        await self._tell_all("quit", addresses)

    async def _tell_all(self, method: str, addresses: Iterable[str]) -> None:
        """Call a method of `SlotHost`; whoever hangs isn't waited for."""
        if self._client.status == "running" and (workers := list(addresses)):
            told = self._client.run(
                call_host, self._token, method, workers=workers, on_error="ignore"
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told, _ENDING_S)

    async def let_go(self, addresses: Iterable[str]) -> None:
        """Let the slots end, after `quit`; what is on their workers goes with them.

        Args:
            addresses: Of their workers.
        """
        if self._client.status != "running":
            return
        if workers := list(addresses):
            await self._tell_all("leave", workers)
            # Their tasks end when the processes on their workers have.
            held = [asyncio.ensure_future(_end(future)) for future in self._held.values()]
            if held:
                await asyncio.wait(held, timeout=_ENDING_S)
        for task in self._held.values():
            task.release()
