"""Making a table ready, once, before anything starts: read, checked, divided, measured."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dotrain.data.declared import Declared, with_needs
from dotrain.data.derive import Derived
from dotrain.data.facts import INFINITE, Facts, Kind, Measure, in_chunks
from dotrain.data.files import FileSource
from dotrain.data.groups import Group, groups_of
from dotrain.data.kept import categories_in, is_kept, keep, keep_beside, table_file
from dotrain.data.source import BadData, Column
from dotrain.data.splits import validation_rows
from dotrain.data.table import Table, with_derived


def prepare(declared: Declared, folder: Path, known: Mapping[str, Any] | None = None) -> Table:
    """Make a table ready.

    Args:
        declared: The table.
        folder: Of runs, where tables are kept.
        known: What the journal of a run that goes on has of it; the rows that are kept are those of the run, so that
            nothing is asked for again.

    Raises:
        BadData: If it can't be had, or isn't what the config says.
        OSError: If there is no room for it.
    """
    try:
        return _prepared(declared, folder, known)
    except Exception as error:
        # Whatever of Arrow's isn't foreseen: the data are at fault, and a person should see no traceback.
        if not type(error).__module__.startswith("pyarrow"):
            raise
        message = f"{declared.source.text} can't be read: {error}"
        raise BadData(message, declared.source.kind) from error


def _prepared(declared: Declared, folder: Path, known: Mapping[str, Any] | None) -> Table:
    source = declared.source
    for name in source.packages:
        try:
            __import__(name)
        except ImportError:
            message = f"reading {source.text} needs {name}: pip install '{source.requirement}'"
            raise BadData(message, source.kind) from None
    identity = dict(source.identity())
    columns = source.declared()
    groups, categories, digest = _rows_of(declared, folder, identity, known)
    names = [column.name for column in columns or ()] or _names_in(groups)
    chosen = declared.chosen(names, [column.name for column in columns or () if column.beside])
    needed = {*chosen, declared.label, *declared.split.columns}
    rows = _Rows(groups, declared.derived)
    mask = _mask(declared, rows)
    told = {column.name: column for column in columns or ()}
    for one in declared.derived:
        told[one.name] = Column(one.name, derived_from=tuple(one.names))
    needed = with_needs([*needed], declared.derived)
    wanted = [name for name in [*names, *(one.name for one in declared.derived)] if name in needed]
    said = declared.kinds, categories
    facts = _facts(rows, wanted, told.values(), *said, mask)
    facts[declared.label] = _label(rows, declared.label, *said)
    file = table_file(folder, digest)
    content = _saved(mask)
    # By its content: what is there by this name is the same split, or damaged.
    name = f"validation-{hashlib.sha256(content).hexdigest()[:16]}.npy"
    return Table(
        text=source.text,
        label=declared.label,
        columns=chosen,
        facts=facts,
        groups=tuple(groups),
        split=declared.split,
        mask=keep_beside(file, name, content),
        digest=digest,
        identity=identity,
        noted=dict(source.noted()),
        kind=source.kind,
        validated=int(mask.sum()),
        derived=declared.derived,
    )


def _rows_of(
    declared: Declared, folder: Path, identity: Mapping[str, Any], known: Mapping[str, Any] | None
) -> tuple[list[Group], set[str], str]:
    """Return where the rows are, which columns are categories, and the digest of all."""
    source = declared.source
    if isinstance(source, FileSource) and (lies := source.lies):
        groups = [group for file in lies for group in groups_of(file)]
        if not sum(group.rows for group in groups):
            raise BadData(f"{source.text} has no rows", source.kind)
        categories = {field.name for field in source.schema if _is_dictionary(field.type)}
        told = json.dumps(identity, sort_keys=True).encode()
        return [one for one in groups if one.rows], categories, hashlib.sha256(told).hexdigest()
    before = dict(known or {})
    if before.get("identity") == identity and is_kept(folder, before.get("digest", "")):
        digest = before["digest"]
        file = table_file(folder, digest)
    else:
        try:
            file, digest = keep(source.batches(), folder)
        except BadData as error:
            if error.key:
                raise
            raise BadData(f"{source.text}: {error}", source.kind) from None
    return groups_of(file), categories_in(_schema(file)), digest


def _schema(file: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(file)) as opened:
        return pa.ipc.open_file(opened).schema


def _names_in(groups: Sequence[Group]) -> list[str]:
    return list(_schema(Path(groups[0].file)).names)


def _is_dictionary(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_dictionary(kind))


def _saved(mask: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, mask)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Rows:
    """Reads a table that isn't ready yet."""

    groups: Sequence[Group]
    derived: tuple[Derived, ...]

    def read(self, names: Sequence[str]) -> Iterator[Any]:
        """Yield record batches of some columns, derived ones too."""
        needed = sorted(with_needs(names, self.derived) - {one.name for one in self.derived})
        for group in self.groups:
            table = with_derived(group.read(needed), self.derived, names)
            yield from table.select([*names]).combine_chunks().to_batches()

    def column(self, name: str) -> Any:
        """Return a whole column."""
        import pyarrow as pa

        return pa.Table.from_batches([*self.read([name])])[name].combine_chunks()


def _mask(declared: Declared, rows: _Rows) -> Any:
    split = declared.split
    columns = {name: rows.column(name) for name in split.columns}
    labels = rows.column(declared.label) if split.stratify else None
    try:
        return validation_rows(split, sum(group.rows for group in rows.groups), columns, labels)
    except BadData as error:
        key = error.key or (declared.source.kind,)
        raise BadData(f"{declared.source.text}: {error}", *key) from None


def _facts(
    rows: _Rows,
    names: Sequence[str],
    told: Iterable[Column],
    kinds: Mapping[str, Kind],
    categories: Collection[str],
    mask: Any,
) -> dict[str, Facts]:
    measure: Measure | None = None
    at = 0
    for table in in_chunks(rows.read(names)):
        measure = measure or Measure(table.schema, told, kinds, categories)
        measure.add(table, ~mask[at : at + table.num_rows])
        at += table.num_rows
    assert measure is not None
    return measure.facts()


def _label(rows: _Rows, name: str, kinds: Mapping[str, Kind], categories: Collection[str]) -> Facts:
    """Return what is known of the label, over all rows: each must have one that is known."""
    import numpy as np

    nobody = np.zeros(sum(one.rows for one in rows.groups), bool)
    (found,) = _facts(rows, [name], (), kinds, categories, nobody).values()
    if found.missing:
        count = sum(group.rows for group in rows.groups)
        raise BadData(f"label column '{name}': {found.missing} of {count} are missing", "label")
    # A number is given as it is.
    if found.refusal and (found.kind != "number" or found.refusal == INFINITE):
        raise BadData(f"label column '{name}' {found.refusal}", "label")
    return replace(found, mean=0.0, deviation=0.0, refusal="")
