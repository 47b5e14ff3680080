"""Why an attempt failed, and what happens next because of it."""

from __future__ import annotations

from dataclasses import dataclass

from dotrain.core.enums import OpenStrEnum


class FailureKind(OpenStrEnum):
    """What kind of failure ended an attempt.

    One that a newer version has recorded is none of those below: it counts as the train function's
    own.
    """

    EXCEPTION = "exception"  # the train function raised one
    BAD_REPORT = "bad report"  # it reported what can't be reported
    BAD_RESULT = "bad result"  # it returned what is no result
    SETUP = "setup"  # it could not be given what it asks for
    LOST = "lost"  # its workers died, more often than `limits.retries` allows
    TIMEOUT = "timeout"  # it took longer than `limits.trial_timeout_s`
    MEMORY = "memory"  # it held more than `limits.trial_memory_mb`
    DISK_FULL = "disk full"  # there was no room in the run directory
    PEER = "peer"  # another rank of the trial has died; which one, and why, is not known yet
    PORT_TAKEN = "port taken"  # a port that its ranks were to meet at was taken by then

    @property
    def is_ours(self) -> bool:
        """Whether it went wrong around the train function, not in it."""
        return self in _OURS

    @property
    def ends_run(self) -> bool:
        """Whether the run ends by it, and the trial goes on with the run."""
        return self is FailureKind.DISK_FULL

    @property
    def starts_again(self) -> bool:
        """Whether the attempt is started again, as if it had not been."""
        return self is FailureKind.PORT_TAKEN

    @property
    def may_be_the_hosts(self) -> bool:
        """Whether the same might not have happened on another host.

        What a function returns or reports is its own, and what took too long or too much would again.
        """
        return self in (FailureKind.EXCEPTION, FailureKind.SETUP)

    @property
    def blames_peer(self) -> bool:
        """Whether another rank is the cause, and has the better message."""
        return self is FailureKind.PEER

    @property
    def names_exception(self) -> bool:
        """Whether the message begins with the name of an exception and a colon."""
        return self is FailureKind.EXCEPTION

    @property
    def was_cut_off(self) -> bool:
        """Whether the train function was ended from outside, so that no line of it is to blame."""
        return self in (FailureKind.LOST, FailureKind.TIMEOUT, FailureKind.MEMORY)


_OURS = frozenset(
    {
        FailureKind.SETUP,
        FailureKind.LOST,
        FailureKind.DISK_FULL,
        FailureKind.PEER,
        FailureKind.PORT_TAKEN,
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed.

    Attributes:
        kind: What happens next follows from it.
        message: What happened, in one line.
        location: ``file:line in function`` of the user's code, or ``""``.
        source: The user's line of code there, or ``""``.
        traceback: The user's frames, for the log and for `show`.
    """

    kind: FailureKind
    message: str
    location: str = ""
    source: str = ""
    traceback: str = ""
