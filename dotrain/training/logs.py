"""Reporting what a framework has logged, for its callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dotrain.training.errors import BadReport
from dotrain.training.reporter import Reporter


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
        metric: ``data-metric``, or a metric alone: that of the last data set that has it.

    Returns:
        All results by ``data-metric``, and the name of the one that is meant; `metric` itself if
        there is none.
    """
    logs = {f"{data}-{name}": v for data, scores in results.items() for name, v in scores.items()}
    if metric in logs:
        return logs, metric
    having = [data for data, scores in results.items() if metric in scores]
    return logs, f"{having[-1]}-{metric}" if having else metric
