"""What an ask of a model costs, by how many trials it knows: in processor time, which a busy machine changes least."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from random import Random

from dotrain import plugins
from dotrain.core.sampling import Outcome, Question
from dotrain.core.trial import TrialState
from dotrain.optimizers.model_based import ModelSearch
from dotrain.space import Categorical, Float, Int, Searchspace

#: Optimizers that are asked; a new sampler is a word here.
ASKED = ("tpe", "gp")
_TRIALS = (100, 1_000, 10_000)
_ASKS = 5
#: Five parameters of all kinds.
_SPACE = Searchspace(
    lr=Float(range=(1e-5, 1e-1), scale="log"),
    momentum=Float(range=(0.0, 1.0)),
    units=Int(range=(16, 1024), scale="log"),
    layers=Int(range=(1, 6)),
    activation=Categorical(values=["relu", "tanh", "gelu"]),
)


def ask_costs() -> dict[str, dict[int, float]]:
    """Return the median processor time of an ask in milliseconds, by optimizer and known trials."""
    return {name: {trials: _cost_ms(name, trials) for trials in _TRIALS} for name in ASKED}


def _cost_ms(name: str, trials: int) -> float:
    optimizer = plugins.load_plugin(plugins.OPTIMIZERS, name)()
    assert isinstance(optimizer, ModelSearch)
    sampler, rng = optimizer.sampler, Random(0)
    sampler.begin(_SPACE, 0)
    costs: list[float] = []
    for number in range(trials + _ASKS):
        params = _SPACE.sample(rng)
        if number >= trials:
            began_s = time.process_time()
            params = sampler.propose(Question(number - trials, number, number))
            costs.append((time.process_time() - began_s) * 1e3)
        sampler.learn_trial(number, params)
        score = -abs(params["momentum"] - 0.3) + rng.gauss(0.0, 0.1)
        sampler.learn_outcome(Outcome(number, TrialState.FINISHED, None, score, 1))
    return statistics.median(costs[1:])  # the first shows the model all trials


def asks_table(costs: dict[str, dict[int, float]]) -> Sequence[str]:
    """Return the lines of a table of Markdown."""
    head = ["ms of a processor for an ask, at trials", *(f"{one:,}" for one in _TRIALS)]
    rows = [[name, *(f"{cost:.0f}" for cost in of.values())] for name, of in costs.items()]
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)]
