"""Models that propose configurations. The interface is `dotrain.core.sampling.AbstractSampler`.

Each imports its library when it is asked: in a process of its own, and never in the driver's.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dotrain.core.sampling import AbstractSampler

#: Where each is, by name.
_PLACES = {
    "tpe": "tpe:TPESampler",
    "cmaes": "cmaes:CMAESSampler",
    "gp": "gp:GPSampler",
    "qmc": "qmc:QMCSampler",
}


#: The names of all.
NAMES = tuple(_PLACES)


def make_sampler(name: str, **options: Any) -> AbstractSampler:
    """Return a sampler of ours.

    Args:
        name: One of those that the optimizers offer.
        **options: Its own.
    """
    module, _, attribute = _PLACES[name].partition(":")
    sampler: AbstractSampler = getattr(import_module(f"{__name__}.{module}"), attribute)(**options)
    return sampler
