"""The page of a run, without a browser: what it is made of, and how the command behaves."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.cli import main
from dotrain.config import load_config
from dotrain.core.limits import Limits
from dotrain.core.trial import Trial
from dotrain.earlystop.median import MedianStop
from dotrain.earlystop.none import NoStop
from dotrain.errors import JournalError, UsageError
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.report.page import render as rendering
from dotrain.report.page import writing
from dotrain.report.page.best import best_over_time
from dotrain.report.page.charts import outside, sensible_range, thin_out
from dotrain.report.page.cost import cost_of
from dotrain.report.page.document import Document, make_document
from dotrain.report.page.importance import importance_of
from dotrain.report.page.parameters import searched
from dotrain.report.page.savings import rungs_of, savings_of
from dotrain.report.page.settings import configuration_of
from dotrain.report.page.text import script_json
from dotrain.report.page.writing import write_page
from dotrain.report.reading import read_run
from dotrain.report.status import read_status
from dotrain.results import best_trial
from dotrain.space import Searchspace
from dotrain.testing import simulate
from tests.conftest import Project
from tests.report import runs
from tests.report.test_show import RECORDS, write_run

KINDS = {
    "search": runs.search,
    "ablation": runs.ablation,
    "group": runs.group,
    "front": runs.front,
    "crashed": runs.crashed,
    "hostile": runs.hostile,
    "without a finished trial": runs.without_a_finished_trial,
    "never launched": runs.never_launched,
}


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run directory of every kind."""
    return KINDS[request.param](tmp_path / 'it\'s a "folder" & <more>')


def at(summary: Any, path: str) -> Any:
    """Return what stands in a result at ``a/0/b``; a name may hold slashes, as the last part."""
    while path:
        if isinstance(summary, Mapping) and path in summary:
            return summary[path]
        key, _, path = path.partition("/")
        summary = summary[int(key)] if isinstance(summary, list) else summary[key]
    return summary


def numbers_of(page: str) -> list[tuple[str, Any]]:
    """Return every value of the result that a page shows, with its place in the result."""
    found = re.findall(r'<data data-path="([^"]*)" value="([^"]*)">', page)
    return [(unescape(place), json.loads(unescape(value))) for place, value in found]


def document_of(path: Path) -> Document:
    return make_document(read_run(path), "now")


