"""The shipped configs suggest what they did, and come to the same numbers at one thread."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.test_matrix import CONFIGS
from tests.samples.changes import unexplained
from tests.samples.reading import holds
from tests.samples.recipes import PACKAGES, TRAINED, metrics_of, suggestions

KEPT: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "samples" / "recipes.json").read_text()
)


def test_every_config_is_kept() -> None:
    names = {config.stem for config in CONFIGS}
    assert set(KEPT["suggestions"]) == names
    trained = {name for group in KEPT["metrics"].values() for name in group}
    others = {"forecast", "digits-random", "digits-groups", "digits-torch", "titanic-feast"}
    assert trained == names - others


@pytest.mark.parametrize("name", sorted(KEPT["suggestions"]))
def test_a_config_suggests_what_it_did(name: str, tmp_path: Path) -> None:
    differences = list(holds(KEPT["suggestions"][name], suggestions(name, tmp_path)))
    assert unexplained(f"recipes/{name}", "suggestions", differences) == []


@pytest.mark.slow
@pytest.mark.parametrize("group", TRAINED)
def test_a_config_comes_to_the_same_numbers_at_one_thread(group: str) -> None:
    here = {name: version(name) for name in PACKAGES}
    if here != KEPT["made_with"]:
        pytest.skip(f"the numbers are those of {KEPT['made_with']}, this is {here}")
    # Single precision holds seven digits; what is left is the order in which a kernel adds.
    differences = list(holds(KEPT["metrics"][group], metrics_of(group), relative=1e-6))
    assert unexplained(f"recipes/{group}", "metrics", differences) == []
