"""The plugin interface of a framework: all that differs between one and another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from dotrain.ablation.layers import Surgery, SurgeryError
from dotrain.core.seeding import derive_seed


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch's order: what came before, and in which process, is no matter.

    Args:
        seed: Of the data, in [0, 2**31).
        epoch: Its number, >= 0.

    Returns:
        A number in [0, 2**31).
    """
    return derive_seed(seed, "epoch", epoch)


def epoch_order(rows: int, seed: int | None, epoch: int) -> Any:
    """Return the order of an epoch's rows, the same in every framework.

    Args:
        rows: How many there are.
        seed: Of the data; None for their own order.
        epoch: Its number, >= 0.

    Returns:
        A NumPy array of `rows` indices.
    """
    import numpy as np

    if seed is None:
        return np.arange(rows)
    # The only generator of NumPy's whose numbers are the same in all of its versions.
    return np.random.RandomState(epoch_seed(seed, epoch)).permutation(rows)


class Batching(NamedTuple):
    """What data say about their own batches.

    Attributes:
        size: Rows of a batch; None if they don't say.
        shuffled: Whether rows are shuffled; None if they don't say.
    """

    size: int | None = None
    shuffled: bool | None = None


class AbstractFramework(ABC):
    """One framework that users' code may be written with.

    Registered in the group ``dotrain.frameworks`` under the name of the package that users import;
    a framework of several packages is registered under each. It is made without arguments and has
    no state. Importing its module must not import the framework: that is done inside of methods,
    which are called in a process that has imported it; `threads` and `environment` are called
    anywhere, and import nothing.

    Only `seed` must be written. All the rest is "not mine" unless it is overridden. Rows are split
    between ranks by the strategy (`AbstractStrategy.shard`), which is made for one framework.
    """

    #: What is imported before the first trial, so that all trials are seeded alike, wherever the
    #: user's code imports it.
    packages: ClassVar[tuple[str, ...]] = ()
    #: Installed distributions whose versions stand in the journal.
    distributions: ClassVar[tuple[str, ...]] = ()
    #: What stands between the parts of a layer's qualified name.
    separator: ClassVar[str] = "/"
    #: Whether the first weights of a layer depend on how many numbers those before it have drawn.
    draws_in_order: ClassVar[bool] = False
    #: What pip is told to install it, where that isn't its distributions: one of dotrain's extras, say.
    requirement: ClassVar[str] = ""
    #: Of several that a program imports and that take the same data, the one with more gives the batches.
    precedence: ClassVar[int] = 0

    def threads(self, count: int) -> Mapping[str, str]:
        """Return environment variables that keep its thread pools to `count` threads."""
        return {}

    def environment(self) -> Mapping[str, str]:
        """Return environment variables of a process that trains; what the user has set, stays."""
        return {}

    def set_threads(self, count: int, code: str) -> None:  # noqa: B027
        """Keep those of its thread pools that no variable limits to `count` threads.

        Args:
            count: As of `threads`.
            code: The user's source: what that sets, is left to it.
        """

    def reset(self) -> None:  # noqa: B027
        """Clear what earlier trials have left in the process."""

    @abstractmethod
    def seed(self, seed: int) -> None:
        """Seed its global generators.

        Args:
            seed: In [0, 2**31).
        """

    def random_state(self) -> Any:
        """Return the state of its global generators, for a checkpoint.

        Returns:
            What JSON can hold; None if it has no state, or none that can be told.
        """
        return None

    def set_random_state(self, state: Any) -> None:  # noqa: B027
        """Let its global generators go on from a state.

        Args:
            state: What `random_state` has returned, perhaps in another process.
        """

    def takes_data(self, data: Any) -> bool:
        """Whether `batches` can make batches of what a data function has returned.

        What takes arrays should take `Rows`, which are read when a batch is made, and give of them the batches that it
        gives of arrays with the same rows.
        """
        return False

    def batching(self, data: Any) -> Batching:
        """Return what data say about their own batches, as a loader does; a call may say otherwise.

        Args:
            data: What `takes_data` has taken.
        """
        return Batching()

    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        """Return data in batches, ready to train on in this framework's way.

        Args:
            data: What `takes_data` has taken.
            size: Rows of a batch, over all ranks.
            seed: By which rows are shuffled anew in each epoch; None for their own order.
            epoch: Number of the first iteration's epoch; each further one is the next. Where the number
                of rows is known, an epoch has the order that `epoch_order` tells; of `Rows`, that of their own.
        """
        name = type(self).__name__
        raise NotImplementedError(f"{name} takes {type(data).__name__}, but has no `batches`")

    def same_data(self, one: Any, other: Any) -> bool | None:
        """Whether two data sets are equal, as far as a look tells; None if they are not its own."""
        return None

    def scope(self) -> Any:
        """Return what its own code takes for the strategy of one process, or None."""
        return None

    def number(self, value: Any) -> float | None:
        """Return one of its values as a number, where ``float(value)`` doesn't tell, or says more than that.

        Args:
            value: What was reported or returned.

        Returns:
            None if it is no single number of this framework's.
        """
        return None

    def is_model(self, model: Any) -> bool:
        """Whether what a model function has returned is a model of this framework's."""
        return False

    def layer_names(self, model: Any) -> Sequence[str]:
        """Return the qualified names of the layers that can be left out, in the model's order.

        Raises:
            SurgeryError: If there can be none.
        """
        raise SurgeryError(f"layers can't be left out of a {type(model).__name__}")

    def without_layers(
        self, model: Any, names: Sequence[str], first_rows: Callable[[], Any] | None = None
    ) -> Surgery:
        """Return a model without some of its layers; the original isn't changed.

        Args:
            model: The model.
            names: Which layers.
            first_rows: Returns the first rows of the study's data as a batch, or raises a
                `SurgeryError` if they can't be had; for a framework whose models show only
                when they run how their layers hang together. None if there are no data.

        Raises:
            SurgeryError: If there can't be one.
        """
        raise SurgeryError(f"layers can't be left out of a {type(model).__name__}")

    def inherit(self, original: Any, model: Any) -> None:  # noqa: B027
        """Give the layers of `model` the weights of the original's of the same names and shapes."""

    def evaluated(self, model: Any, numbers: Sequence[float]) -> Mapping[str, float] | None:
        """Return numbers by their names, if they are what the model's last evaluation came to.

        Args:
            model: One of this framework's.
            numbers: What a train function has returned.

        Returns:
            None unless that is sure.
        """
        return None

    def parameters(self, model: Any) -> int | None:
        """Return how many parameters a model has, or None if that isn't known yet."""
        return None

    def same_graph(self, one: Any, other: Any) -> bool:
        """Whether two models are known to compute the same, but for their weights."""
        return False
