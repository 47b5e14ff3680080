"""From plain data to `Settings`: pydantic's findings in a user's words, at a user's positions."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dotrain.config.errors import Path, Problem
from dotrain.config.metrics import metrics_problems, with_main_metric
from dotrain.config.options import arguments_of, options_model
from dotrain.config.schema import PartialSettings, Settings
from dotrain.config.source import Source
from dotrain.errors import UsageError, did_you_mean
from dotrain.space import DOMAINS, SpaceError, expand_deck_form, plain_or_text

#: What is said of a key that must be there.
MISSING = "required key is missing"

_TYPE_NAMES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "finite_number": "a finite number",
}


def validate_settings(
    source: Source, model: type[Settings] = Settings
) -> tuple[Settings, list[Problem]]:
    """Validate a config's structure.

    Args:
        source: The config.
        model: What it may say.

    Returns:
        The settings, and the problems found. What has a problem has its default in the settings,
        so that the rest can be checked further in the same round.
    """
    problems = [*source.problems, *_expand_space(source), *_empty_sections(source)]
    problems += metrics_problems(source)
    settings, more = _validate(model, with_main_metric(source.data), source, ())
    # A second message about the same value is only the echo of the first.
    known = {problem.path for problem in problems}
    problems += [
        p
        for p in more
        if p.message.startswith("unknown key") or not (p.path in known or is_echo(p, source))
    ]
    if settings is None:
        sound = _without(source.data, {problem.path for problem in problems})
        settings, _ = _validate(PartialSettings, with_main_metric(sound), source, ())
    return settings, problems


def _without(data: Mapping[str, Any], faults: Collection[Path]) -> dict[str, Any]:
    """Return a config without what is at fault: keys, and those inside of what names plugins."""
    sound = {}
    for key, value in data.items():
        inner = {path[1:2] for path in faults if path[:1] == (key,)}
        if not inner:
            sound[key] = value
        elif key in ("search", "ablation") and isinstance(value, dict):
            sound[key] = {name: part for name, part in value.items() if (name,) not in inner}
    return sound


def is_echo(problem: Problem, source: Source) -> bool:
    """Whether a parameter's values are judged by what was read wrongly, and reported as such."""
    path = problem.path
    if len(path) < 3 or path[:2] != ("search", "space"):
        return False
    is_short_form = source.has((*path[:3], 1))  # [INTEGER, [2, 8]] has no keys
    path = path[:3] if is_short_form else path
    return any(path == misread.path[: len(path)] for misread in source.problems)


def _empty_sections(source: Source) -> Iterator[Problem]:
    """Keys without a value, which the schema would take for its default."""
    cluster = source.data.get("cluster")
    for path, section in [
        *(((key,), source.data) for key in Settings.model_fields),
        *((("cluster", key), cluster) for key in ("adapt", "tls") if isinstance(cluster, dict)),
    ]:
        is_reported = any(problem.path == path for problem in source.problems)
        if section.get(path[-1], ...) is None and not is_reported:
            yield source.problem(path, "must not be empty")


def _expand_space(source: Source) -> Iterator[Problem]:
    """Replace the deck's ``[INTEGER, [2, 8]]`` by the mapping form, in place."""
    search = source.data.get("search")
    space = search.get("space") if isinstance(search, dict) else None
    if not isinstance(space, dict):
        return
    for name, spec in space.items():
        try:
            space[name] = expand_deck_form(spec)
        except SpaceError as error:
            yield source.problem(("search", "space", name), str(error))


def validate_options(
    plugin: type[Any],
    options: Mapping[str, Any],
    source: Source,
    path: Path,
    key: str,
) -> tuple[Any, list[Problem]]:
    """Make a plugin from its keys in the config, checked against its ``__init__``.

    Args:
        plugin: The class; its constructor's keyword arguments and annotations are the schema.
        options: The keys beside the one that names it, and that one if the constructor asks for it.
        source: Where they came from.
        path: The plugin's section.
        key: The one that names it.

    Returns:
        The instance, or None with the problems found.
    """
    try:
        model = options_model(plugin, key)
    except UsageError as error:
        return None, [source.problem(path, str(error))]
    checked, problems = _validate(model, dict(options), source, path)
    if checked is None:
        return None, problems
    try:
        own = model.model_fields.keys() - ({key} - arguments_of(plugin).keys())
        given = {name: getattr(checked, name) for name in own}
        return plugin(**given), []
    except Exception as error:
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return None, [source.problem(path, what)]


