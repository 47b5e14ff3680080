"""The JSON Schema of a config, for editors: the models' schema, plugins' own keys, and the rules.

Whatever it refuses, `load_config` refuses too; not the other way round, since much of a config
can only be checked against the user's code and files. The ``...errorMessage`` keywords are what VS
Code's language servers show; other tools pass over them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from dotrain.config.catalogue import SCALAR_TYPES, VALUE_TYPES, Entry, Schema, model_schema
from dotrain.config.cluster import OPTIONAL_KEYS, goes_with
from dotrain.config.options import descriptions_of, summary_of
from dotrain.config.schema import Settings
from dotrain.plugins import DOTTED, other_names
from dotrain.space import DECK_TYPES, DOMAINS, Searchspace

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: Sections of the file that name a plugin: (definition, key of it) to the kind of the plugin.
_SECTIONS = {
    ("Search", "optimizer"): "optimizer",
    ("Search", "early_stop"): "early-stop rule",
    ("Ablation", "early_stop"): "early-stop rule",
    ("Ablation", "ablator"): "ablator",
}
_SCALAR = {"type": list(SCALAR_TYPES)}
_VALUE = {"type": list(VALUE_TYPES)}


def config_schema(entries: Sequence[Entry]) -> Schema:
    """Return the JSON Schema of a config file.

    Args:
        entries: What a config can name, as of `catalogue`.
    """
    schema = model_schema(Settings)
    definitions = schema["$defs"]
    del definitions["Plugin"]
    for (section, key), kind in _SECTIONS.items():
        name = kind.title().replace(" ", "").replace("-", "")
        definitions[name] = _plugin_section(_of_kind(entries, kind), "name")
        definitions[section]["properties"][key]["$ref"] = f"#/$defs/{name}"
    definitions["Distribution"].update(
        _plugin_section(
            _of_kind(entries, "strategy"),
            "strategy",
            definitions["Distribution"]["properties"]["strategy"],
        )
    )
    definitions["Observer"] = _plugin_section(_of_kind(entries, "observer"), "name")
    schema["properties"]["observers"]["items"]["$ref"] = "#/$defs/Observer"
    _describe_domains(definitions)
    forms = [{"$ref": f"#/$defs/{domain.__name__}"} for domain in DOMAINS.values()]
    forms += _deck_forms(definitions)
    _add_rules_of_search(definitions["Search"], forms, _of_kind(entries, "optimizer"))
    _add_rules_of_cluster(definitions["Cluster"], _of_kind(entries, "cluster"))
    keys = schema["properties"] = {k: _not_null(v) for k, v in schema["properties"].items()}
    of_cluster = definitions["Cluster"]["properties"]
    of_cluster.update({key: _not_null(of_cluster[key]) for key in ("adapt", "tls")})
    for section in ("cluster", "limits", "journal"):
        del keys[section]["default"]  # each key of theirs has its own
    _describe_sections(keys, definitions)
    _describe_sections(definitions["Cluster"]["properties"], definitions)
    _add_targets(keys, definitions["Ablation"]["properties"])
    keys["hparams"]["propertyNames"] = _none_of(Searchspace.RESERVED - {"budget"})
    schema["allOf"] = [
        {
            "if": {"properties": {"ablation": _has(key)}, "required": ["ablation"]},
            "then": {"required": ["model"]},
        }
        for key in ("layers", "layer_groups", "models")
    ]
    _let_there_be_several_metrics(schema)
    schema["description"] = "A config of dotrain: what to train, and how."
    return {"$schema": DIALECT, **schema, "title": "dotrain config"}


def _let_there_be_several_metrics(schema: Schema) -> None:
    schema["required"].remove("metric")
    metrics = schema["properties"]["metrics"]
    del metrics["default"]
    metrics |= {"minProperties": 2, "propertyNames": {"minLength": 1}}
    several = {"required": ["metrics"], "properties": {"direction": False}}
    schema["oneOf"] = [{"required": ["metric"]}, several]


def _of_kind(entries: Sequence[Entry], kind: str) -> list[Entry]:
    return [entry for entry in entries if entry.kind == kind]


# Plugins


def _plugin_section(
    entries: Sequence[Entry], key: str, naming: Mapping[str, Any] | None = None
) -> Schema:
    """Return the schema of a section in which `key` names a plugin and decides the other keys."""
    known = [
        {"const": entry.name, "description": entry.summary or entry.error} for entry in entries
    ]
    aliases = [_any_case(alias) for entry in entries for alias in other_names(entry.name)]
    name = {
        "description": "A registered name, or module:Class of your own.",
        **(naming or {}),
        "anyOf": [*known, {"pattern": "|".join([":", *aliases])}],
        "type": "string",
    }
    return {
        "type": "object",
        "properties": {key: name},
        "required": [] if naming else [key],
        "allOf": [
            {
                "if": _names(entry.name, key, or_absent=(naming or {}).get("default")),
                "then": {
                    **{k: v for k, v in entry.options.items() if k != "type"},
                    "properties": {key: True, **entry.options["properties"]},
                },
            }
            for entry in entries
            if entry.options is not None
        ],
    }


def _names(name: str, key: str, or_absent: str | None = None) -> Schema:
    """Return what holds if `key` is there and names a plugin, by whatever name."""
    aliases = [{"pattern": _any_case(alias), "type": "string"} for alias in other_names(name)]
    this = {"anyOf": [{"const": name}, *aliases]} if aliases else {"const": name}
    return {"properties": {key: this}, **({} if or_absent == name else {"required": [key]})}


def _any_case(word: str) -> str:
    """Return a pattern; JSON Schema knows no flag for it."""
    return "^" + "".join(f"[{letter}{letter.upper()}]" for letter in word) + "$"


# The space


def _describe_domains(definitions: dict[str, Any]) -> None:
    for name, domain in DOMAINS.items():
        schema = definitions[domain.__name__]
        texts = {**descriptions_of(domain), "type": summary_of(domain)}
        keys = {"type": schema["properties"].pop("type"), **schema["properties"]}
        for key, text in texts.items():
            keys[key]["description"] = text
        keys["type"].pop("default")
        keys["when"]["additionalProperties"] = {
            "anyOf": [
                _SCALAR,
                {"type": "array", "items": _VALUE, "minItems": 1},
                {
                    "type": "object",
                    "properties": {"min": {"type": "number"}, "max": {"type": "number"}},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        }
        assert set(keys) == {field.name for field in fields(domain)}
        schema["properties"] = keys
        schema["required"] = ["type", *schema["required"]]
        schema["description"] = texts["type"]
        if "sigma" in keys:
            keys["sigma"]["exclusiveMinimum"] = 0
        elif "range" in keys:
            _add_rules_of_range(schema)
        else:
            is_number = name == "discrete"
            keys["values"].update(
                items={"type": "number"} if is_number else _VALUE, minItems=1, uniqueItems=True
            )


def _add_rules_of_range(schema: Schema) -> None:
    schema["properties"]["step"]["exclusiveMinimum"] = 0
    schema["if"] = {"properties": {"scale": {"const": "log"}}, "required": ["scale"]}
    schema["then"] = {
        "properties": {
            "range": {"prefixItems": [{"exclusiveMinimum": 0}]},
            "step": {"type": "null"},
        }
    }


def _deck_forms(definitions: Mapping[str, Any]) -> list[Schema]:
    """Return the schemas of ``[INTEGER, [2, 8]]`` and its like."""
    forms = []
    for word, (kind, key) in DECK_TYPES.items():
        domain = DOMAINS[kind].__name__
        given = definitions[domain]["properties"][key]
        forms.append(
            {
                "description": f"The short form of type {kind}.",
                "type": "array",
                "prefixItems": [{"const": word}, given],
                "minItems": 2,
                "maxItems": 2,
            }
        )
    return forms


def _add_rules_of_search(
    search: Schema, domains: Sequence[Schema], optimizers: Sequence[Entry]
) -> None:
    space = search["properties"]["space"]
    space["additionalProperties"] = {"anyOf": domains}
    space["propertyNames"] = _none_of(Searchspace.RESERVED)
    default = search["properties"]["optimizer"]["default"]["name"]
    sampling = [entry.name for entry in optimizers if entry.needs_num_trials]
    search["allOf"] = [
        {
            # Absent, it is the default one.
            "if": {
                "properties": {"optimizer": _names(name, "name")},
                **({} if name == default else {"required": ["optimizer"]}),
            },
            "then": {"required": ["num_trials"], "properties": {"num_trials": {"type": "integer"}}},
        }
        for name in sampling
    ]


# The cluster


def _add_rules_of_cluster(cluster: Schema, entries: Sequence[Entry]) -> None:
    """Let the kind decide the other keys: what its class doesn't take stays empty."""
    keys = cluster["properties"]
    known = [
        {"const": entry.name, "description": entry.summary or entry.error}
        for entry in entries
        if entry.name != DOTTED
    ]
    keys["kind"]["anyOf"] = [*known, {"pattern": r"[.:]"}]
    takers = {
        key: [entry.name for entry in entries if key in entry.section.get("properties", ())]
        for key in OPTIONAL_KEYS
    }

    def of_kind(name: str) -> Schema:
        this = {"pattern": r"^[^:]*\.[^:]*$"} if name == DOTTED else {"const": name}
        is_default = name == keys["kind"]["default"]
        return {"properties": {"kind": this}, **({} if is_default else {"required": ["kind"]})}

    def keys_of(entry: Entry) -> Schema:
        taken = entry.section["properties"]
        return {
            key: {k: v for k, v in taken[key].items() if k not in ("default", "description")}
            if key in taken
            else {"enum": [None, "", {}], "errorMessage": goes_with(key, takers[key])}
            for key in OPTIONAL_KEYS
        }

    cluster["allOf"] = [
        {
            "if": of_kind(entry.name),
            "then": {
                "properties": keys_of(entry),
                "required": [k for k in OPTIONAL_KEYS if k in entry.section.get("required", ())],
                **({"allOf": rules} if (rules := entry.section["allOf"]) else {}),
            },
        }
        for entry in entries
        if entry.section
    ]


