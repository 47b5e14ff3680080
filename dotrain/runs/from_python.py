"""A call of `lagom` as a config would say it, with what only Python can give beside that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dotrain.ablation.builder import AblationStudy
from dotrain.config.errors import Path
from dotrain.config.load import load_given
from dotrain.config.loaded import LoadedConfig, Mode
from dotrain.config.parts import Given
from dotrain.config.secrets import without_secrets
from dotrain.config.source import Source
from dotrain.errors import UsageError
from dotrain.space import Searchspace, plain_params
from dotrain.store.journal import to_json
from dotrain.usercode.by_value import GivenFunction

#: Arguments that a config has no key of the same name for.
_ARGUMENTS: dict[Path, str] = {
    ("train",): "train_fn",
    ("search", "space"): "searchspace",
    **{
        ("search", name): name
        for name in (
            *("optimizer", "num_trials", "early_stop", "stop", "try_first", "warm_start"),
            *("space_constraints", "constraints", "repeats"),
        )
    },
    ("ablation", "early_stop"): "early_stop",
}
#: What of a search is as the config has it.
_MORE = ("repeats", "constraints", "stop", "try_first", "warm_start")


def load_call(
    functions: Mapping[str, Any],
    search: Mapping[str, Any],
    ablation: AblationStudy | None,
    early_stop: Any,
    distribution: Any,
    sections: Mapping[str, Any],
    *,
    goes_on: bool,
) -> LoadedConfig:
    """Check a call of `lagom`, as a config is checked.

    Args:
        functions: ``train``, and ``model``, ``data`` and ``prepare`` if given; ``data`` may be a table's section.
        search: ``space``, ``space_constraints``, ``optimizer``, ``num_trials`` and those of `_MORE`, None where
            nothing is given.
        ablation: The study that is run instead, or None.
        early_stop: The rule: a name, a mapping with options, an instance, or None.
        distribution: The strategy, likewise.
        sections: What a config says in the same words; None for what isn't said.
        goes_on: Whether a run that began so goes on.

    Raises:
        UsageError: With all that is wrong.
    """
    unsaid = {"metric": "metric"} if sections.get("metrics") is None else {}
    written = {k: v for k, v in sections.items() if k in ("name", "seed") or v is not None}
    config = {**unsaid, **written}
    by_path: dict[Path, Any] = {(key,): f for key, f in functions.items()}
    if ablation is not None:
        if not isinstance(ablation, AblationStudy):
            raise UsageError(f"ablation: expected an AblationStudy, got {ablation!r}")
        if any(one is not None for one in search.values()):
            raise UsageError(
                "ablation: a study runs every arm with every seed; take searchspace, optimizer, "
                "num_trials, stop, try_first, warm_start, repeats and constraints out, and give the best hyperparameters as hparams"
            )
        found = ablation.generators(functions["model"], functions["data"])
        by_path |= dict(zip((("model",), ("data",)), found, strict=True))
        by_path |= {("ablation", "models", name): f for name, f in ablation.variants.items()}
        config["ablation"] = ablation.section()
    else:
        space = Searchspace() if search["space"] is None else search["space"]
        if not isinstance(space, Searchspace):
            what = type(space).__name__
            raise UsageError(f"searchspace: expected a Searchspace, got {what}")
        more = {key: search[key] for key in ("num_trials", *_MORE) if search.get(key) is not None}
        said = _listed(search.get("space_constraints"))
        texts = [*(one.text for one in space.constraints), *said]
        held = {"space_constraints": texts} if texts else {}
        config["search"] = {"space": space.to_data(), **held, **more}
    hparams = sections["hparams"] or {}
    if not isinstance(hparams, Mapping):
        raise UsageError(f"hparams: expected a mapping from names to values, got {hparams!r}")
    try:
        config["hparams"] = plain_params(hparams)
    except TypeError as error:
        raise UsageError(f"hparams: {error}") from None
    if isinstance(by_path["data",], Mapping):
        config["data"] = dict(by_path.pop(("data",)))
    given = {path: GivenFunction(f) for path, f in by_path.items() if f is not None}
    config |= {str(path[0]): f"lagom:{path[0]}" for path in given if len(path) == 1}
    plugins: dict[Path, Any] = {}
    section = "search" if ablation is None else "ablation"
    for path, key, chosen in (
        (("search", "optimizer"), "name", search["optimizer"]),
        ((section, "early_stop"), "name", early_stop),
        (("distribution",), "strategy", distribution),
    ):
        if _is_named(chosen):
            outer = config[path[0]] if len(path) > 1 else config
            outer[path[-1]] = {key: chosen} if isinstance(chosen, str) else dict(chosen)
        elif chosen is not None:
            plugins[path] = chosen
    observers = config.get("observers", ())
    watching = [observers] if isinstance(observers, str | Mapping) else list(observers)
    plugins |= {("observers", i): one for i, one in enumerate(watching) if not _is_named(one)}
    named = (one if _is_named(one) else type(one).__name__ for one in watching)
    config["observers"] = [{"name": one} if isinstance(one, str) else dict(one) for one in named]
    source = Source.of_call(json.loads(to_json(config)), {**_ARGUMENTS})
    mode: Mode = "run" if ablation is None else "ablate"
    loaded = load_given(source, Given(given, plugins), mode=mode, goes_on=goes_on)
    for component in loaded.study.components.values() if loaded.study else ():
        source.names[component.path] = component.name
    return replace(loaded, data=_recorded(loaded, search["num_trials"]))


def _listed(texts: Any) -> list[Any]:
    return [texts] if isinstance(texts, str) else list(texts or ())


def _is_named(plugin: object) -> bool:
    return isinstance(plugin, str | Mapping)


def _recorded(loaded: LoadedConfig, num_trials: int | None) -> dict[str, Any]:
    """Return what a run directory keeps of a call: all that a resume may not change, in full."""
    settings, config = loaded.settings, loaded.source.data

    def place(written: Any, plugin: object, key: str = "name") -> dict[str, Any]:
        cls = type(plugin)
        return {**(written or {}), key: f"{cls.__module__}:{cls.__qualname__}"}

    search, study = config.get("search", {}), settings.ablation
    ablation = dict(config.get("ablation", {}))
    rule = (ablation if study else search).get("early_stop")
    ablation.pop("early_stop", None)
    if study is not None:
        ablation |= {"seeds": study.seeds, "ablator": study.ablator.model_dump()}
    return {
        "name": settings.name,
        "metric": settings.metric,
        "direction": settings.direction,
        **({"metrics": settings.metrics} if settings.metrics else {}),
        "seed": settings.seed,
        "hparams": config["hparams"],
        "search": {
            "space": search.get("space", {}),
            **{key: search[key] for key in ("space_constraints",) if key in search},
            "optimizer": place(loaded.data.get("search", {}).get("optimizer"), loaded.optimizer),
            "num_trials": loaded.optimizer.num_trials if study else num_trials,
            "early_stop": place(rule, loaded.early_stop),
            **{key: search[key] for key in _MORE if key in search},
        },
        "ablation": None if study is None else ablation,
        "distribution": place(config.get("distribution"), loaded.strategy, "strategy"),
        "cluster": without_secrets(config.get("cluster", {})),
        "limits": settings.limits.model_dump(),
        **{key: config[key] for key in ("ship", "env", "storage") if config.get(key)},
        **({"data": config["data"]} if isinstance(config.get("data"), dict) else {}),
    }
