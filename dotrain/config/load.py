"""The whole way from a file to something that can run: read, validate, find the user's code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dotrain import plugins
from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.study import Study
from dotrain.config.ablate import StudyBuilder
from dotrain.config.closure import Closure, find_closure
from dotrain.config.errors import ConfigError, Problem, dotted
from dotrain.config.schema import CLUSTER_KINDS, Settings, SimulationModel, Table
from dotrain.config.secrets import not_kept
from dotrain.config.source import Source, read_source
from dotrain.config.table import table_problems
from dotrain.config.target import Target, find_target
from dotrain.config.validation import validate_options, validate_section, validate_settings
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.core.strategy import AbstractStrategy
from dotrain.errors import UsageError, did_you_mean
from dotrain.space import Searchspace

#: What a train function may ask for besides hyperparameters; some only where they exist.
PROVIDED = sorted(Searchspace.RESERVED - {"features"})

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
        train: The train function.
        model: What ``model_gen`` calls, or None.
        dataset: What ``data_gen`` calls, or None.
        models: The hand-made models of the ablation study, by name.
        table: What ``data_gen`` draws from instead, or None.
        study: The ablation study that the config describes, or None.
        mode: What is to be done with it.
        closure: The user's files behind these functions.
        folder: Where paths in the config start from.
        source: Where every value came from.
        warnings: What a person should know before anything is trained.
    """

    settings: Settings
    data: dict[str, Any]
    space: Searchspace
    optimizer: AbstractOptimizer
    early_stop: AbstractEarlyStop
    strategy: AbstractStrategy
    train: Target
    model: Target | None
    dataset: Target | None
    models: Mapping[str, Target]
    table: Table | None
    study: Study | None
    mode: Mode
    closure: Closure
    folder: Path
    source: Source
    warnings: Sequence[Problem]


def load_config(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    folder: Path | None = None,
    mode: Mode = "run",
) -> LoadedConfig:
    """Load and check a config file; no user code is run, nothing is started.

    Args:
        file: The YAML file.
        overrides: ``key.path=value`` pairs, applied in order.
        folder: Where paths in the config start from; by default the file's own folder.
        mode: What is to be done with it.

    Raises:
        ConfigError: With every mistake that was found.
    """
    source = read_source(file, overrides)
    return _Loader(source, file, folder or file.absolute().parent, mode).load()


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    def position(problem: Problem) -> tuple[int, int]:
        *_, line, column = ("", "0", *problem.origin.rsplit(":", 2)[-2:])
        return (int(line), int(column)) if line.isdigit() and column.isdigit() else (0, 0)

    return sorted(problems, key=position)


