"""Tables of ours: what a source gives, stored once by its digest, for all runs of a folder."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dotrain.data.canonical import canonical
from dotrain.data.exact import floats
from dotrain.data.facts import CHUNK_ROWS, in_chunks
from dotrain.data.source import BadData
from dotrain.store.disk import sync_path

#: In a folder of runs: where its tables are.
TABLES = ".data"
_TABLE = "table.arrow"
#: How the name of what isn't whole yet begins, and when its writer must be gone, in seconds.
_NEW, _GONE_S = ".new-", 86_400.0
#: In the schema of a table of ours: which columns their source has declared as categories.
_CATEGORIES = b"dotrain:categories"


def table_file(folder: Path, digest: str) -> Path:
    """Return where the table of a digest is, or would be, in a folder of runs."""
    return folder / TABLES / digest[:32] / _TABLE


def is_kept(folder: Path, digest: str) -> bool:
    """Whether the table is there, whole."""
    file = table_file(folder, digest)
    try:
        return bool(digest) and _digest(file) == digest
    except OSError:
        return False


def keep(batches: Iterable[Any], folder: Path) -> tuple[Path, str]:
    """Store a table, unless its like is there.

    It is an Arrow IPC file, not compressed, so that processes map it into their memory and share it; of the columns
    that they don't ask for no page is read.

    Args:
        batches: Arrow record batches, all of one schema.
        folder: Of runs.

    Returns:
        Its file, and the digest of that: equal rows of equal types have an equal one, however they were cut.

    Raises:
        BadData: If it has no rows, or a number that isn't held.
        OSError: If there is no room for it.
    """
    place = folder / TABLES
    place.mkdir(parents=True, exist_ok=True)
    _tidy(place)
    with _new(place) as new:
        try:
            _write(batches, new)
        except BadData:
            new.unlink()
            with suppress(OSError):  # others have left something there
                place.rmdir()
                folder.rmdir()
            raise
        digest = _digest(new)
        file = table_file(folder, digest)
        if not is_kept(folder, digest):
            file.parent.mkdir(exist_ok=True)
            _put(new, file, lambda: is_kept(folder, digest))
            sync_path(place)
    return file, digest


def categories_in(schema: Any) -> set[str]:
    """Return the columns that the source of a table of ours has declared as categories."""
    return set(json.loads((schema.metadata or {}).get(_CATEGORIES, b"[]")))


def keep_beside(file: Path, name: str, content: bytes) -> Path:
    """Store what belongs to a table, unless it is there, whole.

    Args:
        file: The table's, or where it would be.
        name: Of the file beside it.
        content: What is in it.

    Returns:
        The file.
    """
    there = file.with_name(name)

    def is_whole() -> bool:
        try:
            return there.read_bytes() == content
        except OSError:
            return False

    there.parent.mkdir(parents=True, exist_ok=True)
    _tidy(there.parent)
    if not is_whole():
        with _new(there.parent) as new:
            new.write_bytes(content)
            _put(new, there, is_whole)
    return there


def _put(new: Path, file: Path, is_whole: Callable[[], bool]) -> None:
    """Give a file its name, once it is on the disk.

    What another run has put there meanwhile stays, as it may be reading it; what is damaged doesn't.
    """
    sync_path(new)
    try:
        os.link(new, file)
    except FileExistsError:
        if not is_whole():
            os.replace(new, file)
    except OSError:  # no links on this disk
        os.replace(new, file)
    sync_path(file.parent)


@contextmanager
def _new(folder: Path) -> Iterator[Path]:
    name = str(folder / f"{_NEW}{secrets.token_hex(8)}")
    try:
        yield Path(name)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _tidy(folder: Path) -> None:
    """Remove what killed processes have left."""
    for path in folder.glob(f"{_NEW}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _GONE_S:
                path.unlink()


def _write(batches: Iterable[Any], file: Path) -> None:
    import pyarrow as pa

    writer, rows = None, 0
    with pa.OSFile(str(file), "wb") as sink:
        for table in in_chunks(batches):
            plain = _plain(table, rows)
            rows += table.num_rows
            writer = writer or pa.ipc.new_file(sink, plain.schema)
            # Of one batch each: what is cut otherwise would have another digest.
            writer.write_table(plain, max_chunksize=CHUNK_ROWS)
        if writer is None:
            raise BadData("there are no rows")
        writer.close()


def _plain(table: Any, before: int) -> Any:
    """Return a table of types and bytes that are the same whatever it came from.

    Raises:
        BadData: If a float doesn't hold a decimal number.
    """
    import pyarrow as pa
    from pyarrow import types

    categories = [field.name for field in table.schema if types.is_dictionary(field.type)]
    fields, arrays = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        try:
            array = pa.concat_arrays(column.chunks)
        except pa.ArrowInvalid:
            raise BadData(f"column '{field.name}': 2 GB or more in {CHUNK_ROWS:,} rows") from None
        if types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if types.is_decimal(array.type):
            decimals = array
            array, place = floats(decimals)
            if place is not None:
                raise BadData(
                    f"column '{field.name}': {decimals[place]} in row {before + place + 1} has more digits than a float "
                    "holds: store it as text, or as a float if its first 15 digits are enough"
                )
        elif types.is_large_string(array.type) or types.is_string_view(array.type):
            array = array.cast(pa.string())
        fields.append(pa.field(field.name, array.type))
        arrays.append(canonical(array))
    told = {_CATEGORIES: json.dumps(categories).encode()} if categories else None
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, told))


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
