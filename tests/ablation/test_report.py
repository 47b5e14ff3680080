"""The result of a study, and what is shown of it."""

from __future__ import annotations

import csv
import io
import math
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from dotrain.report.ablation import (
    print_study,
    study_table,
    to_csv,
    to_latex,
    to_markdown,
)
from dotrain.report.forest import draw_forest
from dotrain.results import StudyResult
from tests.conftest import ROOT
from tests.results.studies import FAILED, RUN_DIR, RUNNING, make_result

EIGHT = [0.80, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.87]


@pytest.fixture
def whole() -> StudyResult:
    """Eight seeds; one component helps, one hurts, one does neither visibly."""
    return make_result(
        {
            "baseline": EIGHT,
            "layer:dense_2": [v - 0.10 - 0.01 * (i % 2) for i, v in enumerate(EIGHT)],
            "feature:sex": [v + 0.02 * (-1) ** i for i, v in enumerate(EIGHT)],
            "component:aug_x": [v + 0.05 for v in EIGHT],
        },
        seeds=8,
        params={"baseline": 1570, "layer:dense_2": -260},
        changes={"layer:dense_2": ["dense_2: bypassed"]},
    )


@pytest.fixture
def half() -> StudyResult:
    """Three seeds, of which some runs failed, some go on, and some were never begun."""
    return make_result(
        {
            "baseline": [0.8, FAILED, 0.7],
            "feature:sex": [0.7, 0.7, 0.5],
            "feature:age": [FAILED, 0.9, RUNNING],
            "feature:fare": [0.75, 0.9],
        },
        status="interrupted",
    )


@pytest.fixture
def nothing() -> StudyResult:
    """A study that was broken off at once."""
    return make_result({"baseline": [], "feature:sex": []}, status="interrupted")


