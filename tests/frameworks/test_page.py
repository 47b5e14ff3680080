"""The examples of docs/frameworks.md run as they stand, under the configs that stand there."""

from __future__ import annotations

import re

import pytest
import yaml

from dotrain.core.marks import Mark
from dotrain.core.trial import TrialState
from dotrain.experiment import ablate
from tests.conftest import ROOT, Project
from tests.frameworks.test_callbacks import pytestmark as pytestmark

PAGE = (ROOT / "docs" / "frameworks.md").read_text()
SEARCH, STUDY = (yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
CODE = [one for one in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "def train(" in one]
SEARCHED = [one for one in CODE if "def load_data" not in one]


def name_of(code: str) -> str:
    """The last class that an example imports from dotrain."""
    (*_, name) = re.findall(r"from dotrain.callbacks import .*?(\w+)$", code, re.MULTILINE) or [
        "loop"
    ]
    return name


@pytest.mark.parametrize("code", SEARCHED, ids=name_of)
def test_an_example_is_searched_with_promotions(project: Project, code: str) -> None:
    project.write("train.py", code)
    search = {**SEARCH["search"], "num_trials": 4}
    result = project.run(**{**SEARCH, "search": search, "cluster": {"kind": "inline"}})
    for trial in result.trials:
        assert trial.state == TrialState.FINISHED, project.log(result, trial.trial_id)
        assert set(trial.marks) <= {Mark.CONTINUED}
        assert trial.step_history == list(range(len(trial.step_history)))
        assert "--- note" not in project.log(result, trial.trial_id) or "bagging" in code
    longest = max(result.trials, key=lambda trial: len(trial.step_history))
    assert (len(longest.step_history), longest.attempt) == (4, 3)


@pytest.mark.usefixtures("rehearsed_here")
def test_the_study_of_lightgbm_tells_columns_from_tricks(project: Project) -> None:
    (code,) = (one for one in CODE if "def load_data" in one)
    project.write("train.py", code)
    # A thread each: those of OpenMP that wait take a core from each other.
    config = project.config(**{**STUDY, "cluster": {"kind": "local", "workers": 2, "threads": 1}})
    rows = ablate(config, runs_dir=project.path / "runs", quiet=True)["components"]
    features = {f"feature:{name}" for name in STUDY["ablation"]["features"]}
    assert {row["name"] for row in rows} == {*features, "component:bagging", "component:depth"}
    assert all(row["n"] == 8 for row in rows)
    radius = next(row for row in rows if row["name"] == "feature:worst radius")
    assert radius["verdict"] == "helps"
