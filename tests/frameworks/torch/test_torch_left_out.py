"""Layers left out of PyTorch modules: what is left, what was built anew, and whether anybody runs it."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dotrain.ablation import layers as ablation
from dotrain.ablation.layers import Change, SurgeryError
from tests.frameworks.torch.cutting import (
    FRAMEWORK,
    ROWS,
    net,
    nets,
    nn,
    refusal,
    stack,
    torch,
    without,
)
from tests.late import needs_torch

# PyTorch warns about its own old functions.
pytestmark = [needs_torch, pytest.mark.filterwarnings("default")]


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
