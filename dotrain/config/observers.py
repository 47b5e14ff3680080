"""From the config's `observers:` and `tensorboard:` to those who watch a run."""

from __future__ import annotations

from importlib import util

from dotrain import plugins
from dotrain.config.errors import Path
from dotrain.config.parts import Parts
from dotrain.config.schema import Settings
from dotrain.config.secrets import not_kept
from dotrain.config.section import Plugin
from dotrain.core.observer import Observer
from dotrain.executors.base import AbstractExecutor

#: Has a key of its own, and is there by default.
_TENSORBOARD = Plugin(name="tensorboard")


def make_observers(
    settings: Settings, parts: Parts, executor: AbstractExecutor | None
) -> list[Observer]:
    """Make those who watch a run besides what shows its progress.

    Args:
        settings: The config, sound by its structure.
        parts: Makes the plugins, and collects what is wrong.
        executor: Where trials run; None if that can't be told.
    """
    source, problems = parts.source, parts.problems
    for path in not_kept(source.data.get("observers"), ("observers",)):
        message = "was not kept; give the whole list again with --set observers=..."
        problems.append(source.problem(path, message))
    asked: dict[Path, Plugin] = {("observers", i): p for i, p in enumerate(settings.observers)}
    made = [parts.plugin(plugins.OBSERVERS, path, one) for path, one in asked.items()]
    is_named = any(one.name == _TENSORBOARD.name for one in settings.observers)
    if is_named and settings.tensorboard is False:
        problems.append(source.problem(("tensorboard",), "is false, and observers names it"))
    is_real = executor is not None and not executor.is_virtual
    by_default = is_real and util.find_spec(_TENSORBOARD.name) is not None
    if not is_named and (by_default if settings.tensorboard is None else settings.tensorboard):
        made.append(parts.plugin(plugins.OBSERVERS, ("tensorboard",), _TENSORBOARD))
    return [one for one in made if one is not None]
