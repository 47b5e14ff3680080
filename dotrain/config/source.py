"""Reading YAML without losing where each value came from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from dotrain.config.errors import ConfigError, Path, Problem, dotted

#: What people write for a float and YAML 1.1 reads as text.
LOST_FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d{1,4}")
#: The same without an exponent: ``08`` beside ``07``, YAML 1.2's octal numbers, ``-.5`` beside ``.5``.
LOST_NUMBER = re.compile(r"[-+]?0\d{0,17}[89]\d{0,17}|0o[0-7]{1,20}|[-+]\.\d{1,40}")

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {
    _TAG + "str": "text",
    _TAG + "int": "a whole number of 64 bits",
    _TAG + "float": "a number",
    _TAG + "bool": "true or false",
    _TAG + "null": "nothing",
}
#: How YAML 1.2 spells what isn't text. YAML 1.1 also has ``off``, ``010``, ``1:30`` and ``1_000``.
_SPELLINGS = {
    _TAG + "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    _TAG + "int": re.compile(r"[-+]?(0|[1-9]\d*|0x[0-9a-fA-F]+)"),
    _TAG + "float": re.compile(
        r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
}


@dataclass
class Source:
    """The plain data of a config, and the origin of every part of it.

    Attributes:
        file: The file as the user named it.
        data: What ``yaml.safe_load`` would give, overrides applied.
        problems: Mistakes that reading found and that don't keep the rest from being checked.
        names: What a call from Python has other names for.
    """

    file: str
    data: Any
    problems: list[Problem]
    names: dict[Path, str] = field(default_factory=dict)
    _keys: dict[Path, str] = field(default_factory=dict)
    _values: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def of_call(cls, data: Any, names: dict[Path, str]) -> Source:
        """Return the source of what a call from Python gives, with its names for keys."""
        source = cls("", data, [], names)
        source._note(data, ())
        return source

    def _note(self, value: Any, path: Path) -> None:
        self._values[path] = self._keys[path] = self.file
        if isinstance(value, dict | list):
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            for key, part in parts:
                self._note(part, (*path, key))

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """Make a problem at a path; parts the file doesn't have fall back to what encloses them.

        Args:
            path: Where, as keys and list positions.
            message: What is wrong and what was expected.
            at_key: Point at the key rather than at its value.
        """
        known = path
        while known and known not in self._values:
            known = known[:-1]
            at_key = True
        origins = self._keys if at_key and known in self._keys else self._values
        named = next((n for n in range(len(path), 0, -1) if path[:n] in self.names), 0)
        name = dotted((self.names[path[:named]], *path[named:])) if named else ""
        return Problem(origins.get(known, f"{self.file}:1:1"), path, message, name)

    def lacks(self, key: str) -> str:
        """Say that something is missing."""
        return f"the config has no '{key}:'" if self.file else f"the call gives no '{key}'"

    def has(self, path: Path) -> bool:
        """Whether the config says something at `path`."""
        return path in self._values


def read_source(
    file: FilePath, overrides: Sequence[str] = (), *, is_written: bool = False
) -> Source:
    """Read a YAML file and apply ``key.path=value`` overrides.

    Args:
        file: The config file.
        overrides: As given to ``--set``; the values are YAML.
        is_written: Whether dotrain has written the file. ``08`` is text there: earlier versions
            put no quotes around it.

    Raises:
        ConfigError: If the file can't be read or is no YAML mapping, or an override can't be
            applied.
    """
    name = str(file)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(name, (), f"can't be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(name, (), f"is not UTF-8 text: {error}")]) from None
    reader = _Reader(name, is_written=is_written)
    data = reader.read(text)
    source = Source(name, data, reader.problems, {}, reader.keys, reader.values)
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"is a {type(data).__name__}"
        message = f"the config {what}; expected keys such as 'train:'"
        raise ConfigError(reader.problems or [Problem(f"{name}:1:1", (), message)])
    for override in overrides:
        _apply_override(source, override)
    return source


class _Reader:
    """Turns YAML nodes into plain data, noting positions and mistakes on the way."""

    def __init__(self, origin: str, *, positions: bool = True, is_written: bool = False) -> None:
        self.origin = origin
        self.is_written = is_written
        self.positions = positions
        self.keys: dict[Path, str] = {}
        self.values: dict[Path, str] = {}
        self.problems: list[Problem] = []
        #: The collections that are being read, from the outermost inwards.
        self._open: list[yaml.Node] = []

    def read(self, text: str, path: Path = ()) -> Any:
        try:
            loader = yaml.SafeLoader(text)
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            at = self._at(before.count("\n"), len(before) - before.rfind("\n") - 1)
            character = f"U+{ord(text[error.position]):04X}"
            self.problems.append(Problem(at, (), f"not valid YAML: the character {character}"))
            return None
        try:
            node = loader.get_single_node()
            return None if node is None else self._build(loader, node, path)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = self._at(mark.line, mark.column) if mark else self.origin
            what = " ".join(part for part in (error.context, error.problem) if part)
            self.problems.append(Problem(at, (), f"not valid YAML: {what}"))
        except RecursionError:
            self.problems.append(Problem(self._at(0, 0), (), "nested too deeply"))
        finally:
            loader.dispose()
        return None

    def _at(self, line: int, column: int) -> str:
        return f"{self.origin}:{line + 1}:{column + 1}" if self.positions else self.origin

    def _build(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
        self.values[path] = self._at(node.start_mark.line, node.start_mark.column)
        if isinstance(node, yaml.ScalarNode):
            return self._build_scalar(loader, node, path)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            self._refuse_tag(node, path)
            return None
        if not self._enter(node, path):
            return None
        data = (
            self._build_mapping(loader, node, path)
            if isinstance(node, yaml.MappingNode)
            else [self._build(loader, item, (*path, i)) for i, item in enumerate(node.value)]
        )
        self._open.pop()
        return data

    def _build_scalar(self, loader: yaml.SafeLoader, node: yaml.ScalarNode, path: Path) -> Any:
        if node.tag == _TAG + "str" and not node.style and (lost := self._lost_number(node.value)):
            number, spelling = lost
            message = f"YAML reads {node.value} as text; write {spelling} for the number"
            if LOST_NUMBER.fullmatch(node.value):
                message += f", '{node.value}' in quotes for the text"
            self._problem(node, path, message)
            return number
        if node.tag == _TAG + "timestamp":
            message = f"YAML reads {node.value} as a date; put it in quotes for text"
            self._problem(node, path, message)
            return None
        if node.tag not in _SCALAR_TAGS:
            self._refuse_tag(node, path)
            return None
        try:
            node.value.encode()  # "\ud800" is half a character
            value = loader.construct_object(node)
            if isinstance(value, int) and value.bit_length() > 64:
                raise ValueError
        except (ValueError, LookupError):
            kind = _SCALAR_TAGS[node.tag]
            self._problem(node, path, f"expected {kind}, got {node.value[:40]!a}")
            return None
        if reading := _reading(node, value):
            meant = _perhaps_meant(node, value)
            choices = ", ".join(dict.fromkeys([_spelled(value), _spelled(meant)]))
            message = f"YAML reads {reading}; write {choices}, or '{node.value}' in quotes for text"
            self._problem(node, path, message)
            return meant
        return value

    def _lost_number(self, text: str) -> tuple[float, str] | None:
        """Return the number that YAML reads as text, and how to write it."""
        if LOST_FLOAT.fullmatch(text):
            mantissa, exponent = text.lower().split("e")
            dot = "" if "." in mantissa else ".0"
            return float(text), f"{mantissa}{dot}e{int(exponent):+d}"
        if LOST_NUMBER.fullmatch(text) and not self.is_written:
            number = float(text) if "." in text else int(text, 8 if "o" in text else 10)
            return number, str(number)
        return None

    def _build_mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path) -> Any:
        data: dict[str, Any] = {}
        written: set[Path] = set()
        for key_node, value_node, is_own in self._pairs(node, path):
            key = key_node.value
            is_text = isinstance(key_node, yaml.ScalarNode) and key_node.tag == _TAG + "str"
            if not is_text or any("\ud800" <= c <= "\udfff" for c in key):
                self._problem(key_node, path, _refused_key(loader, key_node))
                continue
            inner = (*path, key)
            if is_own and inner in written:
                self._problem(
                    key_node, inner, f"duplicate key; it stands at {self.keys[inner]} already"
                )
                continue
            if is_own:
                written.add(inner)
            self.keys[inner] = self._at(key_node.start_mark.line, key_node.start_mark.column)
            data[key] = self._build(loader, value_node, inner)
        return data

    def _pairs(self, node: yaml.MappingNode, path: Path) -> list[tuple[yaml.Node, yaml.Node, bool]]:
        """Return (key, value, whether the key is written here), what ``<<`` merges in first."""
        merged: list[tuple[yaml.Node, yaml.Node, bool]] = []
        own: list[tuple[yaml.Node, yaml.Node, bool]] = []
        for key_node, value_node in node.value:
            if key_node.tag != _TAG + "merge":
                own.append((key_node, value_node, True))
                continue
            is_list = isinstance(value_node, yaml.SequenceNode)
            for base in reversed(value_node.value) if is_list else [value_node]:
                if not isinstance(base, yaml.MappingNode):
                    self._problem(base, path, "<< expects a mapping or a list of mappings")
                elif self._enter(base, path):
                    merged += [(key, value, False) for key, value, _ in self._pairs(base, path)]
                    self._open.pop()
        return merged + own

    def _enter(self, node: yaml.Node, path: Path) -> bool:
        if any(node is outer for outer in self._open):
            self._problem(node, path, "an alias refers to what it is part of")
            return False
        self._open.append(node)
        return True

    def _refuse_tag(self, node: yaml.Node, path: Path) -> None:
        tag = node.tag.replace(_TAG, "!!")
        self._problem(node, path, f"the tag {tag} is not allowed; expected plain values")

    def _problem(self, node: yaml.Node, path: Path, message: str) -> None:
        at = self._at(node.start_mark.line, node.start_mark.column)
        self.problems.append(Problem(at, path, message))


def _reading(node: yaml.ScalarNode, value: Any) -> str:
    """Return what YAML 1.1 makes of a word that is text in YAML 1.2; ``""`` if they agree."""
    spelling = _SPELLINGS.get(node.tag)
    if spelling is None or spelling.fullmatch(node.value):
        return ""
    return f"{node.value} as {_spelled(value)}"


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _perhaps_meant(node: yaml.ScalarNode, value: Any) -> Any:
    """Return the number that ``010`` is for most people, and `value` of what isn't such a number."""
    is_padded = node.tag == _TAG + "int" and re.fullmatch(r"[-+]?0\d+", node.value)
    return int(node.value) if is_padded else value


