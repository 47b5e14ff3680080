"""Leaving layers out of PyTorch modules: what is left trains, starts as the original did, or is refused."""

from __future__ import annotations

import copy
import io
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.ablation import layers as ablation
from dotrain.ablation.layers import Change, Surgery, SurgeryError
from dotrain.frameworks.torch.framework import Torch
from dotrain.testing import check_framework
from tests.late import Late, needs_torch

torch, nn = Late("torch"), Late("torch.nn")
nets = Late("tests.frameworks.torch.nets")
# PyTorch warns about its own old functions.
pytestmark = [needs_torch, pytest.mark.filterwarnings("default")]

WAY_OUT = re.compile(
    r"write a variant|components:|leave out|leave that out|example_input_array|name the layers|"
    r"model_gen\.create\(\)|run the model once|which one\?|did you mean|known: "
)
FRAMEWORK = Torch()
ROWS = np.random.default_rng(0).random((8, 6), "float32")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(1)


def without(model: Any, *names: str, rows: Any = ROWS) -> Surgery:
    """Leave layers out; the batch has labels beside the rows."""
    given = None if rows is None else lambda: rows if isinstance(rows, dict) else (rows, 0)
    return FRAMEWORK.without_layers(model, list(names), given)


def refusal(model: Any, *names: str, rows: Any = ROWS) -> str:
    with pytest.raises(SurgeryError) as refused:
        without(model, *names, rows=rows)
    text = str(refused.value)
    assert "\n" not in text
    assert WAY_OUT.search(text), text
    return text


def net(forward: Callable[..., Any], **layers: Any) -> Any:
    """A module with layers and code of one's own; the code gets the module and the arguments."""

    class Net(nn.Module):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return forward(self, *args, **kwargs)

    model = Net()
    for name, layer in layers.items():
        setattr(model, name, layer)
    return model


def stack(*layers: Any) -> Any:
    return nn.Sequential(*layers)


def train_one_step(model: Any, x: Any) -> Any:
    model.train()
    output = model(x)
    output.square().mean().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    return output


# Eight nets, every layer of each alone


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


# What is left


def test_changes_tell_what_was_built_anew_and_what_went() -> None:
    model = nets.CNN()
    surgery = without(model, "conv1", rows=nets.NETS["cnn"][1])
    assert surgery.changes == (
        Change("kernel shape", "bn1", "weight, bias, running_mean, running_var (6,)", "(1,)"),
        Change("kernel shape", "conv2", "weight (12, 6, 3, 3)", "(12, 1, 3, 3)"),
    )
    block = without(nets.Mixer(), "blocks.0.tokens", rows=nets.NETS["mixer"][1])
    assert [str(change) for change in block.changes] == [
        "blocks.0.tokens.0 (Linear): removed, with 'blocks.0.tokens'",
        "blocks.0.tokens.1 (GELU): removed, with 'blocks.0.tokens'",
        "blocks.0.tokens.2 (Linear): removed, with 'blocks.0.tokens'",
    ]
    residual = net(lambda s, x: s.out(x + s.branch(x)), branch=nn.Linear(6, 6), out=nn.Linear(6, 2))
    (change,) = without(residual, "branch").changes
    assert str(change) == "forward: 2 tensors in add -> one and the same"


def test_what_is_drawn_later_is_drawn_as_without_surgery() -> None:
    def drawn() -> list[Any]:
        return [random.random(), np.random.random(), torch.rand(2).tolist()]

    model = nets.MLP()
    seeds = random.seed, np.random.seed, torch.manual_seed

    def from_the_seed(*names: str) -> tuple[list[Any], Any]:
        for seed in seeds:
            seed(3)
        made = without(model, *names).model if names else None
        return drawn(), made

    expected, _ = from_the_seed()
    first, one = from_the_seed("0")
    second, other = from_the_seed("0")
    assert first == second == expected
    assert torch.equal(one[4].weight, other[4].weight)
    torch.manual_seed(4)
    assert not torch.equal(without(model, "0").model[4].weight, one[4].weight)


def test_data_that_draw_change_nothing_of_that() -> None:
    model = nets.MLP()

    def fresh(rows: Callable[[], Any]) -> Any:
        torch.manual_seed(3)
        return FRAMEWORK.without_layers(model, ["0"], rows).model[4].weight

    assert torch.equal(fresh(lambda: ROWS), fresh(lambda: (torch.manual_seed(9), ROWS)[1]))


def test_a_layer_built_anew_keeps_device_dtype_and_flags() -> None:
    model = stack(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 2)).double()
    model[2].mine = "kept"
    model[2].eval()
    new = without(model, "0").model
    assert new[2].weight.dtype == torch.float64
    assert (new[2].mine, new[2].training, new.training) == ("kept", False, True)


