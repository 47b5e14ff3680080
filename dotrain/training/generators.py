"""The generators: how a train function gets its model and its data without knowing which ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, final

from dotrain.ablation.components import Variant
from dotrain.ablation.layers import SurgeryError
from dotrain.ablation.study import Features
from dotrain.frameworks import registry
from dotrain.training.arguments import asks_for, bind, name_of
from dotrain.training.errors import BadSetup
from dotrain.training.leaving_out import begin_alike, operate, states_before
from dotrain.training.program import LoadedProgram
from dotrain.training.seeding import attempt_seed, reseed

_NOT_SPLIT = (
    "data_gen.batch() can't split a {} between ranks, and each would get all rows: return arrays of numbers "
    "or what else the framework makes batches of; or take data_gen.load(), and split it yourself"
)

#: So many rows show how the layers of a model hang together.
_FIRST_ROWS = 8


@dataclass
class Sources:
    """What both generators draw from.

    Attributes:
        loaded: The user's functions.
        available: What these may ask for by name, besides hyperparameters.
        hparams: Hyperparameters of this trial.
        seed: Of this trial.
        variant: What an ablation study leaves out of it.
        shard: Makes a data set of global batches the right thing for the strategy.
        asked: Names of the hyperparameters that functions of this trial have got.
        packages: What the strategy imports.
        splits: Packages of the frameworks whose batches it can split; by default those.
        resume_step: The step that this attempt goes on from; 0 if it begins anew.
        is_restored: Whether the generators have been set to a checkpoint's state.
        distribute: Makes a model the right thing for the strategy.
        ranks: How many processes train.
        rows: The first rows of the data, by what of it is left out, once they were asked for.
        built: The model that was built last, or None.
    """

    loaded: LoadedProgram
    available: Mapping[str, Any]
    hparams: Mapping[str, Any]
    seed: int
    variant: Variant = field(default_factory=Variant)
    shard: Callable[[Any], Any] = lambda dataset: dataset
    asked: set[str] = field(default_factory=set)
    packages: Sequence[str] = ()
    splits: Sequence[str] = ()
    resume_step: int = 0
    is_restored: bool = False
    distribute: Callable[[Any], Any] = lambda model: model
    ranks: int = 1
    rows: dict[Any, Any] = field(default_factory=dict)
    built: Any = None

    @property
    def attempt_seed(self) -> int:
        """What this attempt draws from; the functions of the trial are given `seed`."""
        return attempt_seed(self.seed, self.resume_step)

    def call(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        given: Mapping[str, Any],
        features: Features,
        **more: Any,
    ) -> Any:
        """Call a user's function with what it asks for, and with what its caller gives."""
        available = {**self.available, "features": features, **more}
        bound = bind(function, available, self.hparams, args, given)
        self.asked |= bound.hparams
        return function(*bound.args, **bound.kwargs)


