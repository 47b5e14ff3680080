"""A train function of Maggy's, called in dotrain's way: what it asks for, reports and returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any

from dotrain.config.direction import judge
from dotrain.core.policy import Direction
from dotrain.maggy import tensorboard
from dotrain.maggy.sets import Sets
from dotrain.space import Searchspace
from dotrain.training.errors import BadSetup
from dotrain.training.evaluated import with_names


def made(make: Callable[[], Any]) -> Any:
    """Make a model that the train function asks for; ``model_gen`` calls it."""
    return make()


class Reporter:
    """The trial's reporter, with Maggy's words."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["own"], name)

    def log(self, log_msg: Any, jupyter: bool = False) -> None:
        """Write a line to the trial's log."""
        self.own.log(log_msg)


@dataclass(frozen=True)
class Metric:
    """What of a returned list or dict is the value; `direction` is None where nothing is searched."""

    key: str
    is_said: bool
    direction: Direction | None

    def of(self, returned: Any) -> Any:
        """Return it by its key; if that isn't said, the first of several as Maggy did, unless it can't be meant."""
        if self.direction is None and isinstance(returned, list | tuple) and returned:
            return returned[0]
        if (
            not isinstance(returned, Mapping)
            or self.key in returned
            or self.is_said
            or not returned
        ):
            return returned
        first = str(next(iter(returned)))
        if self.direction and judge(first, self.direction).warning:
            raise BadSetup(
                f"returned {', '.join(map(str, returned))}: Maggy takes the first, and '{first}' isn't to be "
                f"searched for its {self.direction}: say which is meant, as optimization_key"
            )
        return {self.key: returned[first], **returned}


class Called:
    """A function with the models and the data of its configuration; `ranks` says which of dotrain's its ranks take.

    With `any_budget` nobody knows beforehand whether there is a budget, for which the function then has to ask.
    """

    def __init__(
        self,
        function: Any,
        models: Mapping[str, Any],
        sets: Sets,
        metric: Metric,
        ranks: frozenset[str],
        *,
        any_budget: bool,
    ) -> None:
        update_wrapper(self, function)
        asked = inspect.signature(function).parameters
        own = [p for name, p in asked.items() if name not in {*models, *sets.given}]
        self._function, self._names, self._metric = function, {p.name for p in own}, metric
        self._models = {name: one for name, one in models.items() if name in asked}
        self._sets, self._wanted = sets, [name for name in sets.given if name in asked]
        self._ranks = ranks
        ours = {"reporter", "trial_dir", *ranks, *(["model_gen"] if self._models else [])}
        keyword = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
        added = [keyword(name) for name in sorted(ours - self._names)]
        if "budget" not in self._names and (any_budget or "hparams" in self._names):
            added.append(keyword("budget", default=None))
        first = [p for p in own if p.kind is not p.VAR_KEYWORD]
        self._rest = [p for p in own if p.kind is p.VAR_KEYWORD]
        vars(self)["__signature__"] = inspect.Signature([*first, *added, *self._rest])

    def __call__(self, **got: Any) -> Any:
        """Train."""
        tensorboard.register(str(got["trial_dir"]))
        reporter, built = got["reporter"], list[Any]()

        def build(cls: Any, *args: Any, **arguments: Any) -> Any:
            built[:] = [got["model_gen"].create(partial(cls, *args, **arguments))]
            return built[0]

        own = {
            k: v
            for k, v in got.items()
            if k in self._names or (self._rest and k not in Searchspace.RESERVED)
        }
        if "reporter" in own:
            own["reporter"] = Reporter(reporter)
        if (budget := got.get("budget")) is not None and "budget" not in own:
            if "hparams" not in own:
                raise BadSetup(
                    "the optimizer gives a budget: let the train function ask for 'budget'"
                )
            own["hparams"] = {**own["hparams"], "budget": budget}
        for name, one in self._models.items():
            many = isinstance(one, list | tuple)
            own[name] = [partial(build, cls) for cls in one] if many else partial(build, one)
        if not self._ranks:
            sets = self._sets.read() if self._wanted else {}
            returned = self._function(**own, **{name: sets[name] for name in self._wanted})
        else:
            with (strategy := got["dist_strategy"]()):
                sets = self._sets.dealt(strategy, got.get("data_gen"), got["hparams"])
                returned = self._function(**own, **{name: sets[name] for name in self._wanted})
        return self._metric.of(with_names(returned, (*built, reporter.trained)))
