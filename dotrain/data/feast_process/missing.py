"""Why the join has lost rows, or found nothing: looked for in the files of the views, once something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from dotrain.data.feast_process.asked import Asked, View
from dotrain.data.feast_process.describing import Question
from dotrain.data.feast_process.entities import EVENT_TIME
from dotrain.data.feast_process.repo import column_in_source, local_file
from dotrain.data.source import BadData

#: How many rows are named.
_SHOWN: Final = 3
#: The time of a row of a view's file.
_AT: Final = "dotrain_time"
#: Of times that are compared.
RESOLUTION: Final = "datetime64[us, UTC]"


def lost_rows(rows: Any, asking: Any, asked: Asked, question: Question) -> BadData:
    """Return what is to be said of a join whose rows aren't those of the entities.

    Args:
        rows: The numbers of the rows that came, sorted.
        asking: Keys and times of all.
        asked: What was asked for.
        question: The same, as it was asked.
    """
    count = len(asking)
    doubled = rows[rows.duplicated()].unique()
    if len(doubled):
        return BadData(
            f"Feast's join has doubled {len(doubled)} of {count} rows of {question.file}: "
            f"{_shown(asking.loc[doubled], asked)}",
            *("feast", "repo"),
        )
    lost = asking.drop(index=rows)
    told = (
        f"the join is empty: all {count}"
        if len(lost) == count
        else f"Feast's join has lost {len(lost)} of {count}"
    )
    causes = [text for view in asked.views.values() for text in _causes(view, lost, question)]
    causes += _same(asking, lost, asked)
    why = "; ".join(causes) or "Feast doesn't say why"
    return BadData(
        f"{told} rows of {question.file} ({_shown(lost, asked)}): {why}. Leave these rows out, or use an offline store "
        "that keeps them (`offline_store: {type: duckdb}`)",
        *("feast", "entities"),
    )


def _shown(rows: Any, asked: Asked) -> str:
    shown = []
    for _, row in rows.head(_SHOWN).iterrows():
        keys = ", ".join(f"{key} {row[key]}" for key in asked.keys)
        shown.append(f"{keys} at {row[EVENT_TIME].isoformat()}")
    return "; ".join(shown) + ("; ..." if len(rows) > _SHOWN else "")


def _same(asking: Any, lost: Any, asked: Asked) -> list[str]:
    for view in asked.views.values():
        if view.source is None:
            continue
        alike = asking[asking.duplicated([*view.keys, EVENT_TIME], keep=False)]
        number = int(lost.index.isin(alike.index).sum())
        if number:
            what = ", ".join([*view.keys, EVENT_TIME])
            return [
                f"{number} have the {what} of another row, of which Feast's Dask store keeps one"
            ]
    return []


def _causes(view: View, lost: Any, question: Question) -> Iterator[str]:
    """Yield what a view has to do with lost rows."""
    times = _times_of(view, None, question)
    if times is None:
        return
    keys = list(view.keys)
    known = lost.merge(times[keys].drop_duplicates(), on=keys, how="inner")
    last = _last_before(known, times, keys)
    later = int(last.isna().sum())
    if later:
        yield (
            f"for {later} of them the view '{view.name}' has values only after the event's time, and Feast's Dask "
            "store drops such rows"
        )
    ttl = timedelta(seconds=view.ttl_s)
    old = (
        int((last < known.sort_values(EVENT_TIME)[EVENT_TIME].to_numpy() - ttl).sum()) if ttl else 0
    )
    if old:
        yield f"for {old} of them the view '{view.name}' has only values older than its ttl ({ttl})"


def _last_before(rows: Any, times: Any, keys: list[str]) -> Any:
    """Return for each row, by its time, when its entity's last value before that was; NaT where there is none."""
    import pandas as pd

    found = pd.merge_asof(
        rows.sort_values(EVENT_TIME)[[*keys, EVENT_TIME]],
        times.sort_values(_AT),
        left_on=EVENT_TIME,
        right_on=_AT,
        by=keys,
    )
    return found[_AT]


def later_values(view: View, feature: str, asking: Any, question: Question) -> int:
    """Return for how many rows a feature has values, but only later than they are asked for."""
    times = _times_of(view, feature, question)
    if times is None:
        return 0
    keys = list(view.keys)
    known = asking.merge(times[keys].drop_duplicates(), on=keys, how="inner")
    return int(_last_before(known, times, keys).isna().sum())


def _times_of(view: View, feature: str | None, question: Question) -> Any:
    """Return keys and times of the rows of a view's file where a feature has a value; None if it can't be read."""
    import pandas as pd
    from pyarrow import dataset

    file = local_file(view, Path(question.repo))
    if file is None or not view.keys:
        return None
    names = {key: column_in_source(view, there) for key, (there, _) in view.keys.items()}
    time = view.source.timestamp_field
    wanted = [*names.values(), time]
    if feature is not None:
        wanted.append(column_in_source(view, feature))
    rows = dataset.dataset(file, format="parquet").to_table(list(dict.fromkeys(wanted))).to_pandas()
    if feature is not None:
        rows = rows[rows[wanted[-1]].notna()]
    times = {key: rows[column] for key, column in names.items()}
    # One resolution for all, or they can't be merged.
    return pd.DataFrame({**times, _AT: pd.to_datetime(rows[time], utc=True).astype(RESOLUTION)})
