"""Tables from SQL databases: the same types whichever way they are read, one order, and no secret anywhere."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.data.source import BadData
from dotrain.data.sql import SqlSource
from dotrain.data.sql.address import Address
from dotrain.experiment import resume
from tests.conftest import ROOT
from tests.data.sources import studied, write_files
from tests.folder import Folder

#: More than are read at once here.
MANY = 2_100
AT_ONCE = 1_000


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dotrain.data.sql.cursor.CHUNK", AT_ONCE)
    monkeypatch.setattr("dotrain.data.sql.reading.CHUNK", AT_ONCE)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def database(file: Path, *statements: str, rows: tuple[str, list[Any]] | None = None) -> Path:
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    if rows:
        connection.executemany(*rows)
    connection.commit()
    connection.close()
    return file


def source(query: str, url: str, monkeypatch: pytest.MonkeyPatch) -> SqlSource:
    monkeypatch.setenv("DB_URL", url)
    return SqlSource(query, "env:DB_URL")


def read(query: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([*source(query, url, monkeypatch).batches()])


def refusal(
    query: str, url: str, monkeypatch: pytest.MonkeyPatch, *, by_check: bool = False
) -> str:
    """What is said, having looked that the driver's own exception goes no further."""
    asked = source(query, url, monkeypatch)
    with pytest.raises(BadData) as caught:
        asked.declared() if by_check else [*asked.batches()]
    assert by_check or caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert caught.value.key in (("sql",), ("connection",))
    return f"{caught.value.key[0]}: {caught.value}"


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SQLite makes hard: declared types mean little, a column's first values less."""
    rows = [
        (i, i, 7.25 if i % 2 else 8, "é" if i == MANY else None, i % 2, "2026-01-01", None, i / 7)
        for i in range(1, MANY + 1)
    ]
    return database(
        tmp_path_factory.mktemp("sqlite") / "a file?.db",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, whole REAL, price NUMERIC(10, 2), late TEXT, flag BOOLEAN, "
        "day DATE, never INTEGER, f)",
        'CREATE TABLE odd(id INTEGER, mixed, big, blob, "a b`c")',
        "INSERT INTO odd VALUES (3, 'unknown', 2.5, x'00', 1), (1, NULL, 1, NULL, 1), (2, 4, 9007199254740993, NULL, 1)",
        rows=("INSERT INTO t VALUES(?, ?, ?, ?, ?, ?, ?, ?)", rows),
    )


