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
    determined: Determined | None = None
    components: dict[str, Component] = dict(study.components)
    notes: dict[str, list[str]] = {}
    for one in features:
        meant = list(one.names)
        view = one.view if isinstance(one, FeatureGroup) else ""
        if isinstance(one, FeatureGroup):
            meant += [c for c in table.columns if one.means(c, facts[c].view) and c not in meant]
        gone = lineage.goes_with(meant, view=view, keep_derived=study.keep_derived)
        further = [name for name in gone if name in table.columns]
        also = [*(name for name in meant if name not in one.names), *further]
        components[one.name] = replace(one, also=tuple(also))
        told = [
            f"{name} goes with it: computed from {_from(lineage, name, meant) or view}"
            for name in further
        ]
        remaining = [name for name in table.columns if name not in {*meant, *further}]
        if remaining and determined is None:
            determined = Determined(table.first(MOST_ROWS, table.columns))
        for name in meant:
            found = determined.of(name, remaining) if determined is not None else ()
            if found:
                told.append(
                    f"{_listed(found)} still {'tells' if len(found) == 1 else 'tell'} {name} {where}: its arm says little"
                )
        if told:
            notes[one.name] = told
    return replace(study, components=components), notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _from(lineage: Lineage, name: str, meant: Sequence[str]) -> str:
    return _listed([one for one in meant if one in lineage.needs(name)])
