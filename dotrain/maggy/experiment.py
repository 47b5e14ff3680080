"""Maggy's `lagom`, of both generations, as a call of dotrain's."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dotrain import experiment as own
from dotrain.errors import UsageError, did_you_mean
from dotrain.maggy import experiment_config as configs
from dotrain.maggy.ablation import AblationStudy
from dotrain.maggy.ablation.ablator import AbstractAblator, set_arms
from dotrain.maggy.calling import Called, Metric, made
from dotrain.maggy.earlystop import AbstractEarlyStop, UsersRule
from dotrain.maggy.optimizer import BY_NAME, AbstractOptimizer, Log, UsersOptimizer
from dotrain.maggy.result import Result
from dotrain.maggy.searchspace import Searchspace
from dotrain.maggy.sets import Sets
from dotrain.maggy.trial import Trials

#: The arguments before Maggy 1.0, in their order, behind the function.
_BEFORE = [
    "name",
    "experiment_type",
    "searchspace",
    "optimizer",
    "direction",
    "num_trials",
    "ablation_study",
    "ablator",
    "optimization_key",
    "hb_interval",
    "es_policy",
    "es_interval",
    "es_min",
    "description",
]
_GIVEN = ("model", "module", "train_set", "test_set", "dataset")
#: What is taken and has no meaning here, and why.
_NOTHING = {
    "hb_interval": "each report is sent as it is made",
    "description": "what runs is kept in the run directory",
    "mixed_precision": "the train function sets its precision itself",
    "deepspeed_config": "it is of another backend",
}
_told: set[str] = set()


def lagom(
    train_fn: Callable[..., Any] | None = None,
    config: configs.LagomConfig | str | None = None,
    *args: Any,
    map_fun: Callable[..., Any] | None = None,
    **more: Any,
) -> Result:
    """Run an experiment.

    Args:
        train_fn: The train function.
        config: A configuration (Maggy >= 1.0), or the name, with what follows as before.
        *args: As before Maggy 1.0: ``experiment_type``, ``searchspace``, ``optimizer``, ...
        map_fun: The train function, as it was called first.
        **more: These by name, and whatever dotrain's own `lagom` takes: ``cluster``, ``seed``, ``quiet``, ...

    Returns:
        Maggy's mapping.

    Raises:
        UsageError: With what can't be, before anything starts.
        DotrainError: As of dotrain's own.
    """
    function = train_fn or map_fun
    if function is None or not callable(function):
        raise UsageError(f"lagom: expected a train function, got {function!r}")
    if not isinstance(config, configs.LagomConfig):
        before = dict(zip(_BEFORE, [config, *args] if config is not None else args, strict=False))
        config = _config({**before, **{k: more.pop(k) for k in _BEFORE if k in more}})
    _tell({k: v for k, v in config.said.items() if k in _NOTHING and v != config.keys[k]})
    given = {name: one for name in _GIVEN if (one := getattr(config, name, None)) is not None}
    trials, searched = Trials(), Searchspace()
    call: dict[str, Any] = {
        "name": re.sub(r"[^\w.-]+", "-", config.name) or "maggy",
        "metric": getattr(config, "optimization_key", "Metric"),
        "hparams": getattr(config, "hparams", None) or getattr(config, "fixed_hp", None),
        "direction": str(getattr(config, "direction", "max")).lower(),
    }
    ranks: set[str] = set()
    if isinstance(config, configs.AblationConfig):
        call["ablation"] = _study(config, function)
    elif isinstance(config, configs.HyperparameterOptConfig):
        searched = config.searchspace or searched
        call |= _search(config, searched, trials)
    elif not isinstance(config, configs.BaseConfig):
        ranks = {"dist_strategy", "hparams"}
        call["distribution"] = _group(config, more)
    models: dict[str, Any] = {
        k: given.pop(k) for k in ("model", "module") if k in given and "ablation" not in call
    }
    sets = Sets(given, getattr(config, "process_data", None))
    if (
        ranks
        and "train_set" in given
        and {"train_batch_size", "test_batch_size"} & (call["hparams"] or {}).keys()
    ):
        ranks, call["data"] = ranks | {"data_gen"}, sets
    _check(function, models, given, config, searched)
    is_search = bool(len(searched)) or None
    metric = Metric(
        call["metric"], "optimization_key" in config.said, is_search and call["direction"]
    )
    called = Called(function, models, sets, metric, frozenset(ranks))
    call |= {"model": made} if models else {}
    return Result(own.lagom(called, **{**call, **more}))


def _config(said: dict[str, Any]) -> configs.LagomConfig:
    kind = said.pop("experiment_type", "optimization")
    name = {"name": said.pop("name", None) or "no-name"}
    if kind == "ablation":
        return configs.AblationConfig(
            **name, **{k: v for k, v in said.items() if k in configs.AblationConfig.keys}
        )
    if kind != "optimization":
        raise UsageError(f"experiment_type: expected 'optimization' or 'ablation', got {kind!r}")
    return configs.OptimizationConfig(
        **{"num_trials": 1, "optimizer": None, "searchspace": None, **name, **said}
    )


def _search(config: Any, searched: Any, trials: Trials) -> dict[str, Any]:
    """Return the search in dotrain's words."""
    chosen, rule = config.optimizer, config.es_policy
    call: dict[str, Any] = {"searchspace": getattr(searched, "space", searched)}
    if isinstance(chosen, AbstractOptimizer):
        call["observers"] = [log := Log(chosen)]
        chosen = _named(UsersOptimizer, chosen)(log, searched, config.num_trials, trials)
    elif isinstance(chosen, str) or chosen is None:
        named = "none" if chosen is None else chosen.lower()
        if named not in BY_NAME:
            raise UsageError(f"optimizer: unknown '{chosen}'{did_you_mean(named, [*BY_NAME])}")
        chosen = BY_NAME[named]()
    if isinstance(chosen, Mapping) and chosen["name"] == "single" and len(searched):
        raise UsageError("optimizer: none searches nothing; name one, such as 'randomsearch'")
    if isinstance(chosen, Mapping) and chosen["name"] not in ("single", "grid"):
        call["num_trials"] = config.num_trials
    call["optimizer"] = chosen
    if isinstance(rule, AbstractEarlyStop):
        call["early_stop"] = _named(UsersRule, rule)(
            rule, config.es_min, config.es_interval, trials
        )
    else:
        rule = rule if isinstance(rule, Mapping) else {"name": str(rule).lower()}
        if rule["name"] not in ("median", "none"):
            raise UsageError(
                f"es_policy: expected 'median', 'none' or an AbstractEarlyStop, got {rule['name']!r}"
            )
        more = (
            {"min_trials": config.es_min + 1} if rule["name"] == "median" and len(searched) else {}
        )
        call["early_stop"] = {**rule, **more} if len(searched) else None
    return call


