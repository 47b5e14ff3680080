"""For authors of plugins: contract kits to run on a plugin of one's own, and a simulation.

Each kit raises `AssertionError` with what is wrong; `check_executor` is provisional. In a test::

    from dotrain.testing import check_early_stop, check_optimizer

    def test_contract():
        check_optimizer(lambda: MyOptimizer(option=3))
"""

from dotrain.testing.contracts import check_early_stop, check_optimizer, check_strategy
from dotrain.testing.executors import check_executor
from dotrain.testing.frameworks import check_framework
from dotrain.testing.simulation import Simulation, simulate

__all__ = [
    "Simulation",
    "check_early_stop",
    "check_executor",
    "check_framework",
    "check_optimizer",
    "check_strategy",
    "simulate",
]
