"""The hyperparameters of a search as charts need them: numbers or categories, linear or log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dotrain.core.trial import Trial
from dotrain.report.page.text import plain
from dotrain.space import expand_deck_form
from dotrain.space.values import is_number


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter that was searched.

    Attributes:
        name: Its name.
        categories: Its values as texts, in their order; empty for a number.
        log: Whether its scale is logarithmic.
        conditional: Whether some trials are without it.
    """

    name: str
    categories: tuple[str, ...] = ()
    log: bool = False
    conditional: bool = False

    def shown(self, value: Any) -> Any:
        """Return a value as a chart holds it."""
        return plain(value) if self.categories else value


def searched(config: Mapping[str, Any], trials: Sequence[Trial]) -> list[Parameter]:
    """Return the hyperparameters that differ between trials, in the order of the config.

    What the journal's config says of a domain is trusted only where the trials' values agree: an
    optimizer of the user's own may suggest anything.
    """
    space = (config.get("search") or {}).get("space") or {}
    names = [*space, *(name for trial in trials for name in trial.params)]
    found = (_parameter(name, space.get(name), trials) for name in dict.fromkeys(names))
    return [parameter for parameter in found if parameter is not None]


def _parameter(name: str, spec: Any, trials: Sequence[Trial]) -> Parameter | None:
    values = [trial.params[name] for trial in trials if name in trial.params]
    if len({plain(value) for value in values}) < 2:
        return None
    conditional = len(values) < len(trials)
    spec = _domain(spec)
    numbers = all(is_number(value) for value in values)
    if not numbers or spec.get("type") == "categorical":
        listed = [plain(value) for value in spec.get("values") or ()]
        categories = tuple(dict.fromkeys([*listed, *(plain(value) for value in values)]))
        return Parameter(name, categories, conditional=conditional)
    is_log = spec.get("scale") == "log" or spec.get("type") == "log_normal"
    log = is_log and min(values) > 0
    return Parameter(name, log=log, conditional=conditional)


def _domain(spec: Any) -> Mapping[str, Any]:
    """Return a domain's YAML form; of a run from Python the journal has its text only."""
    if isinstance(spec, str):
        kind = spec.partition("[")[0]
        return {"type": kind, "scale": "log" if spec.endswith(", log]") else "linear"}
    spec = expand_deck_form(spec)
    return spec if isinstance(spec, Mapping) else {}
