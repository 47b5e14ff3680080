"""Keras callbacks that report to the search and keep checkpoints; importing this imports Keras."""

from dotrain.frameworks.keras.callbacks import KerasBatchEnd, KerasCheckpoint, KerasEpochEnd

__all__ = ["KerasBatchEnd", "KerasCheckpoint", "KerasEpochEnd"]


def __dir__() -> list[str]:
    return __all__
