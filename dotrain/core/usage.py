"""What an attempt has used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
        record: dict[str, Any] = {"cpu_s": self.cpu_s}
        return record if self.peak_bytes is None else {**record, "peak_bytes": self.peak_bytes}


def together(used: Iterable[Usage | None]) -> Usage | None:
    """Return what processes have used that ran at the same time; None unless it is known of all."""
    usages = list(used)
    if not usages or None in usages:
        return None
    return _combined(usages, lambda peaks, all_known: sum(peaks) if all_known else None)


def one_after_another(*used: Usage | None) -> Usage | None:
    """Return what attempts have used that ran one after another, of those of which it is known."""
    return _combined(used, lambda peaks, _: max(peaks, default=None))


def _combined(
    used: Iterable[Usage | None], peak_of: Callable[[list[int], bool], int | None]
) -> Usage | None:
    known = [usage for usage in used if usage is not None]
    if not known:
        return None
    peaks = [usage.peak_bytes for usage in known if usage.peak_bytes is not None]
    cpu_s = round(sum(usage.cpu_s for usage in known), 3)
    return Usage(cpu_s, peak_of(peaks, len(peaks) == len(known)))


def megabytes(size: float) -> str:
    """Return a size in bytes as megabytes, for people; a small one with its first digits."""
    mega = size / 1e6
    return f"{mega:,.0f}" if mega >= 10 else f"{mega:.3g}"
