"""What can be left out: five kinds, each with the name that configs, results and journals have."""

from __future__ import annotations

import pickle

import pytest

from dotrain.ablation.components import (
    Component,
    Feature,
    Layer,
    LayerComponent,
    LayerGroup,
    ModelVariant,
    Switch,
    Variant,
)
from dotrain.errors import UsageError

KINDS: list[tuple[Component, str, Variant]] = [
    (Feature("sex"), "feature:sex", Variant(frozenset({"sex"}))),
    (Layer("d"), "layer:d", Variant(layers=(Layer("d"),))),
    (
        LayerGroup("d+e", ("d", "e")),
        "group:d+e",
        Variant(layers=(LayerGroup("d+e", ("d", "e")),)),
    ),
    (ModelVariant("small"), "model:small", Variant(model="small")),
    (Switch("augment", {"a": 0}), "component:augment", Variant(hparams={"a": 0})),
]


@pytest.mark.parametrize(("component", "name", "variant"), KINDS, ids=lambda one: str(one)[:20])
def test_a_component_has_a_name_and_changes_one_thing(
    component: Component, name: str, variant: Variant
) -> None:
    assert component.name == name
    assert name.startswith(f"{component.kind}:")
    assert Variant.of([component]) == variant
    assert component.of_model == bool(variant.layers or variant.model)
    assert pickle.loads(pickle.dumps(component)) == component


def test_what_several_change_is_put_together() -> None:
    together = Variant.of([one for one, _, _ in KINDS])
    assert together == Variant(
        frozenset({"sex"}), (Layer("d"), LayerGroup("d+e", ("d", "e"))), "small", {"a": 0}
    )


@pytest.mark.parametrize(
    "pair",
    [
        (ModelVariant("one"), ModelVariant("two")),
        (Switch("one", {"a": 0}), Switch("two", {"a": 1})),
    ],
)
def test_what_can_t_go_together_is_refused(pair: tuple[Component, Component]) -> None:
    with pytest.raises(UsageError, match=f"{pair[1].name} can't be left|{pair[0].name} and"):
        Variant.of(pair)


@pytest.mark.parametrize("kind", [Component, LayerComponent])
def test_only_the_five_kinds_can_be_made(kind: type[Component]) -> None:
    with pytest.raises(TypeError, match="abstract"):
        kind("what")


def test_a_group_is_what_it_lists_or_what_matches_in_the_models_order() -> None:
    known = ["conv_1", "dense", "block", "block/conv_2", "block/dense_2"]
    assert Layer("gone").layers_in(known) == ["gone"]
    for group, layers in [
        (LayerGroup("b+a", ("b", "a")), ["b", "a"]),
        (LayerGroup("conv_*", prefix="conv_"), ["conv_1", "block/conv_2"]),
        (LayerGroup("*_2", pattern="*_2"), ["block/conv_2", "block/dense_2"]),
        (LayerGroup("*", pattern="*"), ["conv_1", "dense", "block"]),
    ]:
        assert group.layers_in(known) == layers
    for group in (LayerGroup("z*", prefix="z"), LayerGroup("?", pattern="?")):
        with pytest.raises(UsageError, match="no layer"):
            group.layers_in(known)
