"""A real PostgreSQL: the same types by ADBC and by a cursor, the same study as from files, and its password nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain.data.source import BadData
from dotrain.data.sql import SqlSource
from tests.conftest import ROOT
from tests.data.postgres import REQUIRED, USER, Postgres, why_not
from tests.data.sources import COLUMNS, QUERY, TRAIN, TYPES, config, rows, studied, write_files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()) and not REQUIRED, reason=why_not() or "it is there"),
]

#: Nothing else has it in its name; without what a URL would need to write otherwise.
CANARY = "Kanari-VOGEL-0815"
WAYS = ("postgresql", "postgresql+psycopg")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    assert not why_not(), f"DOTRAIN_REQUIRE_POSTGRES is set: {why_not()}"
    found = Postgres(CANARY)
    try:
        declared = ", ".join(map(" ".join, zip(COLUMNS, TYPES, strict=True)))
        found.run(
            "CREATE TYPE mood AS ENUM ('happy', 'sad')",
            "CREATE SEQUENCE numbers",
            f"CREATE TABLE passengers({declared})",
            "CREATE TABLE kinds(id int PRIMARY KEY, small smallint, big bigint, price numeric(10, 2), tiny numeric, "
            "yes boolean, words text, short varchar(10), fixed char(4), day date, moment timestamp, there timestamptz, "
            "single real, double double precision, nothing text)",
            "INSERT INTO kinds VALUES (1, 2, 3, 7.25, 1e-7, true, 'Ä''%s :x', 'v', 'c', '2026-01-01', "
            "'2026-01-01 10:00:00.123456', '2026-01-01 10:00:00+02', 0.1, 0.1, null)",
            "INSERT INTO kinds(id, tiny) VALUES (2, 'NaN')",
            "CREATE TABLE odd AS SELECT 1 AS id, 'sad'::mood AS mood, gen_random_uuid() AS uuid, '{}'::jsonb AS json, "
            "'{1}'::int[] AS list, 'x'::bytea AS bytes, 5::money AS money, interval '1 day' AS span, "
            "12345678901234567890::numeric AS digits, 'infinity'::date AS forever",
            "CREATE TABLE many AS SELECT i AS id, i * 0.07::numeric(10, 2) AS price, CASE WHEN i > 69990 THEN 'x' END "
            "AS late FROM generate_series(1, 70000) i",
            rows=(
                f"INSERT INTO passengers VALUES ({', '.join(['%s'] * len(COLUMNS))})",
                rows()[::-1],
            ),
        )
        yield found
    finally:
        found.close()


def read(query: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import pyarrow as pa

    monkeypatch.setenv("DB_URL", url)
    return pa.Table.from_batches([*SqlSource(query, "env:DB_URL").batches()])


def refusal(query: str, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    with pytest.raises(BadData) as caught:
        read(query, url, monkeypatch)
    assert caught.value.__context__ is None
    said = f"{caught.value.key[0]}: {caught.value}"
    assert not leaks(said.encode())
    return said


def leaks(told: bytes) -> list[str]:
    """What of the secrets stands in it, in whatever case."""
    return [one for one in (CANARY, "vogel", USER) if one.lower().encode() in told.lower()]


def test_types_are_the_same_by_adbc_and_by_a_cursor(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for query in (
        "SELECT * FROM kinds ORDER BY id",
        "SELECT Id, 5 % 3 AS rest, '%s :x' AS \"Q q\", NULL AS none FROM kinds ORDER BY 1 DESC;",
        "SELECT id, price, late, sum(price) OVER () AS total FROM many ORDER BY id",
    ):
        tables = [read(query, postgres.url(way), monkeypatch) for way in WAYS]
        assert tables[0].schema.equals(tables[1].schema)
        # As text: one NaN doesn't equal another.
        assert repr(tables[0].to_pydict()) == repr(tables[1].to_pydict())
    kinds = read("SELECT * FROM kinds ORDER BY id", postgres.url(), monkeypatch)
    assert [str(field.type) for field in kinds.schema] == [
        *(
            "int32",
            "int16",
            "int64",
            "double",
            "double",
            "bool",
            "string",
            "string",
            "string",
            "date32[day]",
        ),
        *("timestamp[us]", "timestamp[us, tz=UTC]", "float", "double", "string"),
    ]
    assert kinds["price"].to_pylist() == [7.25, None]


def test_what_a_table_does_not_take_is_refused_alike(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for way in WAYS:
        url = postgres.url(way)
        for name in ("mood", "uuid", "json", "list", "bytes", "money", "span"):
            said = refusal(f"SELECT id, {name} FROM odd ORDER BY id", url, monkeypatch)
            assert f"sql: column '{name}' is of the type " in said
            assert f"CAST({name} AS TEXT)" in said
        assert "more digits than a float" in refusal(
            "SELECT id, digits FROM odd ORDER BY id", url, monkeypatch
        )
        assert "'infinity'" in refusal("SELECT id, forever FROM odd ORDER BY id", url, monkeypatch)
        assert "no rows" in refusal("SELECT id FROM odd WHERE id > 1 ORDER BY id", url, monkeypatch)
        assert '"nosuch" does not exist' in refusal(
            "SELECT nosuch FROM odd ORDER BY 1", url, monkeypatch
        )
        assert "division by zero" in refusal(
            "SELECT 1 / (id - 1) AS x FROM odd ORDER BY x", url, monkeypatch
        )
        # A function can write: the transaction can't.
        assert "read-only" in refusal("SELECT nextval('numbers') AS x ORDER BY x", url, monkeypatch)
        for wrong in (
            url.replace(CANARY, "Vogel-frei"),
            url.replace("/postgres?", "/nosuch?"),
            f"{way}://{USER}:{CANARY}@127.0.0.1:1/d",
            f"{way}://{USER}@/d?host={postgres.folder}&password={CANARY}",
            f"{way}://{USER}:{CANARY}@/d?host={postgres.folder}&nosuch={CANARY}",
        ):
            assert refusal("SELECT id FROM odd ORDER BY id", wrong, monkeypatch).startswith(
                "connection: "
            )


def test_a_study_comes_to_the_same_digits_as_from_a_file(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rehearsed_here: None
) -> None:
    files = write_files(tmp_path)
    expected = studied(tmp_path, "csv", files["csv"])
    for way in WAYS:
        monkeypatch.setenv("DB_URL", postgres.url(way))
        assert studied(tmp_path, "postgres", {"sql": QUERY, "connection": "env:DB_URL"}) == expected


#: Says which processes of this machine have the secret in their arguments or their environment.
WATCH = f"""\
import glob, os