class TestSummary:
    def test_the_whole_result(self) -> None:
        result = make_result(
            {"baseline": [0.8, 0.9, 0.7], "layer:dense_2": [0.7, 0.7, 0.6]},
            params={"baseline": 1570, "layer:dense_2": -260},
            changes={"layer:dense_2": ["dense_3: smaller"]},
        ).to_json()
        # Differences -0.1, -0.2, -0.1: deviation sqrt(1/300), and t is 4.302653.
        half = 4.302653 * math.sqrt(1 / 300) / math.sqrt(3)
        near = {"abs": 1e-6}
        (component,) = result.pop("components")
        assert component.pop("ci95") == pytest.approx([2 / 3 - half, 2 / 3 + half], **near)
        assert component.pop("delta_ci95") == pytest.approx(
            [-0.4 / 3 - half, -0.4 / 3 + half], **near
        )
        assert component.pop("delta") == pytest.approx(-0.4 / 3)
        assert component.pop("mean") == pytest.approx(2 / 3)
        assert component == {
            "name": "layer:dense_2",
            "kind": "layer",
            "left_out": ["layer:dense_2"],
            "changes": ["dense_3: smaller"],
            "values": [0.7, 0.7, 0.6],
            "params": -260,
            "seconds_per_step": 0.625,  # 1.25 s for two steps
            "failed": [],
            "diverged": [],
            "states": ["finished"] * 3,
            "marks": [""] * 3,
            "p": 0.25,
            "p_holm": 0.25,
            "n": 3,
            "verdict": "not distinguishable from noise (n=3: the smallest possible p is 0.25)",
        }
        baseline = result.pop("baseline")
        half = 4.302653 * 0.1 / math.sqrt(3)
        assert baseline.pop("ci95") == pytest.approx([0.8 - half, 0.8 + half], **near)
        assert baseline.pop("mean") == pytest.approx(0.8)
        assert baseline == {
            "left_out": [],
            "changes": [],
            "values": [0.8, 0.9, 0.7],
            "params": 1570,
            "seconds_per_step": 0.625,
            "failed": [],
            "diverged": [],
            "states": ["finished"] * 3,
            "marks": [""] * 3,
        }
        assert result == {
            "run_dir": str(RUN_DIR),
            "name": "my study",
            "status": "finished",
            "metric": "val_accuracy",
            "direction": "max",
            "adds": False,
            "seeds": [1000, 1001, 1002],
            "trials": {"total": 6, "finished": 6, "stopped": 0, "diverged": 0, "failed": 0},
            "elapsed_s": 61.235,
            "resume": None,
            "simulated": False,
            "guessed": [],
            "marks": {},
        }

    def test_verdicts_and_holm(self, whole: StudyResult) -> None:
        dense, sex, aug = whole.to_json()["components"]
        # All differences of one sign: p = 2/256, times 3 for the first of Holm; equal ones share.
        assert (dense["p"], dense["p_holm"], dense["verdict"]) == (2 / 256, 6 / 256, "helps")
        assert (aug["p"], aug["p_holm"], aug["verdict"]) == (2 / 256, 6 / 256, "hurts")
        assert (sex["p"], sex["p_holm"]) == (1.0, 1.0)
        assert sex["verdict"] == "not distinguishable from noise (n=8, p=1)"

    @pytest.mark.parametrize(
        ("direction", "adds", "expected"),
        [
            ("max", False, "helps"),
            ("min", False, "hurts"),
            ("max", True, "hurts"),
            ("min", True, "helps"),
        ],
    )
    def test_what_is_better(self, direction: str, adds: bool, expected: str) -> None:
        worse = [v - 0.1 for v in EIGHT]
        arms = {"baseline": EIGHT, "feature:sex": worse}
        result = make_result(arms, seeds=8, direction=direction, adds=adds)
        assert result.components[0].verdict == expected

    def test_missing_values(self, half: StudyResult) -> None:
        told = half.to_json()
        sex, age, fare = told["components"]
        assert told["baseline"]["values"] == [0.8, None, 0.7]
        assert told["baseline"]["failed"] == [
            {"seed": 1001, "trial_id": "t0004", "message": "ValueError: [bad] shape"}
        ]
        assert (sex["values"], sex["n"]) == ([0.7, 0.7, 0.5], 2)
        assert sex["delta"] == pytest.approx(-0.15)
        assert sex["p_holm"] == 1.0  # 0.5, twice: the arm without a pair isn't counted
        assert (age["values"], age["n"], age["mean"]) == ([None, 0.9, None], 0, 0.9)
        assert [age[k] for k in ("delta", "delta_ci95", "p", "p_holm")] == [None] * 4
        assert age["verdict"] == "no pair of runs to compare"
        assert [failure["seed"] for failure in age["failed"]] == [1000]
        assert (fare["values"], fare["n"]) == ([0.75, 0.9, None], 1)
        assert fare["delta_ci95"] is None
        trials = {
            "total": 11,
            "finished": 8,
            "stopped": 0,
            "diverged": 0,
            "failed": 2,
            "unfinished": 1,
        }
        assert told["trials"] == trials
        (group,) = told["failures"]
        assert (group["count"], group["location"]) == (2, "net.py:3 in build")

    def test_nothing_has_run(self, nothing: StudyResult) -> None:
        told = nothing.to_json()
        assert told["baseline"]["values"] == [None] * 3
        assert told["baseline"]["mean"] is told["components"][0]["mean"] is None
        assert "failures" not in told

    def test_a_function_that_reports_nothing_has_seconds_per_run(self) -> None:
        result = make_result({"baseline": [0.5], "feature:a": [FAILED]}, seeds=1, steps=0).to_json()
        assert result["baseline"]["seconds_per_step"] is None
        assert result["baseline"]["seconds_per_run"] == 0.25
        assert "seconds_per_run" not in result["components"][0]


def shown(capsys: pytest.CaptureFixture[str], result: StudyResult) -> str:
    print_study(result)
    return capsys.readouterr().out


