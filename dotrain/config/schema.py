"""The config's sections as pydantic models: names, types, ranges and what they mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from dotrain.space import Categorical, Discrete, Float, Int, Scalar


class Section(BaseModel):
    """Base class of all sections: no unknown keys, no silent conversions, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


DomainSpec = Annotated[Float | Int | Discrete | Categorical, Field(discriminator="type")]


class Plugin(BaseModel):
    """A plugin by name, with its own keys beside it."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str = Field(description="A registered name, or package.module:Class.")

    @property
    def options(self) -> dict[str, Any]:
        """The plugin's own keys."""
        return dict(self.model_extra or {})


class Search(Section):
    """A parallel hyperparameter search."""

    space: dict[str, DomainSpec] = Field(min_length=1, description="Hyperparameters by name.")
    optimizer: Plugin = Field(
        default=Plugin(name="random"), description="What to try next, with its own keys."
    )
    num_trials: int | None = Field(default=None, ge=1, description="Configurations to sample.")
    early_stop: Plugin = Field(
        default=Plugin(name="none"), description="What to stop, with its own keys."
    )


class LayerPrefix(Section):
    """A group of layers by the start of their names."""

    prefix: str = Field(min_length=1)


class LayerPattern(Section):
    """A group of layers by a pattern of their names."""

    pattern: str = Field(min_length=1, description="As in file names: conv_*, block?_bn.")


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

    features: list[str] = Field(default=[], description="Input columns.")
    layers: list[str] = Field(default=[], description="Layers by name.")
    layer_groups: list[LayerGroup] = Field(default=[], description="Layers together.")
    models: dict[str, str] = Field(default={}, description="Hand-made variants of the model.")
    components: dict[str, dict[str, Scalar]] = Field(
        default={}, description="Hyperparameters that switch a part of the training off."
    )
    ablator: Plugin = Field(
        default=Plugin(name="loco"),
        description="What each arm leaves out: loco, add_one_in, pairs, with its own keys.",
    )
    early_stop: Plugin = Field(
        default=Plugin(name="none"), description="What to stop, across all arms and seeds."
    )
    seeds: int = Field(default=5, ge=1, description="Runs of every arm, paired by seed.")


class Distribution(BaseModel):
    """How one trial spans devices and workers."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    strategy: str = Field(
        default="single",
        description="single, mirrored, multi_worker_mirrored, or package.module:Class; with its "
        "own keys, such as workers.",
    )


class Table(Section):
    """A table in a file, as the data of the training."""

    file: str = Field(min_length=1, description="CSV or Parquet; relative to the config.")
    label: str = Field(min_length=1, description="The column to predict.")
    validation: float = Field(
        default=0.2, gt=0, lt=1, description="The share of rows that is not trained on."
    )


class Tls(Section):
    """Files for mutual TLS with a remote scheduler."""

    ca_file: str
    cert: str
    key: str


Probability = Annotated[float, Field(ge=0, lt=1)]


class SimulationModel(Section):
    """What a simulated run makes up: the options of ``cluster.kind: simulated``."""

    seed: int = Field(default=0, ge=0, description="Of what is made up, not of the search.")
    steps: int = Field(default=10, ge=1, description="Steps of a trial without a budget.")
    step_s: float = Field(default=1.0, gt=0, description="Mean duration of a step.")
    spread: float = Field(default=0.5, ge=0, le=1, description="Relative spread of durations.")
    launch_s: float = Field(default=0.01, ge=0, description="From a launch to the function.")
    best: float = Field(default=1.0, description="What the best configuration tends to.")
    noise: float = Field(default=0.01, ge=0, description="Standard deviation of a report.")
    checkpoints: bool = Field(default=True, description="Whether trials go on where they were.")
    failing: Probability = Field(default=0.0, description="An attempt raises.")
    losing: Probability = Field(default=0.0, description="An attempt's worker dies.")
    hanging: Probability = Field(default=0.0, description="An attempt never reports again.")
    stragglers: Probability = Field(default=0.0, description="An attempt is slow.")
    straggler_factor: float = Field(default=10.0, ge=1, description="How much slower.")
    restart_s: float = Field(default=5.0, ge=0, description="Until a dead worker is back.")
    duplicates: Probability = Field(default=0.0, description="A message arrives twice.")
    late: Probability = Field(
        default=0.0, description="A lost attempt goes on unseen, and its messages arrive late."
    )


class Cluster(Section):
    """Where trials run."""

    kind: str = Field(
        default="local",
        description="inline, local, address, simulated, or the path of a Dask cluster class.",
    )
    workers: int | None = Field(default=None, ge=1, description="Trials at the same time.")
    address: str | None = Field(default=None, description="Of a running scheduler.")
    options: dict[str, Any] = Field(
        default={}, description="For a Dask cluster class or the simulation."
    )
    tls: Tls | None = None
    connect_timeout_s: float = Field(
        default=10.0, gt=0, description="How long to wait for the scheduler and a first worker."
    )


class LimitsSection(Section):
    """What ends an attempt or the run early."""

    trial_timeout_s: float | None = Field(default=None, gt=0)
    max_time_s: float | None = Field(default=None, gt=0)
    retries: int = Field(default=2, ge=0, description="New tries of a trial that lost its worker.")
    max_failures: int = Field(default=10, ge=1, description="Failed trials in a row that end it.")


class Settings(Section):
    """The whole file."""

    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$",
        description="Of the run's directory; default: the file's name.",
    )
    train: str = Field(description="path.py:function or module:function.")
    model: str | None = Field(default=None, description="What model_gen.create() calls.")
    data: (
        Annotated[
            Annotated[str, Tag("function")] | Annotated[Table, Tag("table")],
            Discriminator(lambda v: "table" if isinstance(v, dict | Table) else "function"),
        ]
        | None
    ) = Field(default=None, description="What data_gen.batch() draws from: a function or a table.")
    metric: str = Field(min_length=1, description="Key of the returned dict.")
    direction: Literal["max", "min"] = "max"
    seed: int = Field(default=0, ge=0)
    hparams: dict[str, Any] = Field(default={}, description="Fixed values, for every trial.")
    search: Search | None = None
    ablation: Ablation | None = None
    distribution: Distribution = Distribution()
    cluster: Cluster = Cluster()
    limits: LimitsSection = LimitsSection()
