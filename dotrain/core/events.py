"""Events: everything that can happen to a run. The scheduler is told one at a time, with its time.

Events of a trial name the attempt they belong to, so that a late message of an attempt that is
over can be told from news. `to_record` and `from_record` are the one form in which events go to
the journal and over the wire: plain dicts of JSON values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from dotrain.core.failure import Failure, FailureKind
from dotrain.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Event:
    """Base class of all events."""


@dataclass(frozen=True, slots=True)
class SlotsChanged(Event):
    """The executor now has `slots` slots, busy ones included; `why` is for people.

    `hosts` says how many there are on each host where that has changed, None where hosts aren't told
    from each other.
    """

    slots: int
    why: str | None = None
    hosts: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class TimePassed(Event):
    """Nothing but time has passed; limits are checked."""


@dataclass(frozen=True, slots=True)
class Interrupted(Event):
    """A person, or the loss of the whole cluster, ends the run; it can be resumed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """A new driver goes on with the run; whatever ran under the one before is gone.

    `limits`, `num_trials` and `slots_per_trial` are those from here on; `num_trials` may only grow.
    `code` is the digest of the user's code from here on, None where that isn't known, and
    `began_with` that of the first, if the header doesn't say. `archived` is whether the run was told to
    keep to the code in its own directory, None where nothing was said. `dotrain` and `version` are those of the new driver and of the journal's format as it writes it, and
    `needs` is the least format whose rules suffice to go on from there. `try_first` has the configurations
    that are to be tried first, beside those of before. `space` is what is searched from here on, as of
    `Searchspace.to_record`; None is what was searched before.
    """

    limits: Mapping[str, float | None]
    num_trials: int | None = None
    slots_per_trial: int = 1
    code: str | None = None
    began_with: str | None = None
    dotrain: str | None = None
    version: int | None = None
    needs: int | None = None
    archived: bool | None = None
    try_first: Sequence[Mapping[str, Any]] | None = None
    space: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Freed(Event):
    """The checkpoints of trials that are over count as gone from here on; deleting them follows.

    `keep` is the config's ``checkpoints.keep``, which says so; `sizes` has their bytes, by trial.
    """

    keep: str
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Proposed(Event):
    """A sampler has answered the question of that `number` with a configuration.

    `drawn` is True of one that was drawn at random in its place, as nothing that it proposed meets the space's constraints.
    """

    number: int
    params: Mapping[str, Any]
    drawn: bool | None = None


@dataclass(frozen=True, slots=True)
class TrialEvent(Event):
    """Base class of the events of one attempt of one trial."""

    trial_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Started(TrialEvent):
    """The train function is about to be entered on `worker`.

    `resume_step` is the number of steps its checkpoint holds: 0 if there is none, or if the
    function doesn't ask for checkpoints. `hosts` are those of its ranks, the chief's first, None where
    they aren't told from each other.
    """

    worker: str = ""
    resume_step: int = 0
    hosts: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Reported(TrialEvent):
    """The train function reported the metric's `value` at `step`.

    `metrics` holds the other numbers that were reported with it. `kept` marks a report of an
    earlier attempt that had been lost on its way. A report that `replaces` the one before it, of
    the same step, says the how-manieth it is to do so, from 1.
    """

    step: int
    value: float
    metrics: Mapping[str, float] | None = None
    kept: bool | None = None
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Noted(TrialEvent):
    """The attempt tells of itself what must be known of its value; `mark` is one of `Mark`."""

    mark: str
    what: str


@dataclass(frozen=True, slots=True)
class StopAsked(TrialEvent):
    """A person wants the trial to end well; `who` as ``user@host``, `why` in his words, or ``""``."""

    who: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Used(TrialEvent):
    """What an attempt has used that was ended for its time, told when nothing is left of it."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class AttemptEnd(TrialEvent):
    """Base class of the events that end an attempt.

    `usage` is None where nobody knows it. `host` is that of the rank that this is about: of the one
    that failed or was lost, else of the chief; None where hosts aren't told from each other.
    """

    usage: Usage | None = field(default=None, kw_only=True)
    host: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Finished(AttemptEnd):
    """The train function returned `value`, and the other numbers of `metrics`.

    `taken` says that it returned nothing, and which of its reports the value is instead; `unlike`, that it had reported
    otherwise, and what.
    """

    value: float
    metrics: Mapping[str, float] | None = None
    taken: str | None = None
    unlike: str | None = None


@dataclass(frozen=True, slots=True)
class Stopped(AttemptEnd):
    """The stop that was asked for has ended the train function."""


@dataclass(frozen=True, slots=True)
class Diverged(AttemptEnd):
    """The metric became NaN or infinite, which ended the train function; `what` says how."""

    what: str


@dataclass(frozen=True, slots=True)
class Failed(AttemptEnd):
    """The attempt failed: the same would happen again, on the same host at least."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Lost(AttemptEnd):
    """The attempt ended by no doing of the user's function: its worker died, for instance.

    `died` says what did so without a word, the ``process`` or its ``worker``; None where nothing did, or it says nothing
    of the host.
    """

    cause: str
    died: str | None = None


EVENTS: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        SlotsChanged,
        TimePassed,
        Interrupted,
        Resumed,
        Freed,
        Proposed,
        Started,
        Reported,
        Noted,
        StopAsked,
        Used,
        Finished,
        Stopped,
        Diverged,
        Failed,
        Lost,
    )
}
_FIELDS = {cls: tuple(f.name for f in fields(cls)) for cls in EVENTS.values()}
_FAILURE_FIELDS = tuple(f.name for f in fields(Failure))


def to_record(event: Event) -> dict[str, Any]:
    """Return `event` as a dict of JSON values, ``type`` first; fields that are None are left out."""
    cls = type(event)
    record: dict[str, Any] = {"type": cls.__name__}
    for name in _FIELDS[cls]:
        value = getattr(event, name)
        if isinstance(value, Failure):
            value = {key: str(getattr(value, key)) for key in _FAILURE_FIELDS}
        elif isinstance(value, Usage):
            value = value.to_record()
        if value is not None:
            record[name] = value
    return record


def from_record(record: Mapping[str, Any]) -> Event:
    """Rebuild the event of a record made by `to_record`; fields it doesn't know are passed over.

    Raises:
        KeyError: If the record's type is no event.
        TypeError: If a field is missing that the event can't be without.
    """
    cls = EVENTS[record["type"]]
    values = {name: record[name] for name in _FIELDS[cls] if name in record}
    if "failure" in values:
        told = values["failure"]
        known = {key: told[key] for key in _FAILURE_FIELDS if key in told}
        values["failure"] = Failure(**{**known, "kind": FailureKind(told["kind"])})
    if "usage" in values:
        values["usage"] = Usage.of(values["usage"])
    return cls(**values)
