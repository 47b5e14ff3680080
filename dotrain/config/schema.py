"""The config's sections as pydantic models: names, types, ranges and what they mean."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator

from dotrain.config.needs import Resources
from dotrain.config.search import Search
from dotrain.config.section import NO_RULE, SINGLE, DomainSpec, Named, Plugin, Section
from dotrain.config.tabular import TableSection
from dotrain.config.where import Cluster
from dotrain.space import Scalar


class LayerPrefix(Section):
    """A group of layers by the start of their names."""

    prefix: str = Field(min_length=1, description="All layers whose names start so: block3_.")


class LayerPattern(Section):
    """A group of layers by a pattern of their names."""

    pattern: str = Field(
        min_length=1, description="All layers whose names match, as in file names: block?_bn."
    )


class FeatureView(Section):
    """Columns that are left out together: those of a feature view."""

    view: str = Field(min_length=1, description="The feature view of a feature store.")


class FeaturePattern(Section):
    """Columns that are left out together, by a pattern of their names."""

    pattern: str = Field(
        min_length=1, description="All columns whose names match, as in file names: deck_*."
    )


def _kind_of_feature(value: Any) -> str:
    if isinstance(value, FeaturePattern) or (isinstance(value, dict) and "pattern" in value):
        return "pattern of columns"
    if isinstance(value, dict | FeatureView):
        return "view of columns"
    return "list of columns" if isinstance(value, list | tuple) else "column"


FeatureEntry = Annotated[
    Annotated[str, Tag("column")]
    | Annotated[list[str], Field(min_length=1), Tag("list of columns")]
    | Annotated[FeatureView, Tag("view of columns")]
    | Annotated[FeaturePattern, Tag("pattern of columns")],
    Discriminator(_kind_of_feature),
]


def _kind_of_group(value: Any) -> str:
    if isinstance(value, LayerPattern) or (isinstance(value, dict) and "pattern" in value):
        return "pattern of layers"
    return "prefix of layers" if isinstance(value, dict | LayerPrefix) else "list of layers"


LayerGroup = Annotated[
    Annotated[list[str], Field(min_length=1), Tag("list of layers")]
    | Annotated[LayerPrefix, Tag("prefix of layers")]
    | Annotated[LayerPattern, Tag("pattern of layers")],
    Discriminator(_kind_of_group),
]


class Ablation(Section):
    """An ablation study: what to leave out, one at a time."""

    features: list[FeatureEntry] = Field(
        default=[],
        description="Input columns, each left out by itself; a list of columns is left out together, and so is "
        "{pattern: deck_*}, or the feature view of a feature store, {view: passenger}.",
    )
    keep_derived: bool = Field(
        default=False,
        description="Whether columns that are computed from a left-out one stay; by default they go with it.",
    )
    layers: list[str] = Field(
        default=[], description="Layers of the model by name, each left out by itself."
    )
    layer_groups: list[LayerGroup] = Field(
        default=[], description="Groups of layers, each left out together."
    )
    models: dict[str, str] = Field(
        default={},
        description="Hand-made variants of the model: name to path.py:function or module:function.",
    )
    components: dict[str, dict[str, Scalar]] = Field(
        default={},
        description="Parts of the training by a name of yours: the hyperparameters that switch "
        "each off.",
    )
    ablator: Plugin = Field(
        default=Plugin(name="loco"),
        description="What each arm leaves out: the ablator's name, and its own keys.",
    )
    early_stop: Plugin = Field(
        default=NO_RULE,
        description="Which trials to stop before their end, across all arms and seeds: the rule's "
        "name, and its own keys.",
    )
    seeds: int = Field(
        default=5,
        ge=1,
        description="How often every arm is trained, each time with the same seed as the baseline.",
    )


class Distribution(Named):
    """How one trial spans devices and workers."""

    strategy: str = Field(
        default="single",
        description="A registered name, or module:Class of your own; with its own keys beside it, "
        "such as workers.",
    )


class LimitsSection(Section):
    """What ends an attempt or the run early."""

    model_config = ConfigDict(title="Limits")

    trial_timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="The longest one attempt of a trial may take, in seconds; by default no limit.",
    )
    max_trial_time_s: float | None = Field(
        default=None,
        gt=0,
        description="The longest a trial may train, over all its attempts, in seconds: then it is stopped "
        "at its next report, as by an early-stop rule; by default no limit.",
    )
    max_time_s: float | None = Field(
        default=None,
        gt=0,
        description="The longest the run may take, in seconds; by default no limit.",
    )
    trial_memory_mb: float | None = Field(
        default=None,
        gt=0,
        description="The most memory that one attempt of a trial may hold on a worker, with all "
        "processes that it starts, in MB (1,000,000 bytes) beyond what is imported beforehand; by "
        "default no limit.",
    )
    silent_s: float | None = Field(
        default=None,
        gt=0,
        description="The longest an attempt may compute, read and write nothing, in seconds, "
        "before it is ended and tried again as if its worker had died; by default for ever.",
    )
    group_start_s: float = Field(
        default=60.0, gt=0, description="How long ranks may take to find each other, in seconds."
    )
    grace_s: float = Field(
        default=25.0,
        ge=0,
        description="How long an attempt may take to its next report when its worker on a Dask cluster is told "
        "to end (SIGTERM), in seconds.",
    )
    retries: int = Field(
        default=2, ge=0, description="How often a trial that lost its worker is tried again."
    )
    max_failures: int = Field(
        default=10,
        ge=1,
        description="So many failed trials in a row end the run, or so many at its start if all "
        "of them diverged. A trial has failed when it did on two hosts, on all there are, or as "
        "others did on two.",
    )


#: Of the environment: what is taken from the driver's, or what to set.
Variable = Annotated[
    Annotated[str, Tag("name")] | Annotated[dict[str, str | int], Tag("mapping")],
    Discriminator(lambda v: "mapping" if isinstance(v, dict) else "name"),
]


class Checkpoints(Section):
    """Which checkpoints of trials are kept."""

    keep: Literal["auto", "last", "best", "all"] = Field(
        default="auto",
        description="Of each trial the newest, and when the run has finished that of the best trial "
        "only, of several metrics those of the Pareto front (auto); that, and sooner where it is sure (best); "
        "the newest of each (last); every one (all).",
    )


class JournalSection(Section):
    """What a power cut can take of what has happened."""

    model_config = ConfigDict(title="Journal")

    sync: Literal["trial", "system", "record"] | None = Field(
        default=None,
        description="When the journal is synced to the disk: trial, at each end of a trial, each "
        "promotion and each other launch, before anything follows from it; record, at every record; "
        "system, when the operating system sees fit. By default trial, and system if the run is simulated.",
    )


class Settings(Section):
    """The whole file."""

    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$",
        description="Names the run's directory, runs/NAME/TIME; by default the file's name.",
    )
    train: str = Field(description="The train function: path.py:function or module:function.")
    model: str | None = Field(
        default=None,
        description="What model_gen.create() calls: path.py:function or module:function.",
    )
    data: (
        Annotated[
            Annotated[str, Tag("function")] | Annotated[TableSection, Tag("table")],
            Discriminator(lambda v: "table" if isinstance(v, dict | TableSection) else "function"),
        ]
        | None
    ) = Field(
        default=None, description="What data_gen draws from: a function as above, or a table."
    )
    prepare: str | None = Field(
        default=None,
        description="What is called without arguments before the first trial, to load what all share: "
        "path.py:function or module:function.",
    )
    metric: str = Field(
        min_length=1,
        description="What is reported and returned: a key of the returned dict, or what to call "
        "a plain number. Required, unless there are several metrics.",
    )
    direction: Literal["max", "min"] = Field(
        default="max",
        description="Whether larger or smaller values are better; must be written where the "
        "metric's name says smaller.",
    )
    metrics: dict[str, Literal["max", "min"]] = Field(
        default={},
        description="Several metrics instead of metric and direction: name to max or min, the main one first, "
        "such as {accuracy: max, latency_ms: min}. The train function returns or reports them all.",
    )
    value: Literal["last", "best"] | None = Field(
        default=None,
        description="Which of its reports is the value of a function that returns nothing; by "
        "default the last, and marked as guessed.",
    )
    seed: int = Field(default=0, ge=0, description="All randomness of the run is derived from it.")
    hparams: dict[str, Any] = Field(
        default={}, description="Hyperparameters that are the same in every trial."
    )
    ship: list[str] = Field(
        default=[],
        description="Files that go with the code: patterns relative to the config, such as data/*.csv; "
        "** is any number of folders, and of a folder all that is in it goes.",
    )
    env: list[Variable] = Field(
        default=[],
        description="Variables for the processes of trials: a name, whose value is taken from the "
        "environment of the command and written nowhere; or {NAME: value}.",
    )
    search: Search | None = None
    ablation: Ablation | None = None
    distribution: Distribution = Distribution()
    cluster: Cluster = Cluster()
    resources: Resources = Resources()
    limits: LimitsSection = LimitsSection()
    checkpoints: Checkpoints = Checkpoints()
    storage: str | None = Field(
        default=None,
        description="Where the trials' files are kept, as a URL: s3://bucket/folder, gs://..., "
        "file:///folder. Workers write there directly; by default the run directory has them.",
    )
    journal: JournalSection = JournalSection()
    observers: list[Plugin] = Field(
        default=[],
        description="Who watches the run besides: a list, each its name, and its own keys.",
    )
    tensorboard: bool | None = Field(
        default=None,
        description="Whether to write TensorBoard's event files into the run directory; by default "
        "if TensorBoard is installed and the run isn't simulated.",
    )

    @field_validator("hparams")
    @classmethod
    def _check_hparams(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, part in value.items():
            if not _is_finite(part):
                raise ValueError(f"{name}: expected finite numbers, got {part}")
        return value

    @property
    def optimizer(self) -> Plugin:
        """What to try next; where nothing is searched, the functions run once."""
        search = self.search
        if search is None or not (search.space or "optimizer" in search.model_fields_set):
            return SINGLE
        return search.optimizer

    @property
    def rules(self) -> dict[str, Plugin]:
        """Which trials to stop early, by the section that says so."""
        sections = {"search": self.search, "ablation": self.ablation}
        return {key: part.early_stop if part else NO_RULE for key, part in sections.items()}


class _PartOfSearch(Search):
    space: dict[str, DomainSpec] = Field(default={})


class PartialSettings(Settings):
    """What a call from Python says, or is left of a broken file: what must be there needn't be."""

    train: str = ""
    metric: str = Field(default="?", min_length=1)
    search: _PartOfSearch | None = None


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict | list | tuple):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)
