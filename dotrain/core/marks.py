"""What must be known of a value wherever it is shown."""

from __future__ import annotations

from enum import StrEnum


class Mark(StrEnum):
    """What must be known of a value wherever it is shown."""

    SIMULATED = "simulated"  # nothing was trained, the value is made up
    INHERITED = (
        "inherited"  # it began from another trial's checkpoint: its parameters alone don't give it
    )
    CONTINUED = "continued"  # a later attempt went on from the checkpoint of an earlier one
    RECOUNTED = "recounted"  # it did, but counted its steps from the start again
    NOT_LOADED = "not loaded"  # it did, and never looked at what the checkpoint holds
    REPLACED = "replaced"  # a step was reported more than once; the last report counts
    OVER_BUDGET = "over budget"  # it reported beyond the budget that it was given
    OTHER_VALUE = "other value"  # it returned what it had reported neither last nor at best
    PROMOTION_FAILED = (
        "promotion failed"  # its value is of a smaller budget: the attempt with more has failed
    )
    OTHER_CODE = "other code"  # it ran code other than the run began with
    INFEASIBLE = "infeasible"  # it doesn't keep what search.constraints demand, and never wins
    FEWER_REPEATS = "fewer repeats"  # it was worse than the best in those it has, and never wins
    GUESSED = "guessed"  # the function returned nothing; the value is one of its reports


#: With one of these a trial isn't ranked, whatever its value.
NEVER_WINS = frozenset({Mark.INFEASIBLE, Mark.FEWER_REPEATS})
