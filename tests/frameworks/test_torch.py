"""PyTorch's generators, seeded in whichever way its build allows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dotrain.frameworks.torch.framework import Torch
from dotrain.training.numbers import as_number
from tests.late import needs_torch

pytestmark = needs_torch


@pytest.mark.parametrize("accelerator", [None, "cuda"])
def test_a_seed_is_that_of_manual_seed(
    monkeypatch: pytest.MonkeyPatch, accelerator: str | None
) -> None:
    import torch

    told: list[int] = []
    build = SimpleNamespace(current_accelerator=lambda: accelerator)
    monkeypatch.setattr(torch, "accelerator", build)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", told.append)
    torch.manual_seed(11)
    expected = torch.rand(5).tolist()
    told.clear()
    Torch().seed(11)
    assert torch.rand(5).tolist() == expected
    assert told == ([] if accelerator is None else [11])


def test_a_tensor_of_one_number_is_one_quietly_whether_it_has_a_gradient_or_not() -> None:
    import torch

    weight = torch.nn.Parameter(torch.tensor(2.0))
    for value in (weight, weight * 1, weight.reshape(1) * 1, torch.tensor(2), weight.bfloat16()):
        assert as_number(value) == 2.0  # a warning would be an error here
    nothing = (torch.tensor(True), torch.tensor(1j), torch.ones(2), torch.empty((), device="meta"))
    assert [as_number(value) for value in nothing] == [None] * 4