class _Loader:
    """The checks that go beyond the file's structure; collects problems instead of raising."""

    def __init__(self, source: Source, file: Path, folder: Path, mode: Mode) -> None:
        self.source = source
        self.mode = mode
        self.warnings: list[Problem] = []
        self.folder = folder
        self.stem = file.stem
        self.settings, self.problems = validate_settings(source)
        broken = {problem.path[0] for problem in self.problems if problem.path}
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
        self.problems += self._cluster()
        space = self._space()
        study = self._study()
        if self.mode == "ablate":
            space = Searchspace()
            self.optimizer = None if study is None else StudyRunner(study, settings.seed)
        if self._params_are_known and self.optimizer is not None:
            self._set_up(self.optimizer, space)
            if self.train is not None:
                self.problems += self._arguments(self.train, space)
        if self.problems:
            raise ConfigError(_in_order(self.problems))
        plugins_ = (self.optimizer, self.early_stop, self.strategy)
        if self.train is None or any(plugin is None for plugin in plugins_):
            raise AssertionError("a missing part that is no problem")
        targets = (self.train, self.model, self.dataset, *self.models.values())
        closure = find_closure(target for target in targets if target)
        settings = settings.model_copy(update={"name": settings.name or _slug(self.stem)})
        if settings.cluster.tls is not None:
            # Relative to the config, like every path in it.
            files = {k: str(self.folder / v) for k, v in settings.cluster.tls.model_dump().items()}
            tls = settings.cluster.tls.model_copy(update=files)
            cluster = settings.cluster.model_copy(update={"tls": tls})
            settings = settings.model_copy(update={"cluster": cluster})
        data = {**self.source.data, "name": settings.name, "seed": settings.seed}
        return LoadedConfig(
            settings=settings,
            data=data,
            space=space,
            optimizer=self.optimizer,
            early_stop=self.early_stop,
            strategy=self.strategy,
            train=self.train,
            model=self.model,
            dataset=self.dataset,
            models=self.models,
            table=self._table(),
            study=study,
            mode=self.mode,
            closure=closure,
            folder=self.folder,
            source=self.source,
            warnings=self.warnings if self.mode == "ablate" else (),
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

    def _study(self) -> Study | None:
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
        functions = {"train": self.train, "model": self.model, "data": self.dataset}
        study = builder.build(ablator, functions, self.models)
        self.problems += builder.problems
        self.warnings += builder.warnings
        return study

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
        space = Searchspace.__new__(Searchspace)
        space.domains = dict(search.space)
        found = [
            self.source.problem(("search", "space", name), message)
            for name, message in space.problems()
        ]
        found += [
            self.source.problem(
                ("hparams", name), "is searched as well (search.space); take one out", at_key=True
            )
            for name in self.settings.hparams
            if name in search.space and self.mode == "run"
        ]
        self.problems += found
        return Searchspace() if found else Searchspace(**search.space)

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
            plugin = plugins.load_plugin(group, name, self.folder)
        except UsageError as error:
            self.problems.append(self.source.problem((*path, key), str(error)))
            return None
        instance, problems = validate_options(plugin, options, self.source, path, key)
        self.problems += problems
        return instance

    def _set_up(self, optimizer: AbstractOptimizer, space: Searchspace) -> None:
        search = self.settings.search if self.mode == "run" else None
        if search and not space.names:
            return  # the space is at fault, and has been reported
        if search and optimizer.needs_num_trials and search.num_trials is None:
            message = "required by this optimizer: how many configurations to sample"
            self.problems.append(
                self.source.problem(("search", "num_trials"), message, at_key=True)
            )
            return
        num_trials = search.num_trials if search else 1
        if self.mode == "ablate" and (plan := optimizer.plan()) is not None:
            num_trials = plan.configurations
        optimizer.setup(space, num_trials, self.settings.direction, self.settings.seed)
        try:
            optimizer.check()
        except ValueError as error:
            self.problems.append(self.source.problem(("search", "optimizer"), str(error)))

    def _cluster(self) -> Iterator[Problem]:
        cluster = self.settings.cluster
        kind = cluster.kind
        known = list(CLUSTER_KINDS)
        if kind == "simulated":
            yield from validate_section(
                SimulationModel, cluster.options, self.source, ("cluster", "options")
            )
        if kind not in known and "." not in kind:
            hint = did_you_mean(kind, known)
            yield self.source.problem(
                ("cluster", "kind"),
                f"unknown kind '{kind}'{hint} (or a Dask cluster class, package.module.Class)",
            )
        if kind == "address" and not cluster.address:
            yield self.source.problem(
                ("cluster", "address"), "kind 'address' needs the scheduler's, tcp://host:8786"
            )
        for path in not_kept(self.source.data.get("cluster"), ("cluster",)):
            message = f"was not kept; give it again with --set {dotted(path)}=..."
            yield self.source.problem(path, message)
        yield from self._tls()
        if kind != "address" and cluster.address:
            yield self.source.problem(
                ("cluster", "address"), f"goes with kind 'address' only, not '{kind}'", at_key=True
            )
        if cluster.options and "." not in kind and kind != "simulated":
            yield self.source.problem(
                ("cluster", "options"),
                f"go with a Dask cluster class or 'simulated' only, not '{kind}'",
                at_key=True,
            )
        if kind == "inline" and cluster.workers not in (None, 1):
            yield self.source.problem(
                ("cluster", "workers"), "kind 'inline' runs one trial at a time; expected 1"
            )

    def _tls(self) -> Iterator[Problem]:
        cluster = self.settings.cluster
        encrypted = (cluster.address or "").startswith("tls://")
        if cluster.tls is None:
            if encrypted:
                message = "a tls:// address needs cluster.tls: {ca_file: ..., cert: ..., key: ...}"
                yield self.source.problem(("cluster", "address"), message)
            return
        if not encrypted:
            message = "goes with an address that starts with tls:// only"
            yield self.source.problem(("cluster", "tls"), message, at_key=True)
        for key, name in cluster.tls.model_dump().items():
            if not (self.folder / name).is_file():
                message = f"no file {self.folder / name}"
                yield self.source.problem(("cluster", "tls", key), message)

    def _target(self, key: str) -> Target | None:
        return self._find(self.source.data.get(key), (key,))

    def _find(self, spec: Any, path: tuple[str, ...]) -> Target | None:
        if not isinstance(spec, str):
            return None
        try:
            target = find_target(spec, self.folder)
            target.signature()
        except UsageError as error:
            self.problems.append(self.source.problem(path, str(error)))
            return None
        return target

    def _arguments(self, train: Target, space: Searchspace) -> Iterator[Problem]:
        """Arguments of the train function that nobody provides, as far as its source tells."""
        signature = train.signature()
        if signature is None:
            return
        names = (*signature.required, *signature.optional)
        asks = signature.takes_any or "dist_strategy" in names
        if self.strategy is not None and self.strategy.slots > 1 and not asks:
            where = f"{train.file}:{signature.line}: {train.function}()"
            message = (
                f"{where} doesn't ask for 'dist_strategy', so every worker would train the same "
                "model apart; build the model inside `with dist_strategy():`"
            )
            yield self.source.problem(("distribution",), message, at_key=True)
        given = {*PROVIDED, *self.settings.hparams, *space.names}
        for name in signature.required:
            message = ""
            if name not in given:
                hint = did_you_mean(name, sorted(given))
                message = f"asks for '{name}', which nobody provides{hint}"
                if self.settings.search is not None and name in self.settings.search.space:
                    message = (
                        f"asks for '{name}', which is searched; for an ablation write its value "
                        "under hparams, or take the best of a search: --from RUN_DIR"
                    )
            elif name == "budget" and self._budget_is_free() and name not in self.settings.hparams:
                giver = "an ablation" if self.mode == "ablate" else "this optimizer"
                message = (
                    f"asks for 'budget', which {giver} doesn't give; write a default, "
                    "or put it under hparams"
                )
            elif name in ("model_gen", "model_function") and self.settings.model is None:
                message = f"asks for '{name}', but the config has no 'model:'"
            elif name in ("data_gen", "dataset_function") and self.settings.data is None:
                message = f"asks for '{name}', but the config has no 'data:'"
            elif name in space.names and space.domains[name].when:
                message = f"asks for '{name}', which only some trials have; write a default"
            if message:
                where = f"{train.file}:{signature.line}: {train.function}()"
                yield self.source.problem(("train",), f"{where} {message}")


def _slug(stem: str) -> str:
    text = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return text.lstrip("._-")[:100] or "run"
