"""What can't be left out of a PyTorch module is refused in words, with a way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.frameworks.torch.cutting import (
    ROWS,
    net,
    nets,
    nn,
    refusal,
    stack,
    torch,
)
from tests.late import needs_torch

# PyTorch warns about its own old functions.
pytestmark = [needs_torch, pytest.mark.filterwarnings("default")]


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
