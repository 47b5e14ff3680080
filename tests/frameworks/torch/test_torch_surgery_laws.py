"""Laws of leaving layers out of PyTorch modules: every layer of eight nets, random stacks, what a framework promises."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.torch.framework import Torch
from dotrain.testing import check_framework
from tests.frameworks.torch.cutting import (
    FRAMEWORK,
    net,
    nets,
    nn,
    refusal,
    stack,
    torch,
    train_one_step,
    without,
)
from tests.late import needs_torch

# PyTorch warns about its own old functions.
pytestmark = [needs_torch, pytest.mark.filterwarnings("default")]


#: How many of a net's layers can be left out, how many can't.
EXPECTED = {
    "mlp": (5, 4),
    "cnn": (8, 1),
    "resnet": (26, 6),
    "unet": (21, 6),
    "transformer": (19, 6),
    "lstm": (3, 3),
    "mixer": (19, 6),
    "routed": (5, 6),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_every_layer_gives_back_what_it_gets_or_is_refused(case: str) -> None:
    make, x = nets.NETS[case]
    model = make()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    trained = refused = compared = 0
    for name in FRAMEWORK.layer_names(model):
        try:
            surgery = without(model, name, rows=x)
        except SurgeryError:
            assert f"'{name}'" in refusal(model, name, rows=x)
            refused += 1
            continue
        assert surgery.removed == (name,)
        assert surgery.uncalled() != ()
        assert surgery.params == FRAMEWORK.parameters(surgery.model) - FRAMEWORK.parameters(model)
        if not any(change.kind == "kernel shape" for change in surgery.changes):
            expected = bypassed_by_hooks(model, name, x)
            if expected is not None:
                torch.testing.assert_close(copy.deepcopy(surgery.model).eval()(x), expected)
                compared += 1
        output = train_one_step(surgery.model, x)
        assert output.isfinite().all()
        assert surgery.uncalled() == ()
        trained += 1
    assert (trained, refused) == EXPECTED[case]
    assert compared > 0
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert model.training


def bypassed_by_hooks(model: Any, name: str, x: Any) -> Any:
    """What the original gives if a hook gives back what a layer gets; None if that isn't called."""
    by_hand, kept, seen = copy.deepcopy(model).eval(), [], []

    def keep(module: Any, args: Any) -> Any:
        seen.append(module)
        kept.append(args[0].clone())
        return (args[0].clone(), *args[1:])  # which it may change in place

    def give_back(module: Any, args: Any, output: Any) -> Any:
        return (kept.pop(), *output[1:]) if isinstance(output, tuple) else kept.pop()

    by_hand.get_submodule(name).register_forward_pre_hook(keep)
    by_hand.get_submodule(name).register_forward_hook(give_back)
    output = by_hand(x)
    return output if seen else None


# Random nets, against the arithmetic of their widths


@st.composite
def sequences(draw: Any) -> tuple[list[tuple[str, int, int]], int]:
    """Layers by kind, width before and width after; and which of them goes.

    Wide enough, and with few enough dropped, that no layer is without effect by chance.
    """
    width, layers = 8, []
    kinds = st.sampled_from(["linear", "tanh", "batch", "layer", "group", "drop", "same"])
    for kind in draw(st.lists(kinds, min_size=2, max_size=6)):
        after = draw(st.sampled_from([8, 9, 10])) if kind == "linear" else width
        if kind == "group" and width % 2:
            kind = "layer"
        layers.append((kind, width, after))
        width = after
    layers.append(("linear", width, 3))
    return layers, draw(st.integers(0, len(layers) - 1))


def made(kind: str, before: int, after: int) -> Any:
    return {
        "linear": lambda: nn.Linear(before, after),
        "tanh": nn.Tanh,
        "batch": lambda: nn.BatchNorm1d(before),
        "layer": lambda: nn.LayerNorm(before),
        "group": lambda: nn.GroupNorm(2, before),
        "drop": lambda: nn.Dropout(0.2),
        "same": nn.Identity,
    }[kind]()