def look(name):
    found = set()
    for place in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
        try:
            told = open(place, "rb").read()
        except OSError:
            continue
        if {CANARY[::-1]!r}[::-1].encode() in told:
            found.add(place.split("/")[2])
    with open(f"seen-{{name}}-{{os.getpid()}}", "w") as file:
        file.write(" ".join(sorted(found)) + (" here" if "DB_URL" in os.environ else ""))


"""


def test_the_password_is_in_no_file_process_or_message_of_a_run(
    postgres: Postgres, tmp_path: Path
) -> None:
    source = {"sql": QUERY, "connection": "env:DB_URL"}
    train = TRAIN.replace("def train(", "look('module')\n\n\ndef train(").replace(
        "    (x,", "    look('trial')\n    (x,"
    )
    (tmp_path / "user.py").write_text(WATCH + train)
    local = {"cluster": {"kind": "local", "workers": 2}}
    (tmp_path / "good.yaml").write_text(
        config(source, ablation={"features": ["sex"], "seeds": 1}, **local)
    )
    wrong = {**source, "sql": QUERY.replace("fare", "fair AS fare")}
    (tmp_path / "wrong.yaml").write_text(config(wrong, **local))
    said = b""

    def dotrain(*arguments: str, password: str = CANARY) -> int:
        nonlocal said
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment["DB_URL"] = postgres.url().replace(CANARY, password)
        command = [sys.executable, "-m", "dotrain", *arguments]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            told, _ = process.communicate(timeout=300)
        said += told
        if arguments[0] == "ablate" and process.returncode == 0:
            seen = [*tmp_path.glob("seen-*")]
            assert len(seen) >= 4  # the rehearsal, what trials are forked from, and two of these
            assert {one.read_text() for one in seen} <= {str(process.pid), ""}
        return process.returncode

    assert dotrain("check", "good.yaml") == 0
    assert dotrain("ablate", "good.yaml") == 0, said.decode()
    (run,) = (tmp_path / "runs" / "good").iterdir()
    assert dotrain("show", str(run)) == 0
    assert dotrain("report", str(run)) == 0
    assert dotrain("run", "wrong.yaml") == 2
    assert b'column "fair" does not exist' in said
    assert dotrain("run", "good.yaml", password="Vogel-frei") == 2
    assert b"password authentication failed" in said
    assert not leaks(said)
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "user.py"]
    assert any(file.name == "table.arrow" for file in files)
    assert any(file.suffix == ".html" for file in files)
    assert not [str(file) for file in files if leaks(file.read_bytes())]
