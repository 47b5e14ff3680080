"""Which rows of a global batch are this rank's, and which batch a pass through the model is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

from dotrain.training.errors import BadSetup


@final
@dataclass(frozen=True)
class Share:
    """One rank's part of one global batch.

    Attributes:
        rows: How many of its rows are this rank's.
        total: How many it has.
        ranks: Between how many ranks it is split.
    """

    rows: int
    total: int
    ranks: int

    @property
    def weight(self) -> float:
        """What a mean over this rank's rows counts in the mean over all, times the number of ranks.

        1 for each rank if all have equally many rows, 0 if this one has none.
        """
        return self.rows * self.ranks / self.total


def bounds(total: int, rank: int, ranks: int) -> tuple[int, int]:
    """Return where a rank's rows of a global batch begin and end.

    Ranks have neighbouring rows, in the order of their numbers, as near to equally many as can be;
    the first ones have one more than the last.
    """
    least, more = divmod(total, ranks)
    first = rank * least + min(rank, more)
    return first, first + least + (rank < more)


@final
@dataclass
class Iteration:
    """One iteration of a data set: what it has given since a model was last called."""

    given: list[Share] = field(default_factory=list)
    is_over: bool = False


@final
class Shares:
    """The shares that a process has been given by its data sets."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._iterations: list[Iteration] = []
        self._last: Share | None = None
        #: Of the batch that a training pass was of, the last one.
        self.trained: Share | None = None
        #: Whether a batch has had no row for this rank, of which no mean can be taken.
        self.had_none = False
        #: Tensors of a row of the batch of which this rank has none.
        self.spare: Sequence[Any] = ()

    def begin(self) -> Iteration:
        """Return a new iteration."""
        iteration = Iteration()
        self._iterations.append(iteration)
        return iteration

    def give(self, iteration: Iteration, share: Share) -> None:
        """Note that a batch is handed out."""
        if not iteration.given or iteration.given[-1] != share:
            iteration.given.append(share)
        self.had_none |= share.rows == 0

    def end(self, iteration: Iteration) -> None:
        """Note that an iteration will give no more."""
        iteration.is_over = True

    def latest(self) -> Share | None:
        """Return the share of the batch that was taken last, or that a model was called with since."""
        fresh = [one.given[-1] for one in self._iterations if one.given]
        return fresh[-1] if fresh else self._last

    def now(self) -> Share | None:
        """Return the share of the batch that a model is called with; None if there has been none.

        Raises:
            BadSetup: If that can't be told.
        """
        fresh = [one for one in self._iterations if one.given]
        # A validation between two batches of a training is over by then.
        fresh = [one for one in fresh if not one.is_over] or fresh
        shares = [share for one in fresh for share in one.given]
        if len({share.weight for share in shares}) > 1:
            raise BadSetup(
                "several batches were taken since the model was last called, and ranks have "
                f"different parts of them ({', '.join(_words(share) for share in shares[:3])}): call the "
                "model for each batch before the next one is taken; lists of batches, two data "
                "sets at once and fetching ahead work if `batch_size` is a multiple of the number of workers "
                "and of rows"
            )
        for one in self._iterations:
            one.given = []
        self._iterations = [one for one in self._iterations if not one.is_over]
        if shares:
            self._last = shares[-1]
        return self._last


def _words(share: Share) -> str:
    return f"{share.rows} of {share.total} rows here"


#: Those of this process. A process is a rank of one group at most.
SHARES = Shares()
