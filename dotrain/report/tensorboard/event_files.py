"""TensorBoard's file format: the records of its event files, made without TensorFlow.

Of TensorBoard, which is imported with this module, only the protocol buffers are used: its modules
around them take several times as long to import, and some of them import TensorFlow.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_FAILURE,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from dotrain.space import Categorical, Domain, Float, Int
from dotrain.training.failure import plain_text

try:
    from google_crc32c import value as crc32c
except ImportError:  # thirty times slower, for who has installed TensorBoard alone
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c

#: As in `tensorboard.plugins.hparams.metadata`.
_PLUGIN = "hparams"
_EXPERIMENT = "_hparams_/experiment"
_TRIAL_START = "_hparams_/session_start_info"
_TRIAL_END = "_hparams_/session_end_info"
_NOTHING = TensorProto(
    dtype=DT_FLOAT, tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=0)])
)

#: Longer texts make the table unreadable.
_LONGEST_TEXT = 100

_DATA_TYPES = {
    "number": DATA_TYPE_FLOAT64,
    "bool": DATA_TYPE_BOOL,
    "text": DATA_TYPE_STRING,
}


@dataclass(frozen=True)
class Column:
    """One hyperparameter, as the table of TensorBoard's HParams plugin holds it.

    A column is of one type; a value of another is left out.

    Attributes:
        name: Of the hyperparameter.
        kind: The type of its values there.
        values: All that it may be, or nothing.
        interval: The bounds of a number, or None.
        is_common: Whether every trial has it, and not all the same: TensorBoard shows such columns
            first. Its parallel coordinates leave out trials that lack a value of a shown column.
    """

    name: str
    kind: Literal["number", "bool", "text"]
    values: Sequence[Any] = ()
    interval: tuple[float, float] | None = None
    is_common: bool = False

    @classmethod
    def of_domain(cls, name: str, domain: Domain) -> Column:
        """Return the column of what is searched."""
        if isinstance(domain, Float | Int):
            low, high = map(float, domain.range)
            return cls(name, "number", (), (low, high), not domain.when and low < high)
        values: Sequence[Any] = getattr(domain, "values", ())
        kind = _kind_of(values) if isinstance(domain, Categorical) else "number"
        found = cls(name, kind, values)
        shown = [found.value(value) for value in values]
        distinct = list(dict.fromkeys(value for value in shown if value is not None))
        return cls(name, kind, distinct, None, not domain.when and len(distinct) > 1)

    @classmethod
    def of_value(cls, name: str, value: Any) -> Column:
        """Return the column of what is not searched, from the first value that it has."""
        return cls(name, _kind_of([value]))

    def value(self, value: Any) -> float | bool | str | None:
        """Return a value as the column holds it, or None if it can't."""
        if self.kind == "text":
            text = plain_text(str(value))
            return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."
        if self.kind == "bool":
            return value if isinstance(value, bool) else None
        return _number(value)

    def info(self) -> Any:
        """Return the column's part of the experiment's record."""
        info = HParamInfo(
            name=plain_text(self.name), type=_DATA_TYPES[self.kind], differs=self.is_common
        )
        if self.interval is not None:
            info.domain_interval.min_value, info.domain_interval.max_value = self.interval
        elif self.values:
            info.domain_discrete.extend(self.values)
        return info


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


def experiment(
    wall_s: float,
    name: str,
    description: str,
    columns: Iterable[Column],
    metrics: Mapping[str, str],
) -> Any:
    """Return the record of what the table of trials consists of.

    Args:
        wall_s: When the run began, in seconds since the epoch.
        name: Of the experiment.
        description: Of the experiment.
        columns: The hyperparameters.
        metrics: The metrics' names by tag, in order.
    """
    found = Experiment(
        name=name,
        description=description,
        time_created_secs=wall_s,
        hparam_infos=[column.info() for column in columns],
        metric_infos=[
            MetricInfo(name=MetricName(tag=tag), display_name=shown)
            for tag, shown in metrics.items()
        ],
    )
    return _hparams(wall_s, _EXPERIMENT, HParamsPluginData(experiment=found))


def trial_start(
    wall_s: float, trial_id: str, columns: Mapping[str, Column], params: Mapping[str, Any]
) -> Any:
    """Return the record of a trial's beginning: its row in the table."""
    info = SessionStartInfo(group_name=trial_id, start_time_secs=wall_s)
    for name, given in params.items():
        value = columns[name].value(given)
        field = info.hparams[plain_text(name)]
        if isinstance(value, bool):
            field.bool_value = value
        elif isinstance(value, str):
            field.string_value = value
        elif value is not None:
            field.number_value = value
        else:
            del info.hparams[plain_text(name)]
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