class TestConsole:
    def test_golden(self, capsys: pytest.CaptureFixture[str], whole: StudyResult) -> None:
        lines = [line.rstrip() for line in shown(capsys, whole).splitlines()]
        assert lines == [
            "val_accuracy (larger is better), 8 seeds",
            "                                           difference             p",
            "component              mean ±               [95 % CI]      p (Holm) n params s/step verdict",
            "baseline        0.835 ± 0.020                                       8  1,570  0.625",
            "layer:dense_2   0.730 ± 0.020 -0.105 [-0.109, -0.101] 0.0078  0.023 8   -260  0.625 helps",
            "feature:sex     0.835 ± 0.024 +0.000 [-0.018, +0.018]      1      1 8      -  0.625 unclear",
            "component:aug_x 0.885 ± 0.020 +0.050 [+0.050, +0.050] 0.0078  0.023 8      -  0.625 hurts",
            "largest loss without layer:dense_2: -0.105, helps",
            "difference: each arm leaves the component out of the baseline; arm minus baseline, "
            "by pairs of equal seeds",
            "p: sign-flip test; p (Holm): adjusted for 3 comparisons, the intervals are not adjusted",
            "unclear: not distinguishable from noise",
            "finished: 32 trials (32 finished), 1 min 01 s",
            f"run directory: {RUN_DIR}",
        ]

    def test_a_half_finished_study(
        self, capsys: pytest.CaptureFixture[str], half: StudyResult
    ) -> None:
        out = shown(capsys, half)
        assert (
            "failed, so without a pair: baseline with seed 1001: ValueError: [bad] shape\n" in out
        )
        assert "failed, so without a pair: feature:age with seed 1000: ValueError" in out
        assert f"log: {RUN_DIR}/trials/t0004/output.log" in out
        assert "no pair" in out
        assert "distinguishable from noise; 2 comparisons can show nothing with n < 7\n" in out
        assert "interrupted: 11 trials (8 finished, 2 failed, 1 unfinished)" in out
        assert "2 runs are missing; go on with: dotrain resume '/runs/my study/2026'\n" in out

    def test_nothing_to_compare(
        self, capsys: pytest.CaptureFixture[str], nothing: StudyResult
    ) -> None:
        out = shown(capsys, nothing)
        assert "nothing can be compared yet" in out
        assert "6 runs are missing" in out
        assert "largest" not in out

    @pytest.mark.parametrize(("width", "narrow"), [(100, False), (80, True)])
    def test_it_fits(self, whole: StudyResult, width: int, narrow: bool) -> None:
        name = "component:with_a_name_of_forty_characters"
        whole.arms[3] = replace(whole.arms[3], name=name)
        console = Console(width=width, file=io.StringIO())
        console.print(study_table(whole, narrow=narrow))
        assert isinstance(console.file, io.StringIO)
        out = console.file.getvalue()
        assert "-0.105 [-0.109, -0.101]" in out
        assert "+0.050 [+0.050, +0.050]" in out
        assert out.count("hurts") == 1

    def test_names_are_shown_as_they_are(self, capsys: pytest.CaptureFixture[str]) -> None:
        name = "layer:a:[bold]x[/]"
        arms = {"baseline": [0.8, 0.9], name: [0.7, 0.8]}
        assert shown(capsys, make_result(arms, seeds=2)).count(name) == 2

    def test_the_largest_loss_is_bold(self, whole: StudyResult) -> None:
        styles = [row.style for row in study_table(whole).rows]
        assert styles == ["", "bold", "", ""]
        turned = replace(whole, header={**whole.header, "direction": "min"})
        assert [row.style for row in study_table(turned).rows] == ["", "", "", "bold"]


class TestPapers:
    def test_markdown(self, whole: StudyResult) -> None:
        lines = to_markdown(whole).splitlines()
        assert lines[2:8] == [
            "| component | mean ± | difference \\[95 % CI\\] | p | p (Holm) | n | params | s/step "
            "| verdict |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
            "| baseline | 0.835 ± 0.020 |  |  |  | 8 | 1,570 | 0.625 |  |",
            "| layer:dense\\_2 | 0.730 ± 0.020 | -0.105 \\[-0.109, -0.101\\] | 0.0078 | 0.023 "
            "| 8 | -260 | 0.625 | helps |",
            "| feature:sex | 0.835 ± 0.024 | +0.000 \\[-0.018, +0.018\\] | 1 | 1 | 8 | - "
            "| 0.625 | not distinguishable from noise (n=8, p=1) |",
            "| component:aug\\_x | 0.885 ± 0.020 | +0.050 \\[+0.050, +0.050\\] | 0.0078 | 0.023 "
            "| 8 | - | 0.625 | hurts |",
        ]

    def test_a_bar_in_a_name_does_not_end_a_cell(self) -> None:
        result = make_result({"baseline": [1.0, 2.0], "group:a|b*": [1.0, 2.0]}, seeds=2)
        assert "| group:a\\|b\\* |" in to_markdown(result)

    def test_latex(self, whole: StudyResult) -> None:
        text = to_latex(whole)
        for line in (
            r"  \begin{tabular}{lrrrrrrrl}",
            r"    \toprule",
            r"    \midrule",
            r"    baseline & $0.835 \pm 0.020$ &  &  &  & $8$ & $1{,}570$ & $0.625$ &  \\",
            r"    layer:dense\_2 & $0.730 \pm 0.020$ & $-0.105 [-0.109, -0.101]$ & $0.0078$ "
            r"& $0.023$ & $8$ & $-260$ & $0.625$ & helps \\",
            r"    \bottomrule",
        ):
            assert line in text.splitlines()
        assert "[95 \\% CI]" in text

    def test_latex_escapes(self) -> None:
        arms = {"baseline": [1.0, 2.0], "[x]\\{a}_b%c&d#e$f~g^h<i>": [1.0, 2.0]}
        row = to_latex(make_result(arms, seeds=2)).splitlines()[8]
        assert row.split(" & ")[0].strip() == (
            r"{[}x]\textbackslash{}\{a\}\_b\%c\&d\#e\$f\textasciitilde{}g\textasciicircum{}h"
            r"\textless{}i\textgreater{}"
        )

    def test_extreme_numbers(self) -> None:
        arms = {"baseline": [2e9, 3e9], "feature:a": [2.5e9, 3.1e9]}
        result = make_result(arms, seeds=2, direction="min")
        assert r"2.5\cdot 10^{9}" in to_latex(result)
        tiny = make_result({"baseline": [2e-9, 3e-9], "feature:a": [4e-9, 5e-9]}, seeds=2)
        assert "+2e-09" in to_markdown(tiny)

    def test_csv(self, half: StudyResult) -> None:
        rows = list(csv.DictReader(io.StringIO(to_csv(half))))
        assert len(rows) == 4 * 3
        assert rows[1] == {
            "arm": "baseline",
            "kind": "baseline",
            "seed_index": "1",
            "seed": "1001",
            "value": "",
            "state": "failed",
            "marks": "",
        }
        read = [float(row["value"]) for row in rows if row["arm"] == "feature:sex"]
        assert read == [0.7, 0.7, 0.5]

    def test_every_form_can_show_every_state(self, half: StudyResult, nothing: StudyResult) -> None:
        for result in (half, nothing):
            for form in (to_markdown, to_latex, to_csv):
                assert "feature:sex" in form(result)