def by_hand(layers: list[tuple[str, int, int]], gone: int) -> list[tuple[str, int, int]] | None:
    """The layers that are left, with the widths that they have then; None if that can't be."""
    width, left = 8, []
    for at, (kind, _, after) in enumerate(layers):
        if at == gone:
            continue
        if kind == "group" and width % 2:
            return None
        left.append((kind, width, after if kind == "linear" else width))
        width = left[-1][2]
    trainable = any(kind in ("linear", "batch", "layer", "group") for kind, _, _ in left)
    return left if width == 3 and trainable and layers[gone][0] != "same" else None


@settings(max_examples=40, deadline=None)
@given(sequences())
def test_a_random_stack_is_what_one_would_build_by_hand(
    case: tuple[list[tuple[str, int, int]], int],
) -> None:
    layers, gone = case
    model = stack(*[made(*layer) for layer in layers])
    x = torch.rand(8, 8)
    expected = by_hand(layers, gone)
    if expected is None:
        refusal(model, str(gone), rows=x)
        return
    surgery = without(model, str(gone), rows=x)
    twin = stack(*[made(*layer) for layer in expected])
    assert surgery.params == FRAMEWORK.parameters(twin) - FRAMEWORK.parameters(model)
    kept = [layer for at, layer in enumerate(model) if at != gone]
    now = [layer for at, layer in enumerate(surgery.model) if at != gone]
    reshaped = {c.layer for c in surgery.changes if c.kind == "kernel shape"}
    names = [str(at) for at in range(len(layers)) if at != gone]
    for name, old, new, built in zip(names, kept, now, twin, strict=True):
        shapes = [{k: v.shape for k, v in one.state_dict().items()} for one in (old, new, built)]
        assert shapes[1] == shapes[2]
        assert (name in reshaped) == (shapes[0] != shapes[1])
        if name not in reshaped:
            same = [torch.equal(v, new.state_dict()[k]) for k, v in old.state_dict().items()]
            assert all(same)
    twin.load_state_dict(stack(*now).state_dict())
    torch.testing.assert_close(surgery.model.eval()(x), twin.eval()(x))


def test_it_keeps_the_contract_of_models() -> None:
    def model() -> Any:
        return stack(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

    check_framework(Torch, draw=lambda: torch.rand(3).tolist(), model=model)


def test_variants_inherit_by_names_and_shapes() -> None:
    one = net(lambda s, x: x, a=nn.Linear(2, 3), b=nn.BatchNorm1d(3), c=nn.Linear(3, 3))
    one.b.running_mean.fill_(7)
    other = net(
        lambda s, x: x, a=nn.Linear(2, 3), b=nn.BatchNorm1d(3), c=nn.Linear(4, 3), d=nn.Linear(2, 2)
    )
    bias = other.c.bias.clone()
    FRAMEWORK.inherit(one, other)
    assert torch.equal(one.a.weight, other.a.weight)
    assert torch.equal(one.b.running_mean, other.b.running_mean)
    assert torch.equal(other.c.bias, bias), "a layer of another shape keeps all of its own"
    with pytest.raises(SurgeryError, match="has no weights yet"):
        FRAMEWORK.inherit(one, stack(nn.LazyLinear(3)))
    assert FRAMEWORK.parameters(stack(nn.LazyLinear(3))) is None


def test_the_same_graph_is_the_same_classes_with_the_same_attributes() -> None:
    assert FRAMEWORK.same_graph(nets.CNN(), nets.CNN())
    assert not FRAMEWORK.same_graph(nets.CNN(), nets.CNN(keeps_rows=False))
    assert not FRAMEWORK.same_graph(nets.CNN(), nets.ResNet())
    assert not FRAMEWORK.same_graph(stack(nn.Dropout(0.1)), stack(nn.Dropout(0.2)))
    assert not FRAMEWORK.same_graph(stack(nn.Linear(2, 3)), stack(nn.Linear(2, 4)))
    assert FRAMEWORK.same_graph(nets.Transformer(), nets.Transformer())
    assert not FRAMEWORK.same_graph(stack(nn.ReLU()), stack(nn.ReLU(inplace=True)))
