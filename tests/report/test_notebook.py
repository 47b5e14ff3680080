"""The result object: rows for pandas, a line, and a table in a notebook."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from dotrain import experiment
from dotrain.runs.result import Result
from tests.conftest import ROOT, Project
from tests.results.studies import RUN_DIR, make_result

NOTEBOOK = ROOT / "docs" / "examples" / "search.ipynb"
SPACE = {
    "lr": {"type": "float", "range": [0.0, 1.0]},
    "kind": {"type": "categorical", "values": ["<b>", "plain"]},
}
FUNCTION = """
def train(lr, kind, reporter):
    if kind == "plain":
        raise ValueError("<script>alert(1)</script>")
    reporter.broadcast({"score": lr, "loss": 1 - lr}, 0)
    return lr
"""


def text_of(html: str) -> str:
    """Return what a reader sees; fails if the piece isn't closed as it was opened."""
    return " ".join("\n".join(ElementTree.fromstring(html).itertext()).split())


def cells_of(html: str) -> list[list[str]]:
    return [[cell.text or "" for cell in row] for row in ElementTree.fromstring(html).iter("tr")]


@pytest.fixture
def searched(project: Project) -> Result:
    search = {"space": SPACE, "num_trials": 12}
    return project.run(FUNCTION, name="demo", cluster={"kind": "inline"}, search=search)


def test_rows_are_ready_for_pandas(searched: Result) -> None:
    frame = pd.DataFrame(searched.rows)
    assert list(frame.columns) == [
        *("trial", "state", "score", "steps", "budget", "attempts", "seconds"),
        *("lr", "kind", "loss", "marks", "error"),
    ]
    assert len(frame) == 12
    best = frame.loc[frame["score"].idxmax()]
    assert searched.best is not None
    assert best["trial"] == searched.best["trial_id"]
    assert {"lr": best["lr"], "kind": best["kind"]} == searched.best["params"]
    assert best["loss"] == pytest.approx(1 - best["lr"])
    failed = frame[frame["state"] == "failed"]
    assert len(failed) == searched["trials"]["failed"] > 0
    assert failed["error"].str.contains("alert").all()


def test_in_a_line(searched: Result) -> None:
    assert searched.best is not None
    assert repr(searched) == (
        f"<Result finished: score {searched.best['value']:.6g} ({searched.best['trial_id']}), "
        f"the best of 12 trials; {searched.run_dir}>"
    )


def test_a_search_shows_verdict_best_trials_and_failures(searched: Result) -> None:
    html = searched._repr_html_()
    text = text_of(html)
    assert searched.best is not None
    value = f"{searched.best['value']:.6g}"
    assert text.startswith(f"score {value} ({searched.best['trial_id']}), the best of 12 trials")
    assert f"best parameters: lr={searched.best['params']['lr']:.4g} kind=<b>" in text
    rows = cells_of(html)
    assert rows[0] == ["trial", "score", "state", "steps", "lr", "kind"]
    assert rows[1][:3] == [searched.best["trial_id"], value, "finished"]
    assert len(rows) == 1 + min(5, searched["trials"]["finished"])
    assert "failed: ValueError: <script>alert(1)</script>" in text
    assert str(searched.run_dir) in text


def test_nothing_in_it_is_loaded_or_run_or_coloured(searched: Result) -> None:
    html = searched._repr_html_()
    tags = {element.tag for element in ElementTree.fromstring(html).iter()}
    assert tags <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    names = {name for e in ElementTree.fromstring(html).iter() for name in e.attrib}
    assert names == {"style"}
    # A notebook is light or dark; colours of our own would fit one of them.
    styles = set(re.findall(r'style="(.*?)"', html))
    assert not re.search(r"color: (?!inherit)|background|url\(", " ".join(styles))


def test_a_run_without_a_result_says_so(project: Project) -> None:
    result = project.run("def train(): raise ValueError('no')", cluster={"kind": "inline"})
    assert text_of(result._repr_html_()).startswith("no result from 1 trial")
    assert "<Result finished: no result from 1 trial; " in repr(result)
    assert "failed: ValueError: no" in text_of(result._repr_html_())


def test_gates_are_shown(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("user.py", "def train(): return 0.5")
    config = project.config(cluster={"kind": "inline"})
    runs = project.path / "runs"
    gates = ["score>=0.9", "steps<9"]
    result = experiment.run(config, runs_dir=runs, quiet=True, require=gates)
    assert result.exit_code == 4
    assert [(gate["met"], gate["missed_by"]) for gate in result.gates] == [
        (False, 0.4),
        (True, None),
    ]
    assert "score>=0.9: got 0.5, missed by 0.4" in text_of(result._repr_html_())


def study(**arms: list[float]) -> Result:
    named = {f"feature:{name}": values for name, values in arms.items()}
    return Result(make_result({"baseline": [0.5, 0.6], **named}, seeds=2))


def test_an_ablation_shows_its_table() -> None:
    result = study(**{"<a>": [0.25, 0.35], "b": [0.6, 0.7]})
    html = result._repr_html_()
    headline = "largest loss without feature:<a>: -0.25, unclear"
    assert text_of(html).startswith(headline)
    assert [row[0] for row in cells_of(html)] == [
        "component",
        "baseline",
        "feature:<a>",
        "feature:b",
    ]
    assert repr(result) == f"<Result finished: {headline}; {RUN_DIR}>"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([0.6, 0.7], "no component is worth anything"),
        ([], "nothing can be compared yet"),
    ],
)
def test_an_ablation_that_found_nothing_says_so(found: list[float], verdict: str) -> None:
    assert text_of(study(b=found)._repr_html_()).startswith(verdict)


@pytest.mark.slow
def test_the_notebook_of_the_docs_runs_and_shows_its_tables(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # What a machine once printed, its paths say, has no place in the repository.
    assert not any(cell.get("outputs") for cell in notebook.cells)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=60, resources=where).execute()
    shown = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    result, frame = shown
    rows = cells_of(result)
    assert rows[0] == ["trial", "val_accuracy", "state", "steps", "lr", "momentum"]
    assert len(rows) == 1 + 5
    assert float(rows[1][1]) > 0.8
    assert "momentum" in frame
    assert len(list(tmp_path.glob("runs/notebook/*/result.json"))) == 1
