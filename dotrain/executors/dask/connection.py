"""Ways to a Dask scheduler: one at an address, one of a cluster class."""

from __future__ import annotations

import importlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from distributed import Client
from distributed.security import Security

from dotrain.errors import ResourcesUnavailable


@contextmanager
def quiet_dask() -> Iterator[None]:
    """Keep Dask's own log off the terminal: what matters in it is told in our words."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@asynccontextmanager
async def at_address(
    address: str, timeout_s: float, tls: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """Connect to a running scheduler.

    Args:
        address: ``tcp://host:port``, or ``tls://host:port``.
        timeout_s: How long to wait for an answer.
        tls: The files ``ca_file``, ``cert`` and ``key`` of mutual TLS, or None.

    Raises:
        ResourcesUnavailable: If nobody answers in time.
    """
    try:
        client = await Client(
            address,
            asynchronous=True,
            timeout=timeout_s,
            set_as_default=False,
            security=None if tls is None else _security(tls),
        )
    except (OSError, ValueError, TimeoutError) as error:
        hint = (
            "Start one with: dask scheduler --port 8786"
            if tls is None
            else "Or the two don't accept each other's certificates (cluster.tls)"
        )
        raise ResourcesUnavailable(
            f"no Dask scheduler answers at {address} within {timeout_s:g} s "
            f"({type(error).__name__}); is it running, and is the port open from here? {hint}"
        ) from None
    async with client:
        yield client


def _security(tls: Mapping[str, str]) -> Security:
    """Return Dask's settings for mutual TLS.

    Raises:
        ResourcesUnavailable: If the files hold no certificate and key.
    """
    security = Security(
        tls_ca_file=tls["ca_file"],
        tls_client_cert=tls["cert"],
        tls_client_key=tls["key"],
        require_encryption=True,
    )
    try:
        security.get_connection_args("client")["ssl_context"]
    except OSError as error:
        raise ResourcesUnavailable(f"cluster.tls: these files don't make TLS: {error}") from None
    return security


@asynccontextmanager
async def of_class(
    path: str, options: Mapping[str, Any], workers: int | None
) -> AsyncIterator[Client]:
    """Start a cluster of a Dask cluster class, such as ``dask_jobqueue.SLURMCluster``.

    Raises:
        ResourcesUnavailable: If the class can't be imported, or its cluster can't be started.
    """
    module_name, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), name)
        cluster = await cls(**options, asynchronous=True)
    except Exception as error:
        raise ResourcesUnavailable(
            f"cluster.kind {path} can't be started: {type(error).__name__}: {error}"
        ) from error
    async with cluster:
        if workers is not None:
            cluster.scale(workers)
        async with Client(cluster, asynchronous=True, set_as_default=False) as client:
            yield client
