"""TensorBoard's file format: the records of its event files, made with little of TensorBoard.

Of TensorBoard, which is imported with this module, only the protocol buffers are used: its modules
around them take several times as long to import, and some of them a framework.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tensorboard.compat.proto.event_pb2 import Event, LogMessage, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.plugins.hparams.api_pb2 import (
    STATUS_FAILURE,
    STATUS_SUCCESS,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from dotrain.space import Categorical, Domain, value_text
from dotrain.training.failure import plain_text

try:
    from google_crc32c import value as crc32c
except ImportError:  # thirty times slower, for who has installed TensorBoard alone
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c

#: As in `tensorboard.plugins.hparams.metadata`.
_PLUGIN = "hparams"
_TRIAL_START = "_hparams_/session_start_info"
_TRIAL_END = "_hparams_/session_end_info"
_NOTHING = TensorProto(
    dtype=DT_FLOAT, tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=0)])
)

#: Longer texts make the table unreadable.
_LONGEST_TEXT = 160

#: Bytes that are kept free behind a row for what it gets later, and how many stay so at least:
#: protocol buffers write the lengths of messages up to 127 bytes in another way.
_ROOM = 1024
_LEAST_ROOM = 200


Cell = float | bool | str


@dataclass(frozen=True)
class Column:
    """One hyperparameter, as the table of TensorBoard's HParams plugin holds it.

    A column is of one type; a value of another is left out.

    Attributes:
        kind: The type of its values there.
    """

    kind: Literal["number", "bool", "text"]

    @classmethod
    def of_domain(cls, domain: Domain) -> Column:
        """Return the column of what is searched."""
        values: Sequence[Any] = getattr(domain, "values", ())
        return cls(_kind_of(values) if isinstance(domain, Categorical) else "number")

    @classmethod
    def of_value(cls, value: Any) -> Column:
        """Return the column of what is not searched, from the first value that it has."""
        return cls(_kind_of([value]))

    def value(self, value: Any) -> Cell | None:
        """Return a value as the column holds it, or None if it can't."""
        if self.kind == "text":
            text = plain_text(value_text(value))
            return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."
        if self.kind == "bool":
            return value if isinstance(value, bool) else None
        return _number(value)


def _kind_of(values: Iterable[Any]) -> Literal["number", "bool", "text"]:
    values = list(values)
    if all(isinstance(value, bool) for value in values):
        return "bool"
    return "number" if all(_number(value) is not None for value in values) else "text"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def file_start(wall_s: float) -> list[Any]:
    """Return what a file begins with."""
    return [Event(wall_time=wall_s, file_version="brain.Event:2"), restart(wall_s, 0)]


def restart(wall_s: float, step: int) -> Any:
    """Return the record that takes back what was written for `step` and the steps after it."""
    return Event(wall_time=wall_s, step=step, session_log=SessionLog(status=SessionLog.START))


def scalars(wall_s: float, step: int, values: Mapping[str, float]) -> Any:
    """Return the record of some numbers by tag; TensorBoard keeps 32 bits of each."""
    event = Event(wall_time=wall_s, step=step)
    add = event.summary.value.add
    for tag, value in values.items():
        add(tag=tag, simple_value=value)
    return event


def trial_start(
    wall_s: float, group: str, cells: Mapping[str, Cell], later: Mapping[str, Cell]
) -> bytes:
    """Return a trial's row in the table, as it stands in a file.

    TensorBoard makes the columns of the table from all rows that it finds; and of rows with one
    name, a single one.

    Args:
        wall_s: When the trial began, in seconds since the epoch.
        group: The row's name, unlike that of any trial of any run.
        cells: The row's values by column.
        later: Those that are known in the end; the row is of the same size with them and without.
    """
    size = len(encode([_row(wall_s, group, cells)])) + _ROOM
    row = encode([_row(wall_s, group, {**cells, **later})])
    return row + _padding(wall_s, size - len(row))


def _padding(wall_s: float, size: int) -> bytes:
    """Return a record that says nothing in `size` bytes."""
    if size < _LEAST_ROOM:
        raise ValueError(f"a row has no room for {_ROOM - size} bytes more")

    def padding(length: int) -> bytes:
        return encode([Event(wall_time=wall_s, log_message=LogMessage(message=" " * length))])

    return padding(_LEAST_ROOM + size - len(padding(_LEAST_ROOM)))


def _row(wall_s: float, group: str, cells: Mapping[str, Cell]) -> Any:
    info = SessionStartInfo(group_name=group, start_time_secs=wall_s)
    for name, value in cells.items():
        field = info.hparams[plain_text(name)]
        if isinstance(value, bool):
            field.bool_value = value
        elif isinstance(value, str):
            field.string_value = value
        else:
            field.number_value = value
    return _hparams(wall_s, _TRIAL_START, HParamsPluginData(session_start_info=info))


def trial_end(wall_s: float, *, failed: bool) -> Any:
    """Return the record of a trial's end."""
    status = STATUS_FAILURE if failed else STATUS_SUCCESS
    info = SessionEndInfo(status=status, end_time_secs=wall_s)
    return _hparams(wall_s, _TRIAL_END, HParamsPluginData(session_end_info=info))


def _hparams(wall_s: float, tag: str, data: Any) -> Any:
    plugin = SummaryMetadata.PluginData(
        plugin_name=_PLUGIN, content=data.SerializeToString(deterministic=True)
    )
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=_NOTHING)
    return Event(wall_time=wall_s, summary=Summary(value=[value]))


def encode(events: Iterable[Any]) -> bytes:
    """Return records as they stand in a file."""
    parts: list[bytes] = []
    for event in events:
        data = event.SerializeToString(deterministic=True)
        length = struct.pack("<Q", len(data))
        parts += [length, _checksum(length), data, _checksum(data)]
    return b"".join(parts)


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    # Masked, as a checksum of something that holds checksums is weak.
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