@pytest.mark.parametrize(
    ("layer", "changed"),
    [
        (lambda: nn.LayerNorm(8), "weight, bias (8,) -> (6,)"),
        (lambda: nn.PReLU(8), "weight (8,) -> (6,)"),
        (lambda: nn.GroupNorm(2, 8), "weight, bias (8,) -> (6,)"),
        (lambda: nn.LSTMCell(8, 8), "weight_ih (32, 8) -> (32, 6)"),
    ],
)
def test_layers_that_can_be_built_anew(layer: Any, changed: str) -> None:
    def forward(self: Any, x: Any) -> Any:
        x = self.second(self.first(x))
        return self.out(x[0] if isinstance(x, tuple) else x)

    model = net(forward, first=nn.Linear(6, 8), second=layer(), out=nn.Linear(8, 2))
    found = [str(change) for change in without(model, "first").changes]
    assert found[0] == f"second: {changed}"


def test_convolutions_of_every_kind_are_built_anew() -> None:
    def chain(*layers: Any) -> Any:
        return stack(
            nn.Conv2d(2, 4, 1), *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)
        )

    x = np.random.default_rng(0).random((8, 2, 6, 6), "float32")
    for layers, shapes in [
        ([nn.Conv2d(4, 4, 3, groups=2)], ["weight (4, 2, 3, 3) -> (4, 1, 3, 3)"]),
        (
            [nn.ConvTranspose2d(4, 4, 2, 2, output_padding=1)],
            ["weight (4, 4, 2, 2) -> (2, 4, 2, 2)"],
        ),
        (
            [
                nn.Conv2d(4, 4, 3, groups=4, padding="same"),
                nn.InstanceNorm2d(4, affine=True),
                nn.Conv2d(4, 4, 1),
            ],
            [
                "weight (4, 1, 3, 3) -> (2, 1, 3, 3)",
                "bias (4,) -> (2,)",
                "weight, bias (4,) -> (2,)",
                "weight (4, 4, 1, 1) -> (4, 2, 1, 1)",
            ],
        ),
    ]:
        changes = without(chain(*layers), "0", rows=x).changes
        assert [f"{change.before} -> {change.after}" for change in changes] == shapes
    assert "3 groups can't share 2 channels" in refusal(
        stack(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 6, 1, groups=3), nn.Flatten(), nn.Linear(216, 2)),
        "0",
        rows=x,
    )
    sequence = stack(nn.Conv1d(2, 4, 1), nn.Conv1d(4, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    assert without(sequence, "0", rows=x[:, :, 0]).params < 0


def test_what_follows_may_change_in_place() -> None:
    def forward(self: Any, x: Any) -> Any:
        before = self.first(x)
        y = self.second(before)
        y += 1
        return self.out(before * y)

    layers = {"first": nn.Linear(6, 6), "second": nn.Linear(6, 6), "out": nn.Linear(6, 2)}
    model = net(forward, **layers)
    found = without(model, "second").model(torch.as_tensor(ROWS))
    x = layers["first"](torch.as_tensor(ROWS))
    torch.testing.assert_close(found, layers["out"](x * (x + 1)))


def test_a_layer_goes_wherever_it_is_called_or_referred_to() -> None:
    shared = nn.Linear(6, 6)
    twice = net(
        lambda s, x: s.out(s.b(torch.relu(s.a(x)))), a=shared, b=shared, out=nn.Linear(6, 2)
    )
    assert without(twice, "a").params == -42
    assert without(twice, "b").removed == ("a",)
    listed = net(lambda s, x: s.out(s.hidden[0](x)), a=nn.Linear(6, 6), out=nn.Linear(6, 2))
    listed.hidden = [listed.a]  # no ModuleList
    new = without(listed, "a").model
    torch.testing.assert_close(new(torch.as_tensor(ROWS)), listed.out(torch.as_tensor(ROWS)))


def test_attention_and_recurrent_layers_pass_what_they_work_on() -> None:
    x = torch.rand(8, 3, 6)
    attend = net(
        lambda s, x: s.out(s.a(x, x, x)[0]), a=nn.MultiheadAttention(6, 2), out=nn.Linear(6, 2)
    )
    assert without(attend, "a", rows=x).params == -168
    uses_weights = net(
        lambda s, x: s.out(s.a(x, x, x)[1]),
        a=nn.MultiheadAttention(6, 2, batch_first=True),
        out=nn.Linear(3, 2),
    )
    assert "what it gave besides its first value" in refusal(uses_weights, "a", rows=x)
    packs = nn.utils.rnn

    def packed(self: Any, x: Any) -> Any:
        row = packs.pack_padded_sequence(x, torch.full((len(x),), 3), batch_first=True)
        return self.out(packs.pad_packed_sequence(self.r(row)[0], batch_first=True)[0])

    model = net(packed, r=nn.GRU(6, 5, batch_first=True), out=nn.Linear(5, 2))
    assert [str(c) for c in without(model, "r", rows=x).changes] == ["out: weight (2, 5) -> (2, 6)"]


def test_pytorchs_encoder_uses_no_weights_behind_the_stand_ins_back() -> None:
    x = nets.NETS["transformer"][1].clone()
    x[0, 4:] = 0
    for name in ("encoder.layers.0", "encoder.layers.0.self_attn", "encoder.layers.1.linear1"):
        new = without(nets.Transformer(), name, rows=x).model.eval()
        slow, fast = [], []
        for grad, into in (
            (True, slow),
            (False, fast),
        ):  # without gradients it takes a way of its own
            with torch.set_grad_enabled(grad):
                into.append(new(x).detach())
        torch.testing.assert_close(slow, fast)


def test_the_result_is_saved_loaded_copied_and_compiled() -> None:
    surgery = without(nets.MLP(), "4")
    x = torch.as_tensor(ROWS)
    expected = copy.deepcopy(surgery.model.eval())(x)
    file = io.BytesIO()
    torch.save(surgery.model.state_dict(), file)
    file.seek(0)
    other = without(nets.MLP(), "4").model.eval()
    other.load_state_dict(torch.load(file))
    torch.testing.assert_close(other(x), expected)
    compiled = torch.compile(other, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    whole = io.BytesIO()
    torch.save(surgery.model, whole)
    whole.seek(0)
    torch.testing.assert_close(torch.load(whole, weights_only=False)(x), expected)


# Whether anybody runs it


def test_who_was_called_is_known_through_copies_and_compilation() -> None:
    x = torch.as_tensor(ROWS)
    surgery = without(nets.MLP(), "0", "4")
    assert surgery.uncalled() == ("0", "4")
    surgery.model[4](x)
    assert surgery.uncalled() == ("0",)
    copy.deepcopy(surgery.model)(x)
    assert surgery.uncalled() == ()
    compiled = without(nets.MLP(), "0")
    torch.compile(compiled.model, backend="eager")(x)
    assert compiled.uncalled() == ()
    sent = without(nets.MLP(), "0")
    torch.save(sent.model, io.BytesIO())
    assert sent.uncalled() == (), "it may have been run in another process"


# What is refused


def test_what_works_in_evaluation_alone_can_be_left_out() -> None:
    def forward(self: Any, x: Any) -> Any:
        x = self.out(x)
        return x if self.training else self.soft(x)

    model = net(forward, out=nn.Linear(6, 2), soft=nn.Softmax(-1))
    assert without(model, "soft").params == 0


def test_names_are_found_by_their_ends_and_refused_with_hints() -> None:
    model, x = nets.ResNet(), nets.NETS["resnet"][1]
    assert without(model, "layer1.0.bn1", rows=x).removed == ("layer1.0.bn1",)
    assert "several layers are called 'bn1'" in refusal(model, "bn1", rows=x)
    assert "did you mean 'layer1.0.bn1'?" in refusal(model, "layer1.0.bn11", rows=x)
    assert "did you mean 'stem'?" in refusal(model, "stm", rows=x)
    assert without(model, "layer1", "layer1.0.bn1", rows=x).removed == ("layer1",)


def matching(model: Any, *, prefix: str = "", pattern: str = "") -> list[str]:
    known = FRAMEWORK.layer_names(model)
    return ablation.layers_matching(known, prefix=prefix, pattern=pattern, separator=".")


def test_prefixes_and_patterns_take_dots() -> None:
    model = nets.ResNet()
    assert matching(model, prefix="layer1") == ["layer1"]
    assert matching(model, prefix="layer1.") == ["layer1.0", "layer1.1"]
    assert matching(model, pattern="layer1.*.bn?") == [
        f"layer1.{block}.bn{bn}" for block in (0, 1) for bn in (1, 2)
    ]
    assert matching(model, pattern="shortcut") == ["layer2.0.shortcut"]
    with pytest.raises(SurgeryError, match=r"starts with 'layr1\.'; did you mean 'layer1\.1'\?"):
        matching(model, prefix="layr1.")


REFUSED: dict[str, tuple[Callable[[], tuple[Any, ...]], str]] = {
    "another output": (
        lambda: (nets.MLP(), "8"),
        r"changes the model's output \(\(5, 3\) -> \(5, 16\)\)",
    ),
    "nothing is changed": (lambda: (nets.MLP(), "5"), "leaving out '5' would change nothing"),
    "nothing to train is left": (
        lambda: (stack(nn.Linear(6, 6), nn.Tanh()), "0"),
        "leaves nothing that could be trained",
    ),
    "a new broadcast": (
        lambda: (
            net(
                lambda s, x: s.out(s.a(x[:, :1]) + s.b(x)),
                a=nn.Linear(1, 6),
                b=nn.Linear(6, 6),
                out=nn.Linear(6, 2),
            ),
            "a",
        ),
        r"lets add in forward\(\) stretch one of its tensors over the other, \(5, 1\) and \(5, 6\)",
    ),
    "rows that mix": (lambda: (_mixing(), "a"), "lets rows of a batch mix"),
    "fixed numbers in view": (
        lambda: (nets.CNN(keeps_rows=False), "pool2", nets.NETS["cnn"][1]),
        r"output \(\(5, 10\) -> \(20, 10\)\)",
    ),
    "others without effect": (
        lambda: (
            net(
                lambda s, x: s.out(s.gate(x, s.deep(x))),
                deep=nn.Linear(6, 6),
                out=nn.Linear(6, 2),
                gate=net(lambda s, x, y: s.l(x) * y[:, :1], l=nn.Linear(6, 6)),
            ),
            "gate",
        ),
        "puts several tensors together",
    ),
    "an embedding": (
        lambda: (nets.LSTM(), "embed", nets.NETS["lstm"][1]),
        "makes int64 into float32, which the layers that follow can't do without",
    ),
    "weights that code uses": (
        lambda: (
            net(lambda s, x: s.b(s.a(x)) @ s.a.weight, a=nn.Linear(6, 8), b=nn.Linear(8, 8)),
            "a",
        ),
        "'a' .Linear. was left out of the model in this arm, so that it has no 'weight'",
    ),
    "weights that are shared": (
        lambda: (
            _tied(),
            "a",
        ),
        "needs? another width, but shares its weight with 'c'",
    ),
    "weights made of others": (
        lambda: (
            stack(nn.Linear(6, 8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 2))),
            "0",
        ),
        "its weights are made out of others",
    ),
    "weights that are frozen": (
        lambda: (
            stack(nn.Linear(6, 8), nn.Linear(8, 4).requires_grad_(False), nn.Linear(4, 2)),
            "0",
        ),
        "breaks '1' .Linear.: its weights are frozen",
    ),
    "several widths": (
        lambda: (
            net(
                lambda s, x: s.out(s.b(s.a(x)) + s.b(s.c(x))),
                a=nn.Linear(6, 8),
                c=nn.Linear(6, 8),
                b=nn.Linear(8, 4),
                out=nn.Linear(4, 2),
            ),
            "a",
        ),
        "'b' .Linear.: it is called on several widths, 6 and 8",
    ),
    "more dimensions": (
        lambda: (
            stack(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2)),
            "1",
            np.zeros((8, 1, 8, 8), "float32"),
        ),
        r"breaks '2' .Linear.: it gets \(5, 2, 6, 6\) instead of \(5, 72\)",
    ),
    "evaluation alone breaks": (
        lambda: (
            net(
                lambda s, x: s.out(x if s.training else x[:, :3]), out=nn.Linear(6, 2), a=nn.ReLU()
            ),
            "out",
        ),
        "in the mode of evaluation the model breaks on what it was run on",
    ),
    "never called": (lambda: (nets.Routed(), "idle"), "no forward pass calls 'idle'"),
    "inside of what is called": (
        lambda: (
            nets.Transformer(),
            "encoder.layers.1.self_attn.out_proj",
            nets.NETS["transformer"][1],
        ),
        "leave out 'encoder.layers.1.self_attn', which it lies in",
    ),
    "half of a dictionary": (lambda: (nets.Routed(), "experts"), "name the layers that should go"),
    "an own function": (
        lambda: (_closure(), "out"),
        "a copy of the model still calls the original's 'a'",
    ),
    "hooks": (lambda: (_hooked(), "0"), "'0' .Linear. has hooks of yours"),
    "lazy": (
        lambda: (stack(nn.LazyLinear(4), nn.Linear(4, 2)), "1"),
        "'0' .LazyLinear. has no weights yet",
    ),
    "meta": (
        lambda: (stack(nn.Linear(6, 2), nn.Linear(2, 2)).to("meta"), "1"),
        "on the device 'meta'",
    ),
    "scripted": (
        lambda: (torch.jit.script(stack(nn.Linear(6, 2))), "0"),
        "is compiled TorchScript",
    ),
    "scripted inside": (
        lambda: (stack(torch.jit.script(stack(nn.Linear(6, 6))), nn.Linear(6, 2)), "0"),
        "'0' .RecursiveScriptModule. is compiled TorchScript",
    ),
    "compiled": (
        lambda: (torch.compile(stack(nn.Linear(6, 2))), "_orig_mod.0"),
        "is compiled by torch.compile",
    ),
    "wrapped": (lambda: (nn.DataParallel(stack(nn.Linear(6, 2))), "module.0"), "wraps the model"),
    "what can't be copied": (lambda: (_computed(), "0"), "can't be copied"),
    "a dictionary": (
        lambda: (
            net(
                lambda s, x: s.out(s.a(x)["y"]),
                a=net(lambda s, x: {"y": s.l(x)}, l=nn.Linear(6, 6)),
                out=nn.Linear(6, 2),
            ),
            "a",
        ),
        "'a' .Net. gives a dict, which none of its arguments can stand in for",
    ),
}


def _tied() -> Any:
    model = net(
        lambda s, x: s.out(s.b(s.a(x))) + s.c(s.d(x)),
        a=nn.Linear(6, 8),
        b=nn.Linear(8, 4, bias=False),
        c=nn.Linear(8, 4, bias=False),
        d=nn.Linear(6, 8),
        out=nn.Linear(4, 4),
    )
    model.c.weight = model.b.weight
    return model


def _mixing() -> Any:
    def forward(self: Any, x: Any) -> Any:
        y = self.a(x).view(-1, 12).cumsum(1)  # of two rows, without `a`
        return self.out(y.view(len(x), -1)[:, :6])

    model = net(forward, a=nn.Linear(6, 12), out=nn.Linear(6, 2))
    model.example_input_array = torch.rand(6, 6)
    return model


def _closure() -> Any:
    layer = nn.Linear(6, 6)
    return net(lambda s, x: s.out(layer(x)), a=layer, out=nn.Linear(6, 2))


def _hooked() -> Any:
    model = stack(nn.Linear(6, 6), nn.Linear(6, 2))
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    return model


def _computed() -> Any:
    model = stack(nn.Linear(6, 6), nn.Linear(6, 2))
    model.kept = model[0].weight * 2
    return model


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_words(case: str) -> None:
    make, message = REFUSED[case]
    model, *more = make()
    rows = more.pop() if more and not isinstance(more[-1], str) else ROWS
    text = refusal(model, *more, rows=rows)
    assert re.search(message, text), text


# On what it is run


def test_where_the_example_comes_from() -> None:
    def conv() -> Any:
        return stack(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2))

    images = np.zeros((8, 1, 8, 8), "float64")
    assert without(conv(), "0", rows=images).params == -36
    model = conv()
    model.example_input_array = torch.zeros(3, 1, 8, 8)
    assert FRAMEWORK.without_layers(model, ["0"], pytest.fail).params == -36
    model.example_input_array = torch.zeros(3, 2, 8, 8)
    assert "doesn't run on its own example_input_array" in refusal(model, "0", rows=images)
    dummy = conv()
    dummy.dummy_inputs = {"input": torch.zeros(3, 1, 8, 8)}
    assert without(dummy, "0", rows=None).params == -36
    assert "the study has no `data:`" in refusal(conv(), "0", rows=None)
    assert "on the first rows of the data the model breaks" in refusal(
        conv(), "0", rows=images[:, 0]
    )
    assert without(nets.MLP(), "0", rows=None).params < 0, "the first layer tells its width"

    def broken() -> Any:
        raise SurgeryError("the first rows of the data can't be had: no file")

    with pytest.raises(
        SurgeryError, match=r"must be run once, and the first rows .* no file; give the"
    ):
        FRAMEWORK.without_layers(conv(), ["0"], broken)


def test_a_batch_may_be_a_mapping_or_have_several_features() -> None:
    class Named(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mid, self.out = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, input_ids: Any, scale: Any = None) -> Any:
            y = self.out(self.mid(self.embed(input_ids)).mean(1))
            return {"logits": y if scale is None else y * scale}

    ids = np.arange(8 * 4).reshape(8, 4) % 9
    batch = {"input_ids": ids, "labels": np.zeros(8)}
    assert without(Named(), "mid", rows=batch).params == -42
    both = (ids, np.ones((8, 1), "float32"), np.zeros(8))
    assert FRAMEWORK.without_layers(Named(), ["mid"], lambda: both).params == -42


# What every framework promises


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
