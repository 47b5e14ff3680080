"""XGBoost, LightGBM and CatBoost, as the rest of dotrain sees them.

None has a global generator: each training draws by a seed of its own parameters, which without one is
always the same. XGBoost and LightGBM take as many threads as OMP_NUM_THREADS says; for CatBoost, which
takes all cores, no variable says how many: `CatBoostCheckpoint.params` does.
"""

from __future__ import annotations

from typing import ClassVar, final

from dotrain.frameworks.base import AbstractFramework


class _Boosting(AbstractFramework):
    """What the three have in common."""

    def seed(self, seed: int) -> None:
        """Do nothing: there is no global generator."""


@final
class XGBoost(_Boosting):
    """XGBoost."""

    packages: ClassVar[tuple[str, ...]] = ("xgboost",)
    #: By the build: of the smaller one, too.
    distributions: ClassVar[tuple[str, ...]] = ("xgboost", "xgboost-cpu")


@final
class LightGBM(_Boosting):
    """LightGBM."""

    packages: ClassVar[tuple[str, ...]] = ("lightgbm",)
    distributions: ClassVar[tuple[str, ...]] = ("lightgbm",)


@final
class CatBoost(_Boosting):
    """CatBoost."""

    packages: ClassVar[tuple[str, ...]] = ("catboost",)
    distributions: ClassVar[tuple[str, ...]] = ("catboost",)
