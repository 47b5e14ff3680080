"""What can be named in a config: the installed plugins, with their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from dotrain import plugins
from dotrain.config.options import descriptions_of, options_model, summary_of
from dotrain.errors import UsageError
from dotrain.optimizers.auto import NAME, Auto
from dotrain.versions import own_version

Schema = dict[str, Any]

SCALAR_TYPES = ("string", "number", "boolean", "null")
#: Of a value that may be a list or a mapping too.
VALUE_TYPES = (*SCALAR_TYPES, "array", "object")


class PlainSchema(GenerateJsonSchema):
    """JSON Schema without a title for every key, and without a word about odd defaults."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Titles would only repeat the keys."""
        return False


@dataclass(frozen=True)
class Entry:
    """One thing that a config can name.

    Attributes:
        kind: ``optimizer``, ``early-stop rule``, ``strategy``, ``ablator``, ``cluster`` or ``observer``.
        key: Where its name goes in the config.
        name: What to write there.
        package: Which installed package it comes from.
        version: Of the package; ``""`` if unknown.
        place: ``module:Class``.
        summary: What it does, in a line.
        options: JSON Schema of the keys beside its name, or of a cluster's ``options``; None if
            they can't be told.
        error: Why it can't be used, or ``""``.
    """

    kind: str
    key: str
    name: str
    package: str
    version: str = ""
    place: str = ""
    summary: str = ""
    options: Schema | None = None
    error: str = ""
    #: Whether `search.num_trials` must be given with it.
    needs_num_trials: bool = field(default=False, repr=False)
    #: JSON Schema of what an executor takes of its section.
    section: Schema = field(default_factory=dict, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data, an entry for each option."""
        data = asdict(self)
        del data["needs_num_trials"], data["section"]
        data["options"] = options_of(self.options or {})
        return data


#: (kind, group, keys where a name of it goes), in the order in which they are shown.
_GROUPS = (
    ("optimizer", plugins.OPTIMIZERS, "search.optimizer.name"),
    ("early-stop rule", plugins.EARLY_STOP, "search.early_stop.name"),
    ("strategy", plugins.STRATEGIES, "distribution.strategy"),
    ("ablator", plugins.ABLATORS, "ablation.ablator.name"),
    ("cluster", plugins.EXECUTORS, "cluster.kind"),
    ("observer", plugins.OBSERVERS, "observers[].name"),
)


def catalogue() -> list[Entry]:
    """Return everything that is found; plugins of installed packages are imported for it."""
    auto = plugins.Found(NAME, f"{Auto.__module__}:Auto", "dotrain", own_version(), Auto, "")
    # It is none, but stands where their names do.
    return [
        _entry(kind, key, plugin)
        for kind, group, key in _GROUPS
        for plugin in plugins.find_plugins(group) + [auto] * (group == plugins.OPTIMIZERS)
    ]


def built_in(entries: list[Entry]) -> list[Entry]:
    """Return the entries that come with dotrain."""
    return [entry for entry in entries if entry.package == "dotrain"]


def _entry(kind: str, key: str, found: plugins.Found) -> Entry:
    where = (kind, key, found.name, found.package, found.version, found.place)
    if found.plugin is None:
        return Entry(*where, error=found.error)
    summary = summary_of(found.plugin)
    needs_num_trials = bool(getattr(found.plugin, "needs_num_trials", False))
    try:
        options = options_schema(found.plugin, key.rpartition(".")[2])
    except UsageError as error:
        return Entry(*where, summary, error=str(error))
    except PydanticInvalidForJsonSchema:  # a type that no YAML value has
        options = None
    if kind == "cluster" and options is not None:
        section = _inlined(options, options.pop("$defs", {}))
        own = section["properties"].get("options", {})
        options = own if "properties" in own else {}
        section["allOf"] = list(found.plugin.schema_rules)
        return Entry(*where, summary, options, section=section)
    return Entry(*where, summary, options, needs_num_trials=needs_num_trials)


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema with what its references lead to in their place."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    target = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2])
    if target is not None:
        rest = {key: part for key, part in schema.items() if key != "$ref"}
        return _inlined({**target, **rest}, definitions)
    return {key: _inlined(part, definitions) for key, part in schema.items()}


def options_schema(plugin: type[Any], key: str) -> Schema:
    """Return the JSON Schema of a plugin's own keys.

    Args:
        plugin: The class.
        key: The key that names it in its section, which is left out.

    Raises:
        UsageError: If its annotations can't be understood.
        PydanticInvalidForJsonSchema: If one is a type that JSON doesn't have.
    """
    schema = model_schema(options_model(plugin, key))
    schema.pop("title", None)
    schema["properties"].pop(key, None)
    texts = descriptions_of(plugin)
    for name, option in schema["properties"].items():
        if name in texts:
            option.setdefault("description", texts[name])
    return schema


def model_schema(model: type[BaseModel]) -> Schema:
    """Return the JSON Schema of a pydantic model, its unions with null and plain types merged."""
    return dict(tidy(model.model_json_schema(schema_generator=PlainSchema)))


def tidy(schema: Any) -> Any:
    """Return a schema with unions of plain types as one, and without defaults that are null."""
    if isinstance(schema, list):
        return [tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _tidy_part(key, part) for key, part in schema.items()}
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    schema.pop("discriminator", None)
    union = schema.get("anyOf")
    if not union or any(not isinstance(part.get("type"), str) for part in union):
        return schema
    rich = [part for part in union if len(part) > 1]
    types = list(dict.fromkeys(part["type"] for part in union))
    if "number" in types and "integer" in types:
        types.remove("integer")
    # Keywords of one type say nothing about values of another, but const and enum do.
    if len(rich) > 1 or any({"const", "enum"} & set(part) for part in rich):
        return schema
    del schema["anyOf"]
    return {**schema, **(rich[0] if rich else {}), "type": types if len(types) > 1 else types[0]}


def _tidy_part(key: str, part: Any) -> Any:
    if key in ("properties", "$defs"):
        return {name: tidy(inner) for name, inner in part.items()}
    is_schema = key in ("items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf")
    return tidy(part) if is_schema else part


def options_of(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a flat description of each key of an object's schema, required ones first.

    A key that may be null but needn't be there is only said to have no default.
    """
    required = schema.get("required", [])
    options = []
    for name, option in schema.get("properties", {}).items():
        kind = type_text(option, schema.get("$defs", {}))
        options.append(
            {
                "name": name,
                "type": kind if name in required else kind.removesuffix(" or null"),
                "required": name in required,
                "default": option.get("default"),
                "description": option.get("description", ""),
            }
        )
    return sorted(options, key=lambda option: not option["required"])


_NAMES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
    "null": "null",
}


