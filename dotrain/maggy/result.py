"""What Maggy's `lagom` returns."""

from __future__ import annotations

from typing import Any

from dotrain.core.trial import Trial, TrialState
from dotrain.runs.result import Result as Found


class Result(dict[str, Any]):
    """Maggy's keys; `found` is dotrain's result, which shows itself in a notebook."""

    def __init__(self, found: Found) -> None:
        self.found = found
        trials = [one for one in found.trials if one.may_win]
        ranked = sorted(trials, key=_value, reverse=found.found.direction == "max")
        best = next(
            (t for t in ranked if t.trial_id == (found.best or {}).get("trial_id")), ranked[0]
        )
        values = [*map(_value, trials)]
        super().__init__(
            **{
                "best_id": best.trial_id,
                "best_val": best.final_metric,
                "best_config": _config(best),
            },
            **{"worst_id": ranked[-1].trial_id, "worst_val": ranked[-1].final_metric},
            **{"worst_config": _config(ranked[-1]), "avg": sum(values) / len(values)},
            **{"metric_list": values, "num_trials": len(trials)},
            early_stopped=sum(one.state is TrialState.STOPPED for one in trials),
            **{"num_epochs": len(trials[0].metric_history), "trial_id": trials[0].trial_id},
        )
        if not found.found.domains(found.found.header):
            self["test result"] = best.final_metric

    def _repr_html_(self) -> str:
        return self.found._repr_html_()


def _value(trial: Trial) -> float:
    assert trial.final_metric is not None
    return trial.final_metric


def _config(trial: Trial) -> dict[str, Any]:
    if trial.arm is None:
        return {**trial.params, **({} if trial.budget is None else {"budget": trial.budget})}
    left_out = [name.split(":", 1) for name in trial.arm.name.split("+") if ":" in name]
    columns = [what for kind, what in left_out if kind == "feature"]
    layers = [what for kind, what in left_out if kind != "feature"]
    return {
        "ablated_feature": ", ".join(columns) or "None",
        "ablated_layer": ", ".join(layers) or "None",
    }
