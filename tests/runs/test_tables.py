"""A declared table in whole runs: the same for all trials, told in the journal, and the same when the run goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dotrain import AblationStudy, Searchspace, experiment
from dotrain.config.errors import ConfigError
from dotrain.errors import UsageError
from dotrain.runs.header import make_header
from dotrain.store import read_journal
from tests.conftest import Project
from tests.runs.test_moved import cut_off

#: The score is a number that tells which columns the function has got.
TRAIN = """\
def train(data_gen, x=0.0):
    rows, _ = data_gen.load()
    width = sum(len(batch[0][0]) for batch in data_gen.batch(1000))
    return {"score": x + 100 * width + len(rows), "columns": 0.0}
"""
TABLE = "age,sex,deck_a,deck_b,klass,pclass,y\n" + "".join(
    f"{20 + n % 7},{'mf'[n % 2]},{n % 3},{n % 5},{'abc'[n % 3]},{n % 3 + 1},{n % 2}\n"
    for n in range(40)
)
SECTIONS: dict[str, Any] = {
    "data": {"file": "t.csv", "label": "y"},
    "search": {"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 3},
    "cluster": {"kind": "inline"},
}


@pytest.fixture
def written(project: Project) -> Project:
    """A project with a table."""
    project.write("user.py", TRAIN)
    project.write("t.csv", TABLE)
    return project


def told(run_dir: Path) -> dict[str, Any]:
    """What the journal has of the table."""
    return next(iter(read_journal(run_dir / "journal.jsonl")))["data"]  # type: ignore[no-any-return]


def test_a_run_goes_on_with_the_rows_that_it_began_with(written: Project) -> None:
    run_dir = written.run(**SECTIONS).run_dir
    whole = experiment.resume(run_dir, quiet=True)
    cut_off(run_dir, 2)
    # What is kept of the table is taken: its file is as it was.
    again = experiment.resume(run_dir, quiet=True)
    assert [one.final_metric for one in again.trials] == [one.final_metric for one in whole.trials]
    cut_off(run_dir, 2)
    shutil.rmtree(written.path / "runs" / ".data")
    assert experiment.resume(run_dir, quiet=True).status == "finished"


def test_a_run_does_not_go_on_with_other_data(written: Project) -> None:
    run_dir = cut_off(written.run(**SECTIONS).run_dir, 2)
    written.write("t.csv", TABLE + "30,m,0,0,a,1,1\n")
    done = written.cli("resume", str(run_dir))
    assert done.returncode == 2, done.stderr
    assert (
        "can't go on with other data than it began with:\n  data.files.t.csv: was '" in done.stderr
    )
    assert "bring the data back, or start a new run" in done.stderr


def test_a_run_of_before_tables_were_measured_once_does_not_go_on(
    written: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def before(*args: Any, **more: Any) -> dict[str, Any]:
        return {key: part for key, part in make_header(*args, **more).items() if key != "data"}

    with monkeypatch.context() as patched:
        patched.setattr("dotrain.runs.session.make_header", before)
        run_dir = cut_off(written.run(**SECTIONS).run_dir, 2)
    with pytest.raises(UsageError, match="began with an earlier dotrain, which read and scaled"):
        experiment.resume(run_dir, quiet=True)


def test_what_changes_while_a_run_goes_on_is_refused(written: Project) -> None:
    import pandas as pd

    pd.read_csv(written.path / "t.csv").to_parquet(written.path / "t.parquet")
    written.write(
        "user.py",
        """\
        import pandas as pd

        def train(data_gen, x=0.0):
            rows, _ = data_gen.load()
            pd.read_csv("t.csv").head(10).to_parquet("t.parquet")
            return len(rows)
        """,
    )
    sections = {**SECTIONS, "data": {"file": "t.parquet", "label": "y"}}
    sections["cluster"] = {"kind": "local", "workers": 1}
    done = written.cli("run", str(written.config(**sections)), "-q", "--json")
    found = json.loads(done.stdout)
    assert found["trials"]["finished"] == 1
    assert "is not the file that the run began with" in json.dumps(found["failures"])


def test_a_study_leaves_out_lists_patterns_and_what_is_computed(written: Project) -> None:
    features = ["sex", ["age", "sex"], {"pattern": "deck_*"}, "klass"]
    data = {**SECTIONS["data"], "derive": {"old": "age > 23", "older": "where(old, age, 0)"}}
    config = written.config(
        data=data, ablation={"features": features, "seeds": 2}, cluster={"kind": "inline"}
    )
    result = experiment.ablate(config, quiet=True, runs_dir=written.path / "runs")
    widths = {
        arm["name"]: (arm["mean"] - 32) / 100
        for arm in [{**result["baseline"], "name": "baseline"}, *result["components"]]
    }
    assert widths == {
        "baseline": 1 + 2 + 1 + 1 + 3 + 1 + 2 + 1,
        "feature:sex": 10,
        "features:age+sex": 12 - 1 - 2 - 2 - 1,
        "features:deck_*": 10,
        "feature:klass": 9,
    }
    changes = {arm["name"]: arm["changes"] for arm in result["components"]}
    assert changes["features:age+sex"] == [
        "old goes with it: computed from age",
        "older goes with it: computed from age",
    ]
    assert changes["feature:klass"] == [
        "deck_a, pclass still tell klass on all rows: its arm says little"
    ]
    kept = experiment.ablate(
        config, ["ablation.keep_derived=true"], quiet=True, runs_dir=written.path / "runs"
    )
    (arm,) = [one for one in kept["components"] if one["name"] == "features:age+sex"]
    assert (arm["mean"] - 32) / 100 == 12 - 1 - 2


@pytest.mark.parametrize("ablator", [{"name": "add_one_in"}, {"name": "pairs", "pairs": []}])
def test_other_ablators_take_groups_of_columns(written: Project, ablator: dict[str, Any]) -> None:
    names = ["features:age+sex", "features:deck_*"]
    more = {"pairs": [names]} if "pairs" in ablator else {}
    section = {"features": [["age", "sex"], {"pattern": "deck_*"}], "seeds": 1}
    result = experiment.ablate(
        written.config(
            data=SECTIONS["data"],
            ablation={**section, "ablator": {**ablator, **more}},
            cluster={"kind": "inline"},
        ),
        quiet=True,
        runs_dir=written.path / "runs",
    )
    widths = {arm["name"]: (arm["mean"] - 32) / 100 for arm in result["components"]}
    if more:
        assert widths == {names[0]: 6, names[1]: 7, "+".join(names): 4}
    else:
        assert (result["baseline"]["mean"] - 32) / 100 == 4
        assert widths == {names[0]: 7, names[1]: 6}


def test_a_pattern_is_for_data_functions_too(project: Project) -> None:
    project.write(
        "user.py",
        """\
        NAMES = ["age", "deck_a", "deck_b"]

        def load(features):
            return {name: 0 for name in features.select(NAMES)}

        def train(data_gen):
            return float(len(data_gen.load()))
        """,
    )
    section = {"features": [{"pattern": "deck_*"}, ["age", "deck_a"]], "seeds": 1}
    config = project.config(data="user.py:load", ablation=section, cluster={"kind": "inline"})
    result = experiment.ablate(config, quiet=True, runs_dir=project.path / "runs")
    assert [arm["mean"] for arm in result["components"]] == [1.0, 1.0]
    section["features"] = [{"pattern": "cabin_*"}]
    config = project.config(data="user.py:load", ablation=section, cluster={"kind": "inline"})
    with pytest.raises(ConfigError, match=r"no column 'cabin_\*' is asked for"):
        experiment.ablate(config, quiet=True, runs_dir=project.path / "runs")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            [["age", "agee"]],
            r"ablation\.features\[0\]: .*t\.csv has no column 'agee'; did you mean",
        ),
        ([["age", "age"]], r"ablation\.features\[0\]: names a column twice"),
        ([{"pattern": "x_*"}], r"has no column that matches 'x_\*'; known: age, sex"),
        ([{"view": "person"}], r"no feature view 'person'; .*t\.csv has none"),
        ([["age", "y"]], r"column 'y' is the label, and is not trained on"),
    ],
)
def test_wrong_groups_are_told_before_anything_is_read(
    written: Project, features: list[Any], message: str
) -> None:
    config = written.config(data=SECTIONS["data"], ablation={"features": features, "seeds": 1})
    with pytest.raises(ConfigError, match=message):
        experiment.ablate(config, quiet=True)
    assert not (written.path / "runs").exists()


def test_lagom_takes_the_section(written: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written.path)

    def train(data_gen: Any, x: float = 0.0) -> float:
        return x + len(data_gen.load()[0])

    space = Searchspace(x=("DOUBLE", [0.0, 0.5]))
    table = {"file": "t.csv", "label": "y", "validation": 0.5}
    result = experiment.lagom(
        train,
        space,
        num_trials=2,
        direction="max",
        data=table,
        cluster={"kind": "inline"},
        quiet=True,
    )
    assert 20 <= result.best["value"] < 21
    assert told(Path(result.run_dir))["rows"] == {"train": 20, "validation": 20}
    with pytest.raises(UsageError, match=r"data\.label: .*t\.csv has no label column 'z'"):
        experiment.lagom(train, direction="max", data={**table, "label": "z"}, quiet=True)


def test_a_study_of_python_has_groups_of_columns(
    written: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(written.path)
    study = AblationStudy(seeds=1)
    study.features.include("sex")
    study.features.include_groups(["age", "sex"], pattern="deck_*")
    assert study.features.groups == (["age", "sex"], {"pattern": "deck_*"})
    with pytest.raises(UsageError, match=r"for one column: include\('sex'\).*pattern='sex\*'"):
        study.features.include_groups("sex")

    def train(data_gen: Any) -> float:
        return float(data_gen.load()[0].shape[1])

    result = experiment.lagom(
        train,
        direction="max",
        ablation=study,
        data=SECTIONS["data"],
        cluster={"kind": "inline"},
        quiet=True,
    )
    assert [arm["mean"] for arm in result["components"]] == [5.0, 4.0, 4.0]


def test_an_arm_that_adds_columns_has_them_whatever_else_names_them(written: Project) -> None:
    features = ["sex", ["sex", "klass"], {"pattern": "kl*"}, "age", "old"]
    data = {**SECTIONS["data"], "derive": {"old": "age > 23"}}
    config = written.config(
        data=data,
        ablation={"features": features, "seeds": 1, "ablator": {"name": "add_one_in"}},
        cluster={"kind": "inline"},
    )
    result = experiment.ablate(config, quiet=True, runs_dir=written.path / "runs")
    base = 3  # deck_a, deck_b, pclass
    widths = {arm["name"]: (arm["mean"] - 32) / 100 - base for arm in result["components"]}
    assert widths == {
        "feature:sex": 2,
        "features:sex+klass": 5,
        "features:kl*": 3,
        "feature:age": 1,
        "feature:old": 2,
    }
    changes = {arm["name"]: arm["changes"] for arm in result["components"]}
    assert changes["features:kl*"] == [
        "deck_a, pclass still tell klass on all rows: its arm says little"
    ]
    assert changes["feature:old"] == []
    again = {"features": [["age", "sex"], ["sex", "age"]], "seeds": 1}
    config = written.config(data=data, ablation=again, cluster={"kind": "inline"})
    with pytest.raises(
        ConfigError, match=r"features\[1\]: leaves out the same columns as features:"
    ):
        experiment.ablate(config, quiet=True, runs_dir=written.path / "runs")
