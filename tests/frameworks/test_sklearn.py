"""scikit-learn's helpers: whose hyperparameters an estimator has, and which folds are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotrain.callbacks import SklearnFolds, SklearnSteps
from dotrain.executors.environment import environment_of_attempts
from dotrain.executors.threads import share
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadReport, BadSetup

X = np.arange(24.0).reshape(12, 2) % 7
Y = np.arange(12) % 2


class Said:
    """A reporter that listens."""

    metric = "score"

    def __init__(self) -> None:
        self.reports: list[tuple[int | None, Any]] = []

    def broadcast(self, metric: Any, step: int | None = None) -> None:
        self.reports.append((step, metric))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            lambda: __import__("sklearn.model_selection").model_selection.KFold(3),
            r"not the splitter: SklearnFolds\(KFold\(",
        ),
        (lambda: 5, "takes folds, pairs of rows .*; got int"),
        (lambda: [1, 2], "takes folds, pairs of rows .*; got list"),
    ],
    ids=["a splitter", "a number", "rows"],
)
def test_what_is_no_folds_is_refused(checkpoint: Checkpoint, splits: Any, message: str) -> None:
    with pytest.raises(BadSetup, match=message):
        SklearnFolds(splits(), Said(), checkpoint)  # type: ignore[arg-type]


def steps_of(checkpoint: Checkpoint, steps: int, said: Said | None = None, **given: Any) -> Any:
    from sklearn.linear_model import SGDClassifier

    given = {"random_state": np.random.RandomState(0), **given}
    return SklearnSteps(SGDClassifier(**given), steps, said or Said(), checkpoint)  # type: ignore[arg-type]


def test_what_has_changed_of_the_hyperparameters_is_the_trials_own(checkpoint: Checkpoint) -> None:
    first = steps_of(checkpoint, 2, alpha=0.1, eta0=0.5)
    for _ in first:
        first.estimator.partial_fit(X, Y, classes=[0, 1])
    # By hand, while it was trained: no other hyperparameters were given since.
    first.estimator.set_params(eta0=0.25)
    drawn = first.estimator.random_state.get_state()[1].tolist()
    with checkpoint.save(step=3) as folder:
        import pickle

        (folder / SklearnSteps.FILE).write_bytes(pickle.dumps((first.estimator, first._given)))
    then = steps_of(checkpoint, 4, alpha=0.2, eta0=0.5)
    assert (then.estimator.alpha, then.estimator.eta0) == (0.2, 0.25)
    assert then.estimator.coef_.tolist() == first.estimator.coef_.tolist()
    assert then.estimator.random_state.get_state()[1].tolist() == drawn
    assert [step for step in then if then.estimator.partial_fit(X, Y)] == [3]


def test_a_step_is_saved_whether_it_is_reported_or_not(checkpoint: Checkpoint) -> None:
    said = Said()
    steps = steps_of(checkpoint, 3.0, said)
    for step in steps:
        steps.estimator.partial_fit(X, Y, classes=[0, 1])
        if step == 1:
            steps.report(0.5)
            assert checkpoint.step == 2
    assert (checkpoint.step, said.reports) == (3, [(1, 0.5)])


def folds_of(checkpoint: Checkpoint, said: Said, seed: int = 0, n: int = 3) -> SklearnFolds:
    from sklearn.model_selection import KFold

    splits = KFold(3, shuffle=True, random_state=seed).split(X)
    return SklearnFolds(list(splits)[:n], said, checkpoint)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", [0, 1])
def test_a_step_that_leaves_the_estimator_as_it_was_is_refused(
    checkpoint: Checkpoint, before: int
) -> None:
    first = steps_of(checkpoint, before)
    for _ in first:
        first.estimator.partial_fit(X, Y, classes=[0, 1])
    later = steps_of(checkpoint, 2)
    assert next(iter(later)) == before
    with pytest.raises(BadSetup, match=r"has left `steps\.estimator` as it was"):
        later.report(0.5)
    assert checkpoint.step == before


def test_folds_report_the_mean_so_far_and_go_on_where_they_are_the_same(
    checkpoint: Checkpoint,
) -> None:
    said = Said()
    for n, score in enumerate(folds := folds_of(checkpoint, said, n=2)):
        assert len(score[0]) == 8
        folds.report({"score": np.float32(n), "time_s": 2})
    rest = folds_of(checkpoint, said)
    for train, test in rest:
        assert sorted([*train, *test]) == list(range(12))
        rest.report({"score": 5.0})
    assert rest.scores == [
        {"score": 0.0, "time_s": 2.0},
        {"score": 1.0, "time_s": 2.0},
        {"score": 5.0},
    ]
    assert rest.mean == {"score": 2.0}
    assert [step for step, _ in said.reports] == [0, 1, 2]
    assert said.reports[1] == (1, {"score": 0.5, "time_s": 2.0})
    with pytest.raises(BadSetup, match="give the splitter a random_state"):
        folds_of(checkpoint, said, seed=1)


def test_a_fold_that_ends_without_a_score_is_an_error(checkpoint: Checkpoint) -> None:
    with pytest.raises(BadReport, match="fold 0 has ended without"):
        list(folds_of(checkpoint, Said()))


def test_joblib_counts_the_cores_of_a_slot() -> None:
    assert environment_of_attempts(share(4, 2))["LOKY_MAX_CPU_COUNT"] == "2"


def test_another_configurations_scores_are_refused(tmp_path: Path) -> None:
    """As with pbt: a mean over folds of two configurations is nobody's."""
    lender, borrower = (Checkpoint(tmp_path / "checkpoint", seed=seed) for seed in (1, 2))
    folds = folds_of(lender, Said(), n=1)
    for _ in folds:
        folds.report(0.5)
    assert len(list(folds_of(lender, Said(), n=1))) == 0
    with pytest.raises(BadSetup, match="another trial's scores"):
        list(folds_of(borrower, Said()))
