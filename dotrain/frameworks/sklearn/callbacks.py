"""Helpers for scikit-learn: an estimator that is fitted step by step, and folds as steps."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sklearn  # noqa: F401  (whoever uses these has it)

from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadReport, BadSetup
from dotrain.training.numbers import as_number
from dotrain.training.reporter import Reporter


class SklearnSteps:
    """Go through the steps of an estimator that is fitted step by step.

    By ``partial_fit``, or by ``fit`` with ``warm_start=True`` and more iterations or trees each
    time. What is reported in a step is saved before; a step without a report is saved at its end.

    Example:
        >>> steps = SklearnSteps(SGDClassifier(alpha=alpha), budget, reporter, checkpoint)
        >>> for step in steps:
        ...     steps.estimator.partial_fit(x, y, classes=classes)
        ...     steps.report(steps.estimator.score(x_val, y_val))

    Attributes:
        estimator: The one to fit: that of the newest checkpoint, if there is one. Hyperparameters
            in which the given one differs from what the checkpoint's was given are set in it.
    """

    FILE = "estimator.pickle"

    def __init__(
        self, estimator: Any, steps: float, reporter: Reporter, checkpoint: Checkpoint
    ) -> None:
        """Restore the newest checkpoint, if there is one.

        Args:
            estimator: A new one, with this trial's hyperparameters.
            steps: How many are done when all are: the ``budget``.
            reporter: The train function's ``reporter``.
            checkpoint: The train function's ``checkpoint``.
        """
        self._steps = int(steps)
        self._reporter = reporter
        self._checkpoint = checkpoint
        self._given = _simple(estimator)
        self._step = self._saved = checkpoint.step
        self.estimator = estimator
        if (latest := checkpoint.latest) is not None:
            self.estimator, given = pickle.loads((latest / self.FILE).read_bytes())
            changed = {name: v for name, v in self._given.items() if given.get(name, v) != v}
            if changed:
                self.estimator.set_params(**changed)
        self._before = pickle.dumps((self.estimator, self._given))

    def __iter__(self) -> Iterator[int]:
        """Yield the steps that are left, from 0.

        Raises:
            BadSetup: If a step leaves the estimator as it was.
        """
        if self._step:
            self._checkpoint.restore_random_state()
        while self._step < self._steps:
            yield self._step
            self._save()
            self._step += 1

    def report(self, metric: Any) -> None:
        """Save the step, then report it.

        Args:
            metric: As of `Reporter.broadcast`.

        Raises:
            EarlyStop: If the trial is to stop.
            BadReport: If `metric` is no report.
            BadSetup: If the step has left the estimator as it was.
        """
        self._save()
        self._reporter.broadcast(metric, self._step)

    def _save(self) -> None:
        if self._saved > self._step:
            return
        now = pickle.dumps((self.estimator, self._given))
        if now == self._before:
            raise BadSetup(
                "the step has left `steps.estimator` as it was: that is the one to fit, since it goes on from "
                "the checkpoint, and another estimator begins anew"
            )
        with self._checkpoint.save(step=self._step + 1) as directory:
            (directory / self.FILE).write_bytes(now)
        self._saved, self._before = self._step + 1, now


def _simple(estimator: Any) -> dict[str, Any]:
    """Return the hyperparameters of an estimator, and of those in it, that are plain values."""
    params = estimator.get_params(deep=True)
    plain = bool | int | float | str | None
    return {name: value for name, value in params.items() if isinstance(value, plain)}


class SklearnFolds:
    """Go through the folds of a cross-validation; what is reported is the mean of those so far.

    Folds that the checkpoint holds the scores of aren't trained again.

    Example:
        >>> folds = SklearnFolds(KFold(5).split(x), reporter, checkpoint)
        >>> for train, test in folds:
        ...     model = make_model().fit(x[train], y[train])
        ...     folds.report(model.score(x[test], y[test]))

    Attributes:
        scores: What was reported of each fold so far: dicts, if it was a dict.
    """

    FILE = "scores.json"

    def __init__(
        self, splits: Iterable[tuple[Any, Any]], reporter: Reporter, checkpoint: Checkpoint
    ) -> None:
        """Restore the newest checkpoint, if there is one.

        Args:
            splits: What a splitter's ``split`` returns: rows to train and to test on, for each fold.
            reporter: The train function's ``reporter``.
            checkpoint: The train function's ``checkpoint``.

        Raises:
            BadSetup: If these are no folds, or not those of the attempt before.
        """
        if hasattr(splits, "split"):
            name = type(splits).__name__
            raise BadSetup(
                f"SklearnFolds takes what a splitter's split() returns, not the splitter: SklearnFolds({name}(...).split(x, y), ...)"
            )
        try:
            self._splits = [(np.asarray(train), np.asarray(test)) for train, test in splits]
        except (TypeError, ValueError):
            raise BadSetup(
                "SklearnFolds takes folds, pairs of rows to train on and rows to test on, as KFold(5).split(x) gives them; "
                f"got {type(splits).__name__}"
            ) from None
        self._reporter = reporter
        self._checkpoint = checkpoint
        self.scores: list[Any] = []
        self._digests = [_digest(*split) for split in self._splits]
        if (latest := checkpoint.latest) is not None:
            saved = json.loads((latest / self.FILE).read_text(encoding="utf-8"))
            if saved["folds"] != self._digests[: len(saved["folds"])]:
                raise BadSetup(
                    "the folds aren't those of the attempt before, whose scores the checkpoint "
                    "holds: give the splitter a random_state, as KFold(5, shuffle=True, "
                    "random_state=seed)"
                )
            self.scores = saved["scores"]

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield the folds that are left: rows to train on, rows to test on.

        Raises:
            BadSetup: If the scores so far are another configuration's.
            BadReport: If a fold ends without `report`.
        """
        if self.scores and not self._checkpoint.restore_random_state():
            raise BadSetup(
                "the checkpoint holds another trial's scores of folds, as with optimizer: pbt; a "
                "cross-validation can't go on from another configuration's"
            )
        for index in range(len(self.scores), len(self._splits)):
            yield self._splits[index]
            if len(self.scores) == index:
                raise BadReport(f"fold {index} has ended without report(score)")

    def report(self, score: Any) -> None:
        """Save a fold's score, then report the mean of all so far; the step is the fold, from 0.

        Args:
            score: A number, or a dict of numbers that holds the config's metric.

        Raises:
            EarlyStop: If the trial is to stop.
            BadReport: If `score` is no report.
        """
        is_dict = isinstance(score, Mapping)
        known = {k: as_number(v) for k, v in (score if is_dict else {"": score}).items()}
        numbers = {name: value for name, value in known.items() if value is not None}
        if not is_dict and not numbers:
            self._reporter.broadcast(score)  # says what is wrong with it
        self.scores.append(numbers if is_dict else numbers[""])
        if all(map(math.isfinite, numbers.values())):
            self._save()
        self._reporter.broadcast(self.mean, len(self.scores) - 1)

    @property
    def mean(self) -> Any:
        """The mean of the scores so far; of dicts, of each number that all of them have."""
        if isinstance(self.scores[0], dict):
            shared = set.intersection(*map(set, self.scores))
            names = [name for name in self.scores[0] if name in shared]
            return {n: sum(one[n] for one in self.scores) / len(self.scores) for n in names}
        return sum(self.scores) / len(self.scores)

    def _save(self) -> None:
        text = json.dumps({"folds": self._digests[: len(self.scores)], "scores": self.scores})
        with self._checkpoint.save(step=len(self.scores)) as directory:
            Path(directory / self.FILE).write_text(text, encoding="utf-8")


def _digest(*rows: Any) -> str:
    """Return by what a fold is told: the rows to train and to test on."""
    digest = hashlib.sha256()
    for part in rows:
        digest.update(f"{part.dtype} {part.shape} ".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
