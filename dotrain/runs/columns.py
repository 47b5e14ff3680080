"""What a study leaves out of a table, column by column; and what of it the others still tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dotrain.ablation.components import Component, Feature, FeatureGroup
from dotrain.ablation.study import Study
from dotrain.data.determined import Determined
from dotrain.data.lineage import Lineage
from dotrain.data.source import Column
from dotrain.data.table import Table

#: Of larger tables the first rows are looked at.
MOST_ROWS = 1_000_000


def named_columns(study: Study, table: Table) -> tuple[Study, Mapping[str, Sequence[str]]]:
    """Return a study whose features are columns of a table, with those that are computed from them.

    Args:
        study: As the config has it: with patterns, feature views.
        table: The table, ready.

    Returns:
        The study; and of each component what people must know of it.
    """
    facts = table.facts
    columns = [Column(one.name, derived_from=one.derived_from) for one in facts.values()]
    lineage = Lineage(columns, table.derived)
    is_whole = table.rows <= MOST_ROWS
    where = "on all rows" if is_whole else f"on the first {MOST_ROWS:,} rows"
    features = [one for one in study.components.values() if isinstance(one, Feature | FeatureGroup)]
    meant_by = {one.name: _meant(one, table) for one in features}
    studied = {name for names in meant_by.values() for name in names}
    determined: Determined | None = None
    components: dict[str, Component] = dict(study.components)
    notes: dict[str, list[str]] = {}
    for one in features:
        meant = meant_by[one.name]
        view = one.view if isinstance(one, FeatureGroup) else ""
        gone = lineage.goes_with(meant, view=view, keep_derived=study.keep_derived)
        further = [name for name in gone if name in table.columns and name not in meant]
        if isinstance(one, FeatureGroup):
            components[one.name] = replace(one, names=tuple(meant), also=tuple(further))
        else:
            components[one.name] = replace(one, also=tuple(further))
        # An arm that adds one has none of the others.
        moving = [name for name in further if not (study.adds and name in studied)]
        how = "comes" if study.adds else "goes"
        told = [
            f"{name} {how} with it: computed from {_from(lineage, name, meant) or view}"
            for name in moving
        ]
        without = studied if study.adds else {*meant, *further}
        remaining = [name for name in table.columns if name not in without]
        if remaining and determined is None:
            determined = Determined(table.first(MOST_ROWS, table.columns))
        for name in meant:
            found = determined.of(name, remaining) if determined is not None and remaining else ()
            if found:
                tell = "tells" if len(found) == 1 else "tell"
                told.append(f"{_listed(found)} still {tell} {name} {where}: its arm says little")
        if told:
            notes[one.name] = told
    return replace(study, components=components), notes


def same_columns(study: Study, table: Table) -> dict[str, str]:
    """Return components that leave out the very columns of an earlier one, which each is told with."""
    found: dict[str, str] = {}
    known: dict[frozenset[str], str] = {}
    for one in study.components.values():
        if isinstance(one, Feature | FeatureGroup):
            first = known.setdefault(frozenset(_meant(one, table)), one.name)
            if first != one.name:
                found[one.name] = first
    return found


def _meant(component: Feature | FeatureGroup, table: Table) -> list[str]:
    """Return the columns that a component names, in any way."""
    names = list(component.names)
    if isinstance(component, FeatureGroup):
        views = {name: table.facts[name].view for name in table.columns}
        more = [name for name in table.columns if component.means(name, views[name])]
        names += [name for name in more if name not in names]
    return names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _from(lineage: Lineage, name: str, meant: Sequence[str]) -> str:
    return _listed([one for one in meant if one in lineage.needs(name)])
