"""Maggy's two callbacks: dotrain's, with Maggy's metrics where none is named. This needs Keras when one is made."""

from __future__ import annotations

from typing import Any

from dotrain import callbacks


def KerasBatchEnd(reporter: Any, metric: str = "loss") -> Any:
    """Report after each batch."""
    return callbacks.KerasBatchEnd(reporter, metric)


def KerasEpochEnd(reporter: Any, metric: str = "val_loss") -> Any:
    """Report after each epoch."""
    return callbacks.KerasEpochEnd(reporter, metric)
