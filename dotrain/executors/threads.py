"""How many threads each slot gets: what the config says, else the environment, else its share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: The variable that holds for the thread pools of all libraries where a user has set it.
VARIABLE = "OMP_NUM_THREADS"

_KEY, _CPUS = "cluster.threads", "resources.cpus"


@dataclass(frozen=True)
class Threads:
    """The threads of each slot.

    Attributes:
        count: How many, >= 1.
        source: Who says so, for people.
    """

    count: int
    source: str

    def __str__(self) -> str:
        return f"{self.count} thread{'s' * (self.count != 1)} each ({self.source})"


def asked(
    key: int | None, environment: Mapping[str, str], cpus: int | None = None
) -> Threads | None:
    """Return what somebody has asked for, or None.

    Args:
        key: What the config says of threads.
        environment: What variables say; both keys go before them.
        cpus: What the config says of cores; the same, where it says both.
    """
    if cpus is not None:
        return Threads(cpus, _CPUS)
    if key is not None:
        return Threads(key, _KEY)
    count = in_environment(environment)
    return None if count is None else Threads(count, VARIABLE)


def share(cores: int, slots: int) -> Threads:
    """Return what a slot gets of a machine if nobody asks for anything.

    Args:
        cores: How many may be used, >= 1.
        slots: How many share them, >= 1.
    """
    return Threads(max(1, cores // slots), "cores / slots")


def variables(
    threads: Threads, wanted: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables to set.

    What somebody has asked for holds for all libraries. A mere share leaves alone what is set for
    one of them.

    Args:
        threads: What each slot gets.
        wanted: The variables by which libraries are told so.
        environment: Where they are set.
    """
    if threads.source in (_KEY, _CPUS):
        return dict(wanted)
    if threads.source == VARIABLE:  # it may say more: a number for each level
        return {name: value for name, value in wanted.items() if name != VARIABLE}
    return {n: v for n, v in wanted.items() if n == VARIABLE or not environment.get(n)}


def in_environment(environment: Mapping[str, str]) -> int | None:
    """Return the number that `VARIABLE` has, of the outermost level; None without one."""
    text = environment.get(VARIABLE, "").split(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) else None


def fault(key: int | None, environment: Mapping[str, str]) -> str:
    """Return what is wrong with `VARIABLE` where it is to hold, else ``""``."""
    text = environment.get(VARIABLE, "")
    if key is not None or not text.strip() or in_environment(environment):
        return ""
    return f"the environment has {VARIABLE}={text}; expected a whole number >= 1"
