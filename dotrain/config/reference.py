"""The tables of docs/config.md, made from the schema of the config.

Run ``python -m dotrain.config.reference docs/config.md`` to bring the page up to date: what stands
between a ``<!-- table: NAME -->`` and the next ``<!-- end -->`` is replaced.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dotrain.config.catalogue import Entry, Schema, built_in, catalogue, options_of
from dotrain.config.direction import LARGER, SMALLER
from dotrain.config.json_schema import config_schema
from dotrain.config.writing import to_yaml
from dotrain.space import DOMAINS

_BLOCK = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)

#: Kinds of plugins by the name of their table.
_KINDS = {
    "optimizers": "optimizer",
    "early-stop rules": "early-stop rule",
    "strategies": "strategy",
    "ablators": "ablator",
    "clusters": "cluster",
    "observers": "observer",
}
_DIRECTIONS = {"smaller": SMALLER, "larger": LARGER}
_SECTIONS = {
    "search": "Search",
    "stop": "SearchStop",
    "ablation": "Ablation",
    "distribution": "Distribution",
    "cluster": "Cluster",
    "resources": "Resources",
    "limits": "LimitsSection",
    "checkpoints": "Checkpoints",
    "journal": "JournalSection",
    "data": "TableSection",
    "split": "SplitSection",
    "feast": "FeastSection",
    "tls": "Tls",
    "adapt": "Adapt",
    **{name: domain.__name__ for name, domain in DOMAINS.items()},
}


def update(page: str) -> str:
    """Return the page with every table as the schema is now.

    Args:
        page: Markdown with the markers.

    Raises:
        KeyError: If a marker names no table.
    """
    tables = make_tables()
    return _BLOCK.sub(lambda block: f"{block[1]}{tables[block[2]]}{block[3]}", page)


def make_tables() -> dict[str, str]:
    """Return every table by name, of what comes with dotrain; others' plugins are left out."""
    entries = built_in(catalogue())
    schema = config_schema(entries)
    definitions = schema["$defs"]
    tables = {"file": _of_keys(schema, definitions)}
    for name, definition in _SECTIONS.items():
        tables[name] = _of_keys(definitions[definition], definitions)
    for name, kind in _KINDS.items():
        members = [entry for entry in entries if entry.kind == kind]
        tables[name] = _of_names(members)
    simulated = next(entry for entry in entries if entry.name == "simulated")
    tables["directions"] = _table(
        ("better", "words of the metric's name"),
        [(better, ", ".join(sorted(words))) for better, words in _DIRECTIONS.items()],
    )
    tables["simulation"] = _of_keys(simulated.options or {}, {})
    return tables


def _of_keys(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    rows = [
        (f"`{option['name']}`", option["type"], _default(option), option["description"])
        for option in options_of({**schema, "$defs": definitions})
    ]
    return _table(("key", "type", "default", "meaning"), rows)


def _of_names(entries: Sequence[Entry]) -> str:
    rows = [row for entry in entries for row in _rows_of(entry)]
    return _table(("name", "key", "type", "default", "meaning"), rows)


def _rows_of(entry: Entry) -> Iterator[tuple[str, ...]]:
    yield f"`{entry.name}`", "", "", "", entry.summary
    if entry.kind != "cluster":  # the simulation's many options have a table of their own
        for option in options_of(entry.options or {}):
            key, text = f"`{option['name']}`", option["description"]
            yield "", key, option["type"], _default(option), text


def _default(option: Mapping[str, object]) -> str:
    if option["required"]:
        return "**required**"
    default = option["default"]
    return "" if default is None or default == "" else f"`{to_yaml(default, one_line=True)}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name)
        file.write_text(update(file.read_text(encoding="utf-8")), encoding="utf-8")
