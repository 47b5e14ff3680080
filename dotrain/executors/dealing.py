"""Which worker gets how many slots, and each slot its share of the worker's machine; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from dotrain.executors.machine import NOTHING, Machine, Needs


@final
@dataclass(frozen=True)
class Wish:
    """What a run wants of its workers.

    Attributes:
        needs: What each rank is to have; if nothing, nobody counts what workers have, and each is a slot.
        most_slots: So many slots are enough for any worker, >= 1; None is no limit.
        visible: Which GPUs are meant, as `CUDA_VISIBLE_DEVICES`; None are those of each worker.
    """

    needs: Needs = NOTHING
    most_slots: int | None = None
    visible: str | None = None

    @property
    def counts(self) -> bool:
        """Whether slots are counted from what workers have."""
        return self.needs != NOTHING


#: Each worker is a slot, as it was started.
NO_WISH = Wish()


@final
@dataclass(frozen=True)
class Gpu:
    """A GPU as a worker sees it.

    Attributes:
        key: Tells it from all others of the machine, whoever looks.
        name: What `CUDA_VISIBLE_DEVICES` calls it there.
    """

    key: str
    name: str


@final
@dataclass(frozen=True)
class Offer:
    """What a worker has for a run. Workers of one machine may offer the same.

    Attributes:
        machine: Tells the machine from all others.
        threads: How many the worker was started with, >= 1.
        cores: Those that it may use, >= 1.
        gpus: Those that it sees, in its order.
        memory_bytes: What it may have.
        machine_bytes: What all of the machine have together.
    """

    machine: str
    threads: int
    cores: frozenset[int]
    gpus: tuple[Gpu, ...]
    memory_bytes: int
    machine_bytes: int

    def lack(self, needs: Needs) -> str:
        """Say of what it has too little for a single rank, though nobody else had any; ``""`` if of nothing."""
        return self._as_machine().lack(needs, 1)

    def _as_machine(self) -> Machine:
        memory_bytes = min(self.memory_bytes, self.machine_bytes)
        names = tuple(gpu.name for gpu in self.gpus)
        return Machine(min(self.threads, len(self.cores)), names, memory_bytes)


@final
@dataclass(frozen=True)
class Share:
    """What a slot has.

    Attributes:
        gpus: The GPUs.
        cores: As many as it was to have; it isn't bound to them.
    """

    gpus: tuple[Gpu, ...]
    cores: frozenset[int]


@final
@dataclass
class _Taken:
    """What of a machine is taken, and by how many workers each of its GPUs and cores is seen."""

    gpus: Counter[str] = field(default_factory=Counter)
    cores: Counter[int] = field(default_factory=Counter)
    slots: int = 0
    seen: Counter[str | int] = field(default_factory=Counter)


@final
class Dealing:
    """What the workers of a run offer, and who has what of it.

    A GPU or a core is its machine's: of two workers that see the same one, one can give it away. What is dealt stays with
    its worker until that leaves.
    """

    def __init__(self, wish: Wish) -> None:
        """Make it, without workers.

        Args:
            wish: Of the run.
        """
        self._needs = wish.needs
        self._most = wish.most_slots
        self._offers: dict[str, Offer] = {}
        self._shares: dict[str, list[Share]] = {}
        self._machines: dict[str, _Taken] = {}

    def join(self, offers: Mapping[str, Offer]) -> None:
        """Take in workers that have come, and deal what is free to them: one slot to each, then another.

        Args:
            offers: Of each worker, by its name; one that is known already gets what has become free.
        """
        for worker, offer in offers.items():
            if worker not in self._offers:
                self._offers[worker], self._shares[worker] = offer, []
                machine = self._machines.setdefault(offer.machine, _Taken())
                machine.seen.update([*offer.cores, *(gpu.key for gpu in offer.gpus)])
        hungry = list(offers)
        while hungry:
            hungry = [worker for worker in hungry if self._deal_one(worker)]

    def leave(self, worker: str) -> None:
        """Take back what a worker had; it may be unknown."""
        if worker not in self._offers:
            return
        offer, shares = self._offers.pop(worker), self._shares.pop(worker)
        machine = self._machines[offer.machine]
        machine.seen.subtract([*offer.cores, *(gpu.key for gpu in offer.gpus)])
        machine.slots -= len(shares)
        for share in shares:
            machine.gpus.subtract(gpu.key for gpu in share.gpus)
            machine.cores.subtract(share.cores)
        if not any(other.machine == offer.machine for other in self._offers.values()):
            del self._machines[offer.machine]

    def shares(self, worker: str) -> Sequence[Share]:
        """Return what each slot of a worker has; none if there is no room for any."""
        return tuple(self._shares.get(worker, ()))

    def visible(self, worker: str) -> list[tuple[str, ...] | None]:
        """Return the names of the GPUs that each slot of a worker sees; None if it sees what its worker does."""
        shares = self._shares.get(worker, [])
        if self._needs.gpus is not None:
            return [tuple(gpu.name for gpu in share.gpus) for share in shares]
        names = (
            tuple(gpu.name for gpu in self._offers[worker].gpus) if worker in self._offers else ()
        )
        if len(shares) < 2 or not names:
            return [None] * len(shares)
        return [*Machine(1, names, 0).spread(len(shares))]

    def waiting(self) -> list[str]:
        """Return the workers that have no slot though by now there is room for one."""
        without = (worker for worker, shares in self._shares.items() if not shares)
        return [worker for worker in without if self._find(worker) is not None]

    def idle_gpus(self, worker: str) -> list[str]:
        """Return the GPUs of a worker that would do for one rank more, if only it had more of all else."""
        shares = self._shares.get(worker)
        if not (self._needs.gpus and shares) or self._find(worker) is not None:
            return []
        if self._most is not None and len(shares) >= self._most:
            return []
        free = self._free_gpus(self._offers[worker])
        return [gpu.name for gpu in free] if len(free) >= self._needs.visible_gpus else []

    def _deal_one(self, worker: str) -> bool:
        """Deal one slot more to a worker; return whether there was room for it."""
        share = self._find(worker)
        if share is None:
            return False
        self._shares[worker].append(share)
        machine = self._machines[self._offers[worker].machine]
        machine.gpus.update(gpu.key for gpu in share.gpus)
        machine.cores.update(share.cores)
        machine.slots += 1
        return True

    def _find(self, worker: str) -> Share | None:
        """Return a share for one slot more of a worker, if there is room for it."""
        needs, offer, shares = self._needs, self._offers[worker], self._shares[worker]
        machine = self._machines[offer.machine]
        if self._most is not None and len(shares) >= self._most:
            return None
        if (len(shares) + 1) * (needs.cpus or 1) > offer.threads:
            return None
        memory_bytes = needs.memory_bytes or 0
        if (len(shares) + 1) * memory_bytes > offer.memory_bytes:
            return None
        if (machine.slots + 1) * memory_bytes > offer.machine_bytes:
            return None
        gpus = self._free_gpus(offer)[: needs.visible_gpus]
        free = (core for core in offer.cores if not machine.cores[core])
        cores = sorted(free, key=lambda core: (machine.seen[core], core))[: needs.cpus or 0]
        if len(gpus) < needs.visible_gpus or len(cores) < (needs.cpus or 0):
            return None
        return Share(tuple(gpus), frozenset(cores))

    def _free_gpus(self, offer: Offer) -> list[Gpu]:
        """Return the GPUs of which one rank more may have its share: those first that others want least."""
        machine = self._machines[offer.machine]
        free = [gpu for gpu in offer.gpus if machine.gpus[gpu.key] < self._needs.sharers]
        return sorted(free, key=lambda gpu: (machine.gpus[gpu.key], machine.seen[gpu.key]))
