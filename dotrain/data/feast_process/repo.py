"""A Feast repository as it lies on disk: its settings, its registry, the files that its views name; Feast isn't imported."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import urlparse

from dotrain.data.feast_process.asked import View, kind_of
from dotrain.data.source import BadData

SETTINGS: Final = "feature_store.yaml"
#: What takes the place of a type that has been changed by the join alone: pandas has no whole number that is missing.
_MAY_BE: Final = {("whole number", "number"), ("number", "whole number")}


@final
@dataclass(frozen=True)
class Settings:
    """What `feature_store.yaml` says.

    Attributes:
        project: The project's name.
        registry: The registry's file, or None if it isn't one of this machine's.
        offline_store: The kind of the offline store.
    """

    project: str
    registry: Path | None
    offline_store: str


def read_settings(repo: Path) -> Settings:
    """Read `feature_store.yaml`, as Feast does, as far as it says where things are.

    Raises:
        BadData: If it isn't there, or can't be read.
    """
    import yaml

    file = repo / SETTINGS
    try:
        # Feast too puts in the environment's variables.
        found = yaml.safe_load(os.path.expandvars(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        what = "no folder" if not repo.is_dir() else f"no {SETTINGS} in the folder"
        raise BadData(f"{what} {repo}: expected a Feast repository", "feast", "repo") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else f"{file}"
        raise BadData(f"{place}: {error.problem}", "feast", "repo") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadData(f"{file} can't be read: {error}", "feast", "repo") from None
    if not isinstance(found, dict) or not isinstance(found.get("project"), str):
        raise BadData(f"{file}: expected a 'project' with a name", "feast", "repo")
    registry = found.get("registry") or "data/registry.db"
    store = found.get("offline_store") or {}
    kind = store if isinstance(store, str) else store.get("type", "")
    return Settings(found["project"], _registry_file(registry, repo), str(kind or "dask"))


def _registry_file(registry: Any, repo: Path) -> Path | None:
    if isinstance(registry, dict):
        if registry.get("registry_type", "file") != "file" or registry.get("registry_store_type"):
            return None
        registry = registry.get("path", "")
    return None if urlparse(str(registry)).scheme else repo / str(registry)


def registry_bytes(settings: Settings, repo: Path) -> bytes:
    """Return what is in the registry's file.

    Raises:
        BadData: If it isn't there, or can't be read.
    """
    assert settings.registry is not None
    try:
        with held(repo, fcntl.LOCK_SH):
            return settings.registry.read_bytes()
    except FileNotFoundError:
        raise BadData(
            f"there is no registry {settings.registry}: run `feast apply` in {repo}, or say 'apply: true'",
            *("feast", "repo"),
        ) from None
    except OSError as error:
        raise BadData(
            f"the registry {settings.registry} can't be read: {error}", "feast", "repo"
        ) from None


@contextlib.contextmanager
def held(repo: Path, how: int) -> Iterator[None]:
    """Hold a repository, alone or with others that read it: Feast doesn't write its registry in one step."""
    with (repo / SETTINGS).open("rb") as file:
        with contextlib.suppress(
            OSError
        ):  # some network file systems lock no file that is only read
            fcntl.flock(file, how)
        yield


def local_file(view: View, repo: Path) -> Path | None:
    """Return the Parquet file or folder on this machine where a view's rows lie; None if it is another place."""
    if view.source is None or view.source.WhichOneof("options") != "file_options":
        return None
    options = view.source.file_options
    if (
        not options.uri
        or urlparse(options.uri).scheme
        or options.file_format.WhichOneof("format")
        not in (
            None,
            "parquet_format",
        )
    ):
        return None
    return repo / str(options.uri)


def column_in_source(view: View, name: str) -> str:
    """Return what a view's source calls a feature or a key of it."""
    for there, here in view.source.field_mapping.items() if view.source is not None else ():
        if here == name:
            return str(there)
    return name


def source_types(view: View, repo: Path, features: list[str]) -> dict[str, str]:
    """Return Arrow's words for the types that features have in their view's file, from its footer alone.

    Args:
        view: The view.
        repo: The repository.
        features: Of the view.

    Returns:
        Nothing if the view's rows aren't in a file of this machine.

    Raises:
        BadData: If the file isn't there or can't be read, if it lacks what the registry declares, or if a type there is
            of another kind.
    """
    file = local_file(view, repo)
    if file is None:
        return {}
    import pyarrow
    from pyarrow import dataset

    whose = f"the feature view '{view.base}'"
    if not file.exists():
        raise BadData(f"{whose} reads {file}, which isn't there", "feast", "repo")
    try:
        schema = dataset.dataset(file, format="parquet").schema
    except (OSError, pyarrow.ArrowException) as error:
        raise BadData(f"{whose}: {file} can't be read: {error}", "feast", "repo") from None
    times = [view.source.timestamp_field, view.source.created_timestamp_column]
    needed = [column_in_source(view, name) for name in features]
    needed += [column_in_source(view, column) for column, _ in view.keys.values()]
    for name in (*needed, *filter(None, times)):
        if name not in schema.names:
            raise BadData(
                f"{whose} takes the column '{name}' of {file}, which has none (it has {', '.join(schema.names)}): "
                "mend the definitions and run `feast apply`, or the file",
                *("feast", "repo"),
            )
    found = {}
    for name in features:
        column = schema.field(column_in_source(view, name)).type
        if pyarrow.types.is_dictionary(column):
            column = column.value_type
        declared = view.features[name]
        refuse_other_type(f"{view.name}:{name}", declared, str(column), str(file))
        # pandas writes whole numbers, of which some are missing, as others: only the values tell.
        if (kind_of(declared), kind_of(str(column))) != ("whole number", "number"):
            found[name] = str(column)
    return found


def refuse_other_type(reference: str, declared: str, found: str, where: str) -> None:
    """Refuse a type of another kind than is declared.

    Raises:
        BadData: If it is.
    """
    kinds = kind_of(declared), kind_of(found)
    if kinds[0] == kinds[1] or kinds in _MAY_BE or {"", "null", "other"} & set(kinds):
        return
    raise BadData(
        f"the type of {reference} has changed: {declared} in the registry, {found} in {where}: mend the data, or the "
        "definitions and run `feast apply`",
        *("feast", "repo"),
    )
