"""The way to a Dask scheduler at an address."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from distributed import Client
from distributed.security import Security

from dotrain.errors import ResourcesUnavailable


@contextmanager
def quiet_dask() -> Iterator[None]:
    """Keep Dask's own log off the terminal: what matters in it is told in our words."""
    # What a cluster has against being scaled comes to Tornado's, and to us.
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


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
