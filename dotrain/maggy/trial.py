"""Maggy's `Trial`, around dotrain's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from dotrain.core.trial import Trial as Own
from dotrain.core.trial import TrialState
from dotrain.errors import UsageError


class Trial:
    """A configuration, and what is known of it now; `own` is dotrain's."""

    PENDING, SCHEDULED, RUNNING = "PENDING", "SCHEDULED", "RUNNING"
    ERROR, FINALIZED = "ERROR", "FINALIZED"

    def __init__(
        self,
        params: Any,
        trial_type: str = "optimization",
        info_dict: Any = None,
        *,
        own: Own | None = None,
    ) -> None:
        if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
            raise UsageError(f"Trial: expected hyperparameters by their names, got {params!r}")
        self.params, self.trial_type, self.info_dict = params, trial_type, info_dict or {}
        plain = {name: value for name, value in params.items() if not callable(value)}
        text = json.dumps(plain, sort_keys=True, default=str).encode()
        self.trial_id = hashlib.md5(text, usedforsecurity=False).hexdigest()[:16]
        values = {name: value for name, value in plain.items() if name != "budget"}
        self.own = own or Own(values, budget=params.get("budget"))

    #: The values so far, and their steps.
    metric_history = property(lambda self: [*self.own.metric_history])
    step_history = property(lambda self: [*self.own.step_history])
    metric_dict = property(
        lambda self: dict(zip(self.step_history, self.metric_history, strict=True))
    )
    #: Its value, once it has ended with one.
    final_metric = property(lambda self: self.own.final_metric)
    early_stop = property(lambda self: self.own.state in (TrialState.STOPPING, TrialState.STOPPED))
    #: Milliseconds in the train function, over all attempts that have ended.
    duration = property(lambda self: round(self.own.busy_s * 1000))

    @property
    def status(self) -> str:
        """One of Maggy's five words."""
        state = self.own.state
        if state in (TrialState.RUNNING, TrialState.STOPPING):
            return self.RUNNING
        if state.ended:
            return self.ERROR if self.final_metric is None else self.FINALIZED
        return self.SCHEDULED if self.own.trial_id else self.PENDING

    def to_json(self) -> str:
        """Return what is told of it, as text."""
        names = "trial_type trial_id params status early_stop final_metric step_history duration info_dict"
        told = {name: getattr(self, name) for name in names.split()}
        more = {"__class__": "Trial", "metric_history": self.metric_history}
        return json.dumps({**more, **told}, default=str)


class Trials(dict[Own, Trial]):
    """Maggy's trials of a run by dotrain's, the same for its optimizer and its rule."""

    def __missing__(self, own: Own) -> Trial:
        budget = {} if own.budget is None else {"budget": own.budget}
        return self.setdefault(own, Trial({**own.params, **budget}, own=own))