class TestForest:
    def test_both_files_hold_what_they_should(self, whole: StudyResult, tmp_path: Path) -> None:
        paths = draw_forest(whole, tmp_path / "forest.v1")
        assert [path.name for path in paths] == ["forest.v1.png", "forest.v1.svg"]
        assert paths[0].read_bytes().startswith(b"\x89PNG")
        texts = svg_texts(paths[1])
        for component in whole.components:
            assert component.name in texts
        assert "left of zero: leaving it out makes it worse; right of zero: better" in texts
        assert {"helps", "hurts", "not distinguishable from noise"} <= texts
        assert "-0.105 [-0.109, -0.101]" in texts

    def test_equal_results_are_equal_files(self, whole: StudyResult, tmp_path: Path) -> None:
        first, second = (draw_forest(whole, tmp_path / name) for name in ("a", "b"))
        assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]

    @pytest.mark.parametrize(
        ("direction", "adds", "text"),
        [
            ("min", False, "left of zero: leaving it out makes it better; right of zero: worse"),
            ("max", True, "left of zero: adding it makes it worse; right of zero: better"),
        ],
    )
    def test_direction(self, direction: str, adds: bool, text: str, tmp_path: Path) -> None:
        arms = {"baseline": [0.8, 0.9], "feature:sex": [0.7, 0.8]}
        result = make_result(arms, seeds=2, direction=direction, adds=adds)
        assert text in svg_texts(draw_forest(result, tmp_path / "x")[1])

    def test_every_state_can_be_drawn(
        self, half: StudyResult, nothing: StudyResult, tmp_path: Path
    ) -> None:
        assert "no pair of runs to compare" in svg_texts(draw_forest(half, tmp_path / "half")[1])
        assert "feature:sex" in svg_texts(draw_forest(nothing, tmp_path / "nothing")[1])

    def test_forty_rows_with_awkward_names(self, tmp_path: Path) -> None:
        names = [f"layer:$x_{i}^2$ <&> 日本 {'long ' * (i % 9)}end" for i in range(40)]
        arms = {"baseline": [0.8, 0.9], **{name: [0.7, 0.81] for name in names}}
        assert set(names) <= svg_texts(draw_forest(make_result(arms, seeds=2), tmp_path / "x")[1])

    def test_settings_of_the_users_own_plots_stay(self, whole: StudyResult, tmp_path: Path) -> None:
        import matplotlib as mpl

        before = dict(mpl.rcParams)
        draw_forest(whole, tmp_path / "x")
        assert dict(mpl.rcParams) == before

    def test_pyplot_is_not_touched(self, whole: StudyResult, tmp_path: Path) -> None:
        code = (
            "import sys, pickle, pathlib; from dotrain.report.forest import draw_forest; "
            "draw_forest(pickle.load(sys.stdin.buffer), pathlib.Path(sys.argv[1])); "
            "assert 'matplotlib.pyplot' not in sys.modules"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "x")]
        subprocess.run(command, cwd=ROOT, input=pickle.dumps(whole), check=True)


def svg_texts(path: Path) -> set[str]:
    """Return every text of an SVG."""
    return {"".join(node.itertext()) for node in ElementTree.parse(path).iter() if is_text(node)}


def is_text(node: ElementTree.Element) -> bool:
    return node.tag.endswith("}text")


def test_importing_is_light() -> None:
    modules = "dotrain.ablation.statistics, dotrain.report.ablation, dotrain.report.forest"
    code = f"import sys, {modules}; print(*{{n.split('.')[0] for n in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"scipy", "statsmodels", "pandas", "matplotlib"} & loaded
