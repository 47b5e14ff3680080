"""Every test of this folder begins with the same state of PyTorch's generator."""

from __future__ import annotations

import pytest

from tests.frameworks.torch.cutting import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(1)
