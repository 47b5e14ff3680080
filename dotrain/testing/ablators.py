"""What every ablator promises, as a function that checks it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from dotrain.ablation.ablators import AbstractAblator
from dotrain.ablation.components import (
    Component,
    Feature,
    Layer,
    LayerGroup,
    ModelVariant,
    Switch,
    Variant,
)
from dotrain.ablation.study import BASELINE
from dotrain.errors import UsageError

EXAMPLE_COMPONENTS = (
    *(Feature("a"), Feature("b"), Layer("dense")),
    LayerGroup("conv_*", prefix="conv_"),
    ModelVariant("shallow"),
    Switch("augmentation", {"augment": False}),
)


def check_ablator(
    make: Callable[[], AbstractAblator], *, components: Sequence[Component] = EXAMPLE_COMPONENTS
) -> None:
    """Check the contract of an ablator.

    Every arm has a name of its own, and leaves out known components that can go together, each once:
    those that the baseline does and more; where the ablator adds, less. Equal components give equal
    arms, whatever the global random state and whatever it was asked before.

    Args:
        make: Returns a new instance.
        components: What there is to leave out; by default two features and one of every other kind.

    Raises:
        AssertionError: If a promise is broken.
    """
    used = make()
    made = []
    for seed, ablator in enumerate((used, used, make())):
        random.seed(seed)
        made.append([ablator.baseline(components), *ablator.arms(components)])
    baseline, *arms = made[0]
    assert made[1] == made[0], "a used ablator differs"
    assert made[2] == made[0], "two ablators differ"
    assert baseline.name == BASELINE, f"the baseline is called {baseline.name}"
    assert arms, "makes no arm beside the baseline"
    by_name = {component.name: component for component in components}
    names = [arm.name for arm in made[0]]
    for arm in made[0]:
        assert names.count(arm.name) == 1, f"two arms are called {arm.name}"
        assert by_name.keys() >= set(arm.left_out), f"{arm.name} leaves out what there isn't"
        assert len(arm.left_out) == len(set(arm.left_out)), f"{arm.name} leaves one out twice"
        try:
            Variant.of(by_name[name] for name in arm.left_out)
        except UsageError as error:
            raise AssertionError(f"{arm.name}: {error}") from None
    for arm in arms:
        less, more = (arm, baseline) if used.adds else (baseline, arm)
        what = "adds nothing to" if used.adds else "leaves out nothing more than"
        assert set(less.left_out) < set(more.left_out), f"{arm.name} {what} the baseline"
