"""Reading a table from text: what stands there, or an error; nothing is guessed on the way."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotrain.data.exact import EXACT, is_held
from dotrain.data.source import BadData

SEPARATORS = {".csv": ",", ".tsv": "\t"}
INSTALL = "pip install 'dotrain[tabular]'"

#: What people and programs write, in small letters, where a number is missing.
_MISSING = frozenset(
    {"", "-", "--", "?", ".", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "null"}
    | {"none", "nil", "missing", "unknown", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
#: Numbers with separators for thousands, or with a comma for the point.
_GROUPED = re.compile(r"[+-]?(\d{1,3}([,.' ]\d{3})+([.,]\d+)?|\d+,\d+)")
#: How codes of digits begin, such as 01234: they are no quantities.
_CODE = r"\s*[+-]?0\d"
#: What pandas calls an index that was saved with the columns.
_INDEX = re.compile(r"Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
#: With so small a share of text a column is meant to hold numbers.
_FEW = 0.1


def text_columns(file: Path, name: str) -> list[str]:
    """Return the names of a text file's columns, reading no more than its head.

    Args:
        file: Where it lies.
        name: How messages name it.

    Raises:
        BadData: If it can't be read, if a column has no name or that of another, or if one is a saved index.
    """
    names = next((row for _, row in _rows(file, name)), [])
    check_names(name, names)
    return names


def read_text(file: Path, name: str) -> Any:
    """Return a whole file as pandas' DataFrame.

    An empty cell is missing and every other text is what it says: ``NA`` too. Digits of one length, some with a 0
    in front, are text: codes.

    Args:
        file: Where it lies.
        name: How messages name it.

    Raises:
        BadData: As for `text_columns`; also if a row has more cells or fewer than the header, if a column of numbers
            holds text, or if a package is missing.
    """
    names = text_columns(file, name)
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise BadData(f"reading {file.name} needs pandas: {INSTALL}", "file") from None
    try:
        for line, row in _rows(file, name):
            if len(row) != len(names):
                raise BadData(
                    f"{name}:{line}: a row of {_cells(len(row))}, but the header has {len(names)}",
                    "file",
                )
        return _read(file, name, names)
    except BadData:
        raise
    except (OSError, ValueError) as error:
        raise BadData(f"{name} can't be read: {error}", "file") from None


def _cells(number: int) -> str:
    return "1 cell" if number == 1 else f"{number} cells"


def _rows(file: Path, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a text file with their lines, blank ones left out."""
    csv.field_size_limit(sys.maxsize)  # of all readers: there is no other way to read long texts
    try:
        # What spreadsheets write begins with a mark that is no part of the first name.
        with file.open(encoding="utf-8-sig", newline="") as text:
            lines = _without_nul(text, name)
            reader = csv.reader(lines, delimiter=SEPARATORS[file.suffix.lower()])
            empty = True
            for row in reader:
                if len(row) > 1 or (row and row[0].strip()):
                    empty = False
                    yield reader.line_num, row
            if empty:
                raise BadData(f"{name} can't be read: it is empty", "file")
    except UnicodeDecodeError:
        raise BadData(
            f"{name} can't be read: it is not UTF-8 text; save it as UTF-8", "file"
        ) from None
    except (OSError, csv.Error) as error:
        raise BadData(f"{name} can't be read: {error}", "file") from None


def _without_nul(lines: Iterable[str], name: str) -> Iterator[str]:
    """Yield lines; refuse a NUL byte, at which pandas ends a cell."""
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise BadData(
                f"{name}:{number}: holds a NUL byte, which no text does: is it UTF-8? mend or save it anew",
                "file",
            )
        yield line


def check_names(file: str, names: Sequence[str]) -> None:
    """Refuse columns without a name of their own.

    Raises:
        BadData: With what is wrong with them.
    """
    wrong: list[str] = []
    first: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        bare = name.strip()
        if not bare:
            wrong.append(f"column {place} has no name (a saved index? write it with index=False)")
        elif _INDEX.fullmatch(bare):
            wrong.append(f"column {place}, '{bare}', is a saved index: write it with index=False")
        elif bare in first:
            wrong.append(f"columns {first[bare]} and {place} are both named '{bare}'")
        first.setdefault(bare, place)
    if wrong:
        raise BadData(f"{file}: {'; '.join(wrong)}", "file")


def _read(file: Path, shown: str, names: Sequence[str]) -> Any:
    """Read a text file whose rows are as wide as its header."""
    import pandas as pd
    from pandas.api import types

    options: dict[str, Any] = {
        "sep": SEPARATORS[file.suffix.lower()],
        "encoding": "utf-8-sig",
        "keep_default_na": False,
        "na_values": [""],
        # The first column is a column, and a column has one type from its top to its end.
        "index_col": False,
        "low_memory": False,
    }
    table = pd.read_csv(file, **options)
    table.columns = list(names)
    numeric = [types.is_numeric_dtype(table[name].dtype) for name in names]
    wrong = _restore_codes(file, table, options)
    for name, is_number in zip(names, numeric, strict=True):
        if not is_number:
            table[name], message = _numbers_in(table[name])
            if message:
                wrong.append(f"column '{name}' {message}")
    wrong = wrong or _inexact(file, table, options)
    if wrong:
        raise BadData(f"{shown}: {'; '.join(wrong)}", "file")
    return table


