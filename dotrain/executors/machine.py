"""What each rank needs, what a machine has, and who gets which GPU; pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Fractions of a GPU are decimal: ten times 0.1 is one.
_TOLERANCE = 1e-9
#: The variable by which CUDA is told which GPUs a process sees.
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Needs:
    """What each rank of a trial is to have; None where nothing was asked for.

    Attributes:
        gpus: How many: a whole number, or a share of one, as 0.5.
        cpus: How many cores, >= 1.
        memory_bytes: How much memory.
    """

    gpus: float | None = None
    cpus: int | None = None
    memory_bytes: int | None = None

    @property
    def visible_gpus(self) -> int:
        """How many GPUs each rank sees."""
        return max(1, int(self.gpus)) if self.gpus else 0

    @property
    def sharers(self) -> int:
        """How many ranks may share a GPU that one has a share of, >= 1."""
        return max(1, int(1 / self.gpus + _TOLERANCE)) if self.gpus else 1

    def __str__(self) -> str:
        told = {"gpus": self.gpus, "cpus": self.cpus, "memory": self.memory_bytes}
        return ", ".join(_amount(name, value) for name, value in told.items() if value is not None)


#: If nothing is asked for.
NOTHING = Needs()


@dataclass(frozen=True)
class Machine:
    """What a machine has for a run.

    Attributes:
        cores: How many may be used, >= 1.
        gpus: Its GPUs, as `VISIBLE` names them.
        memory_bytes: Its memory.
    """

    cores: int
    gpus: tuple[str, ...]
    memory_bytes: int

    def slots(self, needs: Needs) -> int | None:
        """Return for how many ranks it has enough at once; None if nothing is asked for that bounds it."""
        bounds = []
        if needs.gpus:
            bounds.append(len(self.gpus) * needs.sharers // needs.visible_gpus)
        if needs.cpus is not None:
            bounds.append(self.cores // needs.cpus)
        if needs.memory_bytes is not None:
            bounds.append(self.memory_bytes // needs.memory_bytes)
        return min(bounds, default=None)

    def lack(self, needs: Needs, slots: int) -> str:
        """Say what it has too little of for so many ranks at once, and how much it has; ``""`` if of nothing."""
        single = {
            "gpus": (Needs(gpus=needs.gpus), float(len(self.gpus))),
            "cpus": (Needs(cpus=needs.cpus), self.cores),
            "memory": (Needs(memory_bytes=needs.memory_bytes), self.memory_bytes),
        }
        for name, (one, has) in single.items():
            room = self.slots(one)
            if room is not None and room < slots:
                return f"{_amount(name, has)}, enough for {room} of {slots}"
        return ""

    def deal(self, needs: Needs, slots: int) -> list[tuple[str, ...]] | None:
        """Return the GPUs of each slot; None if there are none to deal, and nobody asked.

        A slot sees what was asked for; if nothing was, all are dealt out: as many to each slot, or one to
        several slots. Slots that share are spread evenly.

        Args:
            needs: Of each rank; there is enough for all slots.
            slots: How many, >= 1.
        """
        if needs.gpus is None:
            return self.spread(slots) if self.gpus else None
        each = int(needs.gpus)
        return self._apart(slots, each) if each or needs.gpus == 0 else self._shared(slots)

    def spread(self, slots: int) -> list[tuple[str, ...]]:
        """Return all GPUs dealt out evenly.

        Args:
            slots: How many, >= 1; there is at least one GPU.
        """
        each = len(self.gpus) // slots
        return self._apart(slots, each) if each else self._shared(slots)

    def _apart(self, slots: int, each: int) -> list[tuple[str, ...]]:
        return [self.gpus[slot * each : (slot + 1) * each] for slot in range(slots)]

    def _shared(self, slots: int) -> list[tuple[str, ...]]:
        return [(self.gpus[slot * len(self.gpus) // slots],) for slot in range(slots)]


def _amount(name: str, value: float) -> str:
    if name != "memory":
        return f"{name}: {value:g}"
    return f"memory: {value / 1e9:g}GB" if value >= 1e9 else f"memory: {value / 1e6:g}MB"
