"""The third plugin interface: how one trial spans devices and workers.

A trial that is trained by several processes has one *rank* in each, numbered from 0; rank 0 is the
*chief*, which alone reports and writes the trial's files. All ranks call the same train function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final


@final
@dataclass(frozen=True, slots=True)
class Seat:
    """One rank's place among the ranks of an attempt.

    Attributes:
        rank: Its number, from 0.
        addresses: ``host:port`` of every rank, by number, free for the strategy's own messages.
        agreement: ``host:port`` at which the chief tells the others what it has decided.
        token: A secret of the ranks of this attempt.
        workers: Names of the workers they run on, by number, for people.
    """

    rank: int = 0
    addresses: tuple[str, ...] = ("127.0.0.1:0",)
    agreement: str = "127.0.0.1:0"
    token: str = ""
    workers: tuple[str, ...] = ()

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return len(self.addresses)


@final
class PortTaken(Exception):
    """A rank can't have the port it was given: the group is started again with others."""


class AbstractStrategy(ABC):
    """Makes one trial's training span devices and workers.

    Subclasses take their options as keyword arguments of ``__init__``, with type annotations:
    these become the keys of ``distribution:`` in the config, and are validated as such. A
    ``ValueError`` raised there is shown with the section's line.

    Only `open` must be written. The order of calls in the process that runs a rank:
    `environment` (before it starts), `begin`, then the user's modules are imported and the train
    function is called, which calls `open`; ``model_gen.create`` calls `model`, `data_gen.batch` calls `shard`; then
    `check_use`.
    """

    #: Packages that it needs; ``dotrain check`` and workers refuse it where one isn't installed, and a process that has
    #: imported them waits ready for the next trial.
    packages: ClassVar[tuple[str, ...]] = ()
    #: Packages of the frameworks whose batches `shard` can split, those that come first; by default `packages`.
    splits: ClassVar[tuple[str, ...]] = ()

    @property
    def slots(self) -> int:
        """How many workers one trial takes, one rank on each."""
        return 1

    @property
    def open_ports(self) -> int:
        """How many ports the ranks of a trial open at which nobody has to prove who they are.

        Whoever reaches one may run code through it; ``dotrain check`` tells of them.
        """
        return 0

    def environment(self) -> Mapping[str, str]:
        """Return environment variables that must be there before any package is imported."""
        return {}

    def begin(self, seat: Seat) -> None:  # noqa: B027
        """Get ready, before the user's code is imported; may wait for the other ranks.

        Raises:
            PortTaken: If this rank's address is taken: new ones will be given to all.
        """

    @abstractmethod
    def open(self) -> Any:
        """Return what ``dist_strategy()`` gives: a context manager that opens the scope."""

    def shard(self, dataset: Any) -> Any:
        """Return a data set of global batches such that no two ranks share a row.

        Args:
            dataset: From `AbstractFramework.batches` of a framework of `packages`, if there is one.
        """
        return dataset

    def model(self, model: Any) -> Any:
        """Return a model, made by the user's function, ready to be trained by this rank.

        Args:
            model: What ``model_gen.create()`` would give without a strategy.
        """
        return model

    def go_apart(self) -> None:  # noqa: B027
        """Let this rank draw random numbers of its own, where ranks should not draw the same ones.

        Called when the generators of all ranks have been set to the same state, that of a checkpoint.
        """

    def check_use(self) -> None:  # noqa: B027
        """Look, when the train function has returned, whether it has used the strategy.

        Raises:
            Exception: If it hasn't, with what to do; this fails the trial.
        """

    def peer_is_gone(self, error: BaseException) -> bool:
        """Whether an error that came out of the train function is another rank's death."""
        return False