def _named(adapter: type[Any], users: object) -> type[Any]:
    """Return what asks a policy of the user's, under that one's name, which errors and journal tell."""
    return type(type(users).__name__, (adapter,), {"__module__": type(users).__module__})


def _study(config: Any, function: Callable[..., Any]) -> Any:
    """Return dotrain's study, with the arms of an ablator of the user's."""
    study, ablator = config.ablation_study, config.ablator
    if not isinstance(study, AblationStudy):
        raise UsageError(f"ablation_study: expected an AblationStudy, got {study!r}")
    if isinstance(ablator, AbstractAblator):
        set_arms(study, ablator)
    elif str(ablator or "loco").lower() != "loco":
        raise UsageError(f"ablator: expected 'loco' or an AbstractAblator, got {ablator!r}")
    asks = "dataset_function" in inspect.signature(function).parameters
    if (asks or study.own.features.names) and study.own.generators(None, None)[1] is None:
        raise UsageError(
            f"AblationStudy: '{study.hops_training_dataset_name}' is in a feature store that isn't asked here; give "
            "dataset_generator=load, or set_dataset_generator(load), a function that asks for 'features' and gives "
            "features.select(columns)"
        )
    return study.own


def _group(config: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strategy of a distributed training, on all workers of the cluster."""
    if getattr(config, "backend", "torch") != "torch":
        raise UsageError("backend: 'deepspeed' isn't there; zero_lvl=3 shards the model by 'fsdp'")
    cluster = more.get("cluster") or {}
    workers = cluster.get("workers") or len(os.sched_getaffinity(0))
    if isinstance(config, configs.TfDistributedConfig):
        return (
            {"strategy": "mirrored"}
            if workers == 1
            else {"strategy": "multi_worker_mirrored", "workers": workers}
        )
    # The rows are split before the loader, equally.
    strategy = "fsdp" if config.zero_lvl == 3 else "ddp"
    return {"strategy": strategy, "workers": workers, "exact": False}


def _check(
    function: Callable[..., Any], models: Any, given: Any, config: Any, searched: Any
) -> None:
    """Refuse a function that asks for what the configuration hasn't, and models that are made already."""
    for name in inspect.signature(function).parameters:
        if name in _GIVEN and name not in {*models, *given} and name not in searched:
            raise UsageError(
                f"{function.__name__}() asks for '{name}', which {type(config).__name__} doesn't give: write {name}=..."
            )
    for name, one in models.items():
        for cls in one if isinstance(one, list | tuple) else [one]:
            if not isinstance(cls, type) and not inspect.isroutine(cls):
                raise UsageError(
                    f"{name}: expected the class of the model, or a function that makes it, got {cls!r}"
                )


def _tell(unused: Mapping[str, Any]) -> None:
    for name in unused.keys() - _told:
        print(f"note: {name} is taken and has no effect: {_NOTHING[name]}", file=sys.stderr)
        _told.add(name)


#: Maggy >= 1.0 has the module one floor lower.
experiment = sys.modules[__name__]