def test_sqlite_gives_the_same_by_adbc_and_by_a_cursor(
    numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name with a question mark, which no URL of a file can hold otherwise, so a link to it.
    link = numbers.with_name("link.db")
    link.symlink_to(numbers)
    for query in (
        "SELECT * FROM t ORDER BY id",
        # Settled by its first rows, and so read by ADBC to its end.
        "SELECT id, whole, price, flag, day, never, f FROM t ORDER BY id",
        "WITH some AS (SELECT id, price FROM t WHERE id < 5) SELECT id AS n, price FROM some ORDER BY n DESC; -- so",
    ):
        tables = [
            read(query, f"{way}:///{link}", monkeypatch) for way in ("sqlite", "sqlite+pysqlite")
        ]
        assert tables[0].equals(tables[1])
        assert tables[0].schema.equals(tables[1].schema)
    first = read("SELECT * FROM t ORDER BY id", f"sqlite:///{link}", monkeypatch)
    assert [str(field.type) for field in first.schema] == [
        *("int64", "double", "double", "string", "int64", "string", "null", "double")
    ]
    assert first["late"].to_pylist()[-2:] == [None, "é"]
    assert first["f"].to_pylist() == [i / 7 for i in range(1, MANY + 1)]


@pytest.mark.parametrize("way", ["sqlite", "sqlite+pysqlite"])
def test_what_sqlite_holds_is_refused_where_it_would_be_turned_into_something_else(
    way: str, numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = numbers.with_name(f"{way}.db")
    link.symlink_to(numbers)
    url = f"{way}:///{link}"

    def said(query: str) -> str:
        return refusal(query, url, monkeypatch)

    mixed = said("SELECT id, mixed FROM odd ORDER BY id")
    assert (
        "'mixed' holds values of several types: '4' (integer) in row 2, 'unknown' (text) in row 3"
        in mixed
    )
    assert "CAST(mixed AS REAL)" in mixed
    assert "9007199254740993 has more digits than a float" in said(
        "SELECT id, big FROM odd ORDER BY id"
    )
    assert "'blob' is of the type binary" in said("SELECT id, blob FROM odd ORDER BY id")
    assert "no rows" in said("SELECT id FROM odd WHERE id > 9 ORDER BY id")
    assert "no such column: ident" in said("SELECT ident FROM odd ORDER BY id")
    # SQLite itself takes this one for the text 'ident', in every row.
    assert "no such column: ident" in said('SELECT "ident" FROM odd ORDER BY id')
    assert "no such column: ident" in said('SELECT id FROM odd ORDER BY "ident"')
    assert "two columns of one name: id" in said(
        "SELECT a.*, b.* FROM (SELECT id FROM odd) a JOIN (SELECT id FROM odd) b USING (id) ORDER BY a.id"
    )
    assert 'rows 1 and 2 have the same "a b`c"' not in said(
        'SELECT id, "a b`c" FROM odd ORDER BY "a b`c"'
    )
    assert "rows 1 and 2 have the same a b`c" in said(
        'SELECT id, "a b`c" FROM odd ORDER BY "a b`c"'
    )
    assert len(read('SELECT "a b`c" AS "x y" FROM odd ORDER BY 1', url, monkeypatch)) == 3


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT id FROM t", "expected an ORDER BY at its end"),
        ("SELECT id FROM (SELECT id FROM t ORDER BY id)", "expected an ORDER BY at its end"),
        ("SELECT id FROM t -- ORDER BY id", "expected an ORDER BY at its end"),
        ("SELECT id FROM t ORDER BY random()", "found one by chance"),
        ("SELECT id FROM t ORDER BY lower(id)", "orders by LOWER(id), of which nobody can see"),
        ("SELECT id FROM t ORDER BY id, x % 5", "orders by x % 5, of which nobody can see"),
        ("SELECT id, random() AS r FROM t ORDER BY id", "gives other rows each time: RANDOM()"),
        ("SELECT id FROM t TABLESAMPLE SYSTEM (10) ORDER BY id", "gives other rows each time"),
        (
            "SELECT id FROM (SELECT id FROM t LIMIT 9) AS s ORDER BY id",
            "takes some rows of a subquery without an ORDER BY of its own",
        ),
        ("SELECT id FROM t ORDER BY 'id'", "orders nothing"),
        ("SELECT id FROM t ORDER BY 1 + 1", "orders nothing"),
        ("DELETE FROM t", "found DELETE"),
        ("PRAGMA table_info(t)", "found PRAGMA"),
        ("SELECT id FROM t ORDER BY id; DROP TABLE t", "found 2 statements"),
        ("", "found no statements"),
        (
            "WITH x AS (DELETE FROM t RETURNING id) SELECT id FROM x ORDER BY id",
            "found DELETE in it",
        ),
        ("SELECT id INTO u FROM t ORDER BY id", "found INTO in it"),
        ("SELECT id FROM t ORDER BY id FOR UPDATE", "found FOR UPDATE in it"),
        ("SELEC id FROM t ORDER BY id", "can't be read in line 1"),
        (f"SELECT {'(' * 3000}1{')' * 3000} AS id ORDER BY id", "too deeply nested"),
        (f"SELECT 1{' + 1' * 5000} ORDER BY 1", "column 1: write ... AS NAME"),
        (
            "SELECT id, count(*) FROM t ORDER BY id",
            "no name for its column 2: write COUNT(*) AS NAME",
        ),
        ("SELECT id, x AS id FROM t ORDER BY id", "two columns of one name: id"),
    ],
)
def test_a_query_that_does_more_than_to_read_in_one_order_is_refused_by_check(
    query: str, told: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Nobody listens there: nothing of this connects.
    said = refusal(query, "postgresql://u:p@127.0.0.1:1/d", monkeypatch, by_check=True)
    assert said.startswith("sql: ")
    assert told in said
    assert capfd.readouterr() == ("", "")


def test_names_are_told_where_the_text_tells_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    query = 'SELECT Age, sum(x) AS Total, t."B c" FROM t ORDER BY 1'
    duckdb.connect(str(tmp_path / "t.duckdb")).close()
    file = database(tmp_path / "t.db", "CREATE TABLE t(AGE, x)", "INSERT INTO t VALUES (1, 2)")
    for url, names in (
        ("postgresql://h/d", ["age", "total", "B c"]),
        (f"sqlite:///{file}", ["Age", "Total", "B c"]),
        (f"duckdb:///{tmp_path / 't.duckdb'}", ["Age", "Total", "B c"]),
        ("mysql://h/d", None),
    ):
        declared = source(query, url, monkeypatch).declared()
        assert (declared and [column.name for column in declared]) == names
    assert (
        source("SELECT t.*, 1 AS x FROM t ORDER BY x", "postgresql://h/d", monkeypatch).declared()
        is None
    )
    # SQLite doesn't say whether this one is called Age or AGE.
    assert read("SELECT Age FROM t ORDER BY x", f"sqlite:///{file}", monkeypatch).schema.names == [
        "Age"
    ]


def test_duckdb_is_read_as_arrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    file = tmp_path / "t.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT range AS id, (range * 0.07)::DECIMAL(18, 2) AS price, "
            "('[a, b]'::VARCHAR[])[1 + range % 2]::ENUM('a', 'b') AS letter, range % 2 = 0 AS even, "
            f"DATE '2026-01-01' AS day, TIMESTAMPTZ '2026-01-01 10:00+02' AS moment FROM range({MANY})"
        )
    url = f"duckdb:///{file}"
    table = read("SELECT *, sum(id) OVER () AS total FROM t ORDER BY id", url, monkeypatch)
    assert [str(field.type) for field in table.schema] == [
        *("int64", "double", "string", "bool", "date32[day]", "timestamp[us, tz=UTC]", "double")
    ]
    # As a file of text would have them: Arrow's own way from decimals misses the nearest float.
    assert table["price"].to_pylist() == [
        float(f"{i * 7 // 100}.{i * 7 % 100:02d}") for i in range(MANY)
    ]
    assert "INTERVAL" in refusal("SELECT id, nosuch::INTERVAL FROM t ORDER BY id", url, monkeypatch)
    assert "interval" in refusal(
        "SELECT id, INTERVAL 1 DAY AS i FROM t ORDER BY id", url, monkeypatch
    )
    made = read("SELECT range AS id FROM range(3) ORDER BY id", "duckdb:///:memory:", monkeypatch)
    assert made["id"].to_pylist() == [0, 1, 2]


