"""The same rows in files and databases, and what a study makes of them."""

from __future__ import annotations

import csv
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

from dotrain.experiment import ablate

COLUMNS = ["id", "pclass", "sex", "age", "sibsp", "parch", "fare", "survived"]
TYPES = [
    "bigint",
    "integer",
    "text",
    "double precision",
    "bigint",
    "smallint",
    "numeric(10,2)",
    "bigint",
]
QUERY = f"SELECT {', '.join(COLUMNS)} FROM passengers ORDER BY id"
TRAIN = """\
import numpy as np


def train(data_gen, reporter):
    (x, y), = data_gen.batch(10_000, "train", shuffle=False)
    (other, label), = data_gen.batch(10_000, "validation", shuffle=False)
    weights = np.zeros(x.shape[1])
    for _ in range(20):
        weights -= 0.1 * x.T @ (1 / (1 + np.exp(-x @ weights)) - y) / len(y)
    reporter.broadcast(float(np.square(1 / (1 + np.exp(-other @ weights)) - label).mean()), step=1)
    return float(weights @ np.arange(1, len(weights) + 1))
"""


def rows() -> list[tuple[Any, ...]]:
    """Passengers, with missing values, cents, and a column that says what another one says."""
    chance = random.Random(7)
    found = []
    for i in range(300):
        sex = chance.choice(["male", "female"])
        age = round(chance.gauss(30, 12), 1) if chance.random() > 0.2 else None
        fare = chance.randrange(100, 9999) / 100
        survived = int(chance.random() < 0.2 + 0.6 * (sex == "female"))
        home = chance.choice([0, 0, 1, 2]), chance.choice([0, 1])
        found.append((i, chance.choice([1, 2, 3]), sex, age, *home, fare, survived))
    return found


def write_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Write them as CSV, Parquet, SQLite, DuckDB; return what ``data:`` says of each."""
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    with (folder / "passengers.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([COLUMNS, *rows()])
    columns = zip(*rows(), strict=True)
    table = pa.table({name: pa.array(one) for name, one in zip(COLUMNS, columns, strict=True)})
    pq.write_table(table, folder / "passengers.parquet", row_group_size=70)
    declared = ", ".join(map(" ".join, zip(COLUMNS, TYPES, strict=True)))
    marks = ", ".join("?" * len(COLUMNS))
    connection = sqlite3.connect(folder / "passengers.db")
    connection.execute(f"CREATE TABLE passengers({declared})")
    connection.executemany(f"INSERT INTO passengers VALUES({marks})", reversed(rows()))
    connection.commit()
    connection.close()
    with duckdb.connect(str(folder / "passengers.duckdb")) as other:
        other.execute(f"CREATE TABLE passengers({declared})")
        other.executemany(f"INSERT INTO passengers VALUES({marks})", rows())
    return {
        "csv": {"file": "passengers.csv"},
        "parquet": {"file": "passengers.parquet"},
        "sqlite": {"sql": QUERY, "connection": "env:SQLITE_URL"},
        "duckdb": {"sql": QUERY, "connection": "env:DUCKDB_URL"},
    }


def config(source: dict[str, Any], **sections: Any) -> str:
    data = {
        **source,
        "label": "survived",
        "columns": ["pclass", "sex", "age", "sibsp", "fare", "family", "minor"],
        "types": {"pclass": "category"},
        "derive": {"minor": "age < 16 or family > 2", "family": "sibsp + parch"},
        "split": {"validation": 0.25, "by": "id"},
    }
    told = {"train": "user.py:train", "metric": "loss", "direction": "min", "data": data}
    return json.dumps({**told, "cluster": {"kind": "inline"}, **sections})


def studied(folder: Path, name: str, source: dict[str, Any]) -> tuple[Any, Any]:
    """Leave columns out in this process; return what is known of the table, without types, and all values."""
    (folder / "user.py").write_text(TRAIN)
    file = folder / f"{name}.yaml"
    file.write_text(
        config(source, ablation={"features": ["sex", "fare", ["age", "sibsp"]], "seeds": 1})
    )
    result = ablate(file, runs_dir=folder / "runs", quiet=True)
    with (result.run_dir / "journal.jsonl").open() as journal:
        told = json.loads(journal.readline())["data"]
    for column in (*told["columns"], told["label"]):
        # Whole numbers have as many bits as the source has.
        del column["type"]
    facts = {key: told[key] for key in ("columns", "label", "rows", "derive")}
    values = {(str(trial.arm), trial.seed): trial.final_metric for trial in result.trials}
    assert len(values) == 4
    assert None not in values.values()
    return facts, values
