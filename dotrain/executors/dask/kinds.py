"""The executors on Dask by what `cluster.kind` calls them; Dask is imported when one is prepared."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psutil
from pydantic import Field

from dotrain.config.where import Adapt, Tls
from dotrain.executors.dask.executor import DaskExecutor
from dotrain.executors.neighbours import others_here

if TYPE_CHECKING:
    from distributed import Client

    from dotrain.executors.dask.slots import SlotTable
    from dotrain.training.program import Program

_USE_TLS = (
    "use a tls:// address with cluster.tls: {ca_file: ..., cert: ..., key: ...} (SECURITY.md)"
)
_ENCRYPTED = {"address": {"type": "string", "pattern": "^tls://"}}


class Address(DaskExecutor):
    """The workers of a Dask scheduler that runs already; needs address."""

    schema_rules = (
        {
            "if": {"required": ["tls"]},
            "then": {"required": ["address"], "properties": _ENCRYPTED},
        },
        {
            "if": {"required": ["address"], "properties": _ENCRYPTED},
            "then": {"required": ["tls"]},
        },
    )

    def __init__(
        self,
        address: Annotated[str, Field(min_length=1)],
        connect_timeout_s: float,
        workers: int | None = None,
        tls: Tls | None = None,
        threads: int | None = None,
    ) -> None:
        """Make an executor.

        Args:
            address: The scheduler's, tcp://host:8786.
            connect_timeout_s: How long to wait for it and a first worker, in seconds.
            workers: The most to use; by default all.
            tls: Files for mutual TLS.
            threads: Of each worker; by default those that it was started with.
        """
        super().__init__(workers, connect_timeout_s, threads)
        self._address = address
        self._tls = tls

    def problems(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Refuse half of what TLS needs."""
        is_encrypted = self._address.startswith("tls://")
        if self._tls is None:
            if is_encrypted:
                message = "a tls:// address needs cluster.tls: {ca_file: ..., cert: ..., key: ...}"
                yield ("address",), message
            return
        if not is_encrypted:
            yield ("tls",), "goes with an address that starts with tls:// only"
        for key, name in self._tls.model_dump().items():
            if not Path(name).is_file():
                yield ("tls", key), f"no file {name}"

    def overheard_by(self) -> str:
        """Return the machine of a plain address that isn't this one."""
        scheme, _, place = self._address.rpartition("://")
        host = place.rpartition(":")[0].strip("[]").lower()
        return "" if scheme not in ("", "tcp") or _is_this_machine(host) else host

    def warnings(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Warn of a scheduler that takes orders from anyone."""
        if self._tls is not None:
            return
        text = "has no authentication: {} can run code as the workers' users; {}"
        if self.overheard_by():
            yield ("address",), text.format("anyone who reaches it", _USE_TLS)
        elif others_here():
            yield ("address",), text.format("other users of this machine", "see SECURITY.md")

    def _connect(self) -> AbstractAsyncContextManager[Client]:
        from dotrain.executors.dask.connection import at_address

        tls = self._tls.model_dump() if self._tls else None
        return at_address(self._address, self._connect_timeout_s, tls)


class ClusterClass(DaskExecutor):
    """The class of a Dask cluster; options are its arguments."""

    schema_rules = (
        {
            "if": {"required": ["adapt"]},
            "then": {"properties": {"workers": {"enum": [None]}}},
        },
    )
    _close_timeout_s = 90.0

    def __init__(
        self,
        kind: str,
        connect_timeout_s: float,
        workers: int | None = None,
        adapt: Adapt | None = None,
        options: dict[str, Any] = {},  # noqa: B006
        threads: int | None = None,
    ) -> None:
        """Make an executor.

        Args:
            kind: The class, as package.module.Class.
            connect_timeout_s: How long to wait for a first worker, in seconds.
            workers: How many it is scaled to; by default as it starts.
            adapt: As many as have something to do, instead of workers.
            options: Its keyword arguments.
            threads: Of each worker; by default those that it is started with.
        """
        super().__init__(adapt.maximum if adapt else workers, connect_timeout_s, threads)
        self._path = kind
        self._adapt = adapt
        self._workers_too = workers is not None
        self._options = options

    def problems(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Refuse two sizes, and one that is upside down."""
        if self._adapt is None:
            return
        if self._workers_too:
            yield ("adapt",), "says how many workers there are, and so does workers; leave one out"
        if self._adapt.minimum > self._adapt.maximum:
            yield ("adapt", "minimum"), f"is more than adapt.maximum, {self._adapt.maximum}"

    def warnings(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Warn of a scheduler that takes orders from anyone."""
        if not self._options.get("security"):
            message = (
                "its scheduler has no authentication unless Dask's own settings ask for it: anyone "
                "who reaches it can run code as the workers' users; where the class can, use "
                "cluster.options: {security: true} (SECURITY.md)"
            )
            yield ("kind",), message

    def prepare(self, log_dir: Path, per_trial: int, program: Program | None = None) -> None:
        """Import Dask and the class, while this is the main thread."""
        super().prepare(log_dir, per_trial, program)
        from dotrain.executors.dask.cluster_class import find_class

        self._class = find_class(self._path)

    def _connect(self) -> AbstractAsyncContextManager[Client]:
        from dotrain.executors.dask.cluster_class import OwnCluster

        run_dir = Path(self._program.run_dir)
        self._own = OwnCluster(self._class, self._path, self._options, run_dir)
        return self._own.open()

    async def _keep_workers(self, slots: SlotTable) -> None:
        least = self._adapt.minimum if self._adapt else self._max_workers
        await self._own.keep(slots, least, self._max_workers, self._strategy.slots)

    async def _workers_to_come(self) -> list[str]:
        return await self._own.to_come()

    def _more_workers(self, address: str) -> str:
        return (
            f"give {self._path} more time (cluster.connect_timeout_s), or look why it starts none"
        )


def _is_this_machine(host: str) -> bool:
    """Whether an address is one of this machine's, as far as it tells without asking anybody."""
    own = {address.address for found in psutil.net_if_addrs().values() for address in found}
    names = {"", "localhost", socket.gethostname().lower()}
    return host.startswith("127.") or host in names | own | {"::1"}
