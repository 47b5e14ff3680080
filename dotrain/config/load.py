"""The whole way from a file to something that can run: read, validate, find the user's code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dotrain import plugins
from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.study import Study
from dotrain.config.ablate import StudyBuilder
from dotrain.config.arguments import (
    Arguments,
    budget_not_taken,
    names_taken,
    place_of,
    reachable,
)
from dotrain.config.cluster import make_executor
from dotrain.config.code import code_problems
from dotrain.config.direction import judge
from dotrain.config.errors import ConfigError, Problem
from dotrain.config.naming import run_name
from dotrain.config.schema import Settings, Table
from dotrain.config.source import Source, read_source
from dotrain.config.table import table_problems
from dotrain.config.validation import is_echo, validate_options, validate_settings
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.core.strategy import AbstractStrategy
from dotrain.errors import UsageError
from dotrain.executors.base import AbstractExecutor
from dotrain.space import Searchspace
from dotrain.usercode.closure import Closure, find_closure
from dotrain.usercode.target import Target, find_target, target_of

#: What is to be done with a config: the search or single run, or the ablation study.
Mode = Literal["run", "ablate"]


@dataclass(frozen=True)
class LoadedConfig:
    """A config that has passed every check that doesn't need a worker.

    Attributes:
        settings: The validated file, overrides applied.
        data: The same as plain data, for ``config.yaml`` and the journal.
        space: The search space; empty for a single run.
        optimizer: Set up, not yet initialized.
        early_stop: The rule.
        strategy: How a trial spans devices and workers.
        executor: Where trials run; not prepared.
        train: The train function.
        model: What ``model_gen`` calls, or None.
        dataset: What ``data_gen`` calls, or None.
        models: The hand-made models of the ablation study, by name.
        table: What ``data_gen`` draws from instead, or None.
        study: The ablation study that the config describes, or None.
        mode: What is to be done with it.
        closure: The user's files behind these functions.
        folder: Where paths in the config start from.
        archived: Whether the functions are those of an earlier run.
        source: Where every value came from.
        warnings: What a person should look at before anything is trained.
        notes: What was taken because nothing tells.
        guessed: The same for reports: ``direction max``.
    """

    settings: Settings
    data: dict[str, Any]
    space: Searchspace
    optimizer: AbstractOptimizer
    early_stop: AbstractEarlyStop
    strategy: AbstractStrategy
    executor: AbstractExecutor
    train: Target
    model: Target | None
    dataset: Target | None
    models: Mapping[str, Target]
    table: Table | None
    study: Study | None
    mode: Mode
    closure: Closure
    folder: Path
    archived: bool
    source: Source
    warnings: Sequence[Problem]
    notes: Sequence[Problem]
    guessed: tuple[str, ...]


def load_config(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    folder: Path | None = None,
    code: Path | None = None,
    mode: Mode = "run",
    goes_on: bool = False,
) -> LoadedConfig:
    """Load and check a config file; no user code is run, nothing is started.

    Args:
        file: The YAML file.
        overrides: ``key.path=value`` pairs, applied in order.
        folder: Where paths in the config start from; by default the file's own folder.
        code: Where an earlier run's code has been unpacked, which is then meant and no other.
        mode: What is to be done with it.
        goes_on: Whether a run that began with it goes on. What a config can't change any more is
            then a warning: an unused hyperparameter, a direction against the metric's name.

    Raises:
        ConfigError: With every mistake that was found.
    """
    source = read_source(file, overrides, is_written=goes_on or code is not None)
    return _Loader(source, file, folder or file.absolute().parent, code, mode, goes_on).load()


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    def position(problem: Problem) -> tuple[int, int]:
        *_, line, column = ("", "0", *problem.origin.rsplit(":", 2)[-2:])
        return (int(line), int(column)) if line.isdigit() and column.isdigit() else (0, 0)

    return sorted(problems, key=position)


class _Loader:
    """The checks that go beyond the file's structure; collects problems instead of raising."""

    def __init__(
        self,
        source: Source,
        file: Path,
        folder: Path,
        code: Path | None,
        mode: Mode,
        goes_on: bool,
    ) -> None:
        self.source = source
        self.mode = mode
        self.goes_on = goes_on
        self.warnings: list[Problem] = []
        self.notes: list[Problem] = []
        self.folder = folder
        self.code = code
        self.stem = file.stem
        self.settings, self.problems = validate_settings(source)
        broken = self._broken = {problem.path[0] for problem in self.problems if problem.path}
        #: Whether a policy can be told what is searched.
        self._space_is_sound = True
        #: Whether what is searched and what is fixed can be told at all.
        self._params_are_known = not broken & {"search", "hparams"}
        # Functions and plugins are checked whether or not the rest of the file is sound.
        self.train = self._target("train")
        self.model = self._target("model")
        self.dataset = self._target("data")
        default = "random" if "search" in source.data else "single"
        self.optimizer = self._plugin(plugins.OPTIMIZERS, "optimizer", default, "search")
        self.models = self._models()
        # Both are checked, whichever is asked for.
        rules = {
            what: self._plugin(plugins.EARLY_STOP, "early_stop", "none", where)
            for what, where in (("run", "search"), ("ablate", "ablation"))
        }
        self.early_stop = rules[mode]
        self.strategy = self._strategy()

    def load(self) -> LoadedConfig:
        settings = self.settings
        executor, problems = make_executor(settings.cluster, self.source, self.folder, self.code)
        self.problems += problems
        self._judge_direction()
        space = self._space()
        others = self._others()
        called = reachable(self.train, self.model, self.dataset)
        unknown = [None] if None in others else []
        taken = names_taken((*called, *unknown, *self.models.values()))
        study = self._study(taken)
        if self.mode == "ablate":
            space = Searchspace()
            self.optimizer = None if study is None else StudyRunner(study, settings.seed)
        if self._params_are_known and self.optimizer is not None:
            self._set_up(self.optimizer, space)
            if self.train is not None:
                self._check_arguments(self.train, taken, space)
                if message := budget_not_taken(self.train, others, self.optimizer):
                    self._refuse([self.source.problem(("train",), message)])
        if self.problems:
            raise ConfigError(_in_order(self.problems))
        plugins_ = (self.optimizer, self.early_stop, self.strategy, executor)
        if self.train is None or executor is None or None in plugins_:
            raise AssertionError("a missing part that is no problem")
        targets = [self.train, self.model, self.dataset, *self.models.values()]
        targets += [target_of(type(plugin)) for plugin in plugins_]
        closure = find_closure(target for target in targets if target)
        self._refuse(code_problems(closure, self.source))
        if self.problems:
            raise ConfigError(_in_order(self.problems))
        settings = settings.model_copy(update={"name": run_name(settings.name, self.stem)})
        data = {**self.source.data, "name": settings.name, "seed": settings.seed}
        return LoadedConfig(
            settings=settings,
            data=data,
            space=space,
            optimizer=self.optimizer,
            early_stop=self.early_stop,
            strategy=self.strategy,
            executor=executor,
            train=self.train,
            model=self.model,
            dataset=self.dataset,
            models=self.models,
            table=self._table(),
            study=study,
            mode=self.mode,
            closure=closure,
            folder=self.folder,
            archived=self.code is not None,
            source=self.source,
            warnings=_in_order(self.warnings),
            notes=self.notes,
            guessed=tuple(f"direction {settings.direction}" for _ in self.notes),
        )

    def _models(self) -> dict[str, Target]:
        section = self.source.data.get("ablation")
        models = section.get("models") if isinstance(section, dict) else None
        found = {}
        for name, spec in models.items() if isinstance(models, dict) else ():
            target = self._find(spec, ("ablation", "models", name))
            if target is not None:
                found[str(name)] = target
        return found

    def _table(self) -> Table | None:
        """Return the declared table, with its path resolved."""
        table = self.settings.data
        if not isinstance(table, Table):
            return None
        return table.model_copy(update={"file": str(self.folder / table.file)})

    def _others(self) -> list[Target | None]:
        """Return what the train function may call; None is one that can't be found."""
        found: list[Target | None] = [f for f in (self.model, self.dataset) if f is not None]
        faults = [problem.path for problem in self.problems]
        if any(p[:1] in (("model",), ("data",)) or p[:2] == ("ablation", "models") for p in faults):
            found.append(None)
        return found

    def _study(self, taken: set[str] | None) -> Study | None:
        """Return the ablation study that the config describes, checked in every mode."""
        table = self._table()
        if table is not None:
            self.problems += table_problems(table, self.settings.ablation, self.source)
        if self.settings.ablation is None:
            if self.mode == "ablate" and "ablation" not in self.source.data:
                message = "required for an ablation study: what to leave out"
                self.problems.append(self.source.problem(("ablation",), message, at_key=True))
            return None
        ablator = self._plugin(plugins.ABLATORS, "ablator", "loco", "ablation")
        if ablator is None:
            return None
        builder = StudyBuilder(self.settings, self.source)
        study = builder.build(ablator, self.dataset, taken)
        self.problems += builder.problems
        if self.mode == "ablate":
            self.warnings += builder.warnings
        return study

    def _judge_direction(self) -> None:
        if self._broken & {"metric", "direction"} or "metric" not in self.source.data:
            return
        metric = self.settings.metric
        found = judge(metric, self.source.data.get("direction"))
        if found.refusal:
            self._refuse([self.source.problem(("metric",), found.refusal)])
        if found.warning:
            self.warnings.append(self.source.problem(("direction",), found.warning))
        if found.guess and not self.goes_on:
            origin = self.source.problem(("metric",), "").origin
            self.notes.append(Problem(origin, ("direction",), found.guess))

    def _refuse(self, problems: Iterable[Problem]) -> None:
        """Refuse what gives a wrong result; in a run that goes on it is too late for that."""
        (self.warnings if self.goes_on else self.problems).extend(problems)

    def _budget_is_free(self) -> bool:
        """Whether nothing gives a budget, so that the user may; an ablation study never does."""
        if self.mode == "ablate":
            return True
        return self.optimizer is not None and not self.optimizer.gives_budget

    def _space(self) -> Searchspace:
        self.problems += [
            self.source.problem(("hparams", name), "this name is reserved", at_key=True)
            for name in self.settings.hparams
            if name in Searchspace.RESERVED and not (name == "budget" and self._budget_is_free())
        ]
        search = self.settings.search
        if search is None:
            return Searchspace()
        space = Searchspace.unchecked(search.space)
        found = [
            self.source.problem(("search", "space", name), message)
            for name, message in space.problems(goes_on=self.goes_on)
        ]
        found += [
            self.source.problem(
                ("hparams", name), "is searched as well (search.space); take one out", at_key=True
            )
            for name in self.settings.hparams
            if name in search.space and self.mode == "run"
        ]
        self.problems += (problem for problem in found if not is_echo(problem, self.source))
        self._space_is_sound = not found
        # Whether functions take what is searched doesn't depend on what is wrong with it.
        return space

    def _plugin(self, group: str, key: str, default: str, where: str) -> Any:
        whole = self.source.data.get(where)
        section = whole.get(key) if isinstance(whole, dict) else None
        options = dict(section) if isinstance(section, dict) else {"name": default}
        return self._make(group, options, (where, key), "name")

    def _strategy(self) -> Any:
        section = self.source.data.get("distribution")
        options = {"strategy": "single", **(section if isinstance(section, dict) else {})}
        return self._make(plugins.STRATEGIES, options, ("distribution",), "strategy")

    def _make(self, group: str, options: dict[str, Any], path: tuple[str, ...], key: str) -> Any:
        """Return the plugin that a section's `key` names, made from the section's other keys."""
        name = options.pop(key, None)
        if not isinstance(name, str):
            return None
        try:
            plugin = plugins.load_plugin(group, name, self.code or self.folder)
        except UsageError as error:
            self.problems.append(self.source.problem((*path, key), str(error)))
            return None
        instance, problems = validate_options(plugin, options, self.source, path, key)
        self.problems += problems
        return instance

    def _set_up(self, optimizer: AbstractOptimizer, space: Searchspace) -> None:
        search = self.settings.search if self.mode == "run" else None
        if search and optimizer.needs_num_trials and search.num_trials is None:
            message = "required by this optimizer: how many configurations to sample"
            self.problems.append(
                self.source.problem(("search", "num_trials"), message, at_key=True)
            )
            return
        if search and not self._space_is_sound:
            return
        num_trials = search.num_trials if search else 1
        if self.mode == "ablate" and (plan := optimizer.plan()) is not None:
            num_trials = plan.configurations
        optimizer.setup(space, num_trials, self.settings.direction, self.settings.seed)
        try:
            optimizer.check()
        except ValueError as error:
            self.problems.append(self.source.problem(("search", "optimizer"), str(error)))

    def _target(self, key: str) -> Target | None:
        return self._find(self.source.data.get(key), (key,))

    def _find(self, spec: Any, path: tuple[str, ...]) -> Target | None:
        if not isinstance(spec, str):
            return None
        try:
            target = find_target(spec, self.folder, self.code)
            target.signature()
        except UsageError as error:
            self.problems.append(self.source.problem(path, str(error)))
            return None
        return target

    def _check_arguments(self, train: Target, taken: set[str] | None, space: Searchspace) -> None:
        """Hold what the functions ask for against what they are given, as far as sources tell."""
        arguments = Arguments(
            source=self.source,
            settings=self.settings,
            train=train,
            taken=taken,
            space=space,
            strategy=self.strategy,
            budget_is_free=self._budget_is_free(),
            is_ablation=self.mode == "ablate",
        )
        self.problems += arguments.not_given()
        self._refuse(arguments.not_taken())
        if train.gives_nothing() and (signature := train.signature()):
            message = (
                f"{place_of(train, signature)} neither returns a value nor reports one, so every "
                f"trial would fail; return {self.settings.metric}, or ask for reporter"
            )
            self.warnings.append(self.source.problem(("train",), message))
