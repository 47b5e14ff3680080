"""The process group of a trial's ranks, and the environment that `torchrun` would give them.

This imports PyTorch.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, final

import psutil
import torch
import torch.distributed as dist

from dotrain.core.strategy import PortTaken, Seat
from dotrain.training.errors import BadSetup

Backend = Literal["auto", "gloo", "nccl"]

#: Whoever waits for the others at the start is ended by `limits.group_start_s`.
_FOREVER = timedelta(days=1)
#: What gloo and nccl say when the other end of a connection is gone; gloo has no class for that.
_GONE = re.compile(
    r"gloo.*(by peer|Broken pipe|Connection refused|Socket closed|(Read|Write) error|Timed out)|"
    r"NCCL.*(remote|peer)",
    re.IGNORECASE | re.DOTALL,
)


@final
@dataclass
class Group:
    """The ranks of this attempt, as PyTorch knows them.

    Attributes:
        rank: This one.
        ranks: How many there are.
        device: On which this one trains.
        store: Where ranks leave words for each other.
    """

    rank: int
    ranks: int
    device: Any
    store: Any
    _began_at: int = 0

    @property
    def was_used(self) -> bool:
        """Whether ranks have computed anything together, by whichever library, but what is `uncounted`."""
        return _collectives() > self._began_at

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Let what ranks compute together meanwhile not count as a training: means, sums."""
        before = _collectives()
        try:
            yield
        finally:
            self._began_at += _collectives() - before


def start(seat: Seat, backend: Backend) -> Group:
    """Bring the process group up, and set the environment.

    Args:
        seat: This rank's, one of several.
        backend: ``auto``: nccl if each rank has a GPU to itself, else gloo.

    Raises:
        PortTaken: If the chief can't listen at its address.
        BadSetup: If there can't be such a group here.
    """
    host, _, port = seat.addresses[0].rpartition(":")
    host = host.strip("[]")
    store = _store(host, int(port), seat)
    _speak_at(seat.addresses[seat.rank].rpartition(":")[0].strip("[]"))
    local = _Local.of(store, seat)
    os.environ.update(
        {
            "RANK": str(seat.rank),
            "WORLD_SIZE": str(seat.ranks),
            "LOCAL_RANK": str(local.rank),
            "LOCAL_WORLD_SIZE": str(local.ranks),
            "GROUP_RANK": str(local.group),
            "GROUP_WORLD_SIZE": str(local.groups),
            "ROLE_NAME": "default",
            "ROLE_RANK": str(seat.rank),
            "ROLE_WORLD_SIZE": str(seat.ranks),
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
            "TORCHELASTIC_RUN_ID": seat.token[:16] or "none",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0",
            # Whoever makes a group by these finds the store there, and doesn't listen himself.
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
    )
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    chosen = _backend(backend, local)
    if local.device.type == "cuda":
        torch.cuda.set_device(local.device)
    dist.init_process_group(
        "gloo" if chosen == "gloo" else "cpu:gloo,cuda:nccl",
        store=dist.PrefixStore("ranks", store),
        rank=seat.rank,
        world_size=seat.ranks,
    )
    return Group(seat.rank, seat.ranks, local.device, store, _collectives())


def peer_is_gone(error: BaseException) -> bool:
    """Whether an error, or what it came from, is the death of another rank."""
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None:
            return False
        if isinstance(seen, dist.DistError):
            return True
        if isinstance(seen, RuntimeError) and _GONE.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _store(host: str, port: int, seat: Seat) -> Any:
    """Return the store, which listens at the chief's own address and no other."""
    listens: dict[str, Any] = {}
    if seat.rank == 0:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            server = socket.create_server((host, port), family=family)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(seat.addresses[0]) from None
            raise
        listens = {"master_listen_fd": server.detach()}
    return dist.TCPStore(
        host,
        port,
        seat.ranks,
        seat.rank == 0,
        timeout=_FOREVER,
        wait_for_workers=False,
        **listens,
    )


def _speak_at(host: str) -> None:
    """Let ranks listen to each other at the address that they were given, and at no other.

    What the user has set, stays.
    """
    try:
        address = ipaddress.ip_address(socket.gethostbyname(host) if ":" not in host else host)
    except (OSError, ValueError):
        return
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == str(address) for one in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={name}")
            return


@final
@dataclass
class _Local:
    """A rank among those that see the same GPUs of the same host; without GPUs, among all of the host."""

    rank: int
    ranks: int
    group: int
    groups: int
    device: Any
    #: Whether each rank, of all of them, has a GPU to itself.
    apart: bool

    @classmethod
    def of(cls, store: Any, seat: Seat) -> _Local:
        gpus = [
            str(torch.cuda.get_device_properties(index).uuid)
            for index in range(torch.cuda.device_count())
        ]
        host = f"{socket.gethostname()} {seat.addresses[seat.rank].rpartition(':')[0]}"
        store.set(f"place/{seat.rank}", json.dumps([host, gpus]))
        places = [store.get(f"place/{rank}").decode() for rank in range(seat.ranks)]
        own = places[seat.rank]
        rank = places[: seat.rank].count(own)
        taken = []
        for number, place in enumerate(places):
            _, theirs = json.loads(place)
            if theirs:
                taken.append(theirs[places[:number].count(place) % len(theirs)])
        return cls(
            rank,
            places.count(own),
            list(dict.fromkeys(places)).index(own),
            len(set(places)),
            torch.device("cuda", rank % len(gpus)) if gpus else torch.device("cpu"),
            len(set(taken)) == seat.ranks,
        )


def _backend(asked: Backend, local: _Local) -> str:
    if asked == "nccl" and not local.apart:
        raise BadSetup(
            "distribution.backend: nccl needs a GPU for each rank, and here some have none, or share one; "
            "give each its own (resources.gpus: 1), or leave 'backend' out"
        )
    if asked == "auto":
        return "nccl" if local.apart and dist.is_nccl_available() else "gloo"
    return asked


def _collectives() -> int:
    """Return how many collective operations the default group has begun."""
    if not dist.is_initialized():
        return 0
    group = dist.distributed_c10d._get_default_group()
    return max(_counts(group), default=0)


def _counts(group: Any) -> Iterator[int]:
    for device in group._device_types:
        try:
            yield int(group._get_backend(device)._get_sequence_number_for_group())
        except (AttributeError, RuntimeError):
            yield int(group._get_sequence_number_for_group())