def _inexact(file: Path, table: Any, options: Mapping[str, Any]) -> list[str]:
    """Return in which columns floats aren't the numbers that are written, so that two of these could be one."""
    import pandas as pd
    from pandas.api import types

    def is_large(column: Any) -> bool:
        return types.is_float_dtype(column.dtype) and bool((column.abs() >= EXACT).any())

    wrong: list[str] = []
    places = [place for place, name in enumerate(table.columns) if is_large(table[name])]
    if not places:
        return wrong
    written = pd.read_csv(file, **options, usecols=places, dtype=str)
    for place, column in zip(places, written.columns, strict=True):
        name = table.columns[place]
        large = table[name].abs() >= EXACT
        texts = [*written[column][large]]
        numbers = [float(text) for text in texts]
        # At times pandas gives a float beside the nearest one.
        table.loc[large, name] = numbers
        if lost := [t for t, n in zip(texts, numbers, strict=True) if not is_held(t, n)]:
            wrong.append(
                f"column '{name}' holds {lost[0]!r}, which has more digits than a float holds, as numbers are "
                "that have fractions, empty cells or more than 19 digits beside them: write codes with a letter in front"
            )
    return wrong


def _restore_codes(file: Path, table: Any, options: Mapping[str, Any]) -> list[str]:
    """Put the text back in columns of digits with a 0 in front; return what is wrong with them."""
    import pandas as pd
    from pandas.api import types

    def is_whole(column: Any) -> bool:
        if types.is_bool_dtype(column.dtype) or not types.is_numeric_dtype(column.dtype):
            return False
        return types.is_integer_dtype(column.dtype) or bool((column.dropna() % 1 == 0).all())

    places = [place for place, name in enumerate(table.columns) if is_whole(table[name])]
    if not places:
        return []
    wrong = []
    written = pd.read_csv(file, **options, usecols=places, dtype=str)
    for place, column in zip(places, written.columns, strict=True):
        name, codes = table.columns[place], written[column]
        # Before its third version pandas takes the least whole number for a missing one.
        if (table[name].isna() & codes.notna()).any():
            table[name] = codes.astype(float)
        begins = codes.str.match(_CODE, na=False).astype(bool)
        if begins.any():
            table[name] = codes
            if codes.str.len().nunique() > 1:
                wrong.append(
                    f"column '{name}' holds numbers and {codes[begins].iloc[0]!r}: write numbers "
                    "without a 0 in front, codes all of one length"
                )
    return wrong


def _number(cell: Any) -> float | None:
    """Return what a cell says as a number, None if it is none."""
    import pandas as pd

    try:
        found = pd.to_numeric(cell, errors="coerce")
    except (ValueError, OverflowError):
        found = float(cell)
    return None if pd.isna(found) else float(found)


def _numbers_in(column: Any) -> tuple[Any, str]:
    """Look at a column of text: is it one of numbers, and what keeps it from being one?

    Returns:
        The column, as numbers if all it holds are some; what is wrong with it, or ``""``.
    """
    import pandas as pd
    from pandas.api import types

    if types.is_bool_dtype(column.dtype):
        return column, ""
    # Beside numbers too large for it, pandas takes an empty cell for text.
    column = column.mask(column.eq(""))
    cells = column.dropna()
    if not len(cells) or any(isinstance(cell, bool) for cell in cells.unique()):
        return column, ""
    try:
        numbers = pd.to_numeric(cells, errors="coerce")
    except (ValueError, OverflowError):  # a very large one, before its third version
        numbers = cells.map(_number)
    is_number = numbers.notna()
    if is_number.all():
        return numbers.astype(float).reindex(column.index), ""
    texts = cells[~is_number].astype(str)
    different = list(texts.unique())
    missing = [text for text in different if text.strip().lower() in _MISSING]
    grouped = [text for text in different if _GROUPED.fullmatch(text.strip())]
    shown = f"{different[0]!r} ({len(texts)} of {len(column)} rows)"
    if len(different) == len(missing) + len(grouped):
        if grouped:
            return column, f"holds numbers like {grouped[0]!r}: write 1234.5, with a point only"
        if is_number.any():
            hint = "leave the cell empty where a value is missing"
            return column, f"holds numbers and the text {shown}: {hint}"
    elif is_number.any() and len(texts) <= _FEW * len(cells):
        hint = "mend these cells, or read the table in a data function of your own"
        return column, f"holds numbers, but for text such as {shown}: {hint}"
    return column, ""
