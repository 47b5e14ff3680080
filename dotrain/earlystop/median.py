"""The median stopping rule."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from dotrain.earlystop.percentile import PercentileStop


class MedianStop(PercentileStop):
    """Stop a trial whose best value so far is worse than the median of the others' averages.

    It is `PercentileStop` with percentile 50, which see.

    Source: Golovin, Solnik, Moitra, Kochanski, Karro and Sculley, "Google Vizier: A Service for
    Black-Box Optimization", KDD 2017, section 3.2.1.

    Args:
        min_trials: Trials that must have a value at the step before any is stopped (>= 1).
        min_reports: Reports a trial may make before it can be stopped (>= 0).
    """

    def __init__(
        self,
        *,
        min_trials: Annotated[int, Ge(1)] = 5,
        min_reports: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(percentile=50.0, min_trials=min_trials, min_reports=min_reports)
        self._bar_text = "median {:.4g}"
