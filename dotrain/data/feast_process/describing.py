"""What a question of the driver's comes to, by the registry and the files of a repository: the columns, and what defines them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from dotrain.data.feast_process.asked import Asked, canonical, digest_of, kind_of
from dotrain.data.feast_process.entities import EVENT_TIME
from dotrain.data.feast_process.registry import read_registry
from dotrain.data.feast_process.repo import Settings, source_types
from dotrain.data.files import FileSource
from dotrain.data.source import BadData, Column
from dotrain.errors import did_you_mean


@final
@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        repo: The repository's folder, absolute.
        entities: The file of the entities' keys, times and labels, as of `FileSource`.
        label: The column of that file that is to be predicted.
        service: The feature service, or None.
        features: References to features, or None.
        apply: Whether `feast apply` comes first; only where rows are wanted.
        join: Whether rows are wanted, and Feast may be imported.
        parent: The process that asks: this one ends with it.
        folder: Where `entities` starts from.
    """

    repo: str
    entities: str
    label: str
    service: str | None
    features: Sequence[str] | None
    apply: bool
    join: bool
    parent: int
    folder: str = ""

    @property
    def source(self) -> FileSource:
        """The file of the entities."""
        return FileSource(self.entities, self.folder)

    @property
    def file(self) -> str:
        """How messages name it."""
        return self.source.text


def read_asked(
    question: Question, registry: bytes, settings: Settings, header: Mapping[str, str]
) -> Asked:
    """Return what is asked for, held against the entities' columns.

    Args:
        question: What is asked.
        registry: The registry's bytes.
        settings: Of the repository.
        header: The columns of the entities' file, and Arrow's words for their types.

    Raises:
        BadData: If the registry, the service, a view, a feature, or a column isn't there, or can't be what it is to be.
    """
    place = str(settings.registry or f"the registry of {question.repo}")
    found = read_registry(registry, settings.project, place)
    if question.service is not None:
        asked = found.service(question.service, list(header))
    else:
        asked = found.listed(question.features or (), list(header))
    _check_label(question, asked, header)
    often = Counter([*header, *(asked.name_of(*one) for one in asked.features)])
    if double := [name for name, times in often.items() if times > 1]:
        raise BadData(
            f"two columns would be named '{double[0]}': give one in {question.file} another name",
            *("feast", "entities"),
        )
    for needed, why in (
        (asked.keys, "to be joined by"),
        (asked.request, "that an on-demand view is computed from"),
    ):
        for name, kind in needed.items():
            if name not in header:
                hint = did_you_mean(name, list(header))
                raise BadData(
                    f"{question.file} has no column '{name}', {why}{hint}", "feast", "entities"
                )
            _check_type(question, name, kind, header[name])
    return asked


def _check_label(question: Question, asked: Asked, header: Mapping[str, str]) -> None:
    label = question.label
    of = [view for view, feature in asked.features if feature == label]
    if of:
        where = f"a feature of the view '{of[0]}'"
        if label in header:
            raise BadData(
                f"the label '{label}' is {where} too, and can't be predicted from: leave it out of what is asked for",
                *("label",),
            )
        raise BadData(
            f"the label '{label}' is {where}: it must be a column of {question.file}", "label"
        )
    for name in (EVENT_TIME, label):
        if name not in header:
            hint = did_you_mean(name, list(header))
            what = "label column" if name == label else "column"
            key = ("label",) if name == label else ("feast", "entities")
            raise BadData(f"{question.file} has no {what} '{name}'{hint}", *key)
    if label in (EVENT_TIME, *asked.keys, *asked.request):
        raise BadData(
            f"the label '{label}' is a column that features are joined or computed by", "label"
        )


def _check_type(question: Question, name: str, declared: str, found: str) -> None:
    kinds = {kind_of(declared), kind_of(found)}
    if len(kinds) > 1 and not kinds & {"", "null", "other"} and kinds != {"number", "whole number"}:
        raise BadData(
            f"column '{name}' of {question.file} is {found}, but the registry has {declared}: what is joined must be "
            "of one type",
            *("feast", "entities"),
        )


def with_source_types(asked: Asked, repo: Path) -> Asked:
    """Return it with the types that features have in their files, where those can be read.

    Raises:
        BadData: If a file isn't there, or isn't what the registry declares.
    """
    views = {}
    for name, view in asked.views.items():
        wanted = [feature for of, feature in asked.features if of == name]
        wanted += [f for v in asked.views.values() for base, f in v.made_from if base == view.base]
        found = source_types(view, repo, [f for f in dict.fromkeys(wanted) if f in view.features])
        views[name] = replace(view, features={**view.features, **found})
    return replace(asked, views=views)


def answer_of(asked: Asked, header: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """Return the answer: the columns, and what defines them."""
    columns = [Column(name, kind, beside=True) for name, kind in header.items()] + asked.columns()
    definition = asked.definition()
    return {
        "columns": [(c.name, c.type, c.view, c.derived_from, c.beside) for c in columns],
        "registry": {"project": settings.project, **asked.version},
        "definition": definition,
        "digest": digest_of(canonical(definition)),
    }
