"""The policies of a run, and the scheduler that asks them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from dotrain.core.asking import calling
from dotrain.core.criteria import Criteria
from dotrain.core.limits import Limits
from dotrain.core.repeats import Repeats
from dotrain.core.scheduler import Scheduler
from dotrain.runs.definition import Experiment
from dotrain.runs.warm_start import earlier_of
from dotrain.space import Searchspace
from dotrain.store import VERSION, code_of, counts_from_one, marks_of


def make_scheduler(
    experiment: Experiment, header: Mapping[str, Any], began_in: Searchspace | None = None
) -> Scheduler:
    """Return a scheduler as the run began with it.

    Args:
        experiment: What is run; its policies are initialized.
        header: The journal's first record.
        began_in: The space that the run began with, if the experiment has another one.
    """
    if began_in is not None:
        experiment.optimizer.setup(
            began_in, header["num_trials"], experiment.direction, experiment.seed
        )
    experiment.optimizer.num_trials = header["num_trials"]
    experiment.optimizer.earlier = earlier_of(header)
    search = header["config"].get("search") or {}
    experiment.optimizer.first = deque(search.get("try_first") or ())
    # Version 1 of the journal may hold configurations that were drawn twice.
    experiment.optimizer.tries_once = header.get("version", VERSION) > 1
    for policy in (experiment.optimizer, experiment.early_stop):
        with calling(policy):
            policy.initialize()
    return Scheduler(
        experiment.optimizer,
        experiment.early_stop,
        direction=experiment.direction,
        seed=experiment.seed,
        limits=Limits.of(header["limits"]),
        slots_per_trial=header.get("slots_per_trial", 1),
        code=code_of(header),
        marks=marks_of(header),
        counts_from_one=counts_from_one(header),
        criteria=Criteria.of(header),
        repeats=Repeats.of(header),
    )
