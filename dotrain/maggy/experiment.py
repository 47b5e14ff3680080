"""Maggy's `lagom`, of both generations, as a call of dotrain's."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
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
from dotrain.training.arguments import name_of

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
    if not callable(function):
        raise UsageError(f"lagom: expected a train function, got {function!r}")
    before = {key: more.pop(key) for key in _BEFORE if key in more}
    if not isinstance(config, configs.LagomConfig):
        by_position = zip(_BEFORE, [config, *args] if config or args else [], strict=False)
        config = _config({**dict(by_position), **before})
    elif before or args:
        said = ", ".join(before) or "arguments by position"
        raise UsageError(f"lagom: {said} beside a configuration; write all of it there")
    _tell({k: v for k, v in config.said.items() if k in _NOTHING and v != config.keys[k]})
    given = {name: one for name in _GIVEN if (one := getattr(config, name, None)) is not None}
    hparams = getattr(config, "hparams", None) or getattr(config, "fixed_hp", None) or {}
    direction: Any = str(getattr(config, "direction", "max")).lower()
    key = getattr(config, "optimization_key", "Metric")
    call = {"metric": key, "direction": direction, "hparams": hparams}
    call["name"] = re.sub("[^A-Za-z0-9._-]+", "-", config.name).strip("-._") or "maggy"
    searched, ranks = getattr(config, "searchspace", None) or Searchspace(), set[str]()
    sets = Sets(given, getattr(config, "process_data", None))
    if isinstance(config, configs.AblationConfig):
        call["ablation"] = _study(config, function, more)
    elif isinstance(config, configs.HyperparameterOptConfig):
        call |= _search(config, searched, more)
    elif not isinstance(config, configs.BaseConfig):
        call["distribution"] = more.pop("distribution", None) or _group(config, more)
        ranks = {"dist_strategy", "hparams"}
        if "train_set" in given and {"train_batch_size", "test_batch_size"} & hparams.keys():
            ranks, call["data"] = ranks | {"data_gen"}, sets
    _check(function, given, config, searched)
    models: dict[str, Any] = {}
    if "ablation" not in call:  # where the study builds the model
        models = {name: sets.given.pop(name) for name in ("model", "module") if name in given}
        call |= {"model": made} if models else {}
    metric = Metric(key, "optimization_key" in config.said, direction if len(searched) else None)
    any_budget = isinstance(call.get("optimizer"), UsersOptimizer)
    called = Called(function, models, sets, metric, frozenset(ranks), any_budget=any_budget)
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


def _search(config: Any, searched: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Return the search in dotrain's words."""
    chosen, rule, trials = config.optimizer, config.es_policy, Trials()
    call: dict[str, Any] = {"searchspace": getattr(searched, "space", searched)}
    if isinstance(chosen, AbstractOptimizer):
        watching = more.pop("observers", ())
        others = [watching] if isinstance(watching, str | Mapping) else watching
        call["observers"] = [*others, log := Log(chosen)]
        chosen = _named(UsersOptimizer, chosen)(log, searched, config.num_trials, trials)
    elif isinstance(chosen, str) or chosen is None:
        named = "none" if chosen is None else chosen.lower()
        if named not in BY_NAME:
            raise UsageError(f"optimizer: unknown '{chosen}'{did_you_mean(named, [*BY_NAME])}")
        chosen = BY_NAME[named]()
    name = chosen["name"] if isinstance(chosen, Mapping) else ""
    if name == "single" and len(searched):
        raise UsageError("optimizer: none searches nothing; name one, such as 'randomsearch'")
    if name == "single" and config.num_trials != 1:
        raise UsageError(
            "num_trials: without a searchspace it is one; repeats=3 trains with 3 seeds"
        )
    if name not in ("", "single", "grid"):
        call["num_trials"] = config.num_trials
    call["optimizer"] = chosen
    if isinstance(rule, AbstractEarlyStop):
        adapter = _named(UsersRule, rule)
        call["early_stop"] = adapter(rule, config.es_min, config.es_interval, trials)
        return call
    rule = dict(rule) if isinstance(rule, Mapping) else {"name": str(rule).lower()}
    if rule["name"] not in ("median", "none"):
        known = "expected 'median', 'none' or an AbstractEarlyStop"
        raise UsageError(f"es_policy: {known}, got {rule['name']!r}")
    if rule["name"] == "median":
        rule["min_trials"] = config.es_min + 1
    call["early_stop"] = rule if len(searched) else None
    return call


def _named(adapter: type[Any], users: object) -> type[Any]:
    """Return what asks a policy of the user's, under that one's name, which errors and journal tell."""
    return type(type(users).__name__, (adapter,), {"__module__": type(users).__module__})


def _study(config: Any, function: Callable[..., Any], more: Mapping[str, Any]) -> Any:
    """Return dotrain's study, with the arms of an ablator of the user's."""
    study, ablator = config.ablation_study, config.ablator
    if not isinstance(study, AblationStudy):
        raise UsageError(f"ablation_study: expected an AblationStudy, got {study!r}")
    if isinstance(ablator, AbstractAblator):
        set_arms(study, ablator)
    elif str(ablator or "loco").lower() != "loco":
        raise UsageError(f"ablator: expected 'loco' or an AbstractAblator, got {ablator!r}")
    asks = "dataset_function" in inspect.signature(function).parameters
    _, data = study.own.generators(None, more.get("data"))
    if (asks or study.own.features.names) and data is None:
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
    kind = cluster.get("kind", "local")
    workers = 1 if kind == "inline" else cluster.get("workers")
    if workers is None and kind != "local":
        raise UsageError(
            "cluster: say how many workers train together: workers, or distribution={...}"
        )
    workers = workers or len(os.sched_getaffinity(0))
    if isinstance(config, configs.TorchDistributedConfig):
        # The rows are split before the loader, equally.
        strategy = "fsdp" if config.zero_lvl == 3 else "ddp"
        return {"strategy": strategy, "workers": workers, "exact": False}
    if workers == 1:
        return {"strategy": "mirrored"}
    return {"strategy": "multi_worker_mirrored", "workers": workers}


def _check(
    function: Callable[..., Any], given: Mapping[str, Any], config: Any, searched: Any
) -> None:
    """Refuse a function that asks for what the configuration hasn't, and models that are made already."""
    for name, asked in inspect.signature(function).parameters.items():
        if name in {*_GIVEN} - {*given, *searched.keys()} and asked.default is asked.empty:
            kind = type(config).__name__
            raise UsageError(
                f"{name_of(function)}() asks for '{name}', which {kind} doesn't give: write {name}=..."
            )
    for name in given.keys() & {"model", "module"}:
        made_of = given[name]
        for one in made_of if isinstance(made_of, list | tuple) else [made_of]:
            if not (isinstance(one, type | partial) or inspect.isroutine(one)):
                expected = "expected the class of the model, or a function that makes it"
                raise UsageError(f"{name}: {expected}, got {one!r}")


def _tell(unused: Mapping[str, Any]) -> None:
    for name in unused.keys() - _told:
        print(f"note: {name} is taken and has no effect: {_NOTHING[name]}", file=sys.stderr)
        _told.add(name)


#: Maggy >= 1.0 has the module one floor lower.
experiment = sys.modules[__name__]