# The rest


def _none_of(reserved: Collection[str]) -> Schema:
    """Return the schema of a name that isn't taken; `not` would give editors nothing to say."""
    return {
        "pattern": rf"^(?!(?:{'|'.join(sorted(reserved))})(?![\s\S]))",
        "patternErrorMessage": "this name is reserved: train functions get something else by it",
    }


def _has(key: str) -> Schema:
    """Return what holds of a section with something under `key`, a list or a mapping."""
    return {"properties": {key: {"minItems": 1, "minProperties": 1}}, "required": [key]}


def _add_targets(keys: Mapping[str, Schema], ablation: Mapping[str, Schema]) -> None:
    """Say how a function is named wherever one is."""
    data = [part for part in keys["data"]["oneOf"] if part.get("type") == "string"]
    models = ablation["models"]["additionalProperties"]
    for function in (keys["train"], keys["model"], keys["prepare"], *data, models):
        function["pattern"] = r"^[\s\S]+:[^\s:]+$"
        function["patternErrorMessage"] = "expected path.py:function or module:function"


def _describe_sections(keys: dict[str, Schema], definitions: Mapping[str, Any]) -> None:
    """Say of each section what its own definition says."""
    for schema in keys.values():
        if "$ref" in schema:
            definition = definitions[schema["$ref"].rpartition("/")[2]]
            schema.setdefault("description", definition["description"])


def _not_null(schema: Schema) -> Schema:
    """Return a schema without the choice of null: `key:` with nothing behind it is a mistake."""
    if isinstance(schema.get("type"), list):
        (kind,) = (kind for kind in schema["type"] if kind != "null")
        return {**schema, "type": kind}
    if "anyOf" in schema:
        (rest,) = (part for part in schema["anyOf"] if part.get("type") != "null")
        return {**{key: part for key, part in schema.items() if key != "anyOf"}, **rest}
    return schema
