"""One program over the devices of several processes, by ``jax.distributed``."""

from __future__ import annotations

import errno
import functools
import socket
import sys
from typing import Annotated, Any

from annotated_types import Ge

from dotrain.core.strategy import AbstractStrategy, PortTaken, Seat
from dotrain.frameworks.jax.data import PlacedBatches
from dotrain.frameworks.jax.devices import Devices
from dotrain.training.errors import BadSetup

_UNUSED = (
    "the train function has laid nothing on the devices of the trial, so every worker has trained the same model "
    "apart: take batches from `data_gen.batch()`, or lay your own with `strategy.shard(batch)`, where "
    "`with dist_strategy() as strategy:`"
)
#: What is in the texts of errors of a collective operation, or of the service, when a rank has died.
_GONE = ("Gloo ", "NCCL ", "coordination service", "UNAVAILABLE:")


class MultiProcess(AbstractStrategy):
    """Train on the devices of `workers` workers, each with its share of every batch.

    What every worker computes is one program on global arrays (``jax.distributed``, a mesh of all devices), so
    that a jitted function is the same as for one process, and computes the same.
    """

    packages = ("jax",)
    splits = ("keras", "jax")

    def __init__(self, workers: Annotated[int | None, Ge(1)] = None) -> None:
        """Make the strategy.

        Args:
            workers: How many, >= 1.
        """
        if workers is None:
            raise ValueError("strategy 'jax' needs 'workers': how many")
        if workers < 1:
            raise ValueError(f"workers: expected a number >= 1, got {workers}")
        self.workers = workers
        self._devices: Devices | None = None

    @property
    def slots(self) -> int:
        """One slot for every rank."""
        return self.workers

    @property
    def open_ports(self) -> int:
        """The service's, and one for every rank's collective operations: they ask nobody who he is."""
        return self.workers + 1

    def begin(self, seat: Seat) -> None:
        """Find the other ranks, and all devices."""
        import jax

        if seat.ranks > 1:
            address = seat.addresses[0]
            if seat.rank == 0:
                _check_port(address)
            # Proxies have been taken care of; else it warns of them.
            if "jax_check_proxy_envs" in jax.config.values:
                jax.config.update("jax_check_proxy_envs", False)
            jax.distributed.initialize(
                address,
                num_processes=seat.ranks,
                process_id=seat.rank,
                # Else it listens on all addresses of the machine.
                coordinator_bind_address=address,
                cluster_detection_method="deactivate",
            )
            _talk_at(seat.addresses[seat.rank])
        self._devices = Devices(jax.devices)
        jax.devices()

    def open(self) -> Any:
        """Return the devices, which are their own scope."""
        return self._devices

    def shard(self, dataset: Any) -> Any:
        """Lay every batch on the devices."""
        assert self._devices is not None, "it hasn't begun"
        if hasattr(dataset, "placed"):
            return dataset.placed(self._devices)
        return PlacedBatches(dataset, self._devices)

    def check_use(self) -> None:
        """Refuse a function that has trained without the devices of the others."""
        assert self._devices is not None, "it hasn't begun"
        if self.workers > 1 and not self._devices.used:
            raise BadSetup(_UNUSED)

    def peer_is_gone(self, error: BaseException) -> bool:
        """Whether a collective operation has failed, which it does when a rank dies."""
        return isinstance(error, ValueError | RuntimeError) and any(
            words in str(error) for words in _GONE
        )


def _check_port(address: str) -> None:
    """Refuse a port that another process has: JAX's service ends this one then, without a word.

    Raises:
        PortTaken: If it is taken.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(address) from None
        raise


def _talk_at(address: str) -> None:
    """Let collective operations on CPUs listen at this rank's address, and at no other.

    By itself Gloo listens at whatever the machine's name stands for, which the other ranks may not reach.
    """
    import jax
    from jax.extend.backend import register_backend_factory

    try:
        from jax._src import distributed, xla_bridge
        from jax._src.lib import _jax

        collectives = _jax.make_gloo_tcp_collectives(
            distributed_client=distributed.global_state.client,
            hostname=address.rpartition(":")[0].strip("[]"),
        )
        make = functools.partial(xla_bridge.make_cpu_client, collectives)
    except (ImportError, AttributeError, TypeError) as error:  # JAX's own, of another version
        sys.stderr.write(
            f"dotrain: Gloo listens where this machine's name leads, not at {address} alone: {error}\n"
        )
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        return
    register_backend_factory("cpu", make, priority=0, fail_quietly=False)
