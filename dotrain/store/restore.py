"""From a journal to a scheduler that can go on: every event once more, every decision checked."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from dotrain.core import instructions
from dotrain.core.events import EVENTS, from_record
from dotrain.core.instructions import Instruction
from dotrain.core.scheduler import Scheduler
from dotrain.errors import PolicyError
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
    the journal.

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
        else:
            instruction = expected.popleft() if expected else None
            if instruction is None or not _is_record_of(record, instruction):
                raise _differs(record, instruction)
    return Restored(time_s, list(expected))


def _is_record_of(record: Record, instruction: Instruction) -> bool:
    known: Record = json.loads(to_json(instructions.to_record(instruction)))
    return {key: record.get(key) for key in known} == known


def _differs(record: Record, instruction: Instruction | None) -> PolicyError:
    shown = {k: v for k, v in record.items() if k not in ("n", "t", "crc", "reason")}
    now = None if instruction is None else instructions.to_record(instruction)
    return PolicyError(
        f"can't resume: at record {record['n']} of the journal the run did {shown}, but replaying "
        f"it gives {now}. The optimizer, the early-stop rule or their version has changed, or "
        "decides by something that the journal doesn't hold"
    )
