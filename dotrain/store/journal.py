"""The journal: numbered, checksummed records, one JSON object a line, only ever appended.

A line is ``{"crc": "xxxxxxxx", "n": 0, "t": 0.0, "type": ..., ...}``; `crc` is the CRC-32 of the
line without it. `n` counts from 0, and `t` is in seconds since the run began. Record 0 is the
header, of type ``Run``; all others are events and instructions in the order in which the scheduler
took them in and gave them out.

Readers and writers of different versions share these rules:

- The header says the `version` of the format as its writer wrote it, and the least version that
  suffices to go on with the run, `needs`. So does a ``Resumed`` record, from there on.
- A reader passes over fields and record types that it doesn't know. So a new type may add to what
  the known ones say, and never change what they mean; a new field has a default, which stands for
  what was before it. Whatever else changes the format raises `needs`.
- A decision is compared by the fields that both its record and this version have: a field that
  came later was nobody's decision then.

Version 1 knows no `needs`, ``Noted`` and ``Diverged``, and its optimizers might repeat a
configuration. A launch's `arm` came later than version 2, in addition to what says the same; see
`store.arms`. So did the `usage` of what ends an attempt; where it isn't known, it isn't there. So did
``Freed``: a version that passes over it finds no checkpoint, and lets that trial begin again too.

Version 3 tells hosts from each other: ``SlotsChanged`` and ``Started`` have `hosts`, ends their `host`, and a
launch what it is to `avoid`. So a trial may go on after a ``Failed``; where no host is told, it never does, and
what was before is decided as it was. ``SetAside`` says what has followed. A ``Lost`` says what `died`; where it doesn't, nobody is
blamed. ``Ask`` and ``Proposed`` came later: what a sampler was asked, and what it has answered.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from dotrain.core import events, instructions
from dotrain.core.deadlines import TIME_DIGITS
from dotrain.errors import JournalError
from dotrain.space import plain_or_text
from dotrain.store.arms import write_instruction
from dotrain.store.disk import sync_data

#: Version of the format as it is written here.
VERSION = 3
#: The least version that can go on with what is written here.
NEEDS = 3
#: Fields with which a writer names itself.
_WRITER = ("dotrain", "version", "needs")

#: What is on the disk before anything follows from it: what lasts, nothing, or every record.
Sync = Literal["trial", "system", "record"]
#: Records that last: what ends an attempt, and all that is carried out but a stop or a question. Reports, and stops
#: on them, are made again by the attempt that takes the place of one that a power cut has ended; a question
#: that nothing has come of is put again.
_LASTING = frozenset(
    ["Run", "Resumed", "Freed"]
    + [name for name, cls in events.EVENTS.items() if issubclass(cls, events.AttemptEnd)]
    + [name for name in instructions.INSTRUCTIONS if name not in ("Stop", "Ask")]
)

Record = dict[str, Any]

_PREFIX = len('{"crc":"00000000",')


@dataclass(frozen=True)
class Contents:
    """What a journal held when it was read.

    Attributes:
        records: The whole ones, the header first.
        end: Where they end, in bytes; what comes after is torn.
    """

    records: list[Record]
    end: int = 0


class Journal:
    """Appends records; each is with the operating system when `append` returns.

    A record therefore survives the death of this process at any moment. A power cut it survives
    when it has been synced, which `commit` does before anything follows from a record that lasts.
    """

    def __init__(
        self, path: Path, contents: Contents | None = None, *, sync: Sync = "system"
    ) -> None:
        """Open a journal for appending, a new one or one that is there.

        A torn last line, left by a crash, is cut off: never glued to the next record.

        Args:
            path: The file.
            contents: What it holds; read now by default.
            sync: What `commit` syncs: ``trial``, what ends an attempt or is carried out, but for
                stops; ``record``, everything; ``system``, nothing, which only `close` does then.

        Raises:
            JournalError: If the file can't be opened, or is damaged before its last line.
        """
        if contents is None:
            contents = read_contents(path) if path.exists() else Contents([])
        self._path, self._sync, self._is_due = path, sync, False
        self._next, self._end = len(contents.records), contents.end
        try:
            if path.exists():
                os.truncate(path, self._end)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise JournalError(f"can't open the journal {path}: {error.strerror}") from None

    def append(self, record: Mapping[str, Any], time_s: float) -> Record:
        """Append one record, and return it with all its keys but ``crc``.

        Args:
            record: JSON values; its keys ``n``, ``t`` and ``crc`` are filled in here.
            time_s: Now, in seconds since the run began.

        Raises:
            JournalError: If it can't be written; the journal stays readable up to the one before.
        """
        whole = {"n": self._next, "t": round(time_s, TIME_DIGITS), **record}
        body = to_json(whole)
        line = f"{_seal(body)}\n".encode()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._cut_off_torn_record()
            raise JournalError(
                f"can't write the journal {self._path}: {error.strerror}; what is in it is safe"
            ) from None
        self._next += 1
        self._end += len(line)
        lasts = self._sync == "record" or (self._sync == "trial" and record["type"] in _LASTING)
        self._is_due = self._is_due or lasts
        return whole

    def commit(self) -> None:
        """Sync what has been appended, if anything of it is to be on the disk by now.

        Raises:
            JournalError: If the disk doesn't take it.
        """
        if self._is_due:
            try:
                sync_data(self._file.fileno())
            except OSError as error:
                raise JournalError(
                    f"can't write the journal {self._path} to the disk: {error.strerror}; its last "
                    "records may be lost if the power is cut"
                ) from None
            self._is_due = False

    def _cut_off_torn_record(self) -> None:
        # If even that fails, the next driver does it.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file.fileno(), self._end)

    def append_header(self, header: Mapping[str, Any]) -> Record:
        """Append record 0, and return it."""
        return self.append({"type": "Run", "version": VERSION, "needs": NEEDS, **header}, 0.0)

    def append_event(self, event: events.Event, time_s: float) -> None:
        """Append an event."""
        self.append(events.to_record(event), time_s)

    def append_instruction(self, instruction: instructions.Instruction, time_s: float) -> Record:
        """Append an instruction, and return its record."""
        return self.append(write_instruction(instruction), time_s)

    def close(self) -> None:
        """Flush to the disk and close; safe to call twice."""
        if not self._file.closed:
            try:
                # A disk that is full or gone can't be flushed to; what it has, it has.
                with contextlib.suppress(OSError):
                    os.fsync(self._file.fileno())
            finally:
                self._file.close()


def read_journal(path: Path) -> Iterator[Record]:
    """Yield the records of a journal, live, finished or crashed.

    A torn last line is passed over: that record was never complete.

    Raises:
        JournalError: If the file can't be read, or is damaged before its last line.
    """
    return (record for _, record in _read(path))


def read_contents(path: Path) -> Contents:
    """Read a journal whole, as `read_journal` does."""
    records, end = [], 0
    for end, record in _read(path):  # noqa: B007
        records.append(record)
    return Contents(records, end)


def written_by(records: Iterable[Record]) -> Record:
    """Return who wrote a journal last: its `dotrain`, `version` and `needs`, as far as it says."""
    writer: Record = {}
    for record in records:
        if record["type"] in ("Run", "Resumed"):
            writer.update({key: record[key] for key in _WRITER if key in record})
    return writer


def needs_newer(writer: Record) -> bool:
    """Whether this version can't go on with a run.

    Args:
        writer: What `written_by` returned.
    """
    return bool(writer.get("needs", 0) > VERSION)


def newer(writer: Record) -> str:
    """Return what to do about a journal that this version can't deal with, or ``""``.

    Args:
        writer: What `written_by` returned.
    """
    version = writer.get("version", 0)
    if version <= VERSION:
        return ""
    wanted = writer.get("dotrain")
    how = f"pip install 'dotrain>={wanted}'" if wanted else "install a newer one"
    return (
        f"it was written by dotrain {wanted or '(unknown)'}, in version {version} of the journal's "
        f"format, and this one knows up to {VERSION}; {how}"
    )


def _read(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield every whole record, and before it where it ends, in bytes."""
    try:
        with open(path, "rb") as file:
            yield from _records(file, path)
    except OSError as error:
        raise JournalError(f"can't read the journal {path}: {error.strerror}") from None


def _records(file: IO[bytes], path: Path) -> Iterator[tuple[int, Record]]:
    end = 0
    damaged: str | None = None
    for number, line in enumerate(file):
        if damaged is not None:
            raise JournalError(f"{path}:{number}: damaged record ({damaged}); the rest is not read")
        record, damaged = _open_seal(line, number)
        if record is not None:
            end += len(line)
            yield end, record


def _seal(body: str) -> str:
    return f'{{"crc":"{zlib.crc32(body.encode()):08x}",{body[1:]}'


def _open_seal(line: bytes, number: int) -> tuple[Record | None, str | None]:
    """Return the record of a line, or what is wrong with it."""
    if not line.endswith(b"\n"):
        return None, "it has no end"
    body = b"{" + line[_PREFIX:-1]
    if line[:_PREFIX] != f'{{"crc":"{zlib.crc32(body):08x}",'.encode():
        return None, "the checksum is wrong"
    record: Record = json.loads(body)
    if record.get("n") != number:
        return None, f"it is numbered {record.get('n')}, expected {number}"
    return record, None


def to_json(value: Any) -> str:
    """Return `value` as JSON; what JSON doesn't know, such as a NumPy scalar, as what it does."""
    return json.dumps(value, default=plain_or_text)
