"""The slots of this machine: there from the beginning, and nothing between them and the driver."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, final

from dotrain.core.events import Event
from dotrain.errors import DiskFull, DotrainError
from dotrain.executors.bookings import Slot
from dotrain.executors.group import Group
from dotrain.executors.stored import FOLLOW_S, FilesLost, StoredHere, not_kept_text
from dotrain.executors.table import AbstractSlotTable, free_addresses, ranks_of
from dotrain.store.disk import FULL

if TYPE_CHECKING:
    from dotrain.attempts.host import Host


class LocalTable(AbstractSlotTable):
    """The slots of this machine."""

    host: Host

    def __init__(self, post: Callable[[Event], None], names: Sequence[str]) -> None:
        """Make a table whose slots aren't offered yet.

        Args:
            post: Where events go.
            names: Of the slots.
        """
        super().__init__(post)
        self._names = names
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def open(self) -> None:
        """Offer the slots."""
        for name in self._names:
            slot = self._slots[name] = Slot(name, "", name)  # there is one machine
            self._bookings.admit(slot)
        self._changed()

    def on_item(self, name: str, token: str, item: dict[str, Any]) -> None:
        """Take in what a rank has to say."""
        self.take(self._slots[name], [(token, item)])

    def _launch(self, group: Group) -> None:
        reserved = [free_addresses("127.0.0.1") for _ in group.addresses[1:]]
        reserved += [free_addresses("127.0.0.1")] if reserved else []
        for address, rank in ranks_of(group, reserved).items():
            self.host.begin(address, rank)

    def _tell(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        for address in addresses:
            getattr(self.host, method)(address, *arguments)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._count), call))

    def due_s(self) -> float | None:
        """Return when the next thing is due, on the monotonic clock."""
        return self._timers[0][0] if self._timers else None

    def run_due(self) -> None:
        """Call what is due."""
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


@final
class StoringTable(LocalTable):
    """The same, where the trials' files are kept in a storage.

    What takes long is done on threads. They hand over what has come of it, and it is taken in on the
    table's own: whenever there is something to read at `wakes`, `on_done` is to be called.

    Attributes:
        wakes: A descriptor.
        broken: What ends the run, if the run directory has something against it.
    """

    def __init__(
        self, post: Callable[[Event], None], names: Sequence[str], stored: StoredHere
    ) -> None:
        """As of `LocalTable`.

        Args:
            post: Where events go.
            names: Of the slots.
            stored: Where files are kept.
        """
        super().__init__(post, names)
        self._stored = stored
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.wakes, self._wake = os.pipe()
        self._threads = ThreadPoolExecutor(len(names), thread_name_prefix="dotrain-files")
        #: Groups whose files are being handed out, and what they are to be told when they have begun.
        self._starting: dict[str, list[tuple[Sequence[str], str, tuple[Any, ...]]]] = {}
        self.broken: DotrainError | None = None

    def say(self, why: str) -> None:
        """Tell people; called on any thread."""
        self._hand_over(partial(self._changed, why))

    def _hand_over(self, call: Callable[[], None]) -> None:
        self._done.put(call)
        os.write(self._wake, b".")

    def on_done(self) -> None:
        """Take in what threads have handed over."""
        os.read(self.wakes, 4096)
        while not self._done.empty():
            self._done.get()()

    def _on_thread(self, work: Callable[[], Any], then: Callable[[Any, str], None]) -> None:
        """Do something on a thread, and then something on this one, with what came of it."""

        def run() -> None:
            try:
                found, lost = work(), ""
            except (FilesLost, DotrainError) as error:
                found, lost = None, str(error)
            except OSError as error:
                found, lost = None, f"{error.filename or 'temporary files'}: {error.strerror}"
                kind = DiskFull if error.errno in FULL else DotrainError
                self.broken = kind(f"{lost}; the trials' files can't be kept")
            self._hand_over(partial(then, found, lost))

        self._threads.submit(run)

    # ---- before ----

    def _launch(self, group: Group) -> None:
        self._starting[group.token] = []
        folder = group.launch.folder
        self._on_thread(
            lambda: self._stored.hand_out(folder, lambda: not group.is_settled),
            lambda _, lost: self._handed_out(group, lost),
        )

    def _handed_out(self, group: Group, lost: str) -> None:
        told = self._starting.pop(group.token)
        if lost:
            group.gone(group.addresses[0], lost, died=None)
        if group.is_settled:
            for address in group.addresses:
                group.never_began(address)
                self._bookings.free(self._slots[address])
            self._go_on(group)
            self._launch_pending()
            return
        super()._launch(group)
        self._later(FOLLOW_S, partial(self._follow, group))
        for addresses, method, arguments in told:
            super()._tell(addresses, method, *arguments)

    def _tell(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        if (told := self._starting.get(arguments[0])) is not None:
            told.append((addresses, method, arguments))  # else it is heard before it can be done
        else:
            super()._tell(addresses, method, *arguments)

    # ---- while it runs ----

    def _follow(self, group: Group) -> None:
        if group.token in self._bookings.groups:
            self._on_thread(
                lambda: self._stored.follow(group.launch.folder),
                lambda _, lost: self._later(FOLLOW_S, partial(self._follow, group)),
            )

    # ---- after ----

    def on_item(self, name: str, token: str, item: dict[str, Any]) -> None:
        """Take in what a rank has to say; of its end, when its files are kept."""
        group = self._bookings.groups.get(token)
        if "gone" not in item or group is None:
            super().on_item(name, token, item)
            return
        folder, is_chief = group.launch.folder, name == group.addresses[0]
        self._on_thread(
            lambda: self._stored.bring_home(folder, is_chief=is_chief),
            lambda skipped, lost: self._kept(group, name, item, skipped, lost),
        )

    def _kept(
        self,
        group: Group,
        name: str,
        item: dict[str, Any],
        skipped: Mapping[str, str] | None,
        lost: str,
    ) -> None:
        if lost and name == group.addresses[0]:
            group.files_lost(lost)
        if skipped:
            self._changed(not_kept_text(group.launch.folder, skipped))
        super().on_item(name, group.token, item)

    # ---- the end ----

    def keep_last(self) -> None:
        """Keep what the attempts have left that the end of the run broke off; nothing runs any more."""
        self._stored.hurry()
        self._threads.shutdown(cancel_futures=True)
        for token, group in self._bookings.groups.items():
            if token not in self._starting:
                # Whatever fails: the trial goes on from what is kept.
                with contextlib.suppress(FilesLost, DotrainError, OSError):
                    self._stored.bring_home(group.launch.folder)

    def close(self) -> None:
        """Let go of all."""
        os.close(self.wakes)
        os.close(self._wake)
        self._stored.close()
