"""What a Feast registry declares of the features asked for, read from its bytes; neither Feast nor the user's code is imported.

The registry is a message of protocol buffers, whose classes are in Feast's package. Importing that takes seconds, and
reading objects by it runs the pickles of on-demand views; the classes alone take neither. This module is for the
process that asks for them alone (`feast_process`): it puts a stand-in for the package where Feast isn't imported.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, final

from dotrain.data.feast_process.asked import Asked, View
from dotrain.data.source import BadData
from dotrain.errors import did_you_mean

#: What Feast's words for types are in Arrow, as Feast maps them; of others only reading tells.
_ARROW: Final = {
    "BYTES": "binary",
    "STRING": "string",
    "INT32": "int32",
    "INT64": "int64",
    "DOUBLE": "double",
    "FLOAT": "float",
    "BOOL": "bool",
    "UNIX_TIMESTAMP": "timestamp[us]",
    "UUID": "string",
    "TIME_UUID": "string",
}
#: Feast's key of views that have no entity.
_NO_KEY: Final = "__dummy_id"


def read_registry(data: bytes, project: str, place: str) -> Registry:
    """Return the registry of one project.

    Args:
        data: The registry's file.
        project: The project's name.
        place: How messages name the registry.

    Raises:
        BadData: If it is no registry, or has nothing of the project.
    """
    from google.protobuf.message import DecodeError

    try:
        message = _messages().Registry.FromString(data)
    except DecodeError:
        raise BadData(
            f"{place} is no registry of Feast's, or one that is written just now", "feast", "repo"
        ) from None
    return Registry(message, project, place)


@final
class Registry:
    """What one project has in a registry."""

    def __init__(self, message: Any, project: str, place: str) -> None:
        self._message = message
        self._place = place
        self._project = project
        self._types = {number: word for word, number in _messages_of_types()}
        self.services = {s.spec.name: s.spec for s in self._of("feature_services")}
        self.views = {
            one.spec.name: one.spec
            for kind in ("feature_views", "stream_feature_views", "label_views")
            for one in self._of(kind)
        }
        self.on_demand = {v.spec.name: v.spec for v in self._of("on_demand_feature_views")}
        self._join_keys = {e.spec.name: e.spec.join_key for e in self._of("entities")}
        if not self.views:
            others = {one.spec.project for one in message.feature_views} - {project}
            hint = f"; it has {', '.join(sorted(others))}" if others else ""
            raise BadData(
                f"{place} has no feature view of the project '{project}'{hint}: run `feast apply` in the repository",
                *("feast", "repo"),
            )

    def _of(self, kind: str) -> Iterator[Any]:
        # Older versions don't know all kinds.
        every = getattr(self._message, kind, ())
        return (one for one in every if one.spec.project in ("", self._project))

    def service(self, name: str, columns: Sequence[str]) -> Asked:
        """Return what a feature service asks for.

        Args:
            name: The service's.
            columns: Of the entities' file.

        Raises:
            BadData: If there is no such service, or a view of it is gone.
        """
        if name not in self.services:
            hint = did_you_mean(name, list(self.services)) or "; it has none"
            raise BadData(
                f"{self._place} has no feature service '{name}'{hint}", "feast", "service"
            )
        views, features = [], []
        for projection in self.services[name].features:
            base = projection.feature_view_name
            if base not in self.views and base not in self.on_demand:
                raise BadData(
                    f"the feature service '{name}' takes features of the view '{base}', which {self._place} has not: "
                    "run `feast apply` in the repository",
                    *("feast", "service"),
                )
            view = self._view(base, projection)
            views.append(view)
            features += [(view.name, feature.name) for feature in projection.feature_columns]
        return self._asked(features, views, columns, ("feast", "service"))

    def listed(self, references: Sequence[str], columns: Sequence[str]) -> Asked:
        """Return what a list of references asks for.

        Args:
            references: ``view:feature`` each.
            columns: Of the entities' file.

        Raises:
            BadData: If one isn't there, or stands there twice.
        """
        views: dict[str, View] = {}
        features: list[tuple[str, str]] = []
        for index, reference in enumerate(references):
            key = ("feast", "features", index)
            base, colon, feature = reference.partition(":")
            known = {**self.views, **self.on_demand}
            if base not in known:
                hint = did_you_mean(base, list(known))
                raise BadData(f"{self._place} has no feature view '{base}'{hint}", *key)
            view = views.setdefault(base, self._view(base))
            if not colon or feature not in view.features:
                hint = (
                    did_you_mean(feature, list(view.features))
                    if colon
                    else f"; it has {', '.join(view.features)}"
                )
                what = (
                    f"has no feature '{feature}'"
                    if colon
                    else "must be followed by a feature, 'view:feature'"
                )
                raise BadData(f"the feature view '{base}' {what}{hint}", *key)
            if (base, feature) in features:
                raise BadData(f"'{reference}' stands here twice", *key)
            features.append((base, feature))
        return self._asked(features, list(views.values()), columns, ("feast", "features"))

    def _asked(
        self,
        features: Sequence[tuple[str, str]],
        views: Sequence[View],
        columns: Sequence[str],
        key: tuple[str, ...],
    ) -> Asked:
        if not features:
            raise BadData("no feature is asked for", *key)
        found = {view.name: view for view in views}
        for view in views:
            for base, _ in view.made_from:
                if base not in self.views:
                    raise BadData(
                        f"the on-demand view '{view.name}' is computed from the view '{base}', which {self._place} "
                        "has not: run `feast apply` in the repository",
                        *key,
                    )
                found.setdefault(base, self._view(base))
        often = Counter([*(feature for _, feature in features), *columns])
        full = any(often[feature] > 1 for _, feature in features)
        updated = self._message.last_updated.ToJsonString()
        version = {"version_id": self._message.version_id, "last_updated": updated}
        return Asked(features, found, full, version)

    def _view(self, base: str, projection: Any = None) -> View:
        spec = self.on_demand.get(base) or self.views[base]
        name, mapped = base, {}
        if projection is not None:
            name = projection.feature_view_name_alias or base
            # Of a message without such a field, HasField is an error.
            if "version_tag" in projection.DESCRIPTOR.fields_by_name and projection.HasField(
                "version_tag"
            ):
                name += f"@v{projection.version_tag}"
            mapped = dict(projection.join_key_map)
        features = {f.name: self._type(f.value_type) for f in spec.features}
        if projection is not None:
            features |= {f.name: self._type(f.value_type) for f in projection.feature_columns}
        if base in self.on_demand:
            return self._on_demand(name, spec, features)
        typed = {f.name: self._type(f.value_type) for f in spec.entity_columns}
        columns = [self._join_keys.get(entity, entity) for entity in spec.entities]
        keys = {
            mapped.get(c, c): (c, typed.get(c, ""))
            for c in columns
            if c != _NO_KEY and not c.startswith("__dummy")
        }
        # A label view's source is named so.
        source = spec.batch_source if hasattr(spec, "batch_source") else spec.source
        ttl_s = spec.ttl.seconds + spec.ttl.nanos / 1e9
        return View(name, base, features, keys, source, ttl_s)

    def _on_demand(self, name: str, spec: Any, features: Mapping[str, str]) -> View:
        made_from: list[tuple[str, str]] = []
        request: dict[str, str] = {}
        for _, source in sorted(spec.sources.items()):
            if source.WhichOneof("source") == "request_data_source":
                for f in source.request_data_source.request_data_options.schema:
                    request[f.name] = self._type(f.value_type)
            elif source.WhichOneof("source") == "feature_view_projection":
                of = source.feature_view_projection
                made_from += [(of.feature_view_name, f.name) for f in of.feature_columns]
            else:
                of = source.feature_view.spec
                made_from += [(of.name, f.name) for f in of.features]
        written = spec.feature_transformation.user_defined_function.body_text
        return View(name, spec.name, features, made_from=made_from, request=request, code=written)

    def _type(self, number: int) -> str:
        return _ARROW.get(self._types.get(number, ""), "")


def _messages() -> Any:
    return _proto("feast.core.Registry_pb2")


def _messages_of_types() -> list[tuple[str, int]]:
    items: list[tuple[str, int]] = _proto("feast.types.Value_pb2").ValueType.Enum.items()
    return items


def _proto(name: str) -> Any:
    if "feast" not in sys.modules:
        spec = importlib.util.find_spec("feast")
        assert spec is not None
        stand_in = ModuleType("feast")
        stand_in.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["feast"] = stand_in
    return importlib.import_module(f"feast.protos.{name}")
