"""Maggy's optimizers: its own by dotrain's names, and those that users write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from dotrain.core import policy
from dotrain.core.observer import Observer, RunView
from dotrain.core.trial import Trial as Own
from dotrain.errors import UsageError
from dotrain.maggy.searchspace import Searchspace
from dotrain.maggy.trial import Trial, Trials


def _built_in(name: str, **said: Any) -> dict[str, Any]:
    if not said:
        return {"name": name}
    if said.pop("pruner", None) != "hyperband" or said.keys() - {"pruner_kwargs"} or name == "gp":
        raise UsageError(f"{name}: of Maggy's options pruner='hyperband' is there, and not for gp")
    keys = {"min_budget": "resource_min", "max_budget": "resource_max", "eta": "reduction_factor"}
    # Not `n_iterations`: there are always all brackets.
    given = {keys[k]: v for k, v in (said.get("pruner_kwargs") or {}).items() if k in keys}
    return {"name": "bohb" if name == "tpe" else "hyperband", **given}


def Asha(reduction_factor: int = 2, resource_min: int = 1, resource_max: int = 4) -> dict[str, Any]:
    """Return dotrain's ASHA, with Maggy's defaults."""
    more = {"resource_min": resource_min, "resource_max": resource_max}
    return {"name": "asha", "reduction_factor": reduction_factor, **more}


RandomSearch, TPE, GP = (partial(_built_in, name) for name in ("random", "tpe", "gp"))
GridSearch: partial[dict[str, Any]] = partial(dict, name="grid")
SingleRun: partial[dict[str, Any]] = partial(dict, name="single")
BY_NAME: dict[str, Callable[[], dict[str, Any]]] = {
    **{"randomsearch": RandomSearch, "gridsearch": GridSearch, "asha": Asha, "tpe": TPE, "gp": GP},
    "none": SingleRun,
}


class AbstractOptimizer(ABC):
    """An optimizer of the user's; attributes as Maggy sets them."""

    searchspace: Searchspace
    num_trials: int
    direction: str
    trial_store: dict[str, Trial]
    final_store: list[Trial]
    logged: list[str]

    @abstractmethod
    def initialize(self) -> None:
        """Get ready."""

    @abstractmethod
    def get_suggestion(self, trial: Any = None) -> Any:
        """Return a `Trial`, ``"IDLE"`` to be asked again when a trial has ended, or None when nothing is left."""

    @abstractmethod
    def finalize_experiment(self, trials: Any) -> None:
        """Receive the ended trials."""

    def create_trial(
        self,
        hparams: dict[str, Any],
        sample_type: str = "random",
        run_budget: int = 0,
        model_budget: Any = None,
    ) -> Trial:
        """Return a trial to suggest; with a `run_budget` that is a hyperparameter ``budget``."""
        known = {"run_budget": run_budget, "sample_type": sample_type, "model_budget": model_budget}
        budget = {"budget": run_budget} if run_budget > 0 else {}
        return Trial(
            {**hparams, **budget}, info_dict={k: v for k, v in known.items() if v is not None}
        )

    def _log(self, msg: Any) -> None:
        self.logged.append(str(msg))


class Log(Observer):
    """Writes what an optimizer of the user's logs to ``optimizer.log`` in the run directory."""

    def __init__(self, own: AbstractOptimizer) -> None:
        self.own = own

    def start(self, run: RunView) -> None:
        """Begin it anew: a run that goes on decides all again."""
        self._file = run.run_dir / "optimizer.log"
        self._file.write_text("", encoding="utf-8")

    def on_event(self, *_: Any) -> None:
        """Write what is new."""
        with self._file.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in self.own.logged)
        self.own.logged.clear()

    def close(self) -> None:
        """Write the rest."""
        self.on_event()


class UsersOptimizer(policy.AbstractOptimizer):
    """Asks an optimizer of the user's."""

    needs_num_trials: ClassVar[bool] = False

    def __init__(self, log: Log, space: Searchspace, num_trials: int, trials: Trials) -> None:
        self._own, self._log, self._trials = log.own, log, trials
        own = log.own
        own.searchspace, own.num_trials, own.logged = space, num_trials, []

    def initialize(self) -> None:
        """Begin with no trial."""
        own = self._own
        own.direction, own.searchspace.rng = self.direction, self.rng
        own.trial_store, own.final_store = {}, []
        own.initialize()

    def get_suggestion(self, trial: Own | None = None) -> policy.Suggestion:
        """Tell it of a trial that has ended, and ask it."""
        told = None
        if trial is not None and (ended := self._trials[trial]):
            self._own.trial_store.pop(ended.trial_id, None)
            if trial.final_metric is not None:  # Maggy knows of no trial that fails
                self._own.final_store.append(told := ended)
        answer = self._own.get_suggestion(told)
        if answer is None:
            return None
        if isinstance(answer, str) and answer == "IDLE":
            return policy.WAIT
        if not isinstance(answer, Trial):
            raise TypeError(f"expected a Trial, 'IDLE' or None, got {answer!r}")
        self._trials[answer.own] = self._own.trial_store[answer.trial_id] = answer
        return answer.own

    def finalize_experiment(self, trials: Sequence[Own]) -> None:
        """Hand over those that have ended with a value, also since it had nothing left."""
        ended = [self._trials[one] for one in trials if one.final_metric is not None]
        known = self._own.final_store
        known += [one for one in ended if one not in known]
        self._own.finalize_experiment(known)
        self._log.on_event()
