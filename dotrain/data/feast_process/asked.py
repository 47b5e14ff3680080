"""What is asked of a feature store, once a registry has told what it is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from dotrain.data.source import Column


@final
@dataclass(frozen=True)
class View:
    """A feature view as it is used: by a service, a list, or an on-demand view.

    Attributes:
        name: As references name it: its alias where it has one, with its version.
        base: Its own name.
        features: Of each feature that it has, Arrow's word for its type, or "".
        keys: Of each column of the entities' file that it is joined by, the column of its source, and Arrow's word
            for the type.
        source: Where its rows lie, as Feast's message; None for an on-demand view.
        ttl_s: How long a value is valid, in seconds; 0 for ever.
        made_from: For an on-demand view: (view, feature) that it is computed from.
        request: For an on-demand view: columns of the entities' file that it is computed from.
        code: For an on-demand view: the text of its function.
    """

    name: str
    base: str
    features: Mapping[str, str]
    keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    source: Any = None
    ttl_s: float = 0.0
    made_from: Sequence[tuple[str, str]] = ()
    request: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    def definition(self) -> dict[str, Any]:
        """Return what makes its values, for comparing; of its source's place the digest alone, which may hold a secret."""
        made: dict[str, Any] = {"features": dict(sorted(self.features.items()))}
        if self.source is None:
            made["from"] = sorted(f"{view}:{feature}" for view, feature in self.made_from)
            made["request"] = sorted(self.request)
            made["function"] = digest_of(self.code)
        else:
            made["keys"] = {key: column for key, (column, _) in sorted(self.keys.items())}
            made["ttl_s"] = self.ttl_s
            made["source"] = self._place()
        return made

    def _place(self) -> str:
        # Of the message as a whole not even equal definitions give the same bytes.
        source, options = self.source, self.source.WhichOneof("options")
        times = [source.timestamp_field, source.created_timestamp_column]
        told = [source.type, *times, source.date_partition_column, dict(source.field_mapping)]
        if options is not None:
            told.append(getattr(source, options).SerializeToString(deterministic=True).hex())
        return digest_of(canonical(told))


@final
@dataclass(frozen=True)
class Asked:
    """What is asked of a feature store.

    Attributes:
        features: (view, feature) in their order.
        views: By their name in references, those of the features, and those that on-demand views are computed from.
        full: Whether columns have the view in their names, as two would else be named alike.
        version: Of the registry: ``version_id`` and ``last_updated``.
    """

    features: Sequence[tuple[str, str]]
    views: Mapping[str, View]
    full: bool
    version: Mapping[str, str]

    def name_of(self, view: str, feature: str) -> str:
        """Return the name of a feature's column."""
        return f"{view}__{feature}" if self.full else feature

    @property
    def keys(self) -> dict[str, str]:
        """The columns that the entities' file must have to be joined by, and Arrow's words for their types."""
        return {key: kind for view in self.views.values() for key, (_, kind) in view.keys.items()}

    @property
    def request(self) -> dict[str, str]:
        """The columns that on-demand views want of the entities' file, and Arrow's words for their types."""
        return {n: kind for view in self.views.values() for n, kind in view.request.items()}

    def columns(self) -> list[Column]:
        """Return a column for each feature, in their order."""
        return [self._column(view, feature) for view, feature in self.features]

    def _column(self, name: str, feature: str) -> Column:
        view = self.views[name]
        sources = [one for source in view.made_from for one in self._names_of(*source)]
        kind = view.features[feature]
        return Column(self.name_of(name, feature), kind, name, (*sources, *view.request))

    def _names_of(self, base: str, feature: str) -> list[str]:
        """Return the columns that a feature of a view is, which may have several names; with the view if it is none."""
        views = [
            name
            for name in dict.fromkeys(n for n, _ in self.features)
            if self.views[name].base == base
        ]
        found = [self.name_of(name, feature) for name in views if (name, feature) in self.features]
        return found or [f"{name}:{feature}" for name in views or [base]]

    def definition(self) -> dict[str, Any]:
        """Return what makes the table, as JSON, by what it is said of."""
        views = {f"view {name}": view.definition() for name, view in sorted(self.views.items())}
        return {"features": [f"{view}:{feature}" for view, feature in self.features], **views}


def digest_of(data: str | bytes) -> str:
    """Return the SHA-256 of text or bytes, in hex."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def canonical(value: Any) -> str:
    """Return JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def kind_of(word: str) -> str:
    """Return what a type of Arrow's is, by its word: a change from one kind to another is one of the data's meaning."""
    inner = re.fullmatch(r"dictionary<values=(\w+),.*>", word)
    word = inner[1] if inner else word
    if word in ("bool", "null", ""):
        return word
    if re.fullmatch(r"u?int\d+", word):
        return "whole number"
    if re.match(r"(half)?float$|double$|decimal", word):
        return "number"
    if re.fullmatch(r"(large_)?(string|utf8)(_view)?", word):
        return "text"
    if re.match(r"timestamp|date", word):
        return "time"
    return "other"
