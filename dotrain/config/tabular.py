"""The config's `data:` as a table: what it says, and the declaration that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from dotrain.config.errors import Problem
from dotrain.config.section import Section
from dotrain.config.source import Source
from dotrain.data.declared import Declared
from dotrain.data.derive import Derived, order
from dotrain.data.feast import FeastSource
from dotrain.data.files import FileSource
from dotrain.data.source import AbstractSource, BadData
from dotrain.data.splits import Split
from dotrain.data.sql import SqlSource
from dotrain.space.values import SpaceError

#: The keys that say where a table comes from, one of which there must be.
SOURCES = ("file", "sql", "feast")


class SplitSection(Section):
    """Which rows are validated on; the same in all trials, whatever their seed."""

    validation: float = Field(
        default=0.2, gt=0, lt=1, description="The share of rows to validate on, not trained on."
    )
    by: str | None = Field(
        default=None,
        min_length=1,
        description="A column, such as passenger_id: rows with the same value go to the same side.",
    )
    time: str | None = Field(
        default=None,
        min_length=1,
        description="A column: the last rows by it are validated on, those before are trained on.",
    )
    stratify: bool = Field(
        default=False, description="Whether each label has the same share on both sides."
    )

    @model_validator(mode="after")
    def _check(self) -> SplitSection:
        said = [key for key in ("by", "time", "stratify") if getattr(self, key)]
        if len(said) > 1:
            raise SpaceError(
                f"{said[0]} and {said[1]} can't both decide: name one of them", said[1]
            )
        return self


class FeastSection(Section):
    """Features of a Feast repository, each row with what was known of it at its time."""

    repo: str = Field(
        min_length=1,
        description="The folder of its feature_store.yaml; a path relative to the config.",
    )
    entities: str = Field(
        min_length=1,
        description="CSV, Parquet or Feather with a row per example: the keys that features are joined by, "
        "event_timestamp, and the label; a path relative to the config, a pattern, a folder, or a URL.",
    )
    service: str | None = Field(
        default=None, min_length=1, description="The feature service that says which features."
    )
    features: list[str] | None = Field(
        default=None, min_length=1, description="Or these: passenger:age, of a view each."
    )
    apply: bool = Field(
        default=False,
        description="Whether feast apply comes before each run. dotrain check doesn't, and can't know the columns then.",
    )

    @model_validator(mode="after")
    def _check(self) -> FeastSection:
        if self.service is None and self.features is None:
            raise SpaceError("says not which features: expected service, or features")
        if self.service is not None and self.features is not None:
            raise SpaceError("said by the service already: take one out", "features")
        return self


class TableSection(Section):
    """A table with one row per example, as the data of the training."""

    file: str | None = Field(
        default=None,
        min_length=1,
        description="CSV, Parquet or Feather: a path relative to the config, a pattern such as data/*.parquet, a "
        "folder, or a URL.",
    )
    sql: str | None = Field(
        default=None,
        min_length=1,
        description="One SELECT with an ORDER BY, since rows must come in one order.",
    )
    connection: str | None = Field(
        default=None,
        min_length=1,
        description="With sql: env:NAME, the variable of the environment that holds the database's URL, which is "
        "written nowhere.",
    )
    feast: FeastSection | None = Field(
        default=None, description="Or features of a Feast repository."
    )
    label: str = Field(min_length=1, description="The column to predict.")
    columns: list[str] | None = Field(
        default=None,
        description="The columns to predict from; by default all but the label and those that only divide the rows.",
    )
    validation: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="The share of rows to validate on, not trained on: short for split.validation; by default 0.2.",
    )
    split: SplitSection = Field(
        default=SplitSection(), description="Which rows are validated on, if not any."
    )
    types: dict[str, Literal["number", "category"]] = Field(
        default={},
        description="What columns are, where their values don't tell: number, or category, which becomes a column "
        "of zeros and ones for each value.",
    )
    derive: dict[str, str] = Field(
        default={},
        description='Columns that are computed from others, such as {family: "sibsp + parch"}.',
    )

    @model_validator(mode="after")
    def _check(self) -> TableSection:
        said = [key for key in SOURCES if getattr(self, key) is not None]
        if not said:
            raise SpaceError(f"says not where the rows are: expected {' or '.join(SOURCES)}")
        if len(said) > 1:
            raise SpaceError(f"the rows can't come from {said[0]} and {said[1]}", said[1])
        if self.sql is not None and self.connection is None:
            raise SpaceError("needs connection: env:NAME, the variable that holds its URL", "sql")
        if self.sql is None and self.connection is not None:
            raise SpaceError("says where sql is asked, and there is none", "connection")
        if self.validation is not None and "split" in self.model_fields_set:
            raise SpaceError("said by split.validation already: take one out", "validation")
        return self


def declared_table(
    section: str | TableSection | None, folder: Path, source: Source
) -> tuple[Declared | None, list[Problem]]:
    """Return the table that a config declares, if it does, and problems.

    Args:
        section: What it says of the data.
        folder: Where its paths start from.
        source: Where it stands.
    """
    if not isinstance(section, TableSection):
        return None, []
    try:
        return _declared(section, folder), []
    except BadData as error:
        return None, [source.problem(("data", *error.key), str(error))]


def _declared(section: TableSection, folder: Path) -> Declared:
    split = section.split
    share = section.validation or split.validation
    (kind,) = (key for key in SOURCES if getattr(section, key) is not None)
    return Declared(
        source=_MAKERS[kind](section, folder),
        label=section.label,
        columns=None if section.columns is None else tuple(section.columns),
        split=Split(share, split.by or "", split.time or "", split.stratify),
        kinds=dict(section.types),
        derived=order([Derived(*one) for one in section.derive.items()], None, section.label),
    )


def _of_file(section: TableSection, folder: Path) -> AbstractSource:
    assert section.file is not None
    return FileSource(section.file, str(folder))


def _of_sql(section: TableSection, _: Path) -> AbstractSource:
    assert section.sql is not None
    assert section.connection is not None
    return SqlSource(section.sql, section.connection)


def _of_feast(section: TableSection, folder: Path) -> AbstractSource:
    said = section.feast
    assert said is not None
    return FeastSource(
        repo=(folder / said.repo).resolve(),
        entities=said.entities,
        folder=str(folder.resolve()),
        label=section.label,
        service=said.service,
        features=None if said.features is None else tuple(said.features),
        apply=said.apply,
    )


_MAKERS: Mapping[str, Callable[[TableSection, Path], AbstractSource]] = {
    "file": _of_file,
    "sql": _of_sql,
    "feast": _of_feast,
}
