"""The whole way from a file to something that can run: read, validate, find the user's code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.study import Study
from dotrain.config.ablate import StudyBuilder
from dotrain.config.arguments import (
    Arguments,
    budget_not_taken,
    checkpoint_not_taken,
    names_taken,
    place_of,
    prepare_problems,
    reachable,
)
from dotrain.config.choosing import auto_of, choose, chosen, is_auto
from dotrain.config.cluster import cluster_functions, cluster_warnings, make_executor, unwatched
from dotrain.config.code import code_problems
from dotrain.config.direction import judge
from dotrain.config.errors import ConfigError, Problem, in_order
from dotrain.config.installed import missing_packages
from dotrain.config.loaded import LoadedConfig, Mode
from dotrain.config.metrics import opposed, several_problems
from dotrain.config.naming import run_name
from dotrain.config.needs import give
from dotrain.config.observers import make_observers
from dotrain.config.parts import Given, Parts
from dotrain.config.schema import PartialSettings, Settings
from dotrain.config.searching import set_up
from dotrain.config.shipping import find_named, ship
from dotrain.config.source import Source, read_source
from dotrain.config.spaces import make_space
from dotrain.config.storage import storage_problems
from dotrain.config.table import table_problems
from dotrain.config.tabular import declared_table
from dotrain.config.validation import is_echo, validate_settings
from dotrain.config.variables import make_environment
from dotrain.optimizers.auto import Choice
from dotrain.space import Searchspace
from dotrain.usercode.function import Described
from dotrain.usercode.target import Target


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
    parts = Parts(source, folder or file.absolute().parent, code)
    return _Loader(parts, Settings, mode, goes_on).load(file.stem)


def load_given(source: Source, given: Given, *, mode: Mode, goes_on: bool) -> LoadedConfig:
    """Check what a call from Python gives, as a config is checked.

    Args:
        source: What a config would say.
        given: What stands for the names in it.
        mode: What is to be done with it.
        goes_on: As of `load_config`.

    Raises:
        ConfigError: With every mistake that was found.
    """
    parts = Parts(source, Path.cwd(), given=given)
    return _Loader(parts, PartialSettings, mode, goes_on).load(source.data["name"])


class _Loader:
    """The checks that go beyond the file's structure; collects problems instead of raising."""

    def __init__(self, parts: Parts, model: type[Settings], mode: Mode, goes_on: bool) -> None:
        self.source = parts.source
        self.parts = parts
        self.mode = mode
        self.goes_on = goes_on
        self.warnings: list[Problem] = []
        self.notes: list[Problem] = []
        self.problems = parts.problems
        settings, problems = validate_settings(parts.source, model)
        self.settings = settings
        self.problems += problems
        broken = self._broken = {problem.path[0] for problem in problems if problem.path}
        #: Whether a policy can be told what is searched.
        self._space_is_sound = True
        #: Whether what is searched and what is fixed can be told at all.
        self._params_are_known = not broken & {"search", "hparams"}
        # Functions and plugins are checked whether or not the rest of the file is sound.
        self.train = None if "train" in broken else parts.function(("train",), settings.train)
        self.model = parts.function(("model",), settings.model)
        data = settings.data if isinstance(settings.data, str) else None
        self.dataset = parts.function(("data",), data)
        self.table, found_wrong = declared_table(settings.data, parts.folder, parts.source)
        self.problems += found_wrong
        self.prepare = parts.function(("prepare",), settings.prepare)
        self.auto = auto_of(settings.optimizer, parts)
        self.choice: Choice | None = None
        named = (plugins.OPTIMIZERS, ("search", "optimizer"), settings.optimizer)
        self.optimizer: Any = None if is_auto(settings.optimizer) else parts.plugin(*named)
        models = settings.ablation.models if settings.ablation else {}
        found = {n: parts.function(("ablation", "models", n), spec) for n, spec in models.items()}
        self.models = {name: model for name, model in found.items() if model}
        # Both are checked, whichever is asked for.
        rules = {
            where: parts.plugin(plugins.EARLY_STOP, (where, "early_stop"), rule)
            for where, rule in settings.rules.items()
        }
        self.early_stop = rules["search" if mode == "run" else "ablation"]
        path = ("distribution",)
        self.strategy = parts.plugin(plugins.STRATEGIES, path, settings.distribution)

    def load(self, stem: str) -> LoadedConfig:
        settings = self.settings
        parts = self.parts
        executor, problems = make_executor(settings.cluster, self.source, parts.folder, parts.code)
        self.problems += problems
        cluster = settings.cluster
        self.problems += give(
            settings.resources, cluster.kind, cluster.threads, executor, self.source
        )
        self.warnings += cluster_warnings(executor, self.source)
        for_executor = cluster_functions(executor, parts)
        observers = make_observers(settings, parts, executor)
        environment, *found = make_environment(settings, self.source, executor, self.goes_on)
        self._add(*found)
        self._add(storage_problems(settings, self.source, executor))
        # An archive has what was shipped.
        patterns = () if parts.code is not None else settings.ship
        named, problems = find_named(patterns, parts.folder, self.source)
        self._add(problems)
        if executor is not None and executor.runs_in_this_process:
            self.warnings += unwatched(settings.cluster.kind, self.settings, self.source)
        self._judge_direction()
        is_virtual = executor is not None and executor.is_virtual
        given = (settings, self.optimizer, self.early_stop, self.source, self.mode)
        self._add(several_problems(*given, is_virtual=is_virtual))
        if self.prepare is not None:
            self.problems += prepare_problems(self.prepare, self.source)
        space = self._space()
        others = self._others()
        called = reachable(self.train, self.model, self.dataset)
        unknown = [None] if None in others else []
        taken = names_taken((*called, *unknown, *self.models.values()))
        study = self._study(taken)
        if self.mode == "ablate":
            space = Searchspace()
            self.optimizer = None if study is None else StudyRunner(study, settings.seed)
        elif self.auto is not None and self._params_are_known and self._space_is_sound:
            where = (executor, self.strategy, self.early_stop)
            self.choice = choose(self.auto, settings, space, (self.train, *others), *where)
            self.optimizer = chosen(self.choice)
        if self._params_are_known and self.optimizer is not None:
            search = settings.search if self.mode == "run" else None
            told = (self.optimizer, self.early_stop, space, search, settings, self.source)
            is_sound = self._space_is_sound
            goes_on = self.goes_on
            self._add(
                set_up(*told, space_is_sound=is_sound, is_virtual=is_virtual, goes_on=goes_on)
            )
            if self.train is not None:
                self._check_arguments(self.train, taken, space)
                for message in (
                    budget_not_taken(self.train, others, self.optimizer),
                    checkpoint_not_taken(self.train, self.optimizer),
                ):
                    self._refuse([self.source.problem(("train",), message)] if message else [])
        if self.problems:
            raise ConfigError(in_order(self.problems))
        made = (self.optimizer, self.early_stop, self.strategy, executor)
        if self.train is None or executor is None or None in made:
            raise AssertionError("a missing part that is no problem")
        executor.most_trials = self.optimizer and self.optimizer.num_trials
        executor.functions = {key: one.reference() for key, one in for_executor.items()}
        functions = (self.train, self.model, self.dataset, self.prepare, *self.models.values())
        closure = parts.closure([*filter(None, functions), *for_executor.values()], made)
        table = self.table
        shipment, *found = ship(closure, named, table, executor, self.source, parts.code)
        self._add(*found)
        self._refuse(code_problems(closure, self.source))
        self._add(*missing_packages(closure, self.strategy, executor, self.source))
        if self.problems:
            raise ConfigError(in_order(self.problems))
        settings = settings.model_copy(update={"name": run_name(settings.name, stem)})
        data = {**self.source.data, "name": settings.name, "seed": settings.seed}
        if self.choice is not None:
            data["search"] = {**data["search"], "optimizer": self.choice.section}
        return LoadedConfig(
            settings=settings,
            data=data,
            space=space,
            optimizer=self.optimizer,
            early_stop=self.early_stop,
            strategy=self.strategy,
            executor=executor,
            observers=observers,
            train=self.train,
            model=self.model,
            dataset=self.dataset,
            prepare=self.prepare,
            models=self.models,
            table=table,
            study=study,
            mode=self.mode,
            closure=closure,
            shipment=shipment,
            environment=environment,
            folder=parts.folder,
            archived=parts.code is not None,
            source=self.source,
            warnings=in_order(self.warnings),
            notes=self.notes,
            choice=self.choice,
            guessed=tuple(f"direction {settings.direction}" for _ in self.notes),
        )

    def _add(self, problems: Iterable[Problem], warnings: Iterable[Problem] = ()) -> None:
        self.problems += problems
        self.warnings += warnings

    def _others(self) -> list[Described | None]:
        """Return what the train function may call; None is one that can't be found."""
        found: list[Described | None] = [f for f in (self.model, self.dataset) if f is not None]
        faults = [problem.path for problem in self.problems]
        if any(p[:1] in (("model",), ("data",)) or p[:2] == ("ablation", "models") for p in faults):
            found.append(None)
        return found

    def _study(self, taken: set[str] | None) -> Study | None:
        """Return the ablation study that the config describes, checked in every mode."""
        # Of a run that goes on it is looked at if anything is left to train.
        if self.table is not None and not self.goes_on:
            self.problems += table_problems(self.table, self.settings.ablation, self.source)
        section = self.settings.ablation
        if "ablation" in self._broken:
            return None
        if section is None:
            if self.mode == "ablate":
                message = "required for an ablation study: what to leave out"
                self.problems.append(self.source.problem(("ablation",), message, at_key=True))
            return None
        ablator = self.parts.plugin(plugins.ABLATORS, ("ablation", "ablator"), section.ablator)
        if ablator is None:
            return None
        builder = StudyBuilder(self.settings, self.source)
        study = builder.build(ablator, self.dataset, taken, self.train)
        self.problems += builder.problems
        if self.mode == "ablate":
            self.warnings += builder.warnings
        return study

    def _judge_direction(self) -> None:
        settings = self.settings
        if self._broken & {"metric", "direction", "metrics"}:
            return
        self.warnings += opposed(settings, self.source)
        if settings.metrics:
            return
        is_written = "direction" in settings.model_fields_set
        found = judge(settings.metric, settings.direction if is_written else None)
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
        if self.auto is not None and self.choice is None:  # it gives none where the user does
            return True
        return self.optimizer is not None and not self.optimizer.gives_budget

    def _space(self) -> Searchspace:
        hparams = self.settings.hparams
        fixed = [
            (name, "this name is reserved")
            for name in hparams
            if name in Searchspace.RESERVED and not (name == "budget" and self._budget_is_free())
        ]
        space, found = make_space(self.settings.search, hparams, self.source, goes_on=self.goes_on)
        self._space_is_sound = not found
        self.problems += (problem for problem in found if not is_echo(problem, self.source))
        if self.mode == "run":
            twice = "is searched as well (search.space); take one out"
            fixed += [(name, twice) for name in hparams if name in space]
        self._refuse(self.source.problem(("hparams", n), m, at_key=True) for n, m in fixed)
        # Whether functions take what is searched doesn't depend on what is wrong with it.
        return space

    def _check_arguments(
        self, train: Described, taken: set[str] | None, space: Searchspace
    ) -> None:
        """Hold what the functions ask for against what they are given, as far as sources tell."""
        given = self.parts.given
        arguments = Arguments(
            source=self.source,
            settings=self.settings,
            train=train,
            taken=taken,
            space=space,
            strategy=self.strategy,
            budget_is_free=self._budget_is_free(),
            params_are_free=bool(given and ("search", "optimizer") in given.plugins),
            is_ablation=self.mode == "ablate",
        )
        self.problems += arguments.not_given()
        self._refuse(arguments.not_taken())
        if isinstance(train, Target) and train.gives_nothing() and (signature := train.signature()):
            message = (
                f"{place_of(train, signature)} neither returns a value nor reports one, so every "
                f"trial would fail; return {self.settings.metric}, or ask for reporter"
            )
            self.warnings.append(self.source.problem(("train",), message))
