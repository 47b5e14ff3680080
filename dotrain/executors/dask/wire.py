"""What is said to the workers of a run, in Dask's words; who says it when is `slots`' business."""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from distributed import Client, Future
from distributed.comm import get_address_host

from dotrain.executors.dask.carrier import FilesLost
from dotrain.executors.dask.site import Question, Site
from dotrain.executors.dask.slot import call_host, serve_slot, slot_key, topic_of
from dotrain.executors.group import Group
from dotrain.executors.table import ranks_of

#: (time, message) as Dask's event stream has it.
OnEvent = Callable[[tuple[float, Any]], None]


#: How long slots may take to end, in seconds.
_ENDING_S = 6.0


async def _end(future: Future) -> None:
    with contextlib.suppress(Exception):
        await future


class Wire:
    """The connection to the workers of one run."""

    def __init__(self, client: Client, token: str) -> None:
        """Make it.

        Args:
            client: Connected.
            token: Names the run.
        """
        self._client = client
        self._token = token
        #: The Dask task behind each slot, by the worker's address.
        self._held: dict[str, Future] = {}

    def listen(self, on_message: OnEvent, on_cluster_event: OnEvent) -> None:
        """Hear what slots tell, and which workers come and go."""
        self._client.subscribe_topic(topic_of(self._token), on_message)
        self._client.subscribe_topic("all", on_cluster_event)

    async def workers(self) -> list[str]:
        """Return the addresses of all workers, as the scheduler knows them now."""
        return list((await self._client.scheduler.identity(n_workers=-1))["workers"])

    def known_workers(self) -> list[str]:
        """Return the same as the client has last heard."""
        return list(self._client.scheduler_info(n_workers=-1).get("workers", ()))

    async def ask(
        self, addresses: Sequence[str], question: Question
    ) -> dict[str, Site | Exception | None]:
        """Ask workers about the place that they are in.

        Returns:
            What each says, or why it doesn't; None if it has never heard of this run.
        """
        answers: dict[str, Site | Exception | None] = await self._client.run(
            call_host, self._token, "site", question,
            workers=list(addresses), on_error="return",
        )  # fmt: skip
        return answers

    async def files(self, address: str, method: str, *arguments: Any) -> Any:
        """Call a method of a worker's `Scratch`.

        Raises:
            FilesLost: If the disk there has something against it.
            Exception: If the worker has gone.
        """
        answers = await self._client.run(
            call_host, self._token, "files", method, *arguments, workers=[address]
        )
        found, problem = answers[address] or (None, "its slot has been closed")
        if problem:
            raise FilesLost(problem)
        return found

    def hold(self, address: str, carried: bool, on_end: Callable[[str], None]) -> None:
        """Submit the task that serves a worker's slot.

        Args:
            address: The worker's.
            carried: Whether the files of its trials are carried.
            on_end: Called on the loop with the task's status when it has ended.
        """
        task = self._held[address] = self._client.submit(
            serve_slot,
            self._token,
            carried,
            key=slot_key(self._token, address),
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
        """Let go of a slot's task."""
        if (task := self._held.pop(address, None)) is not None:
            task.release()

    async def launch(self, group: Group) -> dict[str, Exception]:
        """Send every rank of a group to its worker; what goes wrong is as of `tell`.

        Raises:
            Exception: If the ranks can't get their addresses; nothing has been sent then.
        """
        addresses = list(group.addresses)
        reserved: list[tuple[str, str]] = []
        if len(addresses) > 1:
            alone = len({get_address_host(address) for address in addresses}) == 1
            answers = await self._client.run(
                call_host, self._token, "reserve", workers=addresses, alone=alone
            )
            reserved = [answers[address] for address in addresses]
        return await self.tell(addresses, "launch", ranks_of(group, reserved))

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
        try:
            found = await self._client.run(platform.python_version, workers=[address])
        except Exception:
            return None
        return str(found[address])

    async def quit(self, addresses: Iterable[str]) -> None:
        """End whatever runs on some slots; they begin nothing any more."""
        if self._client.status == "running" and (workers := list(addresses)):
            await self._client.run(
                call_host, self._token, "quit", workers=workers, on_error="ignore"
            )

    async def let_go(self, addresses: Iterable[str]) -> None:
        """Let the slots end, after `quit`.

        Args:
            addresses: Of their workers.
        """
        if self._client.status != "running":
            return
        if workers := list(addresses):
            await self._client.run(
                call_host, self._token, "leave", workers=workers, on_error="ignore"
            )
            # Their tasks end when the processes on their workers have.
            held = [asyncio.ensure_future(_end(future)) for future in self._held.values()]
            await asyncio.wait(held, timeout=_ENDING_S)
        await self._client.unregister_worker_plugin(topic_of(self._token))
        for task in self._held.values():
            task.release()