@final
class ModelGenerator:
    """Builds the model of this trial.

    Calls the config's ``model:`` function; it may ask by name for hyperparameters, ``hparams``,
    ``seed``, ``budget``, ``trial_dir`` and ``features``. What an ablation study leaves out of the
    model is left out of what it returns.

    Attributes:
        features: The columns to give, as the model function sees them.
        used: Whether a model has been built.
        uncalled: Of each model that layers were left out of, what `Surgery.uncalled` is.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.features = Features(sources.variant)
        self.used = False
        self.uncalled: list[Callable[[], Sequence[str]]] = []

    def create(self, *args: Any, **arguments: Any) -> Any:
        """Return a new model.

        Args:
            *args: Passed on to the model function, as its first arguments.
            **arguments: Passed on by name, before what it would get by name.

        Raises:
            BadSetup: If the config has no ``model:``, or the function doesn't take these; if the generators were
                restored before.
        """
        loaded, study = self._sources.loaded, self._sources.loaded.program.study
        if loaded.model is None:
            raise BadSetup("model_gen.create() was called, but the config has no 'model:'")
        if self._sources.is_restored and not self.used:
            raise BadSetup(
                "checkpoint.restore_random_state() came before model_gen.create(), which draws numbers of its own, so "
                "that the training would not go on as it was: call it behind"
            )
        if study is not None and self._sources.resume_step:
            # What the checkpoint doesn't hold begins as it did in the first attempt.
            reseed(self._sources.seed)
        before = states_before(self._sources.variant)
        model = self._call(loaded.model, args, arguments)
        if study is not None:
            # The baseline's, where other columns or hyperparameters made it another one.
            if any(name not in self.features for name in (*self.features.seen,)) or (
                self._sources.asked & self._sources.variant.hparams.keys()
            ):
                whole = _of_baseline(self._sources)
                begin_alike(model, before, partial(whole._call, loaded.model, args, arguments))
            model = self._ablated(model, args, arguments)
        self.used = True
        self._sources.built = self._sources.distribute(model)
        return self._sources.built

    __call__ = create

    def _call(
        self, function: Callable[..., Any], args: Sequence[Any], arguments: Mapping[str, Any]
    ) -> Any:
        return self._sources.call(function, args, arguments, self.features)

    def _ablated(self, model: Any, args: Sequence[Any], arguments: Mapping[str, Any]) -> Any:
        """Return this arm's variant; what is left of the model begins with the same weights."""
        variant = self._sources.variant
        if variant.model:
            original = model
            model = self._call(self._sources.loaded.models[variant.model], args, arguments)
            framework = registry.of_model(original)
            if framework.is_model(model):
                framework.inherit(original, model)
        if variant.layers:
            surgery = operate(model, variant.layers, first_rows(self._sources))
            self.uncalled.append(surgery.uncalled)
            model = surgery.model
        # However many random numbers building took: training draws the same ones in every arm.
        reseed(self._sources.attempt_seed)
        return model


def _of_baseline(sources: Sources) -> ModelGenerator:
    """Return what builds the model of the baseline in an arm."""
    variant, known = sources.variant, sources.loaded.program.hparams
    hparams = {k: v for k, v in sources.hparams.items() if k not in variant.hparams}
    hparams |= {name: known[name] for name in variant.hparams if name in known}
    available = {**sources.available, "hparams": dict(hparams)}
    whole = replace(sources, available=available, hparams=hparams, variant=Variant(), asked=set())
    return ModelGenerator(whole)


def first_rows(sources: Sources) -> Callable[[], Any] | None:
    """Return a function that returns the first rows of a trial's data, or None if it has no data.

    They are loaded beside those that the train function gets, which count alone as used. So the
    data function may be called once more in an arm than in the baseline; the generators are seeded
    anew after it.
    """
    if sources.loaded.data is None and sources.loaded.program.table is None:
        return None
    variant = sources.variant
    which = variant.of_columns, repr(sorted(variant.hparams.items()))

    def load() -> Any:
        if which in sources.rows:
            return sources.rows[which]
        # Whatever was drawn before: what the data function draws is the same each time.
        reseed(sources.seed)
        try:
            beside = replace(sources, shard=lambda dataset: dataset, ranks=1, asked=set())
            rows = next(iter(DataGenerator(beside).batch(_FIRST_ROWS, shuffle=False)))
            return sources.rows.setdefault(which, rows)
        except Exception as error:
            raise SurgeryError(
                f"the first rows of the data can't be had: {type(error).__name__}: {error}"
            ) from error

    return load


