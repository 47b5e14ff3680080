"""For authors of plugins: contract kits to run on a plugin of one's own, and a simulation.

Each kit raises `AssertionError` with what is wrong. Those of samplers, strategies, executors, observers and
frameworks are provisional: until the first release they may still change. In a test::

    from dotrain.testing import check_early_stop, check_optimizer

    def test_contract():
        check_optimizer(lambda: MyOptimizer(option=3))
"""

from dotrain.testing.ablators import check_ablator
from dotrain.testing.contracts import check_optimizer, check_sampler, check_strategy
from dotrain.testing.executors import check_executor
from dotrain.testing.frameworks import check_framework
from dotrain.testing.observers import check_observer
from dotrain.testing.rules import check_early_stop
from dotrain.testing.simulation import Simulation, simulate

__all__ = [
    "Simulation",
    "check_ablator",
    "check_early_stop",
    "check_executor",
    "check_framework",
    "check_observer",
    "check_optimizer",
    "check_sampler",
    "check_strategy",
    "simulate",
]


def __dir__() -> list[str]:
    return __all__
