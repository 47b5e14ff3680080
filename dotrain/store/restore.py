"""From a journal to a scheduler that can go on: every event once more, every decision checked."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dotrain.core.events import EVENTS, from_record
from dotrain.core.instructions import INSTRUCTIONS, Instruction
from dotrain.core.scheduler import Scheduler
from dotrain.errors import PolicyError
from dotrain.store.arms import write_instruction
from dotrain.store.journal import Record, to_json


@dataclass(frozen=True)
class Restored:
    """What is known after a journal has been taken in.

    Attributes:
        time_s: Time of the last record, in seconds since the run began.
        unwritten: Instructions that the last event led to and that a crash kept from the journal.
    """

    time_s: float
    unwritten: list[Instruction]


def restore(scheduler: Scheduler, records: Iterable[Record]) -> Restored:
    """Hand every recorded event to a new scheduler.

    The policies decide once more, and must decide as they did: their state is a pure function of
    the journal. Record types that this version doesn't know decide nothing; see `store.journal`.

    Args:
        scheduler: New, with the settings that the run began with.
        records: The journal's records after the header.

    Raises:
        PolicyError: If a decision differs from the recorded one; nothing can go on from there.
    """
    expected: deque[Instruction] = deque()
    time_s = 0.0
    for record in records:
        time_s = record["t"]
        if record["type"] in EVENTS:
            if expected:
                raise _differs(record, expected[0])
            expected += scheduler.handle(from_record(record), time_s)
        elif record["type"] in INSTRUCTIONS:
            instruction = expected.popleft() if expected else None
            if instruction is None or _differences(record, instruction):
                raise _differs(record, instruction)
    return Restored(time_s, list(expected))


def _differences(record: Record, instruction: Instruction) -> dict[str, tuple[Any, Any]]:
    """Return (then, now) of the fields that a decision doesn't have in common with its record."""
    known: Record = json.loads(to_json(write_instruction(instruction)))
    if known["type"] != record["type"]:
        return {"type": (record["type"], known["type"])}
    return {
        key: (record[key], now)
        for key, now in known.items()
        if key in record and record[key] != now
    }


def _differs(record: Record, instruction: Instruction | None) -> PolicyError:
    if instruction is None or record["type"] not in INSTRUCTIONS:
        done = {k: v for k, v in record.items() if k not in ("n", "t", "crc", "reason")}
        now = "nothing" if instruction is None else write_instruction(instruction)
        how = f"the run did {done}, but replaying it gives {now}"
    else:
        changes = _differences(record, instruction).items()
        how = f"the run decided otherwise ({record['type']}): " + "; ".join(
            f"{key} was {then!r}, is now {now!r}" for key, (then, now) in changes
        )
    return PolicyError(
        f"can't resume: at record {record['n']} of the journal {how}. The optimizer, the "
        "early-stop rule or their version has changed, or decides by something that the journal "
        "doesn't hold"
    )
