"""Callbacks and helpers by which a framework's own training reports, keeps checkpoints and goes on.

Each is imported, with its framework, when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `as`: for users' type checkers to take the name as exported
    from dotrain.frameworks.boosting.callbacks.catboost import (
        CatBoostCheckpoint as CatBoostCheckpoint,
    )
    from dotrain.frameworks.boosting.callbacks.catboost import CatBoostReport as CatBoostReport
    from dotrain.frameworks.boosting.callbacks.lightgbm import (
        LightGBMCheckpoint as LightGBMCheckpoint,
    )
    from dotrain.frameworks.boosting.callbacks.lightgbm import LightGBMReport as LightGBMReport
    from dotrain.frameworks.boosting.callbacks.xgboost import XGBoostCheckpoint as XGBoostCheckpoint
    from dotrain.frameworks.boosting.callbacks.xgboost import XGBoostReport as XGBoostReport
    from dotrain.frameworks.jax.checkpoint import JaxCheckpoint as JaxCheckpoint
    from dotrain.frameworks.keras.callbacks import KerasBatchEnd as KerasBatchEnd
    from dotrain.frameworks.keras.callbacks import KerasCheckpoint as KerasCheckpoint
    from dotrain.frameworks.keras.callbacks import KerasEpochEnd as KerasEpochEnd
    from dotrain.frameworks.sklearn.callbacks import SklearnFolds as SklearnFolds
    from dotrain.frameworks.sklearn.callbacks import SklearnSteps as SklearnSteps
    from dotrain.frameworks.torch.callbacks.lightning import (
        LightningCheckpoint as LightningCheckpoint,
    )
    from dotrain.frameworks.torch.callbacks.lightning import LightningReport as LightningReport
    from dotrain.frameworks.torch.callbacks.skorch import SkorchCheckpoint as SkorchCheckpoint
    from dotrain.frameworks.torch.callbacks.skorch import SkorchReport as SkorchReport
    from dotrain.frameworks.torch.callbacks.transformers import (
        TransformersCheckpoint as TransformersCheckpoint,
    )
    from dotrain.frameworks.torch.callbacks.transformers import (
        TransformersReport as TransformersReport,
    )
else:
    import re

    #: By module: the package that it needs, and its names.
    _NAMES = {
        "boosting.callbacks.catboost": ("catboost", "CatBoostCheckpoint CatBoostReport"),
        "boosting.callbacks.lightgbm": ("lightgbm", "LightGBMCheckpoint LightGBMReport"),
        "boosting.callbacks.xgboost": ("xgboost", "XGBoostCheckpoint XGBoostReport"),
        "jax.checkpoint": ("jax", "JaxCheckpoint"),
        "keras.callbacks": ("keras", "KerasBatchEnd KerasCheckpoint KerasEpochEnd"),
        "sklearn.callbacks": ("sklearn", "SklearnFolds SklearnSteps"),
        "torch.callbacks.lightning": ("lightning", "LightningCheckpoint LightningReport"),
        "torch.callbacks.skorch": ("skorch", "SkorchCheckpoint SkorchReport"),
        "torch.callbacks.transformers": (
            "transformers",
            "TransformersCheckpoint TransformersReport",
        ),
    }
    _HOMES = {name: home for home, (_, names) in _NAMES.items() for name in names.split()}
    __all__ = sorted(_HOMES)

    def _load(name: str) -> object:
        import importlib

        package, _ = _NAMES[_HOMES[name]]
        try:
            module = importlib.import_module(f"dotrain.frameworks.{_HOMES[name]}")
        except ModuleNotFoundError as error:
            missing = (error.name or "").split(".")[0]
            if missing == "dotrain":
                raise
            registry = importlib.import_module("dotrain.frameworks.registry")
            told = f"{name} needs {missing}, which isn't installed here"
            raise ModuleNotFoundError(
                f"{told}: {registry.how_to_install(package)}", name=error.name
            ) from None
        return getattr(module, name)

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            found = globals()[name] = _load(name)
            return found
        if near := near_misses(name):
            raise ImportError(
                f"dotrain.callbacks has no '{name}'; did you mean {' or '.join(near)}?"
            )
        raise AttributeError(f"module 'dotrain.callbacks' has no attribute '{name}'")

    def __dir__() -> list[str]:
        return __all__

    def near_misses(name: str) -> list[str]:
        """Return the names of callbacks that somebody who wrote `name` may have meant."""
        import difflib

        if not name[:1].isupper():
            return []
        lower = {known.lower(): known for known in __all__}
        close = difflib.get_close_matches(name.lower(), lower, 2, cutoff=0.75)
        kinds = {
            re.sub("(Report|Checkpoint|BatchEnd|EpochEnd|Folds|Steps)$", "", n) for n in __all__
        }
        kind = next((one for one in kinds if name.lower().startswith(one.lower())), None)
        return [lower[one] for one in close] or [n for n in __all__ if kind and n.startswith(kind)]