class Outline(HTMLParser):
    """Collects what a browser would make of a page: headings, ids, and what could load or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.scripts = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.add(tag)
        self.scripts += tag == "script"
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if "id" in attributes:
            self.ids.append(str(attributes["id"]))
        self.links += [str(attributes[key]) for key in ("href", "src") if key in attributes]
        self.handlers += [key for key in attributes if key.startswith("on")]


def test_numbers_of_the_page_are_those_of_the_result(path: Path) -> None:
    numbers = numbers_of(write_page(path).read_text())
    result = path / "result.json"
    summary = read_run(path).result.to_json()
    assert {"trials/total", "elapsed_s"} <= {place for place, _ in numbers}
    for place, value in numbers:
        assert value == at(summary, place), place
        if result.exists():
            # Times are rounded in the journal.
            assert value == pytest.approx(at(json.loads(result.read_text()), place)), place
    if summary.get("best"):
        assert ("best/value", summary["best"]["value"]) in numbers
    for index, component in enumerate(summary.get("components", ())):
        for field in ("delta", "p", "p_holm", "n", "verdict"):
            assert (f"components/{index}/{field}", component[field]) in numbers


def test_nothing_on_the_page_is_loaded_or_run_but_its_own(path: Path) -> None:
    page = write_page(path).read_text()
    outline = Outline(page)
    assert all(link.startswith("#") or link == "data:," for link in outline.links)
    assert not outline.handlers
    assert not outline.tags & {"img", "iframe", "object", "embed", "base"}
    scripts = 2 + ("window.vegaEmbed" in page)
    assert outline.scripts == scripts
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_a_reader_of_the_page_finds_the_way(path: Path) -> None:
    outline = Outline(write_page(path).read_text())
    assert outline.levels[0] == 1
    assert outline.levels.count(1) == 1
    steps = zip(outline.levels, outline.levels[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    assert len(set(outline.ids)) == len(outline.ids)
    # Links within the page lead somewhere; those to sections are made from the headings.
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)


@pytest.mark.slow
def test_the_page_of_a_thousand_trials_is_small(tmp_path: Path) -> None:
    file = write_page(runs.big(tmp_path))
    assert file.stat().st_size < 5_000_000
    assert len(re.findall(r'<tr id="t\d+"', file.read_text())) == 1000


def test_very_many_trials_are_thinned_out_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs.big(tmp_path, trials=40, reports=30)
    for module in ("charts", "trials", "timeline"):
        monkeypatch.setattr(f"dotrain.report.page.{module}.MOST_TRIALS", 10)
    document = document_of(path)
    assert document.curves.shown <= 11 < document.curves.trials == 40
    assert document.run.result.best is not None
    assert any(line["picked"] for line in document.curves.data["lines"])
    assert len(document.table.rows) == 10
    assert document.table.rows[0].trial_id == document.run.result.best.trial_id
    page = rendering.render(document)
    assert "Of 40 trials 1" in page
    assert "dotrain show RUN_DIR --csv" in page


def test_verdict_of_a_search(tmp_path: Path) -> None:
    document = document_of(runs.search(tmp_path))
    best, counts = document.run.result.to_json()["best"], document.run.result.to_json()["trials"]
    sentence = document.verdict.sentence
    assert sentence.startswith("The simulated search search finished in ")
    assert f"the best accuracy is {best['value']:.6g}, from {best['trial_id']} with lr=" in sentence
    assert sentence.endswith(
        f"60 trials: {counts['finished']} finished, {counts['stopped']} stopped early and "
        f"{counts['failed']} failed."
    )
    assert not document.verdict.command


def test_verdict_of_a_crash_says_how_to_go_on(tmp_path: Path) -> None:
    path = runs.crashed(tmp_path)
    verdict = document_of(path).verdict
    assert "crashed after" in verdict.sentence
    assert " of 60 trials: " in verdict.sentence
    assert verdict.command == f"dotrain resume {shlex.quote(str(path))}"
    assert f"{verdict.command}</pre>" in unescape(write_page(path).read_text())


def test_a_run_of_lagoms_goes_on_with_lagom(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", RECORDS)
    verdict = document_of(path).verdict
    assert verdict.command == f"lagom(..., resume={str(path)!r})"
    assert read_status(path).resume == verdict.command == read_run(path).result.to_json()["resume"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (runs.without_a_finished_trial, "no trial has given a value yet"),
        (runs.never_launched, "no trial has been launched"),
    ],
)
def test_verdict_without_a_value(tmp_path: Path, make: Callable[[Path], Path], text: str) -> None:
    document = document_of(make(tmp_path))
    assert text in document.verdict.sentence
    assert document.best is None
    assert document.timeline is None


def test_verdict_of_a_study_uses_the_words_of_its_table(tmp_path: Path) -> None:
    document = document_of(runs.ablation(tmp_path))
    verdicts = {c["name"]: c["verdict"] for c in document.run.result.to_json()["components"]}
    assert document.study is not None
    shown = {row[0].text: row[-1].text for row in document.study.rows[1:]}
    assert shown == verdicts
    for name, verdict in verdicts.items():
        assert name in document.verdict.sentence
        assert (verdict in ("helps", "hurts")) == (f"{name} (" in document.verdict.sentence)


def test_a_single_run_without_reports_has_no_empty_charts(tmp_path: Path) -> None:
    path = runs.make_run(
        tmp_path,
        "def train(lr):\n    return lr\n",
        name="single",
        hparams={"lr": 0.5},
        cluster={"kind": "inline"},
    )
    document = document_of(path)
    assert document.run.result.kind == "run"
    assert "accuracy is 0.5" in document.verdict.sentence
    assert not document.charts
    page = write_page(path).read_text()
    assert "there is no curve" in page
    assert "window.vegaEmbed" not in page


def test_texts_of_the_user_stay_texts(tmp_path: Path) -> None:
    page = write_page(runs.hostile(tmp_path)).read_text()
    assert runs.HOSTILE not in page
    assert "{{ 7*7 }}" in page
    assert "<img" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5))
def test_json_in_a_script_is_json_and_ends_no_script(value: Any) -> None:
    text = script_json(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_marks_tell_of_promotions_and_stops_with_their_reasons(tmp_path: Path) -> None:
    path = runs.search(tmp_path)
    document = document_of(path)
    marks = document.curves.data["marks"]
    by_kind = {kind: [m for m in marks if m["mark"] == kind] for kind in ("promoted", "stopped")}
    assert all(m["why"].startswith("promoted to ") for m in by_kind["promoted"])
    assert all(m["why"].startswith(f"stopped {m['trial']} at step") for m in by_kind["stopped"])
    assert len(by_kind["promoted"]) == document.run.result.to_json()["promotions"]["total"]
    assert len(by_kind["stopped"]) == document.run.result.to_json()["trials"]["stopped"]
    reasons = {row.trial_id: row.cells[-1].text for row in document.table.rows}
    assert all(reasons[m["trial"]] == m["why"] for m in by_kind["stopped"])


def searches(seed: int, workers: int, losing: float, rungs: bool, stops: bool) -> list[Trial]:
    """Return the trials of a search in virtual time."""
    space = Searchspace(x=("DOUBLE", [0.0, 1.0]), y=("CATEGORICAL", ["a", "b"]))
    simulation = simulate(
        ASHA(resource_max=9) if rungs else RandomSearch(),
        MedianStop(min_trials=2) if stops else NoStop(),
        space=space,
        num_trials=15,
        seed=seed,
        workers=workers,
        limits=Limits(max_failures=100),
        losing=losing,
        failing=losing,
    )
    return list(simulation.scheduler.book.trials.values())


searching = given(
    seed=st.integers(0, 10_000),
    workers=st.integers(1, 5),
    losing=st.sampled_from([0.0, 0.2]),
    rungs=st.booleans(),
    stops=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@searching
def test_laws_of_a_search(seed: int, workers: int, losing: float, rungs: bool, stops: bool) -> None:
    trials = searches(seed, workers, losing, rungs, stops)
    best = best_trial(trials, "max")
    line = best_over_time(trials, "max")
    assert [value.time_s for value in line] == sorted(value.time_s for value in line)
    assert (best and (best.trial_id, best.final_metric)) == (
        (line[-1].trial_id, line[-1].value) if line else None
    )
    saved = savings_of(trials)
    if saved is not None:
        assert saved.if_all - saved.trained == saved.by_stopping + saved.by_ending - saved.twice
        assert min(saved.by_stopping, saved.by_ending, saved.twice) >= 0
    assert saved is not None or not (stops and any(t.state == "stopped" for t in trials))
    results = [result for trial in trials for result in trial.results]
    found = rungs_of(trials, "max")
    assert not found or sum(rung.trials for rung in found) == len(results)
    assert sum(rung.promoted for rung in found) == sum(trial.promotions for trial in trials)


def test_slots_are_busy_no_longer_than_they_are_held(path: Path) -> None:
    run = read_run(path)
    cost = cost_of(run.records, run.trials, run.state.time_s)
    # Of a worker that died, the slot is gone before the loss of its trial is told.
    assert 0.0 <= cost.busy_slot_s <= cost.held_slot_s * (1.05 if cost.lost else 1.0) + 1e-6
    assert cost.held_slot_s <= cost.most_slots * cost.elapsed_s + 1e-6


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(2, 20))
def test_an_axis_shows_most_values_and_a_curve_keeps_its_ends(
    values: list[float], most: int
) -> None:
    shown = sensible_range(values)
    assert outside(values, shown) <= 0.1 * len(values) + 1
    thinned = thin_out(values, most)
    assert len(thinned) == min(len(values), most)
    assert (thinned[0], thinned[-1]) == (values[0], values[-1])


def test_one_loss_that_ran_away_does_not_flatten_the_others() -> None:
    values = [1.0 + index / 100 for index in range(100)]
    assert sensible_range([*values, 1e9]) == (1.0, 1.99)


def test_importance_tells_what_matters_from_chance(tmp_path: Path) -> None:
    space = Searchspace(
        matters=("DOUBLE", [0.0, 1.0]), idle=("DOUBLE", [0.0, 1.0]), few=("DISCRETE", [1, 2, 3])
    )
    simulation = simulate(
        RandomSearch(),
        NoStop(),
        lambda params, step, seed: -((params["matters"] - 0.3) ** 2),
        space=space,
        num_trials=60,
        noise=0.0,
    )
    trials = list(simulation.scheduler.book.trials.values())
    found = importance_of(trials, searched({}, trials), "max")
    assert not found.why_not
    first, *rest = found.scores
    assert first.name == "matters"
    assert first.share > first.chance
    assert all(score.share <= score.chance for score in rest)
    assert sum(score.share for score in found.scores) == pytest.approx(1.0)
    worst = importance_of(trials[:10], searched({}, trials), "max")
    assert worst.why_not == "too few trials with a value: 10; it takes 20"
    assert not worst.scores


def test_importance_without_optuna_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    page = write_page(runs.search(tmp_path)).read_text()
    assert "pip install 'dotrain[optuna]'" in unescape(page)


def test_parameters_of_a_search(tmp_path: Path) -> None:
    run = read_run(runs.search(tmp_path))
    found = {p.name: p for p in searched(run.header["config"], run.trials)}
    assert list(found) == ["lr", "units", "width", "activation", "leak"]
    assert found["lr"].log
    assert not found["units"].log
    assert found["activation"].categories == ("relu", "tanh")
    assert [p.name for p in found.values() if p.conditional] == ["leak"]
    # A run from Python has the domains' texts alone.
    texts = {"lr": "float[0.0001, 0.1, log]", "width": "discrete[16, 32, 64]"}
    found = {p.name: p for p in searched({"search": {"space": texts}}, run.trials)}
    assert found["lr"].log
    assert not found["width"].categories


def test_the_best_configuration_can_be_pasted(project: Project) -> None:
    project.write("user.py", "def train(**hparams):\n    return 1.0\n")
    values = {"lr": 1e-6, "name": "it's: #1", "flag": True, "none": None, "text": "1.5", "n": 3}
    copied = configuration_of(values, {"fixed": [1, 2]})
    base = project.config()
    options = shlex.split(copied.options)
    assert options[::2] == ["-s"] * len(options[1::2])
    assert load_config(base, options[1::2]).settings.hparams == {"fixed": [1, 2], **values}
    pasted = project.write("pasted.yaml", "train: user.py:train\nmetric: score\n" + copied.yaml)
    assert load_config(pasted).settings.hparams == {"fixed": [1, 2], **values}
    assert not configuration_of({"a.b": 1}, {}).options


def test_the_journal_knows_the_environment_and_the_page_shows_it(tmp_path: Path) -> None:
    path = runs.search(tmp_path)
    shown = dict(document_of(path).environment)
    assert shown["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"platform", "dotrain", "dask", "distributed", "numpy"} <= set(shown)


def test_a_journal_of_an_earlier_version_has_a_page(tmp_path: Path) -> None:
    sample = Path(__file__).parents[1] / "store" / "journal-v1.jsonl"
    (tmp_path / "journal.jsonl").write_bytes(sample.read_bytes())
    numbers = dict(numbers_of(write_page(tmp_path).read_text()))
    summary = read_run(tmp_path).result.to_json()
    assert numbers["trials/total"] == summary["trials"]["total"]


def test_the_command_prints_the_path_and_imports_no_framework(project: Project) -> None:
    path = runs.search(project.path)
    code = (
        "import atexit, sys; from dotrain.cli import main; "
        "atexit.register(lambda: print(*{n.split('.')[0] for n in sys.modules})); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed, loaded = done.stdout.splitlines()
    assert printed == str(path / "report.html")
    assert not {"tensorflow", "keras", "torch"} & set(loaded.split())


def report(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["dotrain", "report", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_page_goes_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, file = runs.search(tmp_path / "run"), tmp_path / "other name.html"
    assert report([str(path), "--output", str(file)], monkeypatch) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_text().endswith("</html>")
    assert not (path / "report.html").exists()


def test_mistakes_get_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs.search(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    for arguments, text in [
        ([str(tmp_path / "empty")], "is no run directory: it has no journal.jsonl"),
        ([str(tmp_path / "nowhere")], "is no run directory: it is no directory"),
        ([str(path), "--output", str(tmp_path / "no/such/file.html")], "can't write the report"),
        ([str(path), "--output", str(tmp_path)], "can't write the report"),
    ]:
        assert report(arguments, monkeypatch) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert text in printed.err
        assert printed.err.count("\n") == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["empty", "run"]


def test_a_damaged_journal_is_named_with_its_line(tmp_path: Path) -> None:
    path = runs.search(tmp_path)
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b'"t"', b'"T"')
    journal.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match=r"journal.jsonl:6: damaged record"):
        write_page(path)
    journal.write_bytes(b"")  # the first record was never written
    with pytest.raises(UsageError, match="the run never began"):
        write_page(path)


def test_a_missing_library_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs.search(tmp_path)
    monkeypatch.setattr(writing, "_NEEDED", {"jinja2": "jinja2", "no_such_module": "no-such"})
    with pytest.raises(UsageError, match=r"no-such: pip install 'dotrain\[report\]'"):
        write_page(path)
