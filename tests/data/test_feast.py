"""Features by name from a real repository of Feast's: what is declared, joined, and refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dotrain.config import load_config
from dotrain.config.errors import ConfigError
from dotrain.data import feast_asking
from dotrain.data.declared import Declared
from dotrain.data.feast import FeastSource
from dotrain.data.feast_asking import Asking
from dotrain.data.files import FileSource
from dotrain.data.preparing import prepare
from dotrain.data.source import BadData, Column
from dotrain.data.table import Table
from tests.conftest import ROOT

DAY = pd.Timedelta(days=1)
#: When events were.
NOW = pd.Timestamp("2026-01-10", tz="UTC")

YAML = """
project: ship
provider: local
registry: data/registry.db
online_store: null
offline_store: {type: dask}
entity_key_serialization_version: 3
"""

DEFINITIONS = """
from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

passenger = Entity(name="passenger", join_keys=["passenger_id"], value_type=ValueType.INT64)


def view(name, ttl=None, **features):
    source = FileSource(name=name + "_file", path=name + ".parquet", timestamp_field="at")
    schema = [Field(name=feature, dtype=dtype) for feature, dtype in features.items()]
    return FeatureView(
        name=name, entities=[passenger], ttl=ttl, schema=schema, source=source, online=False
    )


person = view("person", age=Float64, sex=String, siblings=Int64, deck=String)
ticket = view("ticket", ttl=timedelta(days=30), fare=Float64, sex=String)
whole = view("whole", number=Int64, large=Int64)
asked = RequestSource(name="asked", schema=[Field(name="parents", dtype=Int64)])


@on_demand_feature_view(
    sources=[person[["siblings"]], asked], schema=[Field(name="family", dtype=Int64)]
)
def relatives(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"family": inputs["siblings"] + inputs["parents"] + 1})


@on_demand_feature_view(sources=[person[["age"]]], schema=[Field(name="half", dtype=Float64)])
def halves(inputs: pd.DataFrame) -> pd.DataFrame:
    if len(inputs) > 3:
        raise LookupError("no half here")
    return pd.DataFrame({"half": inputs["age"] / 2})


ship_v1 = FeatureService(name="ship_v1", features=[person[["age", "siblings"]], relatives])
"""


def make_repo(repo: Path) -> None:
    """Write a repository that isn't applied yet: of passengers 1 to 6."""
    repo.mkdir()
    (repo / "feature_store.yaml").write_text(YAML)
    (repo / "definitions.py").write_text(DEFINITIONS)
    ids = [1, 2, 3, 4, 5, 6]
    person = pd.DataFrame({"passenger_id": ids, "at": NOW - 9 * DAY, "age": [1.5, 2, 3, 4, 5, 6]})
    person["sex"] = list("fmfmfm")
    person["siblings"] = pd.array([0, 1, None, 3, 4, 5], "Int64")
    person["deck"] = None
    # Of passenger 1 more is known later: on the way, and after the event.
    on_the_way = person.head(1).assign(at=NOW - 2 * DAY, age=11.5)
    after = person.assign(at=NOW + 2 * DAY, age=99.0, deck="C")
    pd.concat([after, person, on_the_way]).to_parquet(repo / "person.parquet", index=False)
    at = [NOW - DAY, NOW - DAY, NOW + DAY, NOW - 60 * DAY, NOW - DAY]
    ticket = {"passenger_id": ids[:5], "at": at, "fare": 7.5, "sex": list("abcde")}
    pd.DataFrame(ticket).to_parquet(repo / "ticket.parquet", index=False)
    whole = {"passenger_id": ids, "at": NOW - DAY, "number": 0.5, "large": 2**53 + 1}
    pd.DataFrame(whole).to_parquet(repo / "whole.parquet", index=False)


def entities(file: Path, ids: Any, **columns: Any) -> str:
    """Write rows to ask for; return where."""
    rows = {"event_timestamp": NOW, "passenger_id": ids, "parents": 1, "survived": "yes", **columns}
    table = pd.DataFrame(rows)
    table.to_csv(file, index=False) if file.suffix == ".csv" else table.to_parquet(file)
    return str(file)