def _validate(model: type[Any], data: Any, source: Source, path: Path) -> tuple[Any, list[Problem]]:
    # Strict JSON mode is what a YAML author expects: no "3" for 3, yet lists for tuples.
    text = json.dumps(data, default=plain_or_text)
    try:
        return model.model_validate_json(text), []
    except ValidationError as error:
        problems = [_problem(found, model, source, path) for found in error.errors()]
        return None, list({problem.path: problem for problem in reversed(problems)}.values())[::-1]


def _problem(found: Any, model: type[BaseModel], source: Source, path: Path) -> Problem:
    loc: tuple[str | int, ...] = found["loc"]
    kind, given = found["type"], found["input"]
    where = (*path, *_without_tags(loc, source, path, keep_last=kind == "missing"))
    shown = "a mapping" if isinstance(given, dict) else repr(given)
    match kind:
        case "extra_forbidden" | "unexpected_keyword_argument":
            hint = did_you_mean(str(loc[-1]), _known_keys(model, loc[:-1]))
            return source.problem(where, f"unknown key{hint}", at_key=True)
        case "missing" if isinstance(loc[-1], int):
            return source.problem(where[:-1], f"too few values: {shown}")
        case "too_long":
            return source.problem(where, f"too many values: {shown}")
        case "missing":
            return source.problem(where, MISSING, at_key=True)
        case "union_tag_not_found":
            return source.problem(
                where, f"needs a type: one of {', '.join(DOMAINS)}, or the form [INTEGER, [2, 8]]"
            )
        case "union_tag_invalid":
            tag = found["ctx"]["tag"]
            message = f"expected one of {', '.join(DOMAINS)}, got '{tag}'"
            return source.problem((*where, "type"), message)
        case "value_error":
            error = found["ctx"]["error"]
            key = getattr(error, "key", "")
            return source.problem((*where, key) if key else where, str(error))
        case "string_pattern_mismatch":
            message = (
                f"expected letters, digits, '.', '_' and '-', a letter or digit first, got {shown}"
            )
            return source.problem(where, message)
        case "too_short" | "string_too_short":
            return source.problem(where, "must not be empty")
    if kind in _TYPE_NAMES:
        is_name = isinstance(given, str) and found.get("ctx", {}).get("class_name") == "Plugin"
        hint = f"; write {{name: {given}}}" if is_name else ""
        if kind == "string_type" and where[:1] == ("ablation",) and type(given) in (int, float):
            hint = f'; write "{shown}", in quotes'  # a layer of a Sequential, say
        return source.problem(where, f"expected {_TYPE_NAMES[kind]}, got {shown}{hint}")
    message = found["msg"].replace("Input should be greater", "expected a number greater")
    message = message.replace("Input should be", "expected").replace("valid ", "")
    return source.problem(where, f"{message}, got {shown}")


def _without_tags(
    loc: tuple[str | int, ...], source: Source, path: Path, *, keep_last: bool
) -> Path:
    """Drop the parts of a pydantic location that name a union's member, not a key."""
    where: Path = ()
    for index, part in enumerate(loc):
        is_kept = keep_last and index == len(loc) - 1
        if is_kept or source.has((*path, *where, part)):
            where = (*where, part)
    return where


def _known_keys(model: type[Any], loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys that would have been right at `loc`."""
    current: type[Any] = model
    for part in loc:
        if part in DOMAINS and loc[:2] == ("search", "space"):
            return [field.name for field in fields(DOMAINS[str(part)])]
        field = current.model_fields.get(str(part))
        if field is not None:
            current = next(_models_in(field.annotation), current)
    return list(current.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