@final
class DataGenerator:
    """Gives the data of this trial.

    Calls the config's ``data:`` function; it may ask by name for hyperparameters, ``hparams``,
    ``seed``, ``trial_dir``, ``split``, and ``features``, the columns to give.

    Attributes:
        features: The columns to give, as the data function sees them.
        used: Whether data have been given.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.features = Features(sources.variant)
        self.used = False

    def load(self, split: str = "train", **arguments: Any) -> Any:
        """Return what the data function returns, as it is.

        Args:
            split: Handed to the data function if it asks for it: ``train``, ``validation``, ...
            **arguments: Passed on, before what it would get by name.

        Returns:
            What the function returns; of a declared table, (columns, labels) as pandas has them.

        Raises:
            BadSetup: If the config has no ``data:``, or the function doesn't take these.
        """
        return self._call((), {**arguments, "split": split})

    def __call__(self, *args: Any, **arguments: Any) -> Any:
        """Call the data function, the way of Maggy's ``dataset_function``.

        Args:
            *args: Passed on to the data function, as its first arguments.
            **arguments: Passed on by name. What it asks for besides, it gets as from `load`.
        """
        return self._call(args, arguments)

    def _call(self, args: Sequence[Any], arguments: Mapping[str, Any]) -> Any:
        function, given = self._function(), dict(arguments)
        split = given.get("split", "train")
        if not asks_for(function, "split"):
            if split != "train":
                raise BadSetup(
                    f"data_gen was asked for the split '{split}', but {name_of(function)}() doesn't "
                    "ask for 'split', and would give the same rows for every split"
                )
            given.pop("split", None)
        data = self._sources.call(function, args, given, self.features, split=split)
        self.used = True
        return data

    def _function(self) -> Callable[..., Any]:
        """Return what gives the data as they are."""
        table = self._sources.loaded.program.table
        if table is not None:

            def data_gen(split: str = "train") -> Any:
                return table.frame(split, self.features.select(table.columns))

            return data_gen
        if self._sources.loaded.data is None:
            raise BadSetup("data_gen was used, but the config has no 'data:'")
        return self._sources.loaded.data

    def batch(
        self,
        batch_size: int | None = None,
        split: str = "train",
        shuffle: bool | None = None,
        epoch: int | None = None,
    ) -> Any:
        """Return the data in batches, ready for ``model.fit``.

        Args:
            batch_size: Rows of a batch, over all workers of the trial; by default the
                hyperparameter ``batch_size``, else what a loader among the data says, else 32.
            split: Handed to the data function if it asks for it.
            shuffle: Whether rows are shuffled anew each epoch, by the trial's seed and the epoch's
                number; by default as a loader says, else for the split ``train`` only.
            epoch: Number of the first iteration, >= 0; each further iteration is the next epoch. By default
                the step of the checkpoint that this attempt goes on from: where steps are epochs, it goes on
                with the order that a training without interruption would have.

        Returns:
            Batches, if the data function returns arrays of equal length (features, labels, ...), or
            data of a framework that the user's code imports, or if the data are a declared table;
            anything else is returned as it is. Batches are that framework's, as of
            `AbstractFramework.batches`; without one, tuples of NumPy arrays, anew in each
            iteration.

        Raises:
            BadSetup: If a number isn't one, or several ranks would each get all rows.
        """
        sources = self._sources
        program = sources.loaded.program
        table = program.table
        if table is None:
            data = self.load(split)
        else:
            data = table.batched(split, self.features.select(table.columns))
            self.used = True
        used = {*program.functions.packages, *sources.packages}
        known = registry.in_use(used)
        # What the strategy can split comes first.
        own = registry.of(used & {*(sources.splits or sources.packages)})[:-1]
        known = [*own, *(one for one in known if one not in own)]
        framework = next((one for one in known if one.takes_data(data)), None)
        if framework is None:
            if sources.ranks > 1:
                raise BadSetup(_NOT_SPLIT.format(type(data).__name__))
            return data
        said = framework.batching(data)
        by_default = said.shuffled if said.shuffled is not None else split == "train"
        shuffled = shuffle if shuffle is not None else by_default
        if batch_size is None:
            sources.asked.add("batch_size")
            batch_size = sources.hparams.get("batch_size")
        if batch_size is None:
            batch_size = said.size or 32
        size = _whole("batch_size", batch_size, at_least=1)
        if epoch is None:
            epoch = sources.resume_step
        epoch = _whole("epoch", epoch, at_least=0)
        seed = sources.seed if shuffled else None
        return sources.shard(framework.batches(data, size, seed, epoch))


def _whole(name: str, value: Any, *, at_least: int) -> int:
    """Return a number that may come as a float, as from a search space: never another one."""
    try:
        number = int(value)
        is_whole = not isinstance(value, str) and bool(number == value)
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole or number < at_least:
        raise BadSetup(f"data_gen.batch({name}={value!r}): expected a whole number >= {at_least}")
    return number
