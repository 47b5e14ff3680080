"""Tables in files: CSV, tab-separated, Parquet, Feather; one, many, or folders named after a column's values."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, final

from dotrain.data.exact import floats
from dotrain.data.finding import File, Files
from dotrain.data.source import AbstractSource, BadData, Column
from dotrain.data.text_files import INSTALL, check_names, read_text, text_columns

#: A whole number that loses nothing as one: no code with a 0 in front.
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
#: So many bytes are read at a time for a digest.
_CHUNK_BYTES = 1 << 20
#: Of more files than these a digest of all stands in the journal.
_MOST_NAMED = 100


@final
@dataclass(frozen=True)
class FileSource(AbstractSource):
    """Files of one kind, with one row per example.

    Attributes:
        pattern: As of `Files`.
        folder: As of `Files`.
    """

    kind: ClassVar[str] = "file"
    packages: ClassVar[tuple[str, ...]] = ("pandas", "pyarrow")
    pattern: str
    folder: str = ""

    @cached_property
    def files(self) -> Files:
        """Which files these are."""
        return Files(self.pattern, self.folder)

    @property
    def text(self) -> str:
        """The path or pattern; of a URL without what may be a secret."""
        return self.files.text

    @property
    def lies(self) -> Sequence[Path]:
        """The files, if they are read where they lie: Parquet on this machine; others are stored as a table of ours."""
        if self.files.is_remote or self.files.format != "parquet" or self.files.all[0].values:
            return []
        return [Path(file.path) for file in self.files.all]

    def declared(self) -> Sequence[Column] | None:
        """Return what headers and schemas show; of a URL nothing."""
        if self.files.is_remote:
            self.files.refuse_password()
            return None
        first, *others = self.files.all
        by_folder = [Column(name) for name, _ in first.values]
        if self.files.format == "text":
            names = text_columns(Path(first.path), first.shown)
            for file in others:
                if (found := text_columns(Path(file.path), file.shown)) != names:
                    told = f"{first.shown} {', '.join(names)}"
                    message = f"{file.shown} has the columns {', '.join(found)}, and {told}"
                    raise BadData(message, "file")
            columns = [Column(name) for name in names]
        else:
            try:
                import pyarrow  # noqa: F401
            except ImportError:
                return None
            columns = [Column(field.name, str(field.type)) for field in self.schema]
        if both := {one.name for one in columns} & {one.name for one in by_folder}:
            raise BadData(f"{self.text}: '{min(both)}' is a column and the name of folders", "file")
        return [*columns, *by_folder]

    def identity(self) -> Mapping[str, Any]:
        """Return the digests of the files, by their names below the folder."""
        digests = {file.name: self._digest(file) for file in self.files.all}
        if len(digests) > _MOST_NAMED:
            whole = hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()
            return {"files": len(digests), "digest": whole}
        return {"files": digests}

    def batches(self) -> Iterator[Any]:
        """Read the files one after the other."""
        try:
            yield from self._batches()
        finally:
            self.files.forget()

    def _batches(self) -> Iterator[Any]:
        self.declared()  # for what it refuses
        if self.files.format == "text":
            for table in self._of_text():
                yield from table.to_batches()
            return
        schema: Any = None
        for file in self.files.all:
            for table in self._with_folders(file, self._of_binary(file)):
                schema = schema or table.schema
                if table.schema != schema:
                    told = _difference(self.files.all[0].shown, schema, file.shown, table.schema)
                    raise BadData(told, "file")
                yield from table.to_batches()

    @cached_property
    def schema(self) -> Any:
        """The Arrow schema of its files, which have one; not of text.

        Raises:
            BadData: If they haven't, or can't be read.
        """
        first, *others = [(file, self._schema_of(file)) for file in self.files.all]
        for file, found in others:
            if found != first[1]:
                raise BadData(_difference(first[0].shown, first[1], file.shown, found), "file")
        return first[1]

    def _digest(self, file: File) -> str:
        found = hashlib.sha256()
        try:
            with self.files.here(file).open("rb") as opened:
                while chunk := opened.read(_CHUNK_BYTES):
                    found.update(chunk)
        except OSError as error:
            raise BadData(f"{file.shown} can't be read: {error.strerror}", "file") from None
        return found.hexdigest()

    def _schema_of(self, file: File) -> Any:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise BadData(f"reading {file.name} needs pyarrow: {INSTALL}", "file") from None
        try:
            local = self.files.here(file)
            if self.files.format == "parquet":
                schema = pq.read_schema(local)
            else:
                with pa.memory_map(str(local)) as opened:
                    schema = pa.ipc.open_file(opened).schema
        except (OSError, pa.ArrowException) as error:
            raise BadData(f"{file.shown} can't be read: {error}", "file") from None
        # What pandas has noted as its index it makes an index again: no column.
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        fields = [field for field in schema if field.name not in index]
        check_names(file.shown, [field.name for field in fields])
        return pa.schema([pa.field(field.name, field.type) for field in fields])

    def _of_text(self) -> list[Any]:
        """Return the tables of text files; a column has one type in all."""
        import pyarrow as pa

        tables: list[Any] = []
        for file in self.files.all:
            frame = read_text(self.files.here(file), file.shown)
            table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
            for index, name in enumerate(table.column_names):
                if table[name].null_count == table.num_rows:
                    table = table.set_column(index, name, pa.nulls(table.num_rows))
            tables += self._with_folders(file, [table])
        schema = tables[0].schema
        for file, table in zip(self.files.all, tables, strict=True):
            fields = [_wider(a, b) for a, b in zip(schema, table.schema, strict=True)]
            if any(field is None for field in fields):
                told = _difference(self.files.all[0].shown, schema, file.shown, table.schema)
                raise BadData(told, "file")
            schema = pa.schema(fields)
        # What is missing everywhere is taken for numbers.
        whole = [f.with_type(pa.float64()) if pa.types.is_null(f.type) else f for f in schema]
        return [
            _cast(table, pa.schema(whole), file.shown)
            for file, table in zip(self.files.all, tables, strict=True)
        ]

    def _of_binary(self, file: File) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = self._schema_of(file).names
        try:
            local = self.files.here(file)
            if self.files.format == "parquet":
                with pq.ParquetFile(local) as opened:
                    for batch in opened.iter_batches(columns=names):
                        yield pa.Table.from_batches([batch]).select(names)
                return
            with pa.memory_map(str(local)) as mapped:
                reader = pa.ipc.open_file(mapped)
                for index in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(index)]).select(names)
        except (OSError, pa.ArrowException) as error:
            raise BadData(f"{file.shown} can't be read: {error}", "file") from None

    def _with_folders(self, file: File, tables: Any) -> Iterator[Any]:
        """Yield tables with the columns that the names of their folders tell."""
        import pyarrow as pa

        for table in tables:
            whole = table.replace_schema_metadata(None)
            for name, value in file.values:
                is_whole = name in self._whole
                one = None if value is None else int(value) if is_whole else value
                filled = pa.array([one], pa.int64() if is_whole else pa.string())
                zeros = pa.array([0] * table.num_rows, pa.int64())
                whole = whole.append_column(name, filled.take(zeros))
            yield whole

    @cached_property
    def _whole(self) -> frozenset[str]:
        """The columns of folders' names whose values are whole numbers."""
        told = [value for file in self.files.all for value in file.values]
        text = {name for name, one in told if one is not None and not _WHOLE.fullmatch(one)}
        return frozenset(name for name, _ in told) - text


