"""Every registered strategy keeps the contract; the registry itself is the list of cases."""

from __future__ import annotations

import pytest

from dotrain import plugins
from dotrain.testing import check_strategy

#: What a strategy must be given; the rest of its options have defaults.
OPTIONS: dict[str, dict[str, int]] = {
    name: {"workers": 3} for name in ("multi_worker_mirrored", "ddp", "fsdp")
}


@pytest.mark.filterwarnings("default")  # TensorFlow's own
@pytest.mark.parametrize("name", sorted(plugins.registered(plugins.STRATEGIES)))
def test_every_strategy_keeps_the_contract(name: str) -> None:
    strategy = plugins.load_plugin(plugins.STRATEGIES, name)
    check_strategy(lambda: strategy(**OPTIONS.get(name, {})))
