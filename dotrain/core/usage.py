"""What an attempt has used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, final


@final
@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of an attempt have used, from its launch to its end.

    Attributes:
        cpu_s: Processor time of all of them, in seconds.
        peak_bytes: The most memory that they were seen to hold together, beyond what was there
            before the train function began; None where nobody has looked.
    """

    cpu_s: float
    peak_bytes: int | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return that of a record; fields that this version doesn't know are passed over."""
        return cls(record["cpu_s"], record.get("peak_bytes"))

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values; a peak that isn't known is left out."""
        record: dict[str, Any] = {"cpu_s": round(self.cpu_s, 3)}
        return record if self.peak_bytes is None else {**record, "peak_bytes": self.peak_bytes}


def together(used: Iterable[Usage | None]) -> Usage | None:
    """Return what several processes have used at the same time; None unless all is known."""
    known = list(used)
    if not known or None in known:
        return None
    usages = [usage for usage in known if usage is not None]
    peaks = [usage.peak_bytes for usage in usages if usage.peak_bytes is not None]
    peak = sum(peaks) if len(peaks) == len(usages) else None
    return Usage(sum(usage.cpu_s for usage in usages), peak)