def type_text(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Return a schema's type and range as people say it.

    Args:
        schema: Of one key.
        defs: What its references lead to.
    """
    if "$ref" in schema:
        target = defs.get(schema["$ref"].rpartition("/")[2], {})
        return type_text({"type": "object", **target}, defs) if target else "mapping"
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    for union in ("anyOf", "oneOf"):
        if union in schema and "type" not in schema:
            parts = dict.fromkeys(type_text(part, defs) for part in schema[union])
            return " or ".join(parts)
    kinds = schema.get("type", [])
    if set(kinds) in (set(SCALAR_TYPES), set(VALUE_TYPES)):
        return "value"
    kinds = [kinds] if isinstance(kinds, str) else kinds
    names = [_named(kind, schema, defs) for kind in kinds if kind != "null"]
    return " or ".join([*names, *(["null"] if "null" in kinds else [])]) or "anything"


def _named(kind: str, schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if kind == "array" and schema.get("prefixItems"):
        parts = ", ".join(type_text(part, defs) for part in schema["prefixItems"])
        return f"[{parts}]"
    if kind == "array" and schema.get("items"):
        items = type_text(schema["items"], defs)
        return f"list of {items}{'s' if items.endswith(('number', 'value', 'mapping')) else ''}"
    bounds = [
        f"{sign} {schema[key]:g}"
        for key, sign in (
            ("exclusiveMinimum", ">"),
            ("minimum", ">="),
            ("exclusiveMaximum", "<"),
            ("maximum", "<="),
        )
        if key in schema and kind in ("integer", "number")
    ]
    return " ".join([_NAMES[kind], ", ".join(bounds)]).strip()
