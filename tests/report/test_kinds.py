"""Whatever draws a result draws one of every kind."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from dotrain import report
from dotrain.results import AbstractSearchResult, RunResult


def drawings() -> Iterator[tuple[str, Any]]:
    """Yield every function of the room that is chosen by the kind of a result, by its name."""
    for module in pkgutil.walk_packages(report.__path__, f"{report.__name__}."):
        for name, one in vars(importlib.import_module(module.name)).items():
            if hasattr(one, "registry") and one.__module__ == module.name:
                yield f"{module.name}.{name}", one


def test_a_drawing_knows_every_kind_of_result() -> None:
    kinds = [*AbstractSearchResult.__subclasses__(), *RunResult.__subclasses__()]
    kinds.remove(AbstractSearchResult)
    assert {kind.__name__ for kind in kinds} == {"SearchResult", "FrontResult", "StudyResult"}
    found = dict(drawings())
    assert "dotrain.report.result.print_result" in found
    for place, draw in found.items():
        default = draw.registry[object]
        if "NotImplementedError" in default.__code__.co_names:
            assert not [kind for kind in kinds if draw.dispatch(kind) is default], place
