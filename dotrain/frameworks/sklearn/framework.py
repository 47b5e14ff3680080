"""scikit-learn, as the rest of dotrain sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from dotrain.frameworks.base import AbstractFramework


@final
class Sklearn(AbstractFramework):
    """scikit-learn, which draws from NumPy's global generator, and takes arrays as they are."""

    packages: ClassVar[tuple[str, ...]] = ("sklearn",)
    distributions: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    def threads(self, count: int) -> Mapping[str, str]:
        """Limit joblib, which counts cores where it is told ``n_jobs=-1``."""
        return {"LOKY_MAX_CPU_COUNT": str(count)}

    def seed(self, seed: int) -> None:
        """Do nothing: NumPy's generator is seeded without it."""
