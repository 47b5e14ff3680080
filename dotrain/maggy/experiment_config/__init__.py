"""The configurations of Maggy >= 1.0: keys and defaults in Maggy's order."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Any, ClassVar

from dotrain.errors import UsageError

_NEEDED = Parameter.empty


class LagomConfig:
    """What `experiment.lagom` takes; its values are attributes."""

    name: str
    keys: ClassVar[dict[str, Any]] = {"name": "base", "hb_interval": 1, "description": ""}

    def __init_subclass__(cls) -> None:
        anyhow = Parameter.POSITIONAL_OR_KEYWORD
        parameters = [Parameter(name, anyhow, default=value) for name, value in cls.keys.items()]
        cls.__signature__ = Signature(parameters)  # type: ignore[attr-defined]

    def __init__(self, *args: Any, **given: Any) -> None:
        try:
            bound = self.__signature__.bind(*args, **given)  # type: ignore[attr-defined]
        except TypeError as error:
            raise UsageError(f"{type(self).__name__}: {error}") from None
        #: What was said, of all.
        self.said = dict(bound.arguments)
        vars(self).update({**self.keys, **self.said})


class BaseConfig(LagomConfig):
    """One training."""


class HyperparameterOptConfig(LagomConfig):
    """A search."""

    searchspace: Any

    keys: ClassVar[dict[str, Any]] = {
        **{"num_trials": _NEEDED, "optimizer": _NEEDED, "searchspace": _NEEDED},
        **{"optimization_key": "Metric", "direction": "max"},
        **{"es_interval": 1, "es_min": 10, "es_policy": "median"},
        **{"name": "HPOptimization", "description": "", "hb_interval": 1, "model": None},
        **{"train_set": None, "test_set": None, "dataset": None, "fixed_hp": None},
    }


class OptimizationConfig(HyperparameterOptConfig):
    """The same, as it was called first."""

    keys: ClassVar[dict[str, Any]] = {**HyperparameterOptConfig.keys, "optimization_key": "metric"}


class AblationConfig(LagomConfig):
    """A study."""

    keys: ClassVar[dict[str, Any]] = {
        **{"ablation_study": _NEEDED, "ablator": "loco", "direction": "max"},
        **{"name": "ablationStudy", "description": "", "hb_interval": 1, "model": None},
        **{"train_set": None, "test_set": None, "dataset": None, "optimization_key": "Metric"},
    }


class TfDistributedConfig(LagomConfig):
    """One training of TensorFlow's on several workers."""

    keys: ClassVar[dict[str, Any]] = {
        **{"model": None, "train_set": None, "test_set": None, "process_data": None},
        **{"mixed_precision": False, "name": "tfDist", "hb_interval": 1, "description": ""},
        **{"hparams": None, "dataset": None},
    }


class TorchDistributedConfig(LagomConfig):
    """One training of PyTorch's on several workers."""

    zero_lvl: int

    keys: ClassVar[dict[str, Any]] = {
        **{"module": _NEEDED, "train_set": None, "test_set": None, "hparams": None},
        **{"backend": "torch", "mixed_precision": False, "zero_lvl": 0, "deepspeed_config": None},
        **{"name": "torchDist", "hb_interval": 1, "description": "", "dataset": None},
    }