def _wider(one: Any, other: Any) -> Any:
    """Return the field that holds what two of text files hold; None if there is none."""
    from pyarrow import types

    if one.type == other.type or types.is_null(other.type):
        return one
    if types.is_null(one.type):
        return other
    is_number = [types.is_integer(f.type) or types.is_floating(f.type) for f in (one, other)]
    if not all(is_number):
        return None
    return one if types.is_floating(one.type) else other


def _cast(table: Any, schema: Any, shown: str) -> Any:
    """Return a table of text in the types that hold what stands in all files.

    Raises:
        BadData: If a whole number has more digits than a float holds, which others are.
    """
    import pyarrow as pa
    from pyarrow import types

    arrays = []
    for field, column in zip(schema, table.columns, strict=True):
        if types.is_integer(column.type) and types.is_floating(field.type):
            whole = column.combine_chunks()
            column, place = floats(whole)
            if place is not None:
                raise BadData(
                    f"{shown}: column '{field.name}' holds {whole[place]}, which has more digits than a float holds, as "
                    "the numbers of other files are: write codes with a letter in front",
                    "file",
                )
        arrays.append(column.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _difference(first: str, expected: Any, other: str, found: Any) -> str:
    """Say how two schemas differ."""
    if missing := [name for name in expected.names if name not in found.names]:
        return f"{other} has no column '{missing[0]}', which {first} has"
    if more := [name for name in found.names if name not in expected.names]:
        return f"{first} has no column '{more[0]}', which {other} has"
    for field in expected:
        there = found.field(field.name).type
        if there != field.type:
            told = f"{field.type} in {first}, and {there} in {other}"
            return f"column '{field.name}' is {told}: write it alike in all files"
    return f"the columns of {other} have another order than those of {first}"
