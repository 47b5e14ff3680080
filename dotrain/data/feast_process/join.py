"""The join by Feast itself, point in time: each row gets what was known when its event was. In a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dotrain.data.exact import EXACT
from dotrain.data.feast_process.asked import Asked, kind_of
from dotrain.data.feast_process.describing import Question
from dotrain.data.feast_process.entities import EVENT_TIME
from dotrain.data.feast_process.missing import RESOLUTION, later_values, lost_rows
from dotrain.data.feast_process.repo import (
    refuse_other_type,
)
from dotrain.data.source import BadData

#: The number of a row of the entities' file, as it goes through the join.
_ROW: Final = "dotrain_row"
#: From here on a double doesn't hold every whole number.


def join(store: Any, asked: Asked, entities: Any, question: Question, file: Path) -> None:
    """Write the table: the columns of the entities' file as they are, then the features.

    Args:
        store: Feast's.
        asked: What is asked for.
        entities: The entities' file.
        question: The same, as it was asked.
        file: An Arrow IPC file to be.

    Raises:
        BadData: If rows are lost or doubled, or aren't what the registry declares.
    """
    import pandas as pd
    import pyarrow
    import pyarrow.compute

    wanted = [*asked.keys, *(name for name in asked.request if name not in asked.keys)]
    keys = entities.select(wanted).to_pandas()
    for name, column in [*keys.items()]:
        if isinstance(column.dtype, pd.CategoricalDtype):
            keys[name] = column.astype(column.cat.categories.dtype)  # to be joined with its like
    times = _times(entities, question)
    asking = keys.assign(**{EVENT_TIME: times, _ROW: range(len(keys))})
    for name in asked.keys:
        missing = asking[name].isna()
        if missing.any():
            raise _refused(question, f"'{name}' is missing", missing)
    references = [f"{view}:{feature}" for view, feature in asked.features]
    features: Any = references
    if question.service is not None:
        features = store.get_feature_service(question.service)
    # Always with the view: a name that is in two of them would be mixed up on the way.
    job = store.get_historical_features(
        entity_df=asking, features=features, full_feature_names=True
    )
    found = job.to_arrow()
    order = pyarrow.compute.sort_indices(found[_ROW])
    rows = pd.Series(found[_ROW].take(order).to_numpy())
    if len(rows) != len(asking) or not (rows.to_numpy() == asking[_ROW].to_numpy()).all():
        raise lost_rows(rows, asking.drop(columns=_ROW), asked, question)
    columns = {name: entities[name] for name in entities.column_names}
    for view, feature in asked.features:
        column = _column(found, asked, view, feature).take(order)
        column = _typed(column, f"{view}:{feature}", asked.views[view].features[feature])
        if column.null_count == len(column):
            _refuse_later(asked, view, feature, asking, question)
        columns[asked.name_of(view, feature)] = column
    _write(pyarrow.table(columns), file)


def _refuse_later(asked: Asked, name: str, feature: str, asking: Any, question: Question) -> None:
    """Refuse a feature without any value, if that is because all it has are of a later time.

    Raises:
        BadData: If so.
    """
    made_from = [
        (v, f) for v in asked.views.values() for b, f in asked.views[name].made_from if b == v.base
    ]
    for view, of in made_from or [(asked.views[name], feature)]:
        later = later_values(view, of, asking, question)
        if later:
            what = f"{view.name}:{of}" + (
                f", of which {name}:{feature} is computed," if made_from else ""
            )
            raise BadData(
                f"{what} is a feature that only exists after the event's time: no row of {question.file} may use a "
                f"value of it, as for {later} of {len(asking)} they are all later than the row's '{EVENT_TIME}', and "
                "the others have none",
                *_key_of(question, name, feature),
            )


def _key_of(question: Question, view: str, feature: str) -> Sequence[str | int]:
    if question.features is None:
        return "feast", "service"
    return "feast", "features", list(question.features).index(f"{view}:{feature}")


def _times(entities: Any, question: Question) -> Any:
    import pandas as pd

    given = entities[EVENT_TIME].to_pandas()
    try:
        # As Feast has it: a time without a zone is one of UTC.
        times = pd.to_datetime(given, utc=True)
    except (ValueError, TypeError) as error:
        raise BadData(
            f"column '{EVENT_TIME}' of {question.file} holds what is no time: {error}",
            *("feast", "entities"),
        ) from None
    if pd.api.types.is_numeric_dtype(given):
        raise BadData(
            f"column '{EVENT_TIME}' of {question.file} holds numbers: expected times",
            *("feast", "entities"),
        )
    if times.isna().any():
        raise _refused(question, f"'{EVENT_TIME}' is missing", times.isna())
    return times.astype(RESOLUTION)


def _refused(question: Question, what: str, rows: Any) -> BadData:
    first = int(rows.to_numpy().argmax()) + 1
    return BadData(
        f"{question.file}: {what} in {int(rows.sum())} of {len(rows)} rows (the first is row {first})",
        *("feast", "entities"),
    )


def _column(found: Any, asked: Asked, view: str, feature: str) -> Any:
    # One of Feast's offline stores leaves out the version of a view.
    for name in (f"{view}__{feature}", f"{view.partition('@')[0]}__{feature}"):
        if name in found.column_names:
            return found[name]
    raise BadData(
        f"Feast gives no column for {view}:{feature} (it gives {', '.join(found.column_names)})",
        "feast",
        "repo",
    )


def _typed(column: Any, reference: str, declared: str) -> Any:
    """Give back the type that a column had before it went through pandas, where that loses nothing."""
    import pyarrow
    import pyarrow.compute as pc

    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found = str(column.type)
    refuse_other_type(reference, declared, found, "what comes from the join")
    wanted = _arrow_type(declared)
    if wanted is None or found == declared:
        return column
    if found == "null":
        return column.cast(wanted)
    kinds = kind_of(declared), kind_of(found)
    if kinds != ("whole number", "number"):
        return column
    largest = pc.max(pc.abs(column)).as_py()
    try:
        if largest is not None and largest >= EXACT:
            raise BadData(
                f"{reference} holds whole numbers of {EXACT} or more beside missing ones, which Feast's join gives as "
                "floating-point numbers, no longer exact: declare it as String, or give the missing ones a value",
                *("feast", "repo"),
            )
        return column.cast(wanted)
    except pyarrow.ArrowInvalid:
        raise BadData(
            f"the type of {reference} has changed: {declared} in the registry, but what comes from the join has "
            "fractions: mend the data, or the definitions and run `feast apply`",
            *("feast", "repo"),
        ) from None


def _arrow_type(word: str) -> Any:
    import pyarrow

    with contextlib.suppress(ValueError):
        return pyarrow.type_for_alias(word)
    return None


def _write(table: Any, file: Path) -> None:
    import pyarrow

    with (
        pyarrow.OSFile(str(file), "wb") as sink,
        pyarrow.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=1 << 16)
