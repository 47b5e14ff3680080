"""How an attempt can end other than by returning."""

from __future__ import annotations


class EarlyStop(BaseException):
    """Raised in the train function, at the report after which it was told to stop.

    It is no `Exception`, so that a train function's own ``except Exception`` lets it through;
    ``finally`` and ``with`` blocks run as usual.
    """


class Diverged(EarlyStop):
    """Raised in the train function when it has reported NaN or infinity: nothing comes after that."""


class BadReport(ValueError):
    """The train function reported something that is no report."""


class BadResult(ValueError):
    """The train function returned something that is no result."""


class BadSetup(TypeError):
    """The train function, or what it needs, can't be loaded or called."""
