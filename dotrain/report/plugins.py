"""What a config can name, for people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from dotrain.config.catalogue import Entry, options_of
from dotrain.config.writing import to_yaml

_TITLES = {
    "optimizer": "Optimizers",
    "early-stop rule": "Early-stop rules",
    "strategy": "Strategies",
    "ablator": "Ablators",
    "cluster": "Clusters",
    "observer": "Observers",
}
#: What stands for a name that is registered nowhere.
_OWN = ("module:Class", "One of your own, beside the config or installed; see docs/plugins.md.")


def print_plugins(entries: Sequence[Entry]) -> None:
    """Print a table for each kind to stdout."""
    console = Console(highlight=False, emoji=False)
    for kind, group in groupby(entries, key=lambda entry: entry.kind):
        members = list(group)
        console.print(f"[bold]{_TITLES[kind]}[/] [dim]{members[0].key}[/]")
        table = Table.grid(padding=(0, 3), expand=False)
        for entry in members:
            table.add_row(*_row(entry))
            for option in options_of(entry.options or {}):
                table.add_row(*_option_row(option, entry))
        name, text = _OWN
        table.add_row(f"[dim]{name}[/]", f"[dim]{text}[/]")
        console.print(Padding(table, (0, 0, 1, 2)))


def _row(entry: Entry) -> tuple[str, str]:
    origin = f"{entry.package} {entry.version}".strip()
    source = "" if entry.package == "dotrain" else f" [dim](from {escape(origin)})[/]"
    if entry.error:
        return f"[red]{escape(entry.name)}[/]", f"[red]{escape(entry.error)}[/]{source}"
    text = escape(entry.summary)
    if entry.options is None:
        text += " Its options are of types that can't be shown."
    return f"[green]{escape(entry.name)}[/]", f"{text}{source}"


def _option_row(option: dict[str, Any], entry: Entry) -> tuple[str, str]:
    default = "required" if option["required"] else "optional"
    if option["default"] is not None:
        default = f"default {to_yaml(option['default'], one_line=True)}"
    inner = "options." if entry.kind == "cluster" else ""
    text = f"[dim]{escape(option['type'])}, {escape(default)}.[/] {escape(option['description'])}"
    return f"  {inner}{escape(option['name'])}", text
