"""Instructions: what the scheduler wants done. Executors carry them out; the journal keeps them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from dotrain.core.arm import ArmRun
from dotrain.core.enums import OpenStrEnum
from dotrain.core.repeated import folder_of
from dotrain.core.trial import Trial


@dataclass(frozen=True, slots=True)
class Instruction:
    """Base class of all instructions; `reason` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Launch(Instruction):
    """Run one attempt of a trial on `slots` free slots.

    Attributes:
        trial_id: The trial.
        attempt: Which attempt of it, from 1.
        params: Hyperparameters by name.
        budget: Steps the attempt may use, or None.
        seed: The trial's seed.
        slots: Slots it holds until it ends.
        known_step: The last step that was reported before; -1 if none was.
        arm: Which run of an ablation study the trial is, if it is one.
        avoid: Hosts on which it is not to run, as long as there are others with so many slots.
        repeat: Which repeat of the trial it is, from 0.
        begins_from: The trial from whose checkpoint it begins as long as it has none of its own; ``""``: from the start.
        begins_at: The step of that checkpoint, as of the trial.
        keep_step: The newest checkpoint of so many steps or less stays beside newer ones: another trial may begin from it;
            -1 if nobody borrows any.
    """

    trial_id: str
    attempt: int
    params: dict[str, Any]
    budget: float | None
    seed: int
    slots: int = 1
    known_step: int = -1
    arm: ArmRun | None = None
    avoid: tuple[str, ...] = ()
    repeat: int = 0
    begins_from: str = ""
    begins_at: int = 0
    keep_step: int = -1

    @property
    def folder(self) -> str:
        """The name of the folder that it writes to."""
        return folder_of(self.trial_id, self.repeat)

    @property
    def varied(self) -> dict[str, Any]:
        """As of the trial."""
        return self.params if self.arm is None else self.arm.shown


def launch_of(trial: Trial, reason: str, avoid: Collection[str], repeat: int) -> Launch:
    """Return the launch of a trial's next attempt.

    Args:
        trial: As it stands then; it has been accepted.
        reason: For people.
        avoid: Hosts, as of `Launch`.
        repeat: As of `Launch`.
    """
    assert trial.seed is not None, "a trial is launched that was not accepted"
    return Launch(
        reason,
        trial.trial_id,
        trial.attempt,
        trial.params,
        trial.budget,
        trial.seed,
        trial.slots,
        -1 if trial.last_step is None else trial.last_step,
        trial.arm,
        tuple(sorted(avoid)),
        repeat,
        trial.begins_from,
        trial.begins_at,
        trial.lent_step if trial.lends else -1,
    )


@dataclass(frozen=True, slots=True)
class Stop(Instruction):
    """Raise the early stop in the train function at its next report."""

    trial_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Kill(Instruction):
    """End an attempt whatever it does; the scheduler has already written it off.

    Attributes:
        trial_id: The trial.
        attempt: Which attempt of it.
        timeout: Whether the trial has failed by that, else it waits to be launched again.
    """

    trial_id: str
    attempt: int
    timeout: bool = False


@dataclass(frozen=True, slots=True)
class SetAside(Instruction):
    """A host gets no more trials, or `back`, some again; launches say so themselves, by what they avoid."""

    host: str
    back: bool = False


@dataclass(frozen=True, slots=True)
class Ask(Instruction):
    """Let a sampler answer a question; what it may know are the first so many trials and outcomes.

    Attributes, but for `reason`, are those of `core.sampling.Question`.
    """

    number: int
    trials: int
    outcomes: int
    level: float | None = None


class RunStatus(OpenStrEnum):
    """How a run stands, or how it has ended."""

    RUNNING = "running"  # a driver is there, or may be
    CRASHED = "crashed"  # its driver is gone, and the journal doesn't say that it has ended
    FINISHED = "finished"
    TIME_LIMIT = "time_limit"
    FAILED = "failed"  # too many trials failed, or a policy broke its contract
    INTERRUPTED = "interrupted"

    @property
    def goes_on(self) -> bool:
        """Whether somebody should go on with the run, for nobody does and it isn't finished."""
        return self not in (RunStatus.FINISHED, RunStatus.RUNNING)

    @property
    def was_broken_off(self) -> bool:
        """Whether the run ended in another way than it was to."""
        return self in (RunStatus.FAILED, RunStatus.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Finish(Instruction):
    """The run is over, and how it has ended.

    Attributes:
        status: How.
        early: Whether a search had found enough before the optimizer had nothing left (see `Enough`).
    """

    status: RunStatus
    early: bool = False


INSTRUCTIONS = frozenset(cls.__name__ for cls in (Launch, Stop, Kill, SetAside, Ask, Finish))


def to_record(instruction: Instruction) -> dict[str, Any]:
    """Return `instruction` as a dict of JSON values, ``type`` first."""
    return {"type": type(instruction).__name__, **asdict(instruction)}
