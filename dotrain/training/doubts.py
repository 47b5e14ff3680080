"""What is doubtful of an attempt that has ended well, seen from beside the function."""

from __future__ import annotations

import math

from dotrain.training.checkpoint import Checkpoint
from dotrain.training.reporter import Reporter

#: Numbers that differ by less are one, computed or rounded in two ways.
_RELATIVE = 1e-3


def not_loaded(reporter: Reporter, checkpoint: Checkpoint, resume_step: int) -> str:
    """Return why what went on from a checkpoint may have begun anew, or ``""``.

    Args:
        reporter: The attempt's, at its end.
        checkpoint: The trial's.
        resume_step: The step of the one that the attempt found, 0 if it has none or doesn't ask for any.
    """
    began_anew = reporter.first_step is not None and reporter.first_step < resume_step
    if not resume_step or checkpoint.was_loaded or began_anew:
        return ""
    return (
        f"went on from step {resume_step} and never asked for checkpoint.latest: unless it keeps its state elsewhere, it "
        "began anew and only counted on; load what was saved from checkpoint.latest"
    )


def unlike(value: float, reporter: Reporter) -> str | None:
    """Return how a returned value differs from what the trial has reported last and at best, or None."""
    last, best = reporter.last, reporter.best
    known = [one for one in (last, best) if one is not None]
    if not known or any(math.isclose(value, one, rel_tol=_RELATIVE, abs_tol=1e-9) for one in known):
        return None
    told = f"{last:.6g}" if last == best else f"{last:.6g} last and {best:.6g} at best"
    return f"returned {value:.6g}, but reported {told}; the value is what was returned, early stops go by what was reported"
