"""What an executor declares, and what the driver asks of it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from dotrain.core.events import Event
from dotrain.core.instructions import Instruction
from dotrain.errors import ResourcesUnavailable
from dotrain.executors.machine import NOTHING, Needs
from dotrain.executors.threads import Threads

#: Tells the driver of an event.
Post = Callable[[Event], None]


@dataclass(frozen=True)
class NamedFunction:
    """A function of the user's that options of an executor name.

    Attributes:
        key: Of the options.
        spec: As of the config's ``train``.
        given: What it may ask for, by name.
    """

    key: str
    spec: str
    given: tuple[str, ...]


class AbstractExecutor(ABC):
    """Runs attempts, and tells what happens to them.

    Subclasses take the keys of the config's ``cluster:`` section that they have a use for as
    arguments of ``__init__``: ``workers``, ``threads``, ``address``, ``tls``, ``connect_timeout_s``, ``kind``, and
    ``options``, which a pydantic model describes. Annotations and docstring are what is checked and
    shown; a key that isn't asked for is refused. One that has no default must be given. An
    instance is made whenever a config is checked, so nothing begins before `prepare`.

    From there on the driver calls every method from one thread, and events are posted on that
    thread only: `post` may therefore lead straight back into `carry_out`.
    """

    #: Whether attempts run while `pump` waits, so that a live display can be kept up.
    concurrent: ClassVar[bool] = True
    #: Whether nothing is trained and every value is made up.
    is_virtual: ClassVar[bool] = False
    #: Whether functions run on the driver's thread, where a debugger may have the terminal.
    runs_in_this_process: ClassVar[bool] = False
    #: Whether attempts run on this machine, and so see every file that the driver sees.
    runs_on_this_machine: ClassVar[bool] = False
    #: Whether attempts get the variables of the config's ``env:``, which is refused else.
    sets_variables: ClassVar[bool] = False
    #: Whether each rank can be given its share of a machine, the config's ``resources:``; refused else.
    shares_machine: ClassVar[bool] = False
    #: What each rank is to have.
    needs: Needs = NOTHING
    #: How many trials there will be at most, so that nothing is divided among more; None if nobody knows.
    most_trials: int | None = None
    #: What those of `named_functions` are loaded by (`FunctionRef`), by key; set before `start`.
    functions: Mapping[str, Any] = MappingProxyType({})
    #: Whether `start` waits for slots for ever, whatever the time-out; set before it.
    waits: bool = False
    #: Whether trials' files go to the config's ``storage:``, which is refused else.
    stores_files: ClassVar[bool] = False
    #: What types can't say of the keys, as JSON Schemas of the section; `problems` says it too.
    schema_rules: ClassVar[Sequence[Mapping[str, Any]]] = ()

    def problems(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Return what is wrong with the keys beyond their types: each path, and what to do."""
        return ()

    def named_functions(self) -> Iterable[NamedFunction]:
        """Return the user's functions that options name: they are looked for, and shipped, as ``train`` is."""
        return ()

    def overheard_by(self) -> str:
        """Return the machine to which what workers get goes unencrypted; ``""`` if none is known."""
        return ""

    def warnings(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Return what a person should know of the keys before a run: each path, and why."""
        return ()

    @abstractmethod
    def slots(self, per_trial: int) -> int | None:
        """Return how many slots a run will have; None if only the cluster knows.

        Args:
            per_trial: How many slots one trial takes, >= 1.
        """

    def threads(self, per_trial: int) -> Threads | None:
        """Return how many threads each slot gets, and who says so; None if only it knows itself.

        Args:
            per_trial: How many slots one trial takes, >= 1.
        """
        return None

    def gpus(self, per_trial: int) -> Sequence[Sequence[str]] | None:
        """Return the GPUs that each slot will see; None if it sees what this process does, or nobody knows.

        Args:
            per_trial: How many slots one trial takes, >= 1.
        """
        return None

    def lack(self, per_trial: int) -> str:
        """Say of what there will never be enough, and how much there is; ``""`` if of nothing.

        Args:
            per_trial: How many slots one trial takes, >= 1.
        """
        return ""

    def prepare(self, log_dir: Path, per_trial: int, program: Any = None) -> None:  # noqa: B027
        """Begin what takes long; called once, before all else that the driver asks.

        Args:
            log_dir: Where workers may write what isn't a trial's output; it needn't exist.
            per_trial: How many slots one trial takes, >= 1.
            program: What `start` will be given, if it is sure that there is something to run.
        """

    @abstractmethod
    def start(self, program: Any, post: Post) -> None:
        """Get ready to run a program; posts `SlotsChanged` as slots appear, at the latest in `pump`.

        Args:
            program: What every attempt runs, a `training.program.Program`.
            post: Where events go.

        Raises:
            ResourcesUnavailable: If no slot can be had within the time-out.
        """

    @abstractmethod
    def carry_out(self, instruction: Instruction) -> None:
        """Begin to do what an instruction says; never waits for it."""

    @abstractmethod
    def pump(self, timeout_s: float) -> None:
        """Let things happen: post what has happened, or wait for something to happen.

        Args:
            timeout_s: The longest to wait, in seconds.
        """

    def wake(self) -> None:  # noqa: B027
        """Let a `pump` that waits return soon; called on any thread. One that isn't waiting needn't heed it."""

    @abstractmethod
    def close(self) -> None:
        """End whatever still runs and leave nothing behind; safe to call twice, or unstarted."""

    def interrupt(self) -> None:  # noqa: B027
        """Let `start` return soon; called from a signal handler while it may be waiting."""

    def abort(self) -> None:  # noqa: B027
        """End whatever still runs at once, by force; `close` was broken off, or is called next."""

    def clock_s(self) -> float:
        """Return the time in seconds, on a clock that never goes back."""
        return time.monotonic()

    def date(self) -> datetime:
        """Return the date and time, for people."""
        return datetime.now(UTC)

    def resume_from(self, time_s: float, steps: Mapping[str, int]) -> None:  # noqa: B027
        """Go on with a run; called before `start`.

        Args:
            time_s: Time of the run so far, in seconds.
            steps: Steps that each trial has reported, by its folder's name.
        """


def open_ports_text(executor: AbstractExecutor, ports: int) -> str | None:
    """Say who may run code through ports without authentication; None if there are none.

    Args:
        executor: Where trials run.
        ports: How many the ranks of a trial open, see `AbstractStrategy.open_ports`.
    """
    if not ports or executor.is_virtual:
        return None
    what = (
        f"{ports} ports between the ranks of a trial have" if ports > 1 else "1 port of a trial has"
    )
    who = (
        "other users of this machine"
        if executor.runs_on_this_machine
        else "whoever reaches them on the workers' machines or over their network"
    )
    return f"{what} no authentication: {who} can run code through them; see SECURITY.md"


def refuse_too_few(executor: AbstractExecutor, per_trial: int) -> None:
    """Refuse an executor that can never run a trial.

    Args:
        executor: Not yet prepared.
        per_trial: How many slots one trial takes.

    Raises:
        ResourcesUnavailable: If there will never be so many, or what each is to have.
    """
    if lack := executor.lack(per_trial):
        raise ResourcesUnavailable(
            f"every rank is to have {executor.needs} (resources); there is only {lack}"
        )
    slots = executor.slots(per_trial)
    if slots is not None and slots < per_trial:
        advice = f"set cluster.workers to {per_trial} or more"
        raise ResourcesUnavailable(
            f"one trial takes {per_trial} workers (distribution.workers), and there will never be "
            f"more than {slots}; "
            + ("use cluster.kind: local" if executor.runs_in_this_process else advice)
        )
