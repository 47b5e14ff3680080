"""Errors named by what the person at the keyboard should do next.

Each error knows the exit code of the command line, so that no layer above has to guess.
"""

from __future__ import annotations


class DotrainError(Exception):
    """A failure that is explained by its message alone; the CLI shows no traceback for it."""

    #: Exit code of the command line (see the README).
    exit_code = 1


class UsageError(DotrainError):
    """The caller asked for something that can't be: mend the call or the config."""

    exit_code = 2


class ResourcesUnavailable(DotrainError):
    """The workers asked for can't be had: mend the cluster or ask for less."""

    exit_code = 3


class Interrupt(KeyboardInterrupt):
    """A person's Ctrl-C, as the driver raises it; a train function's own is only its failure."""


class ClusterGone(DotrainError):
    """The cluster went away under a run: mend the cluster, and resume."""


class DiskFull(DotrainError):
    """The disk of the run directory is full: make room, and resume."""


class PolicyError(DotrainError):
    """An optimizer or early-stop rule broke its contract: mend the plugin."""


class JournalError(DotrainError):
    """A journal can't be read or written."""


def did_you_mean(word: str, known: list[str]) -> str:
    """Return a hint for a misspelt `word`, or the list of the `known` names.

    Args:
        word: What was typed.
        known: The names that would have been right.

    Returns:
        A clause that starts with ``"; "``, or ``""`` when nothing is known.
    """
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(sorted(known))}" if known else ""
