"""The deck's snippets, and `lagom`, run as a user runs them: in scripts, unguarded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dotrain import Searchspace, experiment
from dotrain.errors import DotrainError, UsageError
from tests.conftest import Project

DECK = """
from dotrain import experiment
from dotrain import Searchspace

nr_iterations = 3

sp = Searchspace(kernel=('INTEGER', [2, 8]),
                  pool=('INTEGER', [2, 8]))

def helper(value):
    return value / 10

def train_fn(kernel, pool):
    accuracy = 0
    for i in range(nr_iterations):
        accuracy += helper(kernel * pool)
    return accuracy

result = experiment.lagom(train_fn, searchspace=sp,
                          optimizer='randomsearch',
                          num_trials=5, name='demo',
                          direction='max')
print("TRIALS", len(result.trials), result.best["value"] > 0)
"""

PLUGINS = """
from dotrain import AbstractEarlyStop, AbstractOptimizer, Searchspace, Trial, experiment

class CustomOptimizer(AbstractOptimizer):
    def initialize(self):
        self.left = 4

    def get_suggestion(self, trial=None):
        # Return trial, return None if experiment finished
        if self.left == 0:
            return None
        self.left -= 1
        return Trial({'kernel': 2 + self.left})

    def finalize_experiment(self, trials):
        print("FINAL", sorted(t.params['kernel'] for t in trials))

class CustomEarlyStop(AbstractEarlyStop):
    def earlystop_check(to_check, finalized_trials, direction):
        return [t for t in to_check.values() if t.params['kernel'] == 3]

def train_fn(kernel, reporter):
    import itertools, time
    for step in itertools.count() if kernel == 3 else range(3):
        reporter.broadcast(metric=kernel)
        time.sleep(0.001)
    return kernel

result = experiment.lagom(train_fn, Searchspace(kernel=('INTEGER', [2, 8])),
                          optimizer=CustomOptimizer(), early_stop=CustomEarlyStop(),
                          num_trials=10, name='custom', direction='max')
print("COUNTS", result['trials'])
"""

GENERATORS = """
import contextlib
from dotrain import experiment

def build():
    return {'weights': 0}

def numbers(split):
    return [1, 2, 3] if split == 'train' else [4]

def train(model_gen, hparams, dist_strategy, data_gen):
    with dist_strategy():
        model = model_gen.create()
    return {'metric': sum(data_gen.batch()) + hparams['offset'], 'w': model['weights']}

def training_fn(dataset_function, model_function):
    model = model_function()
    return sum(dataset_function('validation')) + model['weights']

for function in (train, training_fn):
    result = experiment.lagom(function, model=build, data=numbers, hparams={'offset': 10},
                              cluster={'kind': 'inline'}, quiet=True)
    print("VALUE", result.best['value'])
"""


def script(project: Project, source: str) -> str:
    file = project.write("script.py", source)
    done = subprocess.run(
        [sys.executable, file.name],
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_decks_search_runs_as_an_unguarded_script_on_dask(project: Project) -> None:
    assert "TRIALS 5 True" in script(project, DECK)


def test_the_decks_plugins_run_as_they_stand(project: Project) -> None:
    out = script(project, PLUGINS)
    assert "FINAL [2, 3, 4, 5]" in out
    assert "COUNTS {'total': 4, 'finished': 3, 'stopped': 1, 'failed': 0}" in out


def test_the_decks_train_function_and_maggys_older_names(project: Project) -> None:
    out = script(project, GENERATORS)
    assert "VALUE 16.0" in out
    assert "VALUE 4.0" in out


def inline(function, project: Project, **options):  # type: ignore[no-untyped-def]
    options = {"cluster": {"kind": "inline"}, "runs_dir": project.path, "quiet": True, **options}
    return experiment.lagom(function, **options)


def test_no_search_space_is_one_run(project: Project) -> None:
    result = inline(lambda: 0.5, project)
    assert [t.final_metric for t in result.trials] == [0.5]


def test_options_of_a_named_optimizer_are_checked(project: Project) -> None:
    space = Searchspace(x=("DOUBLE", [0.0, 1.0]))
    with pytest.raises(UsageError, match="resource_max: required key is missing"):
        inline(lambda x: x, project, searchspace=space, optimizer="asha", num_trials=3)
    result = inline(
        lambda x, budget: x + budget,
        project,
        searchspace=space,
        optimizer={"name": "asha", "resource_max": 9},
        num_trials=9,
    )
    assert max(t.budget for t in result.trials) == 9


def test_a_search_without_num_trials_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match="num_trials is required"):
        inline(lambda x: x, project, searchspace=Searchspace(x=("DOUBLE", [0.0, 1.0])))


def test_an_unknown_section_key_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match=r"cluster\.wrokers"):
        inline(lambda: 1, project, cluster={"kind": "inline", "wrokers": 2})


def test_a_run_without_a_result_raises_with_the_reason(project: Project) -> None:
    with pytest.raises(DotrainError, match="no trial gave a result; ZeroDivisionError"):
        inline(lambda: 1 / 0, project)


def test_it_runs_inside_a_notebooks_event_loop(project: Project) -> None:
    source = """
        import asyncio
        from dotrain import experiment

        async def cell():
            return experiment.lagom(lambda: 0.5, cluster={'kind': 'local', 'workers': 1})

        print("BEST", asyncio.run(cell()).best["value"])
    """
    assert "BEST 0.5" in script(project, source)