def answers(folder: Path, questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Ask one process."""
    folder.mkdir()
    (folder / "questions.json").write_text(json.dumps(questions))
    subprocess.run(
        [sys.executable, "-P", "-c", RUN, str(ROOT), str(folder)], check=True, capture_output=True
    )
    found: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return found


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.data.feast_cases import main
main(Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("feast")
    make_repo(found / "repo")
    return found


@pytest.fixture(scope="module")
def source(folder: Path) -> FeastSource:
    """A source that has applied the repository, and been told of it."""
    asked = entities(
        folder / "asked.parquet", [3, 1, 2], weight=pd.array([1, None, 2**53 + 1], "Int64")
    )
    made = FeastSource(folder / "repo", asked, "survived", service="ship_v1", apply=True)
    assert made.declared() is None  # nobody can know
    made.identity()
    return made


@pytest.fixture(scope="module")
def described(folder: Path, source: FeastSource) -> dict[str, Any]:
    """What is answered without Feast."""
    good = question(folder, "asked.parquet")
    listed = {**good, "service": None}
    broken = folder / "broken"
    shutil.copytree(folder / "repo", broken)
    text = pd.read_parquet(broken / "person.parquet").astype({"age": str})
    text.drop(columns="sex").to_parquet(broken / "person.parquet")
    (broken / "ticket.parquet").unlink()
    for name, yaml in {"bare": None, "bad": "project: a: b\n", "new": YAML}.items():
        (folder / name).mkdir()
        if yaml is not None:
            (folder / name / "feature_store.yaml").write_text(yaml)
    words = entities(folder / "words.parquet", [1], passenger_id=["one"])
    other = YAML.replace("project: ship", "project: boat").replace("data/", "../repo/data/")
    (folder / "boat").mkdir()
    (folder / "boat" / "feature_store.yaml").write_text(other)
    remote = YAML.replace("data/registry.db", "s3://bucket/registry.db")
    (folder / "remote").mkdir()
    (folder / "remote" / "feature_store.yaml").write_text(remote)
    return answers(
        folder / "described",
        {
            "good": good,
            "both": {**listed, "features": ["person:sex", "ticket:sex", "person:age"]},
            "hidden": {**listed, "features": ["relatives:family"]},
            "csv": {**good, "entities": entities(folder / "asked.csv", [1])},
            "remote": {**good, "repo": str(folder / "remote")},
            "service": {**good, "service": "ship_v2"},
            "view": {**listed, "features": ["person:age", "persn:age"]},
            "feature": {**listed, "features": ["person:agee"]},
            "no feature": {**listed, "features": ["person"]},
            "twice": {**listed, "features": ["person:age", "person:age"]},
            "no folder": {**good, "repo": str(folder / "nowhere")},
            "no yaml": {**good, "repo": str(folder / "bare")},
            "bad yaml": {**good, "repo": str(folder / "bad")},
            "not applied": {**good, "repo": str(folder / "new")},
            "other project": {**good, "repo": str(folder / "boat")},
            "label": {**good, "label": "survivd"},
            "label feature": {**good, "label": "age"},
            "label key": {**good, "label": "passenger_id"},
            "no file": {**good, "entities": str(folder / "nobody.parquet")},
            "no key": {**good, "entities": changed(folder, "passenger_id")},
            "no time": {**good, "entities": changed(folder, "event_timestamp")},
            "alike": {
                **listed,
                "features": ["person:sex", "ticket:sex"],
                "entities": entities(folder / "alike.parquet", [1], person__sex="f"),
            },
            "no request": {**good, "entities": changed(folder, "parents")},
            "key type": {**good, "entities": words},
            "type": {**listed, "repo": str(broken), "features": ["person:age"]},
            "column": {**listed, "repo": str(broken), "features": ["person:sex"]},
            "gone": {**listed, "repo": str(broken), "features": ["ticket:fare"]},
        },
    )


@pytest.fixture(scope="module")
def joined(folder: Path, source: FeastSource) -> dict[str, Any]:
    """What is answered with Feast."""
    good = {**question(folder, "asked.parquet"), "join": True}
    listed = {**good, "service": None}
    tickets = {**listed, "features": ["ticket:fare"]}
    faulty = {name: folder / name for name in ("faulty", "unread")}
    for name, line in {"faulty": "import no_such_package\n", "unread": "x = (\n"}.items():
        make_repo(faulty[name])
        (faulty[name] / "definitions.py").unlink()
        (faulty[name] / f"{name}_definitions.py").write_text("import feast\n" + line)
    secret = folder / "secret"
    secret.mkdir()
    said = YAML.replace("{type: dask}", "{type: dask, password: canary}")
    (secret / "feature_store.yaml").write_text(said)
    one = entities(folder / "one.parquet", [1, 2])
    return answers(
        folder / "joined",
        {
            "again": {**good, "apply": True},
            "both": {**listed, "features": ["person:sex", "ticket:sex"], "entities": one},
            "unknown key": {**good, "entities": entities(folder / "u.parquet", [77, 2])},
            "later": {**tickets, "entities": entities(folder / "l.parquet", [1, 3, 4])},
            "same": {**tickets, "entities": entities(folder / "s.parquet", [2, 1, 2])},
            "empty": {**tickets, "entities": entities(folder / "e.parquet", [3])},
            "only later": {**listed, "features": ["person:age", "person:deck"]},
            "fractions": {**listed, "features": ["whole:number"]},
            "large": {
                **listed,
                "features": ["whole:large"],
                "entities": entities(folder / "h.parquet", [77, 2]),
            },
            "no key": {**good, "entities": entities(folder / "k.parquet", [1, None])},
            "no time": {
                **good,
                "entities": entities(folder / "t.parquet", [1, 2], event_timestamp=[NOW, None]),
            },
            "numbers": {**good, "entities": entities(folder / "n.csv", [1], event_timestamp=12)},
            "no rows": {**good, "entities": entities(folder / "z.parquet", [])},
            "function": {
                **listed,
                "features": ["halves:half"],
                "entities": entities(folder / "f.parquet", [1, 2, 3, 4]),
            },
            "secret": {**good, "repo": str(secret), "apply": True},
            "categories": {
                **good,
                "entities": entities(
                    folder / "c.parquet", pd.Categorical([2, 1]), parents=pd.Categorical([1, 2])
                ),
            },
            "import": {**good, "repo": str(faulty["faulty"]), "apply": True},
            "syntax": {**good, "repo": str(faulty["unread"]), "apply": True},
        },
    )


def question(folder: Path, file: str) -> dict[str, Any]:
    return {
        "repo": str(folder / "repo"),
        "entities": str(folder / file),
        "label": "survived",
        "service": "ship_v1",
        "features": None,
        "apply": False,
        "join": False,
        "parent": 0,
    }


def changed(folder: Path, without: str) -> str:
    file = folder / f"no_{without}.parquet"
    pd.read_parquet(folder / "asked.parquet").drop(columns=without).to_parquet(file)
    return str(file)


@pytest.fixture(scope="module")
def table(folder: Path, source: FeastSource) -> Table:
    """What a run makes of it."""
    was_there = "feast" in sys.modules
    made = prepare(Declared(source, "survived"), folder / "runs")
    assert ("feast" in sys.modules) == was_there
    return made


def test_rows_have_what_was_known_at_their_time_in_the_entities_order(
    source: FeastSource, table: Table
) -> None:
    columns = source.declared()
    assert columns is not None
    (group,) = table.groups
    batch = group.read([column.name for column in columns])
    rows = batch.to_pydict()
    assert rows["passenger_id"] == [3, 1, 2]
    # What was learned on the way counts, what came after the event doesn't.
    assert rows["age"] == [3.0, 11.5, 2.0]
    assert rows["siblings"] == [None, 0, 1]
    assert rows["family"] == [None, 2, 3]
    # Columns beside the features are those of the file, which Feast hasn't seen.
    assert rows["weight"] == [1, None, 2**53 + 1]
    types = {field.name: str(field.type) for field in batch.schema}
    # pandas has no whole number that is missing: on the way it was a fraction.
    assert types["siblings"] == types["family"] == "int64"
    assert {column.name: column.type for column in columns} == types
    assert list(types) == [column.name for column in columns]


def test_the_same_rows_from_a_file_make_the_same_table(folder: Path, table: Table) -> None:
    # Keys and times aren't predicted from; nobody had to say so.
    assert table.columns == ("age", "siblings", "family")
    (group,) = table.groups
    file = folder / "same.parquet"
    group.read([*table.columns, "survived"]).to_pandas().astype(
        {"siblings": "Int64", "family": "Int64"}
    ).to_parquet(file, index=False)
    other = prepare(Declared(FileSource(str(file)), "survived"), folder / "runs")
    assert other.columns == table.columns
    for name in (*table.columns, "survived"):
        plain = replace(table.facts[name], view="", derived_from=())
        assert other.facts[name] == plain
    for split in ("train", "validation"):
        for one, same in zip(
            table.arrays(split, table.columns), other.arrays(split, table.columns), strict=True
        ):
            assert one.tobytes() == same.tobytes()


def test_each_column_is_of_its_view_and_tells_what_it_is_computed_from(source: FeastSource) -> None:
    columns = source.declared()
    assert columns is not None
    features = [column for column in columns if not column.beside]
    assert features == [
        Column("age", "double", "person"),
        Column("siblings", "int64", "person"),
        Column("family", "int64", "relatives", ("siblings", "parents")),
    ]
    assert {column.view for column in columns if column.beside} == {""}


def test_what_is_asked_for_tells_itself_and_the_registrys_version_is_noted(
    source: FeastSource, described: dict[str, Any], joined: dict[str, Any]
) -> None:
    told = source.identity()
    assert list(told["entities"]["files"]) == ["asked.parquet"]
    definition = told["definition"]
    assert definition == described["good"]["definition"] == joined["again"]["definition"]
    assert definition["view person"]["features"]["age"] == "double"
    assert definition["features"] == ["person:age", "person:siblings", "relatives:family"]
    digest = source.noted()["definition"]
    assert described["good"]["digest"] == digest != described["both"]["digest"]
    # Applied again, the registry is another, though what is asked for is the same.
    assert source.noted()["registry"]["project"] == "ship"
    assert source.noted()["registry"] == described["good"]["registry"]
    assert source.noted()["registry"] != joined["again"]["registry"]


def test_two_columns_of_one_name_have_their_views_in_front(
    described: dict[str, Any], joined: dict[str, Any]
) -> None:
    found = [
        (name, view) for name, _, view, _, beside in described["both"]["columns"] if not beside
    ]
    assert found == [
        ("person__sex", "person"),
        ("ticket__sex", "ticket"),
        ("person__age", "person"),
    ]
    rows = joined["both"]["rows"]
    assert (rows["person__sex"], rows["ticket__sex"]) == (["f", "m"], ["a", "b"])


def test_a_source_outside_of_the_table_is_told_with_its_view(described: dict[str, Any]) -> None:
    family = described["hidden"]["columns"][-1]
    assert family[0] == "family"
    assert family[3] == ["person:siblings", "parents"]


def test_what_only_reading_tells_is_left_open(described: dict[str, Any]) -> None:
    assert described["remote"]["columns"] is None
    kinds = {name: kind for name, kind, *_ in described["csv"]["columns"]}
    assert (kinds["passenger_id"], kinds["age"]) == ("", "double")


def test_an_entity_that_nobody_knows_has_no_values(joined: dict[str, Any]) -> None:
    assert joined["unknown key"]["rows"]["age"] == [None, 2.0]
    assert joined["unknown key"]["types"]["siblings"] == "int64"


@pytest.mark.parametrize(
    ("case", "key", "words"),
    [
        ("service", "feast.service", "no feature service 'ship_v2'; did you mean 'ship_v1'?"),
        ("view", "feast.features.1", "no feature view 'persn'; did you mean 'person'?"),
        ("feature", "feast.features.0", "'person' has no feature 'agee'; did you mean 'age'?"),
        (
            "no feature",
            "feast.features.0",
            "followed by a feature, 'view:feature'; it has age, sex",
        ),
        ("twice", "feast.features.1", "'person:age' stands here twice"),
        ("no folder", "feast.repo", "nowhere: expected a Feast repository"),
        ("no yaml", "feast.repo", "no feature_store.yaml in the folder"),
        ("bad yaml", "feast.repo", "feature_store.yaml:1:11: mapping values are not allowed"),
        ("not applied", "feast.repo", "run `feast apply` in"),
        ("other project", "feast.repo", "no feature view of the project 'boat'; it has ship"),
        ("label", "label", "no label column 'survivd'; did you mean 'survived'?"),
        ("label feature", "label", "'age' is a feature of the view 'person': it must be a column"),
        ("label key", "label", "'passenger_id' is a column that features are joined"),
        ("no file", "feast.entities", "no file "),
        ("no key", "feast.entities", "no column 'passenger_id', to be joined by"),
        ("no time", "feast.entities", "no column 'event_timestamp'"),
        (
            "no request",
            "feast.entities",
            "no column 'parents', that an on-demand view is computed",
        ),
        ("alike", "feast.entities", "two columns would be named 'person__sex'"),
        ("key type", "feast.entities", "'passenger_id' of"),
        ("type", "feast.repo", "type of person:age has changed: double in the registry, string in"),
        ("column", "feast.repo", "the column 'sex' of"),
        ("gone", "feast.repo", "ticket.parquet, which isn't there"),
    ],
)
def test_what_files_and_the_registry_show_is_refused_at_its_place(
    described: dict[str, Any], case: str, key: str, words: str
) -> None:
    check(described[case], key, words)


@pytest.mark.parametrize(
    ("case", "key", "words"),
    [
        ("later", "feast.entities", "join has lost 2 of 3 rows"),
        ("later", "feast.entities", "(passenger_id 3 at 2026-01-10T00:00:00+00:00; passenger_id 4"),
        ("later", "feast.entities", "for 1 of them the view 'ticket' has values only after the"),
        ("later", "feast.entities", "for 1 of them the view 'ticket' has only values older than"),
        ("same", "feast.entities", "1 have the passenger_id, event_timestamp of another row"),
        ("empty", "feast.entities", "the join is empty: all 1 rows"),
        ("only later", "feast.features.1", "deck is a feature that only exists after the event's"),
        ("fractions", "feast.repo", "type of whole:number has changed: int64 in the registry"),
        ("large", "feast.repo", "no longer exact"),
        (
            "no key",
            "feast.entities",
            "'passenger_id' is missing in 1 of 2 rows (the first is row 2)",
        ),
        ("no time", "feast.entities", "'event_timestamp' is missing in 1 of 2 rows"),
        ("numbers", "feast.entities", "'event_timestamp' of"),
        ("no rows", "feast.entities", "has no rows"),
        ("function", "feast.repo", "LookupError: no half here"),
        ("secret", "feast.repo", "Extra inputs are not permitted"),
        ("import", "feast.repo", "faulty_definitions.py:2: ModuleNotFoundError: No module named"),
        ("syntax", "feast.repo", "unread_definitions.py:2: SyntaxError"),
    ],
)
def test_what_only_the_join_shows_is_refused_at_its_place(
    joined: dict[str, Any], case: str, key: str, words: str
) -> None:
    check(joined[case], key, words)


def check(found: dict[str, Any], key: str, words: str) -> None:
    assert words in found["refused"]
    assert "Traceback" not in found["refused"]
    assert "canary" not in found["refused"]
    assert ".".join(map(str, found["key"])) == key


def test_categories_are_joined_by_what_they_say(joined: dict[str, Any]) -> None:
    rows = joined["categories"]["rows"]
    assert (rows["age"], rows["family"]) == ([2.0, 11.5], [3, 3])


def test_a_fault_in_the_users_function_names_its_line(joined: dict[str, Any]) -> None:
    line = DEFINITIONS.splitlines().index('        raise LookupError("no half here")') + 1
    assert f"definitions.py:{line}: " in joined["function"]["refused"]


def test_apply_is_ended_when_its_time_is_over(source: FeastSource) -> None:
    with pytest.raises(BadData, match=r"feast apply` in .* took longer than 0\.01 s") as caught:
        replace(source, apply_timeout_s=0.01).identity()
    assert caught.value.key == ("feast", "apply")


def test_files_are_asked_again_only_where_they_are_others(
    folder: Path, source: FeastSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    file = folder / "watched"
    file.write_text("a")

    def ask(self: Asking, at: Path, what: Any) -> dict[str, Any]:
        read = feast_asking.stamps_of([file])
        asked.append(file.read_text())
        return {"columns": [], "definition": {"is": file.read_text()}, "read": read}

    monkeypatch.setattr(Asking, "_ask", ask)
    own = replace(source, apply=False)
    own.declared()
    own.declared()
    assert asked == ["a"]
    file.write_text("bb")
    own.declared()
    own.identity()
    assert asked == ["a", "bb"]
    # A run was told: if it is joined by something else, it isn't begun.
    file.write_text("ccc")
    with pytest.raises(BadData, match="changed meanwhile"):
        next(own.batches())


def test_check_points_at_the_line_of_the_config(folder: Path, source: FeastSource) -> None:
    (folder / "train.py").write_text("def train(data_gen):\n    return 0.0\n")
    config = folder / "config.yaml"
    lines = [
        "name: ship",
        "train: train.py:train",
        "metric: loss",
        "data:",
        "  label: survived",
        "  feast:",
        "    repo: repo",
        "    entities: asked.parquet",
        "    service: ship_v1",
        "ablation: {features: [age, famly]}",
    ]
    config.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"config\.yaml:10:28: .*'famly'; did you mean 'family'"):
        load_config(config, (), mode="ablate")
    # By default only features are predicted from: an entity's key never.
    lines[-1] = "ablation: {features: [age, parents]}"
    config.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="column 'parents' is not trained on"):
        load_config(config, (), mode="ablate")
    lines[-2:] = ["    service: ship", "hparams: {}"]
    config.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"config\.yaml:9:14: .*no feature service 'ship'"):
        load_config(config, (), mode="run")
