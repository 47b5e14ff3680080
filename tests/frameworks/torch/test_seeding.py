"""PyTorch's generators, seeded in whichever way its build allows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dotrain.frameworks.torch.framework import Torch
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
