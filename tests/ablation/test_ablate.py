"""`dotrain ablate`: every arm with every seed, nothing silent, and the same table after a crash."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dotrain import AblationStudy, experiment
from dotrain.config import ConfigError, load_config
from dotrain.config.source import read_source
from dotrain.core.observer import Observer
from dotrain.errors import UsageError
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.space import Categorical, Searchspace
from tests.conftest import Project

USER = """
import random

COLUMNS = {"a": 1.0, "b": 2.0, "zero": 0.0}

def load_data(features):
    return {c: COLUMNS[c] for c in features.select(COLUMNS) if COLUMNS[c]}

def train(data_gen, reporter, seed, augment=True, noise=0.1):
    rng = random.Random(seed)
    value = sum(data_gen.load().values()) + 0.5 * augment + rng.gauss(0, noise)
    reporter.broadcast(value)
    return value
"""
STUDY: dict[str, Any] = {
    "features": ["a", "b"],
    "components": {"augmentation": {"augment": False}},
    "seeds": 8,
}


def configure(project: Project, **sections: Any) -> None:
    project.write("user.py", sections.pop("user", USER))
    settings = {"data": "user.py:load_data", "cluster": {"kind": "inline"}, "ablation": STUDY}
    project.config(**{**settings, **sections})


def ablate(project: Project, from_run: str | None = None, **sections: Any) -> Result:
    configure(project, **sections)
    return experiment.ablate(
        project.path / "config.yaml",
        from_run=from_run,
        runs_dir=project.path / "runs",
        quiet=True,
    )


def study(project: Project, cluster: dict[str, Any], **sections: Any) -> Result:
    configure(project, cluster=cluster, **sections)
    loaded = load_config(project.path / "config.yaml", mode="ablate")
    return run(Experiment.of(loaded), project.path / "runs", Observer())


def test_every_arm_runs_every_seed_on_every_executor(
    project: Project, cluster: dict[str, Any]
) -> None:
    result = study(project, cluster)
    assert result.status == "finished"
    assert len(result.trials) == (3 + 1) * 8
    runs = [(trial.arm.name, trial.seed) for trial in result.trials if trial.arm]
    arms = Counter(name for name, _ in runs)
    assert set(arms.values()) == {8}
    seeds = {arm: [seed for name, seed in runs if name == arm] for arm in arms}
    assert len(set(seeds["baseline"])) == 8
    assert all(used == seeds["baseline"] for used in seeds.values())
    for name, worth in (("feature:a", 1), ("feature:b", 2), ("component:augmentation", 0.5)):
        (arm,) = (c for c in result["components"] if c["name"] == name)
        assert arm["delta"] == pytest.approx(-worth)
        assert arm["verdict"] == "helps"
        assert arm["p_holm"] == pytest.approx(3 * 2 / 2**8)


def test_the_result_has_what_the_contract_names(project: Project) -> None:
    configure(project)
    done = project.cli("ablate", "config.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"run_dir", "metric", "direction", "seeds", "baseline", "components", "trials"} <= set(
        result
    )
    assert {"values", "mean", "ci95", "params"} <= set(result["baseline"])
    assert {
        *("name", "kind", "values", "mean", "ci95", "delta", "delta_ci95", "p", "p_holm", "n"),
        *("params", "verdict"),
    } <= set(result["components"][0])
    assert len(result["seeds"]) == 8
    for suffix in ("png", "svg"):
        assert (project.path / result["run_dir"] / f"forest.{suffix}").stat().st_size > 1000


def test_the_table_comes_in_every_form(project: Project) -> None:
    configure(project)
    plain = project.cli("ablate", "config.yaml", "--quiet")
    assert "component:augmentation" in plain.stdout
    assert "helps" in plain.stdout
    markdown = project.cli("ablate", "config.yaml", "--md", "--quiet").stdout
    assert markdown.count("\n|") >= 5
    assert r"\toprule" in project.cli("ablate", "config.yaml", "--latex", "--quiet").stdout
    rows = list(csv.DictReader(io.StringIO(project.cli("ablate", "config.yaml", "--csv").stdout)))
    assert len(rows) == 4 * 8


NOTHING_CHANGES = {
    "a column that is never asked for": (
        {"features": ["a", "bb"]},
        r"config.yaml:1:\d+: ablation.features\[1\]: no column 'bb' is asked for; "
        r"did you mean 'b'\?",
    ),
    "a column that is not used": (
        {"features": ["zero"]},
        r"ablation.features\[0\]: leaving it out changes nothing: the data are the same",
    ),
    "a default": (
        {"components": {"noise": {"noise": 0.1}}},
        r"ablation.components.noise: leaving it out changes nothing: noise is 0.1 already",
    ),
    "a hyperparameter that nobody takes": (
        {"components": {"noise": {"noize": 0.5}}},
        r"ablation.components.noise.noize: no function takes 'noize'; did you mean 'noise'\?",
    ),
    "the value that is fixed": (
        {"components": {"x": {"augment": True}}},
        r"ablation.components.x.augment: changes nothing: hparams.augment is True already",
    ),
    "layers of no model": ({"layers": ["x"]}, r"ablation.layers\[0\]: the config has no 'model:'"),
    "twice": ({"features": ["a", "a"]}, r"ablation.features\[1\]: feature:a is named twice"),
    "nothing": ({"seeds": 3}, r"ablation: leaves nothing out"),
    "an unknown ablator": (
        {"features": ["a"], "ablator": {"name": "lcoo"}},
        r"ablation.ablator.name: unknown ablator 'lcoo'; did you mean 'loco'\?",
    ),
    "a reserved name": (
        {"components": {"x": {"seed": 3}}},
        r"ablation.components.x.seed: this name is reserved",
    ),
    "no hyperparameters": (
        {"components": {"x": {}}},
        r"ablation.components.x: changes nothing: expected the hyperparameters that switch it off",
    ),
    "a pair twice": (
        {
            "features": ["a", "b"],
            "ablator": {"name": "pairs", "pairs": [["feature:a", "feature:b"]] * 2},
        },
        r"ablation.ablator: pairs: \['feature:a', 'feature:b'\] stands twice",
    ),
    "an unknown pair": (
        {"features": ["a"], "ablator": {"name": "pairs", "pairs": [["feature:a", "feature:c"]]}},
        r"ablation.ablator: pairs: unknown component 'feature:c'; did you mean 'feature:a'\?",
    ),
}


@pytest.mark.parametrize("case", NOTHING_CHANGES)
@pytest.mark.usefixtures("rehearsed_here")
def test_what_would_change_nothing_is_refused_before_anything_trains(
    project: Project, case: str
) -> None:
    section, message = NOTHING_CHANGES[case]
    with pytest.raises(ConfigError) as refused:
        ablate(project, ablation=section, hparams={"augment": True})
    assert re.search(message, str(refused.value)), str(refused.value)
    assert refused.value.exit_code == 2
    assert not (project.path / "runs").exists()


def test_a_refusal_is_shown_without_a_traceback(project: Project) -> None:
    section, message = NOTHING_CHANGES["a column that is never asked for"]
    configure(project, ablation=section, hparams={"augment": True})
    done = project.cli("ablate", "config.yaml")
    assert done.returncode == 2, done.stdout
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.path / "runs").exists()


def test_a_data_function_that_cannot_leave_a_column_out_is_named(project: Project) -> None:
    user = USER.replace("def load_data(features)", "def load_data()").replace(
        "features.select(COLUMNS)", "COLUMNS"
    )
    configure(project, user=user)
    done = project.cli("ablate", "config.yaml")
    assert done.returncode == 2
    assert "load_data() doesn't ask for 'features'" in done.stderr


def test_a_function_that_goes_around_the_generators_is_no_silent_success(project: Project) -> None:
    user = """
    def load_data(features):
        return {c: 1.0 for c in ("a", "b") if c in features}

    def train(data_gen):
        return 1.0
    """
    configure(project, user=user, ablation={"features": ["a"], "seeds": 2})
    done = project.cli("ablate", "config.yaml", "--json")
    found = json.loads(done.stdout)
    assert found["trials"]["failed"] == 2
    assert "has never used data_gen" in found["failures"][0]["message"]
    assert done.returncode == 1


@pytest.mark.usefixtures("rehearsed_here")
def test_a_call_by_position_leaves_the_column_out_all_the_same(project: Project) -> None:
    user = """
    COLUMNS = {"a": 1.0, "b": 2.0}

    def load_data(epochs, batch_size, features=tuple(COLUMNS), seed=0):
        return sum(COLUMNS[c] for c in COLUMNS if c in features) + seed % 7 / 100

    def train(dataset_function):
        return dataset_function(3, 32)
    """
    found = ablate(project, user=user, ablation={"features": ["a", "b"], "seeds": 7})
    assert [arm["delta"] for arm in found["components"]] == pytest.approx([-1, -2])
    assert {arm["verdict"] for arm in found["components"]} == {"helps"}


def test_too_few_seeds_are_told_with_the_line_before_training(project: Project) -> None:
    configure(project, ablation={**STUDY, "seeds": 3})
    done = project.cli("ablate", "config.yaml")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"warning: config.yaml:1:\d+: ablation.seeds: 3 seeds can't show anything: with 3 "
        r"comparisons the smallest possible adjusted p is 0.75; 7 seeds would do",
        done.stderr,
    )
    assert "not distinguishable from noise" in " ".join(done.stdout.split())
    assert "0.25" in done.stdout


@pytest.mark.usefixtures("rehearsed_here")
def test_a_failed_run_drops_its_pair_only_and_is_shown(project: Project) -> None:
    user = USER + (
        "\n_train = train\n"
        "def train(data_gen, reporter, seed, hparams, augment=True):\n"
        "    if not augment and seed % 5 == SEED:\n"
        "        raise ValueError('not with this seed')\n"
        "    return _train(data_gen, reporter, seed, augment)\n"
    )
    first = ablate(project)["seeds"][2]
    found = ablate(project, user=user.replace("SEED", str(first % 5)))
    dropped = sum(seed % 5 == first % 5 for seed in found["seeds"])
    for arm in found["components"]:
        affected = arm["name"] == "component:augmentation"
        assert arm["n"] == (8 - dropped if affected else 8)
        assert len(arm["failed"]) == (dropped if affected else 0)
        assert arm["values"][2] is None or not affected
    assert found["trials"]["failed"] == dropped


@pytest.mark.usefixtures("rehearsed_here")
def test_add_one_in_shows_what_each_is_worth_by_itself(project: Project) -> None:
    found = ablate(project, ablation={**STUDY, "ablator": {"name": "add_one_in"}})
    worth = {arm["name"]: arm["delta"] for arm in found["components"]}
    assert worth["feature:b"] == pytest.approx(2)
    assert worth["component:augmentation"] == pytest.approx(0.5)
    assert {arm["verdict"] for arm in found["components"]} == {"helps"}


@pytest.mark.usefixtures("rehearsed_here")
def test_pairs_show_redundancy_that_single_ones_hide(project: Project) -> None:
    user = """
    import random

    def load_data(features):
        return [c for c in ("a", "b", "c") if c in features]

    def train(data_gen, seed):
        columns = data_gen.load()
        known = "a" in columns or "b" in columns  # each stands in for the other
        return known + ("c" in columns) + random.Random(seed).gauss(0, 0.1)
    """
    pairs = {"name": "pairs", "pairs": [["feature:a", "feature:b"], ["feature:a", "feature:c"]]}
    section = {"features": ["a", "b", "c"], "seeds": 9, "ablator": pairs}
    found = ablate(project, user=user, ablation=section)
    worth = {arm["name"]: round(arm["delta"], 6) for arm in found["components"]}
    assert worth["feature:a"] == worth["feature:b"] == 0
    assert worth["feature:a+feature:b"] == -1
    assert worth["feature:a+feature:c"] == worth["feature:c"] == -1


@pytest.mark.usefixtures("rehearsed_here")
def test_an_ablator_of_ones_own(project: Project) -> None:
    project.write(
        "mine.py",
        """
        from dotrain import AbstractAblator
        from dotrain.ablation.study import Arm

        class AllButOne(AbstractAblator):
            def __init__(self, *, keep: str):
                self.keep = keep

            def arms(self, components):
                names = tuple(c.name for c in components if c.name != self.keep)
                return [Arm("all but one", names)]
        """,
    )
    ablator = {"name": "mine:AllButOne", "keep": "feature:b"}
    found = ablate(project, ablation={**STUDY, "ablator": ablator})
    (arm,) = found["components"]
    assert arm["delta"] == pytest.approx(-1.5)


def test_an_ablator_whose_arms_cannot_be_is_told(project: Project) -> None:
    project.write(
        "mine.py",
        """
        from dotrain import AbstractAblator
        from dotrain.ablation.study import Arm

        class Careless(AbstractAblator):
            def arms(self, components):
                without_b = ("feature:b",)
                return [Arm("x", ("feature:bb",)), Arm("y"), Arm("z", without_b), Arm("z", without_b)]
        """,
    )
    configure(project, ablation={**STUDY, "ablator": {"name": "mine:Careless"}})
    done = project.cli("check", "config.yaml")
    assert done.returncode == 2
    for message in (
        "arm x: unknown component 'feature:bb'; did you mean 'feature:b'?",
        "arm y leaves out the same as the baseline",
        "makes two arms named z",
    ):
        assert f"ablation.ablator: {message}" in done.stderr


def test_what_no_arm_leaves_out_is_told(project: Project) -> None:
    pairs = {"name": "pairs", "pairs": [["feature:a", "feature:b"]]}
    configure(project, ablation={**STUDY, "ablator": pairs})
    done = project.cli("ablate", "config.yaml")
    assert done.returncode == 0, done.stderr
    assert "all arms are alike in component:augmentation: nothing is learnt of it" in done.stderr


def test_a_tiny_or_odd_best_value_is_handed_on_as_it_is(tmp_path: Path) -> None:
    from dotrain.experiment import lagom
    from dotrain.runs.best import best_of

    values = [1e-5, "on", "010"]
    for value in values:
        done = lagom(
            lambda x: 1.0, Searchspace(x=Categorical(values=[value])), "grid", metric="accuracy",
            cluster={"kind": "inline"}, runs_dir=tmp_path, quiet=True,
        )  # fmt: skip
        (override,) = best_of(done.run_dir, tmp_path, quiet=True)
        file = tmp_path / "config.yaml"
        file.write_text("train: t.py:train\n")
        source = read_source(file, [override])
        assert (source.problems, source.data["hparams"]) == ([], {"x": value})


@pytest.mark.usefixtures("rehearsed_here")
def test_the_best_of_an_earlier_search_is_the_baseline(project: Project) -> None:
    search = {
        "space": {"noise": {"type": "categorical", "values": [0.25, 0.5]}},
        "optimizer": {"name": "grid"},
    }
    user = USER.replace("+ rng.gauss(0, noise)", "+ noise")
    configure(project, user=user, search=search)
    searched = json.loads(project.cli("run", "config.yaml", "--json").stdout)
    assert searched["best"]["params"] == {"noise": 0.5}
    found = ablate(project, searched["run_dir"], user=user, search=search)
    assert found["baseline"]["mean"] == pytest.approx(4.0)
    shown = project.cli("ablate", "config.yaml", "--from", str(project.path))
    assert shown.returncode == 2
    none = project.cli("ablate", "config.yaml", "--from", found["run_dir"])
    assert (none.returncode, "of an ablation no trial is the best" in none.stderr) == (2, True)
    required = USER.replace("noise=0.1", "*, noise")
    configure(project, user=required, search=search)
    refused = project.cli("ablate", "config.yaml")
    assert refused.returncode == 2
    assert "--from RUN_DIR" in refused.stderr


def test_a_study_that_is_killed_goes_on_to_the_same_table(project: Project) -> None:
    user = USER + (
        "\n_train = train\n"
        "def train(data_gen, reporter, seed, trial_dir, augment=True):\n"
        "    import os, signal\n"
        "    if trial_dir.name == 't0013' and not os.path.exists('killed'):\n"
        "        open('killed', 'w').close()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return _train(data_gen, reporter, seed, augment)\n"
    )
    whole = ablate(project).summary
    configure(project, user=user)
    driver = subprocess.run(
        [sys.executable, "-m", "dotrain", "ablate", "config.yaml", "--runs-dir", "killed-runs"],
        cwd=project.path,
        capture_output=True,
        check=False,
    )
    assert driver.returncode == -signal.SIGKILL
    (run_dir,) = (project.path / "killed-runs").glob("*/*")
    done = project.cli("resume", str(run_dir), "--json")
    assert done.returncode == 0, done.stderr
    resumed = json.loads(done.stdout)
    timing = {"seconds_per_step", "failed"}
    for before, after in zip(whole["components"], resumed["components"], strict=True):
        assert {k: v for k, v in before.items() if k not in timing} == {
            k: v for k, v in after.items() if k not in timing
        }
    assert whole["baseline"]["values"] == resumed["baseline"]["values"]


def test_an_ablation_in_python_by_name(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)

    def load(features: Any) -> dict[str, float]:
        return {c: v for c, v in (("a", 1.0), ("b", 2.0)) if c in features}

    def training_fn(dataset_function: Any, seed: int, augment: bool = True) -> float:
        return float(sum(dataset_function().values()) + 0.5 * augment + (seed % 7) / 100)

    mine = AblationStudy(seeds=7)
    mine.features.include("a", "b")
    mine.components.include("augmentation", augment=False)
    mine.set_dataset_generator(load)
    result = experiment.lagom(training_fn, ablation=mine, cluster={"kind": "inline"}, quiet=True)
    assert [c["delta"] for c in result["components"]] == pytest.approx([-1, -2, -0.5])

    mine.features.include("c")
    with pytest.raises(UsageError, match="feature:c: no column 'c' is asked for"):
        experiment.lagom(training_fn, ablation=mine, cluster={"kind": "inline"}, quiet=True)
    with pytest.raises(
        UsageError, match="take searchspace, optimizer, num_trials, stop, try_first"
    ):
        experiment.lagom(training_fn, ablation=mine, num_trials=3, quiet=True)


@pytest.mark.usefixtures("rehearsed_here")
def test_columns_of_a_declared_table_are_left_out(project: Project) -> None:
    rows = "\n".join(f"{n},{n % 3},{n % 5}" for n in range(40))
    project.write("table.csv", f"useful,other,label\n{rows}\n")
    user = """
    import random

    def train(data_gen, seed):
        columns, labels = data_gen.load()
        assert "label" not in columns and len(columns) == len(labels) == 30
        assert len(data_gen.load("validation")[0]) == 10
        return 2.0 * ("useful" in columns) + ("other" in columns) + random.Random(seed).random()
    """
    table = {"file": "table.csv", "label": "label", "validation": 0.25}
    section = {"features": ["useful", "other"], "seeds": 7}
    found = ablate(project, user=user, data=table, ablation=section)
    worth = {arm["name"]: arm["delta"] for arm in found["components"]}
    assert worth == pytest.approx({"feature:useful": -2, "feature:other": -1})
    configure(project, user=user, data=table, ablation={"features": ["usefull", "label"]})
    refused = project.cli("ablate", "config.yaml")
    assert refused.returncode == 2
    for index, message in enumerate(
        (r".*table\.csv has no column 'usefull'; did you mean 'useful'\?", "column 'label' is the")
    ):
        found = rf"config\.yaml:1:\d+: ablation\.features\[{index}\]: {message}"
        assert re.search(found, refused.stderr), refused.stderr


def test_a_table_whose_numbers_hold_text_trains_nothing(project: Project) -> None:
    project.write("table.csv", "a,b,label\n1,2,0\nNA,3,1\n")
    table = {"file": "table.csv", "label": "label"}
    configure(project, user="def train(data_gen):\n    return 1.0\n", data=table)
    refused = project.cli("ablate", "config.yaml", "-s", "ablation.components={}")
    assert refused.returncode == 2
    assert "column 'a' holds numbers and the text 'NA' (1 of 2 rows)" in refused.stderr
    assert not (project.path / "runs").exists()


def test_check_tells_of_the_study(project: Project) -> None:
    configure(project)
    done = project.cli("check", "config.yaml")
    assert done.returncode == 0, done.stderr
    assert "dotrain ablate: 3 arms and the baseline, 8 seeds each: 32 trials" in done.stdout