def _refused_key(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    """Return what is wrong with a key that isn't text."""
    if not isinstance(node, yaml.ScalarNode):
        return "a key is not text; put it in quotes"
    shown = f"the key {ascii(node.value)[1:-1]} is not text"
    try:
        reading = _reading(node, loader.construct_object(node))
    except (ValueError, LookupError, AttributeError, yaml.YAMLError):
        reading = ""  # a tag says what it is not
    return (
        f"{shown}: YAML reads {reading}; put it in quotes"
        if reading
        else (f"{shown}; put it in quotes")
    )


def _apply_override(source: Source, override: str) -> None:
    origin = f"--set {override}"
    dotted_path, equals, text = override.partition("=")
    path: Path = tuple(dotted_path.strip().split("."))
    if not equals or not all(path):
        raise ConfigError([Problem(origin, (), "expected key.path=value")])
    reader = _Reader(origin, positions=False)
    value = reader.read(text, path)
    source.problems += reader.problems
    target = source.data
    for depth, key in enumerate(path[:-1]):
        if key not in target:
            target[key] = {}
            source._keys[path[: depth + 1]] = source._values[path[: depth + 1]] = origin
        if not isinstance(target[key], dict):
            inside = dotted(path[: depth + 1])
            raise ConfigError([Problem(origin, path, f"'{inside}' is a value, not a section")])
        target = target[key]
    for origins in (source._keys, source._values):
        for known in [p for p in origins if p[: len(path)] == path]:
            del origins[known]
        origins[path] = origin
    source._values.update(reader.values)
    source._keys.update(reader.keys)
    target[path[-1]] = value
