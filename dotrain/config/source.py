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
_LOST_FLOAT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


@dataclass
class Source:
    """The plain data of a config, and the origin of every part of it.

    Attributes:
        file: The file as the user named it.
        data: What ``yaml.safe_load`` would give, overrides applied.
        problems: Mistakes that reading found and that don't keep the rest from being checked.
    """

    file: str
    data: Any
    problems: list[Problem]
    _keys: dict[Path, str] = field(default_factory=dict)
    _values: dict[Path, str] = field(default_factory=dict)

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
        return Problem(origins.get(known, f"{self.file}:1:1"), path, message)

    def has(self, path: Path) -> bool:
        """Whether the config says something at `path`."""
        return path in self._values


def read_source(file: FilePath, overrides: Sequence[str] = ()) -> Source:
    """Read a YAML file and apply ``key.path=value`` overrides.

    Args:
        file: The config file.
        overrides: As given to ``--set``; the values are YAML.

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
    reader = _Reader(name)
    data = reader.read(text)
    source = Source(name, data, reader.problems, reader.keys, reader.values)
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"is a {type(data).__name__}"
        message = f"the config {what}; expected keys such as 'train:'"
        raise ConfigError(reader.problems or [Problem(f"{name}:1:1", (), message)])
    for override in overrides:
        _apply_override(source, override)
    return source


class _Reader:
    """Turns YAML nodes into plain data, noting positions and mistakes on the way."""

    def __init__(self, origin: str, *, positions: bool = True) -> None:
        self.origin = origin
        self.positions = positions
        self.keys: dict[Path, str] = {}
        self.values: dict[Path, str] = {}
        self.problems: list[Problem] = []

    def read(self, text: str, path: Path = ()) -> Any:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else self._build(loader, node, path)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = self._at(mark) if mark else self.origin
            what = " ".join(part for part in (error.context, error.problem) if part)
            self.problems.append(Problem(at, (), f"not valid YAML: {what}"))
        except RecursionError:
            self.problems.append(Problem(self.origin, (), "an alias refers to what it is part of"))
        except yaml.YAMLError as error:
            self.problems.append(Problem(self.origin, (), f"not valid YAML: {error}"))
        finally:
            loader.dispose()
        return None

    def _at(self, mark: yaml.Mark) -> str:
        if not self.positions:
            return self.origin
        return f"{self.origin}:{mark.line + 1}:{mark.column + 1}"

    def _build(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
        self.values[path] = self._at(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, item, (*path, i)) for i, item in enumerate(node.value)]
        text = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str"
        if text and not getattr(node, "style", None) and _LOST_FLOAT.fullmatch(node.value):
            mantissa, exponent = node.value.lower().split("e")
            fixed = f"{mantissa}{'' if '.' in mantissa else '.0'}e{int(exponent):+d}"
            message = f"YAML reads {node.value} as text; write {fixed} for the number"
            self._problem(node, path, message)
            return float(node.value)
        return loader.construct_object(node, deep=True)

    def _build_mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path) -> Any:
        data: dict[str, Any] = {}
        written: set[Path] = set()
        own = {id(key_node) for key_node, _ in node.value}
        loader.flatten_mapping(node)  # `<<: *base`; keys of one's own come after it, and win
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                self._problem(key_node, path, f"the key {key!r} is not text; put it in quotes")
                continue
            inner = (*path, key)
            if id(key_node) in own and inner in written:
                self._problem(
                    key_node, inner, f"duplicate key; it stands at {self.keys[inner]} already"
                )
                continue
            if id(key_node) in own:
                written.add(inner)
            self.keys[inner] = self._at(key_node.start_mark)
            data[key] = self._build(loader, value_node, inner)
        return data

    def _problem(self, node: yaml.Node, path: Path, message: str) -> None:
        self.problems.append(Problem(self._at(node.start_mark), path, message))


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
