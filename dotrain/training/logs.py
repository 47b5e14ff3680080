"""Reporting what a framework has logged, for its callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dotrain.training.errors import BadReport
from dotrain.training.reporter import Reporter

#: What frameworks themselves call the rows that they train on.
_TRAINED_ON = {"learn", "training"}


def report_logs(
    reporter: Reporter,
    logs: Mapping[str, Any],
    metric: str,
    step: int | None,
    whose: str,
    hint: str = "",
) -> None:
    """Report all that was logged, with one of it under the name of the config's metric.

    Args:
        reporter: The trial's.
        logs: Numbers by name; what is no number is left out.
        metric: Which of them is the search's metric.
        step: As of `Reporter.broadcast`.
        whose: Whose logs they are, for the message.
        hint: What to do if they don't hold `metric`.

    Raises:
        BadReport: If `logs` doesn't hold `metric`, or as for `Reporter.broadcast`.
        EarlyStop: If the trial is to stop.
    """
    if metric not in logs:
        held = ", ".join(map(str, logs)) or "nothing"
        raise BadReport(f"{whose} have no '{metric}'; they hold {held}{hint}")
    reporter.broadcast({**logs, reporter.metric: logs[metric]}, step)


def find_metric(
    results: Mapping[str, Mapping[str, Any]], metric: str
) -> tuple[dict[str, Any], str]:
    """Find a metric among the results on several data sets.

    Args:
        results: By data set, by metric; in the order of evaluation.
        metric: ``data-metric``, or a metric alone, if one data set has it besides the rows to train on where
            the framework calls these so.

    Returns:
        All results by ``data-metric``, and the name of the one that is meant; `metric` itself if
        there is none.

    Raises:
        BadReport: If several data sets have it: the last one may be what is trained on.
    """
    logs = {f"{data}-{name}": v for data, scores in results.items() for name, v in scores.items()}
    if metric in logs:
        return logs, metric
    having = [data for data, scores in results.items() if metric in scores]
    having = [data for data in having if data not in _TRAINED_ON] or having
    if len(having) > 1:
        named = [f"{data}-{metric}" for data in having]
        raise BadReport(
            f"several data sets have '{metric}': say which one counts, as the callback's second argument: "
            f"{' or '.join(map(repr, named))}"
        )
    return logs, f"{having[0]}-{metric}" if having else metric
