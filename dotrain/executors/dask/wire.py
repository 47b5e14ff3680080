"""What is said to the workers of a run, in Dask's words; who says it when is `slots`' business."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from distributed import Client, Future

from dotrain.core.strategy import Seat
from dotrain.distribution.rank import RankLaunch
from dotrain.executors.dask.slot import call_host, serve_slot, slot_key, topic_of
from dotrain.executors.group import Group

#: (time, message) as Dask's event stream has it.
OnEvent = Callable[[tuple[float, Any]], None]


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

    def hold(self, address: str, on_end: Callable[[str], None]) -> None:
        """Submit the task that serves a worker's slot.

        Args:
            address: The worker's.
            on_end: Called on the loop with the task's status when it has ended.
        """
        task = self._held[address] = self._client.submit(
            serve_slot,
            self._token,
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
        self._held.pop(address).release()

    async def launch(self, group: Group) -> dict[str, Exception]:
        """Send every rank of a group to its worker; what goes wrong is as of `tell`.

        Raises:
            Exception: If the ranks can't get their addresses; nothing has been sent then.
        """
        addresses = list(group.addresses)
        reserved = [("127.0.0.1:0", "127.0.0.1:0")]  # one that is alone needs none
        if len(addresses) > 1:
            answers = await self._client.run(call_host, self._token, "reserve", workers=addresses)
            reserved = [tuple(answers[address]) for address in addresses]
        own, names = tuple(first for first, _ in reserved), tuple(group.names)
        seats = (Seat(rank, own, reserved[0][1], group.token, names) for rank in range(len(own)))
        ranks = {
            address: RankLaunch(group.launch, seat)
            for address, seat in zip(addresses, seats, strict=True)
        }
        return await self.tell(addresses, "launch", ranks)

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

    async def reaches(self, address: str) -> bool:
        """Whether a worker answers."""
        try:
            await self._client.run(str, workers=[address])
        except Exception:
            return False
        return True

    async def restart(self, address: str) -> bool:
        """Restart a worker; return whether that can be done: it needs a nanny."""
        try:
            await self._client.restart_workers([address], raise_for_error=False)
        except Exception:
            return False
        return True

    async def let_go(self, addresses: Iterable[str], *, processes_end: bool) -> None:
        """Let the slots end: idle ones now, busy ones at their next report.

        Args:
            addresses: Of their workers.
            processes_end: Whether the workers do so too, and everything with them.
        """
        if self._client.status != "running":
            return
        if workers := list(addresses):
            await self._client.run(
                call_host, self._token, "quit", workers=workers, on_error="ignore"
            )
        if processes_end:
            return
        await self._client.unregister_worker_plugin(topic_of(self._token))
        for task in self._held.values():
            task.release()
