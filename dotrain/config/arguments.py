"""Arguments of the user's functions: what nobody gives them, and what they don't take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dotrain.config.errors import Problem
from dotrain.config.schema import Settings
from dotrain.config.source import Source
from dotrain.core.policy import AbstractOptimizer
from dotrain.core.strategy import AbstractStrategy
from dotrain.errors import did_you_mean
from dotrain.space import Searchspace
from dotrain.usercode.by_value import GivenFunction
from dotrain.usercode.function import Described, Signature

#: What a train function may ask for besides hyperparameters; some only where they exist.
PROVIDED = sorted(Searchspace.RESERVED - {"features"})


def place_of(function: Described, signature: Signature) -> str:
    """Return a function as messages name it, with its line if it stands in a file."""
    name = f"{function.function}()"
    return name if function.file is None else f"{function.file}:{signature.line}: {name}"


def names_taken(functions: Iterable[Described | None]) -> set[str] | None:
    """Return the hyperparameters that functions take by name, or None if that can't be told.

    One with ``**kwargs``, or that asks for ``hparams``, may take any.

    Args:
        functions: The user's; None is one of which nothing is known.
    """
    taken: set[str] = set()
    for function in functions:
        signature = function.signature() if function is not None else None
        if signature is None or signature.takes_any or "hparams" in signature.names:
            return None
        taken |= signature.names
        if signature.names & {"data_gen", "dataset_function"}:
            taken.add("batch_size")  # `data_gen.batch()` takes it
    return taken - (Searchspace.RESERVED - {"budget"})


def reachable(
    train: Described | None, model: Described | None, data: Described | None
) -> list[Described | None]:
    """Return what of these is ever called; a function that nobody asks for takes nothing.

    Args:
        train: The train function; None is one of which nothing is known.
        model: What ``model_gen`` calls, or None.
        data: What ``data_gen`` calls, or None.
    """
    signature = train.signature() if train is not None else None
    names = None if signature is None or signature.takes_any else signature.names
    found = [train]
    for function, ways in (
        (model, {"model_gen", "model_function"}),
        (data, {"data_gen", "dataset_function"}),
    ):
        if function is not None and (names is None or names & ways):
            found.append(function)
    return found


def prepare_problems(prepare: Described, source: Source) -> Iterator[Problem]:
    """Yield why a function can't be what is called before the first trial.

    Args:
        prepare: The function.
        source: Where it is named.
    """
    signature = prepare.signature()
    if signature is not None and signature.required:
        names = ", ".join(f"'{name}'" for name in signature.required)
        message = (
            f"{place_of(prepare, signature)} asks for {names}, but is called without arguments; "
            "write defaults"
        )
        yield source.problem(("prepare",), message)
    if isinstance(prepare, GivenFunction) and not prepare.is_importable():
        message = (
            f"{prepare.function}() is defined in a script or a notebook, so the other functions "
            "would not see what it has loaded; put it into a module and import it from there"
        )
        yield source.problem(("prepare",), message)


def not_taken(name: str, taken: set[str] | None) -> str:
    """Return what is wrong with a hyperparameter that no function takes; ``""`` if one does.

    Args:
        name: The hyperparameter.
        taken: What `names_taken` returned.
    """
    if taken is None or name in taken:
        return ""
    hint = did_you_mean(name, sorted(taken - {"budget", "split"}))
    return f"no function takes '{name}'{hint or '; take it out, or let the train function take it'}"


def budget_not_taken(
    train: Described, others: Iterable[Described | None], optimizer: AbstractOptimizer
) -> str:
    """Return what is wrong with a train function that can't keep to a budget; ``""`` if it can.

    Args:
        train: The train function.
        others: What else of the user's it may call with a budget; None is one not known.
        optimizer: What gives the budget, if it gives one.
    """
    signature = train.signature()
    if not optimizer.gives_budget or signature is None:
        return ""
    for other in (signature, *(one.signature() if one is not None else None for one in others)):
        if other is None or other.takes_any or "budget" in other.names:
            return ""
    return (
        f"{place_of(train, signature)} doesn't ask for 'budget', which "
        f"{type(optimizer).__name__} gives each trial, so every attempt would train in full; "
        "ask for budget and train for so many steps, or take another optimizer"
    )


def checkpoint_not_taken(train: Described, optimizer: AbstractOptimizer) -> str:
    """Return what is wrong with a train function that others' checkpoints can't be given to; ``""`` if they can.

    Args:
        train: The train function.
        optimizer: What lets trials begin from checkpoints of others, if it does.
    """
    signature = train.signature()
    if not optimizer.lends_checkpoints or signature is None:
        return ""
    if signature.takes_any or "checkpoint" in signature.names:
        return ""
    return (
        f"{place_of(train, signature)} doesn't ask for 'checkpoint', and {type(optimizer).__name__} lets trials go on "
        "from the checkpoints of others; ask for checkpoint, save with it and go on from it, or take another "
        "optimizer, such as asha"
    )


@dataclass(frozen=True)
class Arguments:
    """What a config gives the user's functions, and what these ask for.

    Attributes:
        source: Where everything stands.
        settings: The checked config.
        train: The train function.
        taken: What the functions take, as of `names_taken`.
        space: What is searched, in what is to be done.
        strategy: How a trial spans workers, or None if that can't be told.
        budget_is_free: Whether nothing gives a budget, so that the user may.
        params_are_free: Whether trials may have others than are searched.
        is_ablation: Whether the ablation study is to be run.
    """

    source: Source
    settings: Settings
    train: Described
    taken: set[str] | None
    space: Searchspace
    strategy: AbstractStrategy | None
    budget_is_free: bool
    params_are_free: bool
    is_ablation: bool

    def not_given(self) -> Iterator[Problem]:
        """Yield arguments of the train function that nobody provides, as far as its source tells."""
        signature = self.train.signature()
        if signature is None:
            return
        where = place_of(self.train, signature)
        asks = signature.takes_any or "dist_strategy" in signature.names
        if self.strategy is not None and self.strategy.slots > 1 and not asks:
            message = (
                f"{where} doesn't ask for 'dist_strategy', so every worker would train the same "
                "model apart; build the model inside `with dist_strategy():`"
            )
            yield self.source.problem(("distribution",), message, at_key=True)
        for name in signature.required:
            if message := self._not_given(name):
                yield self.source.problem(("train",), f"{where} {message}")

    def _not_given(self, name: str) -> str:
        settings, space = self.settings, self.space
        given = {*PROVIDED, *settings.hparams, *space.names}
        if self.params_are_free and name not in {*PROVIDED} - {"budget"}:
            return ""
        if name not in given:
            if settings.search is not None and name in settings.search.space:
                return (
                    f"asks for '{name}', which is searched; for an ablation write its value "
                    "under hparams, or take the best of a search: --from RUN_DIR"
                )
            hint = did_you_mean(name, sorted(given))
            return f"asks for '{name}', which nobody provides{hint}"
        if name == "budget" and self.budget_is_free and name not in settings.hparams:
            giver = "an ablation" if self.is_ablation else "this optimizer"
            return (
                f"asks for 'budget', which {giver} doesn't give; write a default, "
                "or put it under hparams"
            )
        # What is there and wrong is told by itself.
        if name in ("model_gen", "model_function") and not self.source.has(("model",)):
            return f"asks for '{name}', but {self.source.lacks('model')}"
        if name in ("data_gen", "dataset_function") and not self.source.has(("data",)):
            return f"asks for '{name}', but {self.source.lacks('data')}"
        if name in space.names and space.domains[name].when:
            return f"asks for '{name}', which only some trials have; write a default"
        return ""

    def not_taken(self) -> Iterator[Problem]:
        """Yield hyperparameters that no function takes: trials would be equal, or the default."""
        searched: Mapping[str, object] = self.settings.search.space if self.settings.search else {}
        names = [(("hparams",), name) for name in self.settings.hparams]
        for path, name in [*names, *((("search", "space"), name) for name in searched)]:
            # A reserved name is at fault by itself.
            is_free = name not in Searchspace.RESERVED or name == "budget"
            if is_free and (message := not_taken(name, self.taken)):
                yield self.source.problem((*path, name), message, at_key=True)