def test_a_database_of_any_kind_is_read_by_sqlalchemy(
    numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose types nobody knows, so that values tell: a column without any keeps the rows back."""
    from sqlalchemy.dialects import registry

    registry.register("otherbase", "sqlalchemy.dialects.sqlite.pysqlite", "dialect")
    link = numbers.with_name("other.db")
    link.symlink_to(numbers)
    url = f"otherbase:///{link}"
    table = read("SELECT id, late, never, price, f FROM t ORDER BY id", url, monkeypatch)
    assert table.num_rows == MANY
    assert [str(one.type) for one in table.schema] == [
        "int64",
        "string",
        "null",
        "double",
        "double",
    ]
    assert table["late"].to_pylist()[-2:] == [None, "é"]
    assert "int and str" in refusal("SELECT id, mixed FROM odd ORDER BY id", url, monkeypatch)
    late = "SELECT id, CASE WHEN id > 2099 THEN 'x' ELSE id END AS v FROM t ORDER BY id"
    assert "of the type int64, and row 2100 has 'x'" in refusal(late, url, monkeypatch)


def test_where_the_database_is_stands_in_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT id FROM t ORDER BY id"
    file = database(tmp_path / "t.db", "CREATE TABLE t(id)")
    for url, told in (
        ("", "DB_URL isn't set"),
        ("nonsense", "holds no URL of a database"),
        ("sqlite:///nowhere.db", "points to no file (from the folder where the command runs)"),
        ("sqlite://", "names no file"),
        ("sqlite://host/file", "three slashes"),
        (f"sqlite:///{file}?mode=rw", "without options"),
        (f"duckdb:///{file}", "another database; write sqlite:///FILE"),
        ("postgresql://u:canary@x@h/d", "%40"),
        ("postgresql://u:can/ary@h/d", "%2F"),
        ("postgresql://u:can?ary@h/d", "%3F"),
        ("postgresql://u:can%ary@h/d", "%25"),
        ("postgresql://", "names no database"),
    ):
        said = refusal(query, url, monkeypatch, by_check=True)
        assert said.startswith("connection: ")
        assert told in said
        assert "can" not in said.replace("can't", "")
    assert not (tmp_path / "nowhere.db").exists()
    for written in ("postgresql://u:canary@h/d", "DB_URL", "env:", "env:a b", "$DB_URL"):
        asked = SqlSource(query, written)
        with pytest.raises(BadData) as caught:
            asked.declared()
        assert "canary" not in f"{caught.value} {asked.text}"
        assert "expected env:NAME" in str(caught.value)
    made = source(query, f"sqlite:///{file}", monkeypatch)
    assert made.identity() == {"query": query, "database": "sqlite"}
    assert made.secrets == ("DB_URL",)
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(TypeError):
        pickle.dumps(Address("DB_URL"))


def test_what_is_missing_is_named_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import util

    known = util.find_spec
    missing: set[str] = set()
    for module in ("dotrain.data.sql.address", "dotrain.data.sql.source", "dotrain.data.sql.query"):
        monkeypatch.setattr(
            f"{module}.find_spec", lambda name: None if name in missing else known(name)
        )
    query = "SELECT id FROM t ORDER BY id"
    for gone, url, told in (
        ({"sqlglot"}, "postgresql://h/d", "pip install 'dotrain[sql]'"),
        ({"duckdb"}, "duckdb:///:memory:", "pip install duckdb"),
        (
            {"adbc_driver_postgresql", "psycopg", "psycopg2", "pg8000"},
            "postgresql://h/d",
            "pip install psycopg",
        ),
        ({"psycopg2"}, "postgresql+psycopg2://h/d", "pip install psycopg2"),
        ({"sqlalchemy", "adbc_driver_manager"}, "postgresql://h/d", "pip install sqlalchemy"),
    ):
        missing = gone
        assert told in refusal(query, url, monkeypatch, by_check=True)
    missing = {"adbc_driver_postgresql"}
    monkeypatch.setenv("DB_URL", "postgresql://u:p@h/d")
    assert Address("DB_URL").url().startswith("postgresql+psycopg://")
    missing = set()
    assert "driver" in refusal(query, "mysql+nosuchdriver://u:canary@h/d", monkeypatch)
    assert "nosuchbase" in refusal(query, "nosuchbase://u:canary@h/d", monkeypatch)


SECRET = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=4, max_size=12
)


@given(
    SECRET,
    SECRET,
    st.text(max_size=20),
    st.sampled_from(["password", "sslpassword", "motherduck_token"]),
)
def test_no_message_of_a_driver_shows_a_secret(
    user: str, password: str, around: str, key: str
) -> None:
    from urllib.parse import quote

    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@host/d?{key}={quote(password, safe='')}"
    address = Address("X", {"X": url})
    for form in (
        url,
        password,
        quote(password, safe=""),
        f"{user}:{password}",
        url.partition("//")[2],
    ):
        said = address.cleaned(f"{around} no way to '{form}' {around} {form}")
        for secret in (password, quote(password, safe="")):
            assert (
                secret.lower() not in said.lower() or secret in "*** no way to" or secret in around
            )


def test_check_tells_it_at_its_place_and_imports_no_reader(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_URL", "postgresql://u:canary@127.0.0.1:1/d")
    folder.write("train.py", "def train(data_gen): ...\n")
    config = """\
        train: train.py:train
        metric: loss
        direction: min
        data:
          sql: SELECT id, sibsp, parch, y FROM t ORDER BY id
          connection: env:DB_URL
          label: y
          derive: {family: "sibsp + parch"}
        """
    folder.load(config)
    for wrong, right, told in (
        (" ORDER BY id", "", "5:8: data.sql: expected an ORDER BY"),
        ("env:DB_URL", "sqlite:///x", "6:15: data.connection: expected env:NAME"),
        ("env:DB_URL", "env:NO_URL", "6:15: data.connection: the variable NO_URL isn't set"),
        ("label: y", "label: z", "7:10: data.label: "),
        ('parch"', 'parchh"', "8:20: data.derive.family: "),
        ('parch"', 'y"', "8:20: data.derive.family: "),
        ("connection: env:DB_URL", "columns: [id]", "data.sql: needs connection: env:NAME"),
        (
            "sql: SELECT id, sibsp, parch, y FROM t ORDER BY id",
            "file: t.csv",
            "says where sql is asked",
        ),
    ):
        assert any(told in one for one in folder.problems(config.replace(wrong, right)))
    code = (
        "import sys; from dotrain.data.sql import SqlSource;"
        "SqlSource('SELECT id FROM t ORDER BY id', 'env:DB_URL').declared();"
        "print({'pyarrow', 'sqlalchemy', 'psycopg', 'adbc_driver_manager', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "set()\n"


def test_a_study_comes_to_the_same_digits_from_files_and_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rehearsed_here: None
) -> None:
    monkeypatch.setenv("SQLITE_URL", f"sqlite:///{tmp_path / 'passengers.db'}")
    monkeypatch.setenv("DUCKDB_URL", f"duckdb:///{tmp_path / 'passengers.duckdb'}")
    first, *others = [
        studied(tmp_path, name, source) for name, source in write_files(tmp_path).items()
    ]
    assert len(others) == 3
    assert all(other == first for other in others)
    assert "SQLITE_URL" in os.environ
    # Where nothing is left to train, nothing is asked of any database.
    monkeypatch.delenv("SQLITE_URL")
    (tmp_path / "passengers.db").unlink()
    (run,) = (tmp_path / "runs" / "sqlite").iterdir()
    assert resume(run, quiet=True).status == "finished"
