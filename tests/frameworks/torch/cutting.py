"""What the tests of leaving layers out of PyTorch modules share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dotrain.ablation.layers import Surgery, SurgeryError
from dotrain.frameworks.torch.framework import Torch
from tests.late import Late

torch, nn = Late("torch"), Late("torch.nn")
nets = Late("tests.frameworks.torch.nets")

WAY_OUT = re.compile(
    r"write a variant|components:|leave out|leave that out|example_input_array|name the layers|"
    r"model_gen\.create\(\)|run the model once|which one\?|did you mean|known: "
)
FRAMEWORK = Torch()
ROWS = np.random.default_rng(0).random((8, 6), "float32")


def without(model: Any, *names: str, rows: Any = ROWS) -> Surgery:
    """Leave layers out; the batch has labels beside the rows."""
    given = None if rows is None else lambda: rows if isinstance(rows, dict) else (rows, 0)
    return FRAMEWORK.without_layers(model, list(names), given)


def refusal(model: Any, *names: str, rows: Any = ROWS) -> str:
    with pytest.raises(SurgeryError) as refused:
        without(model, *names, rows=rows)
    text = str(refused.value)
    assert "\n" not in text
    assert WAY_OUT.search(text), text
    return text


def net(forward: Callable[..., Any], **layers: Any) -> Any:
    """A module with layers and code of one's own; the code gets the module and the arguments."""

    class Net(nn.Module):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return forward(self, *args, **kwargs)

    model = Net()
    for name, layer in layers.items():
        setattr(model, name, layer)
    return model


def stack(*layers: Any) -> Any:
    return nn.Sequential(*layers)


def train_one_step(model: Any, x: Any) -> Any:
    model.train()
    output = model(x)
    output.square().mean().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    return output
