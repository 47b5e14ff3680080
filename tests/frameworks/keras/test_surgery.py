"""Leaving layers out: what is left trains, starts as the original did, or is refused in words."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotrain.ablation import layers as ablation
from dotrain.ablation.layers import Change, SurgeryError
from dotrain.frameworks.keras.surgery import (
    inherit_weights,
    initial_weights,
    layer_names,
    no_op_reason,
    without_layers,
)
from dotrain.frameworks.keras.surgery.names import graph_of
from tests.conftest import ROOT
from tests.late import Late, needs_keras

keras, layers = Late("keras"), Late("keras.layers")
# Keras and TensorFlow warn about themselves.
pytestmark = [needs_keras, pytest.mark.filterwarnings("default")]

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    keras.utils.set_random_seed(1)


def layers_matching(model: Any, *, prefix: str | None, pattern: str | None) -> list[str]:
    return ablation.layers_matching(layer_names(model), prefix=prefix or "", pattern=pattern or "")


def train_one_step(model: Any, x: Any, y: Any, loss: Any = "mse") -> float:
    model.compile("sgd", loss, run_eagerly=True)
    result = model.train_on_batch(x, y)
    return float(np.ravel(result)[0])


def outcomes(model: Any, targets: list[list[str]], x: Any, y: Any, loss: Any) -> dict[str, str]:
    """Leave out each target; say "trains" or why not. Nothing but SurgeryError is let pass."""
    said = {}
    config, weights = model.get_config(), [v.numpy() for v in model.variables]
    for target in targets:
        try:
            surgery = without_layers(model, target)
        except SurgeryError as error:
            text = str(error)
            assert "\n" not in text
            assert "\x1b" not in text
            assert len(text) < 700
            assert any(name in text for name in target)
            said["+".join(target)] = text
            continue
        assert list(surgery.removed) == target
        assert surgery.params == surgery.model.count_params() - model.count_params()
        assert np.isfinite(train_one_step(surgery.model, x, y, loss))
        said["+".join(target)] = "trains"
    # The original is untouched.
    assert model.get_config() == config
    assert all(np.array_equal(v.numpy(), w) for v, w in zip(model.variables, weights, strict=True))
    assert np.isfinite(train_one_step(model, x, y, loss))
    return said


def tally(said: dict[str, str]) -> tuple[int, int]:
    trained = sum(text == "trains" for text in said.values())
    return trained, len(said) - trained


# Models


def resnet() -> Any:
    def block(x: Any, name: str, width: int, stride: int) -> Any:
        short = x
        y = layers.Conv2D(width, 3, stride, padding="same", name=f"{name}_conv1")(x)
        y = layers.BatchNormalization(name=f"{name}_bn1")(y)
        y = layers.Activation("relu", name=f"{name}_relu1")(y)
        y = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv2")(y)
        y = layers.BatchNormalization(name=f"{name}_bn2")(y)
        if stride != 1:
            short = layers.Conv2D(width, 1, stride, name=f"{name}_proj")(x)
            short = layers.BatchNormalization(name=f"{name}_projbn")(short)
        y = layers.Add(name=f"{name}_add")([y, short])
        return layers.Activation("relu", name=f"{name}_relu2")(y)

    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    for name, width, stride in [("b1", 4, 1), ("b2", 8, 2), ("b3", 8, 1)]:
        x = block(x, name, width, stride)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="drop")(x)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="head")(x), name="resnet")


def two_branches() -> Any:
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    shared = layers.Dense(6, activation="tanh", name="shared")
    left = layers.Dense(6, name="left")(shared(a))
    right = layers.Dropout(0.1, name="right_drop")(layers.Dense(4, name="right")(shared(b)))
    right = layers.Dense(6, name="right_out")(right)
    merged = layers.Concatenate(name="both")([left, right])
    difference = layers.Subtract(name="difference")([left, right])
    x = layers.Dense(6, name="mix")(merged)
    x = x + difference
    return keras.Model([a, b], layers.Dense(2, name="out")(x))


def nested() -> Any:
    i = keras.Input((5,), name="inner_in")
    x = layers.Dense(7, activation="relu", name="widen")(i)
    x = layers.LayerNormalization(name="norm")(x)
    block = keras.Model(i, layers.Dense(5, name="narrow")(x), name="block")
    tail = keras.Sequential(
        [keras.Input((5,)), layers.Dense(5, name="narrow"), layers.ReLU(name="relu")], name="tail"
    )
    x = features = keras.Input((8,), name="features")
    x = layers.Dense(5, name="first")(x)
    x = layers.Add(name="skip")([x, block(x)])
    x = tail(block(x))
    return keras.Model(features, layers.Dense(3, name="head")(x), name="outer")


def siamese() -> Any:
    inputs = {name: keras.Input((6, 6, 1), name=name) for name in ("query", "candidate")}
    i = keras.Input((6, 6, 1))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(i)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    encoder = keras.Model(i, layers.Dense(4, name="code")(x), name="encoder")
    codes = [encoder(inputs["query"]), encoder(inputs["candidate"])]
    distance = layers.Lambda(lambda pair: abs(pair[0] - pair[1]), name="distance")(codes)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="same")(distance))


def stack() -> Any:
    return keras.Sequential(
        [
            keras.Input((8,), name="x"),
            layers.Dense(12, activation="relu", name="dense_1"),
            layers.BatchNormalization(name="bn"),
            layers.Dropout(0.3, name="drop"),
            layers.Dense(12, activation="relu", name="dense_2"),
            layers.Dense(3, name="head"),
        ],
        name="stack",
    )


def lstm() -> Any:
    words = keras.Input((7,), dtype="int32", name="words")
    x = layers.Embedding(11, 4, mask_zero=True, name="embed")(words)
    x = layers.SpatialDropout1D(0.1, name="drop")(x)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both_ways")(x)
    x, *state = layers.LSTM(5, return_sequences=True, return_state=True, name="encode")(x)
    x = layers.LSTM(5, name="decode")(x, initial_state=state)
    return keras.Model(words, layers.Dense(2, name="out")(x))


def attention() -> Any:
    tokens, context = keras.Input((4, 6), name="tokens"), keras.Input((4, 6), name="context")
    x = layers.LayerNormalization(name="norm_1")(tokens)
    x = layers.MultiHeadAttention(2, 3, name="self")(x, x)
    x = layers.Add(name="residual")([x, tokens])
    x = layers.MultiHeadAttention(2, 3, name="cross")(x, value=context)
    y = layers.TimeDistributed(layers.Dense(9, activation="gelu"), name="mlp_in")(x)
    y = layers.Dense(6, name="mlp_out")(y)
    x = layers.LayerNormalization(name="norm_2")(x + y)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model([tokens, context], layers.Dense(2, name="out")(x))


CASES: dict[str, tuple[Callable[[], Any], Any, Any, str, tuple[int, int]]] = {
    "resnet": (
        resnet,
        RNG.random((4, 8, 8, 3)),
        np.arange(4),
        "sparse_categorical_crossentropy",
        (19, 8),
    ),
    "two branches": (two_branches, [RNG.random((4, 6))] * 2, RNG.random((4, 2)), "mse", (4, 5)),
    "nested": (nested, RNG.random((4, 8)), RNG.random((4, 3)), "mse", (6, 4)),
    "siamese": (
        siamese,
        {"query": RNG.random((4, 6, 6, 1)), "candidate": RNG.random((4, 6, 6, 1))},
        RNG.integers(0, 2, (4, 1)),
        "mse",
        (3, 4),
    ),
    "stack": (stack, RNG.random((4, 8)), RNG.random((4, 3)), "mse", (4, 1)),
    "lstm": (lstm, RNG.integers(0, 11, (4, 7)), RNG.random((4, 2)), "mse", (2, 4)),
    "attention": (attention, [RNG.random((4, 4, 6))] * 2, RNG.random((4, 2)), "mse", (5, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_layer_is_bypassed_or_refused(case: str) -> None:
    build, x, y, loss, expected = CASES[case]
    model = build()
    said = outcomes(model, [[name] for name in layer_names(model)], x, y, loss)
    assert tally(said) == expected, said


@pytest.mark.parametrize("case", CASES)
def test_every_pair_of_neighbours_is_bypassed_or_refused(case: str) -> None:
    build, x, y, loss, _ = CASES[case]
    model = build()
    names = layer_names(model)
    pairs = [[a, b] for a, b in itertools.pairwise(names)]
    assert sum(tally(outcomes(model, pairs[::2], x, y, loss))) == len(pairs[::2])


def test_a_block_is_left_out_by_its_prefix() -> None:
    model = resnet()
    _, x, y, loss, _ = CASES["resnet"]
    blocks = [layers_matching(model, prefix=p, pattern=None) for p in ("b1_", "b2_", "b3_")]
    said = outcomes(model, blocks, x, y, loss)
    # The second one has another shape at its end than at its start, which the third relies on.
    assert [text == "trains" for text in said.values()] == [True, False, True]
    both = outcomes(model, [blocks[1] + blocks[2]], x, y, loss)
    assert tally(both) == (1, 0)
    surgery = without_layers(model, blocks[1] + blocks[2])
    assert [str(c) for c in surgery.changes] == ["head: kernel (8, 5) -> (4, 5)"]


# What is left


def test_a_sequential_equals_the_one_built_without_the_layer() -> None:
    model = stack()
    train_one_step(model, RNG.random((4, 8)), RNG.random((4, 3)))
    surgery = without_layers(model, ["dense_2"])
    assert isinstance(surgery.model, keras.Sequential)
    assert surgery.model.name == "stack"
    assert surgery.params == -(12 * 12 + 12)
    assert surgery.changes == ()
    by_hand = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(12, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )
    for ours, name in zip(by_hand.layers, ["dense_1", "bn", "drop", "head"], strict=True):
        ours.set_weights(model.get_layer(name).get_weights())
    x = RNG.random((5, 8))
    np.testing.assert_array_equal(
        surgery.model.predict(x, verbose=0), by_hand.predict(x, verbose=0)
    )


def test_weights_that_get_another_shape_are_listed_and_fresh() -> None:
    surgery = without_layers(stack(), ["dense_1"])
    assert [str(change) for change in surgery.changes] == [
        "bn: gamma, beta, moving_mean, moving_variance (12,) -> (8,)",
        "dense_2: kernel (12, 12) -> (8, 12)",
    ]
    assert surgery.params == -(8 * 12 + 12) - 4 * 4 - 4 * 12
    assert surgery.changes[1] == Change("kernel shape", "dense_2", "kernel (12, 12)", "(8, 12)")
    nested_one = without_layers(nested(), ["block/widen"])
    assert [str(change) for change in nested_one.changes] == [
        "block/norm: gamma, beta (7,) -> (5,)",
        "block/narrow: kernel (7, 5) -> (5, 5)",
    ]
    wrapped = without_layers(lstm(), ["both_ways"])
    assert [str(change) for change in wrapped.changes] == [
        "encode: lstm_cell/kernel (6, 20) -> (4, 20)"
    ]


def test_survivors_keep_the_weights_and_the_random_states_of_the_original() -> None:
    model = stack()
    new = without_layers(model, ["bn"]).model
    for name in ("dense_1", "drop", "dense_2", "head"):
        old_ones, new_ones = model.get_layer(name).variables, new.get_layer(name).variables
        assert old_ones
        for old, ours in zip(old_ones, new_ones, strict=True):
            assert old is not ours
            np.testing.assert_array_equal(old.numpy(), ours.numpy())


def test_what_is_drawn_later_is_drawn_as_without_surgery() -> None:
    model = stack()
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    first = without_layers(model, ["dense_1"]).model
    assert (random.random(), np.random.random()) == expected
    random.seed(3)
    second = without_layers(model, ["dense_1"]).model
    random.seed(4)
    third = without_layers(model, ["dense_1"]).model
    kernels = [m.get_layer("dense_2").kernel.numpy() for m in (first, second, third)]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def trained_arm() -> str:
    keras.utils.set_random_seed(7)
    model = stack()
    new = without_layers(model, ["dense_1"]).model
    new.compile("sgd", "mse", run_eagerly=True)
    x = np.linspace(0, 1, 80).reshape(10, 8)
    new.fit(x, x[:, :3], epochs=2, batch_size=3, verbose=0)
    return repr([w.tolist() for w in new.get_weights()])


@pytest.mark.slow
def test_an_arm_is_a_function_of_the_seed_in_any_process() -> None:
    code = "from tests.frameworks.keras.test_surgery import trained_arm; print(trained_arm())"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert trained_arm() == out.stdout.strip()
    assert trained_arm() == out.stdout.strip()


def test_the_module_does_without_keras() -> None:
    code = "import sys, dotrain.frameworks.keras.surgery; print('keras' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("build", "name"),
    [(resnet, "b1_conv1"), (nested, "block/norm"), (stack, "bn"), (siamese, "code")],
)
def test_the_result_is_saved_and_loaded(
    build: Callable[[], Any], name: str, tmp_path: Path
) -> None:
    new = without_layers(build(), [name]).model
    new.save(tmp_path / "new.keras")
    loaded = keras.models.load_model(tmp_path / "new.keras", safe_mode=False)
    graph = graph_of(new)
    inputs = keras.tree.map_structure(lambda t: RNG.random((2, *t.shape[1:])), graph.input)
    np.testing.assert_array_equal(new.predict(inputs, verbose=0), loaded.predict(inputs, verbose=0))


def test_a_shared_layer_is_left_out_wherever_it_is_called() -> None:
    surgery = without_layers(two_branches(), ["shared"])
    assert surgery.params == -(6 * 6 + 6)
    assert "shared" not in {layer.name for layer in surgery.model.layers}


def test_a_nested_model_adapts_to_what_it_is_fed() -> None:
    i = keras.Input((5,))
    block = keras.Model(i, layers.Dense(4, name="inner")(i), name="block")
    tail = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="last")], name="tail")
    x = keras.Input((8,))
    model = keras.Model(x, tail(block(layers.Dense(5, name="first")(x))))
    surgery = without_layers(model, ["first"])
    assert [str(c) for c in surgery.changes] == ["block/inner: kernel (5, 4) -> (8, 4)"]
    assert np.isfinite(train_one_step(surgery.model, RNG.random((2, 8)), RNG.random((2, 2))))
    emptied = without_layers(model, ["inner"])
    assert [str(c) for c in emptied.changes] == [
        "block (Functional): removed, nothing is left inside",
        "tail/last: kernel (4, 2) -> (5, 2)",
    ]


def test_a_removed_nested_model_names_what_went_with_it() -> None:
    surgery = without_layers(nested(), ["tail"])
    assert [str(c) for c in surgery.changes] == [
        "tail/narrow (Dense): removed, with 'tail'",
        "tail/relu (ReLU): removed, with 'tail'",
    ]


def test_a_dead_branch_falls_away_and_its_input_stays() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    side = layers.Dense(3, name="side")(b)
    # Would fail if it were rebuilt: its input has another width than the one that replaces it.
    side = layers.Add(name="twice")([side, layers.Dense(3, name="more")(side)])
    x = layers.Concatenate(name="both")([layers.Dense(6, name="main")(a), side])
    x = layers.Multiply(name="gate")([x, layers.Dense(1, name="scale")(side)])
    model = keras.Model([a, b], layers.Dense(2, name="out")(x))
    surgery = without_layers(model, ["gate"])
    assert [str(c) for c in surgery.changes] == ["scale (Dense): dropped, nothing uses it any more"]
    # Each of both's inputs has another shape than its output.
    with pytest.raises(SurgeryError, match="none of them has the shape of its output"):
        without_layers(model, ["both"])
    c = keras.Input((3,), name="c")
    y = layers.Add(name="sum")([a, layers.Dense(3, name="wide")(layers.Dense(5, name="deep")(c))])
    small = keras.Model([a, c], layers.Dense(2, name="out")(y))
    with pytest.raises(SurgeryError, match=r"which should go on, of those .* 'a', 'wide'"):
        without_layers(small, ["sum"])
    gated = layers.Multiply(name="gate")([y, layers.Dense(1, name="one")(c)])
    model = keras.Model([a, b, c], layers.Dense(2)(layers.Subtract(name="minus")([gated, side])))
    surgery = without_layers(model, ["gate"])
    assert [c.layer for c in surgery.changes] == ["one"]
    only = keras.Model(
        [a, c], layers.Dense(2)(layers.Multiply(name="gate")([a, layers.Dense(1)(c)]))
    )
    surgery = without_layers(only, ["gate"])
    assert [c.kind for c in surgery.changes] == ["dropped", "dropped"]
    assert "c (InputLayer): dropped, nothing uses what is fed to it" in map(str, surgery.changes)
    assert [t.name for t in surgery.model.inputs] == ["a", "c"]
    loss = train_one_step(surgery.model, [RNG.random((2, 3))] * 2, RNG.random((2, 2)))
    assert np.isfinite(loss)


def test_a_block_with_a_layer_that_is_not_among_its_names_says_what_still_stands() -> None:
    """As in MobileNetV3, whose ReLUs inside of blocks have names of their own."""
    x = keras.Input((4,), name="x")
    y = layers.Dense(4, name="stem")(x)
    z = layers.ReLU(name="re_lu")(layers.Dense(6, name="block_expand")(y))
    z = layers.Multiply(name="block_mul")([z, layers.Dense(6, name="block_gate")(z)])
    z = layers.ReLU(name="re_lu_1")(layers.Dense(4, name="block_project")(z))
    z = layers.Add(name="block_add")([y, layers.Dense(4, name="block_last")(z)])
    model = keras.Model(x, layers.Dense(2, name="out")(z))
    block = [name for name in layer_names(model) if name.startswith("block_")]
    with pytest.raises(SurgeryError) as caught:
        without_layers(model, block)
    assert str(caught.value) == (
        "'block_add' (Add) merges 'stem', 're_lu_1'; which should go on, of those with the shape of its output, "
        "'stem', 're_lu_1'? Leave out the layers of the other branch, with or without 'block_add', or write a variant "
        "under `models:`; on the way between them still stand 're_lu', 're_lu_1': for a group with these, list the "
        "names, or write a pattern that matches all"
    )
    surgery = without_layers(model, [*block, "re_lu", "re_lu_1"])
    assert [layer.name for layer in surgery.model.layers] == ["x", "stem", "out"]


def test_a_merge_of_one_thing_with_itself_is_told() -> None:
    x = keras.Input((4,), name="x")
    y = layers.Add(name="sum")([layers.Dense(4, name="wide")(x), x])
    model = keras.Model(x, layers.Dense(2, name="out")(y))
    assert [str(c) for c in without_layers(model, ["wide"]).changes] == [
        "sum: inputs 'wide', 'x' -> 'x', 'x'"
    ]
    assert without_layers(model, ["wide", "sum"]).changes == ()


def test_several_outputs_keep_their_names() -> None:
    x = keras.Input((4,), name="x")
    y = layers.Dense(3, name="body")(x)
    ends = [layers.Activation("relu", name="first")(y), layers.Dense(3, name="second")(y)]
    model = keras.Model(x, ends)
    model.compile("sgd", loss={"first": "mse", "second": "mae"}, metrics={"first": ["mae"]})
    new = without_layers(model, ["first"]).model
    assert new.output_names == ["first", "second"]
    y = RNG.random((4, 3))
    logs = new.train_on_batch(RNG.random((4, 4)), {"first": y, "second": y}, return_dict=True)
    assert "first_mae" in logs


# Compiled models


def test_a_compiled_model_stays_compiled_and_shares_no_state() -> None:
    class Slow(keras.optimizers.SGD):  # type: ignore[misc]
        def __init__(self, learning_rate: float = 0.5, factor: float = 1.0, **more: Any) -> None:
            super().__init__(learning_rate, **more)
            self.factor = factor

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "factor": self.factor}

    class Twice(keras.metrics.Mean):  # type: ignore[misc]
        def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> Any:
            return super().update_state(2 * keras.ops.abs(keras.ops.subtract(y, predicted)))

    model = stack()
    model.compile(
        Slow(0.1, factor=3.0, momentum=0.9),
        loss=lambda y, predicted: keras.ops.mean(keras.ops.subtract(y, predicted) ** 2),
        metrics=["mae", Twice(name="twice")],
        run_eagerly=True,
    )
    x, y = RNG.random((4, 8)), RNG.random((4, 3))
    model.train_on_batch(x, y)
    model.optimizer.learning_rate = 0.05
    new = without_layers(model, ["dense_2"]).model
    assert new.compiled
    assert new.run_eagerly
    assert type(new.optimizer) is Slow
    assert new.optimizer is not model.optimizer
    assert (new.optimizer.factor, float(new.optimizer.learning_rate)) == (3.0, pytest.approx(0.05))
    assert int(new.optimizer.iterations.numpy()) == 0
    before = [v.numpy() for v in model.optimizer.variables]
    logs = new.train_on_batch(x, y, return_dict=True)
    assert logs["twice"] == pytest.approx(2 * logs["mae"], rel=1e-5)
    for variable, value in zip(model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert not without_layers(stack(), ["dense_2"]).model.compiled


# Layers that are hard to copy


def forgetful() -> Any:
    class Forgetful(layers.Layer):  # type: ignore[misc]
        def __init__(self, units: int = 3, **more: Any) -> None:
            super().__init__(**more)
            self.units = units

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1], self.units))

        def call(self, x: Any) -> Any:
            return x @ self.kernel

        def get_config(self) -> dict[str, Any]:
            return dict(super().get_config())

    return Forgetful(5, name="bad")


def opaque() -> Any:
    class Opaque(layers.Layer):  # type: ignore[misc]
        def __init__(self, thing: object) -> None:
            super().__init__()
            self.thing = thing

        def call(self, x: Any) -> Any:
            return x

    return Opaque(object())


def test_lambdas_functions_and_custom_layers_are_copied_as_they_are() -> None:
    factor = 3.0

    class Scale(layers.Layer):  # type: ignore[misc]
        """Keras' own get_config does for this one."""

        def __init__(self, by: float, **more: Any) -> None:
            super().__init__(**more)
            self.by = by

        def call(self, x: Any) -> Any:
            return x * self.by

    def squash(x: Any) -> Any:
        return keras.ops.tanh(x) * factor

    class Local(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x + 1

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    cells = [layers.LSTMCell(3), layers.GRUCell(4)]
    sequence = [
        keras.Input((5, 4)),
        layers.Lambda(lambda x: keras.ops.exp(x) * factor, output_shape=lambda s: s),
        layers.Dense(6, activation=squash, name="wide"),
        layers.TimeDistributed(layers.Dense(6, activation=lambda x: squash(x)), name="in_time"),
        layers.TimeDistributed(Local(), name="local"),
        layers.Dense(4, name="narrow"),
        Scale(2.0),
        layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both_ways"),
        layers.RNN(cells, name="stacked"),
        layers.Dense(2, name="head"),
    ]
    model = keras.Sequential(sequence)
    new = without_layers(model, ["local"]).model
    by_hand = keras.Sequential(
        [layer for layer in sequence if getattr(layer, "name", "") != "local"]
    )
    x = RNG.random((3, 5, 4))
    np.testing.assert_allclose(new.predict(x, verbose=0), by_hand.predict(x, verbose=0), rtol=1e-6)
    assert np.isfinite(train_one_step(new, x, RNG.random((3, 2))))
    # Layers in wrappers aren't built for the shapes they had.
    narrower = without_layers(model, ["wide"])
    assert [c.layer for c in narrower.changes] == ["in_time"]
    assert np.isfinite(train_one_step(narrower.model, x, RNG.random((3, 2))))
    other = without_layers(model, ["narrow"])
    assert [c.layer for c in other.changes] == ["both_ways"]
    assert np.isfinite(train_one_step(other.model, x, RNG.random((3, 2))))


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (forgetful, "has other weights or outputs"),
        (opaque, "get_config"),
    ],
)
def test_layers_without_a_usable_config_are_refused(layer: Callable[[], Any], why: str) -> None:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="a"), layer(), layers.Dense(2, name="b")]
    )
    with pytest.raises(SurgeryError, match=why) as caught:
        without_layers(model, ["a"])
    assert "`models:`" in str(caught.value)


def test_what_was_learnt_from_data_beforehand_is_kept() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("no other backend of Keras computes on text")
    norm = layers.Normalization(name="norm")
    norm.adapt(RNG.random((50, 3)) * 9)
    words = layers.StringLookup(output_mode="multi_hot", name="words")
    words.adapt([["red", "green"], ["blue", "red"]])
    numbers, text = (
        keras.Input((3,), name="numbers"),
        keras.Input((2,), dtype="string", name="text"),
    )
    x = layers.Concatenate()([layers.Dropout(0.1, name="drop")(norm(numbers)), words(text)])
    model = keras.Model([numbers, text], layers.Dense(1)(x))
    new = without_layers(model, ["drop"]).model
    import tensorflow as tf

    data = [
        tf.constant(RNG.random((2, 3)), "float32"),
        tf.constant([["red", "x"], ["blue", "green"]]),
    ]
    np.testing.assert_array_equal(model(data).numpy(), new(data).numpy())


def test_flags_trainable_are_kept_at_every_level() -> None:
    model = nested()
    block = model.get_layer("block")
    block.trainable = False
    block.get_layer("norm").trainable = True
    model.get_layer("head").trainable = False
    new = without_layers(model, ["tail"]).model
    assert [
        new.get_layer("block").trainable,
        new.get_layer("block").get_layer("norm").trainable,
        new.get_layer("block").get_layer("narrow").trainable,
        new.get_layer("head").trainable,
        new.get_layer("first").trainable,
    ] == [False, True, False, False, True]
    assert len(model.trainable_variables) == len(new.trainable_variables) + 2


# Refusals


def test_names() -> None:
    model = nested()
    assert layer_names(model) == [
        *("first", "block", "block/widen", "block/norm", "block/narrow", "skip"),
        *("tail", "tail/narrow", "tail/relu", "head"),
    ]
    assert without_layers(model, ["widen"]).removed == ("block/widen",)
    for names, why in [
        (["hed"], "no layer 'hed'; did you mean 'head'"),
        (["block/wide"], "no layer 'block/wide'; did you mean 'block/widen'"),
        (["zzz"], "no layer 'zzz'; known: first, block, "),
        (["narrow"], "several layers are called 'narrow': 'block/narrow', 'tail/narrow'"),
        (["features"], "'features' is an input"),
        (["inner_in"], "'block/inner_in' is an input"),
        ([], "no layer to leave out"),
    ]:
        with pytest.raises(SurgeryError, match=why):
            without_layers(model, names)


def test_layers_by_prefix_and_pattern() -> None:
    model = nested()
    assert layers_matching(model, prefix="block", pattern=None) == ["block"]
    assert layers_matching(model, prefix="block/n", pattern=None) == ["block/norm", "block/narrow"]
    assert layers_matching(model, prefix=None, pattern="n*") == [
        *("block/norm", "block/narrow", "tail/narrow")
    ]
    assert layers_matching(model, prefix="n", pattern="tail/*") == ["tail/narrow"]
    with pytest.raises(
        SurgeryError, match="no layer's name starts with 'frst'; did you mean 'first'"
    ):
        layers_matching(model, prefix="frst", pattern=None)
    with pytest.raises(SurgeryError, match="starts with 'B3_'; did you mean 'b3_conv1'"):
        layers_matching(resnet(), prefix="B3_", pattern=None)
    many = keras.Sequential([keras.Input((4,)), *(layers.ReLU(name=f"r{n}") for n in range(30))])
    with pytest.raises(SurgeryError, match=r"known: r0, .*, r19, \.\.\. \(30 in all\)"):
        without_layers(many, ["something"])
    with pytest.raises(SurgeryError, match=r"matches 'z\?'; known: "):
        layers_matching(model, prefix=None, pattern="z?")


def test_errors_say_what_breaks_and_what_to_do() -> None:
    with pytest.raises(SurgeryError) as caught:
        without_layers(resnet(), ["stem"])
    assert str(caught.value) == (
        "leaving out 'stem' (Conv2D, (None, 8, 8, 3) -> (None, 8, 8, 4)) breaks 'b1_add' (Add): "
        "Inputs have incompatible shapes. Received shapes (8, 8, 4) and (8, 8, 3); leave out a "
        "whole group that ends in the shape it began with, or write a variant under `models:`"
    )
    assert caught.value.exit_code == 2
    with pytest.raises(SurgeryError, match=r"'block/narrow' \(Dense, \(None, 7\) -> \(None, 5\)\)"):
        without_layers(nested(), ["block/narrow"])
    with pytest.raises(
        SurgeryError, match=r"model's output 'out' \(\(None, 2\) -> \(None, 4, 2\)\)"
    ):
        without_layers(attention(), ["pool"])


def test_models_without_a_graph_are_refused() -> None:
    class Sub(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self, units: int) -> None:
            x = keras.Input((4,), name="x")
            y = layers.Dense(units, name="a")(x)
            super().__init__(x, layers.Dense(2, name="b")(y))

    class OwnStep(Own):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    class Passed(keras.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            return {**super().train_step(data), "mine": 1.0}

    class Stack(keras.Sequential):  # type: ignore[misc]
        """Of one that isn't built, a plain one can be made anew."""

    unbuilt = Stack([layers.Dense(3, name="a"), layers.Dense(2, name="b")])
    for model, why in [
        (Sub(), "is a subclassed model.*`components:`.*`models:`"),
        (unbuilt, r"isn't built.*keras.Input"),
        (OwnStep(3), "makes its layers itself and has its own train_step"),
        ("model", "got a str"),
    ]:
        with pytest.raises(SurgeryError, match=why):
            without_layers(model, ["a"])
    unbuilt.build((None, 4))
    assert without_layers(unbuilt, ["a"]).params == -(4 * 3 + 3) + 2
    assert without_layers(Own(3), ["a"]).model.count_params() == 10
    x = keras.Input((4,))
    # A nested model may begin with the very input of the one around it.
    backbone = keras.Model(x, layers.Dense(4, name="deep")(layers.Dense(3, name="a")(x)))
    around = keras.Model(x, layers.Dense(2, name="end")(backbone(x)))
    assert without_layers(around, ["deep"]).params == -16 - 2
    new = without_layers(Passed(x, layers.Dense(2)(layers.Dense(3, name="a")(x))), ["a"]).model
    assert type(new) is Passed
    new.compile("sgd", "mse", run_eagerly=True)
    assert new.train_on_batch(RNG.random((2, 4)), RNG.random((2, 2)), return_dict=True)["mine"] == 1


def test_a_nested_model_of_its_own_kind_is_copied_as_it_is() -> None:
    @keras.saving.register_keras_serializable("test_surgery")
    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self, units: int, name: str = "own") -> None:
            x = keras.Input((4,), name="x")
            y = layers.Dense(units, name="inner")(x)
            super().__init__(x, layers.Dense(units, name="then")(y), name=name)
            self.units = units

        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

        def get_config(self) -> dict[str, Any]:
            return {"units": self.units, "name": self.name}

        @classmethod
        def from_config(cls, config: Any) -> Any:
            return cls(**config)

    x = keras.Input((4,))
    y = layers.Dropout(0.1, name="drop")(Own(3)(layers.Dense(4, name="first")(x)))
    model = keras.Model(x, layers.Dense(2, name="last")(y))
    data = RNG.random((3, 4))
    new = without_layers(model, ["drop"]).model
    assert type(new.get_layer("own")) is Own
    np.testing.assert_array_equal(model.predict(data, verbose=0), new.predict(data, verbose=0))
    for name in ("inner", "own/inner"):
        with pytest.raises(SurgeryError, match="'own' can't be built anew: its class Own makes"):
            without_layers(model, [name])
    assert without_layers(model, ["own"]).params == -15 - 12 + 2


def test_nothing_left_is_refused() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a"), layers.ReLU(name="b")])
    for names in (["a"], ["a", "b"]):
        with pytest.raises(SurgeryError, match="leaves nothing that could be trained"):
            without_layers(model, names)


def test_what_fails_only_when_it_runs_is_refused() -> None:
    # Their shapes are computed without a look at the type, or at the second input.
    image = keras.Input((6, 6, 1), dtype="uint8")
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    x = layers.Flatten()(layers.Conv2D(2, 3, name="conv")(x))
    pixels = keras.Model(image, layers.Dense(2)(x))
    with pytest.raises(
        SurgeryError, match=r"'rescale' \(Rescaling, uint8 -> float32\) breaks 'conv'"
    ):
        without_layers(pixels, ["rescale"])
    a, b = keras.Input((3, 4)), keras.Input((3, 5))
    x = layers.Attention(name="attend")([a, layers.Dense(4, name="keys")(b)])
    looked_up = keras.Model([a, b], layers.Dense(2)(layers.Flatten()(x)))
    with pytest.raises(SurgeryError, match=r"'keys' .* breaks 'attend' \(Attention\)"):
        without_layers(looked_up, ["keys"])


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (lambda: layers.Activation("linear"), "linear"),
        (lambda: layers.Dropout(0), "rate is 0"),
        (lambda: layers.SpatialDropout2D(0.0), "rate is 0"),
        (lambda: layers.GaussianDropout(0.0), "rate is 0"),
        (lambda: layers.GaussianNoise(0.0), "stddev is 0"),
        (lambda: layers.Identity(), "returns its input"),
        (lambda: layers.Reshape((4, 4, 2)), "input's shape"),
        (lambda: layers.Permute((1, 2, 3)), "permutes nothing"),
        (lambda: layers.ZeroPadding2D(0), "padding is 0"),
        (lambda: layers.Cropping2D(0), "crops nothing"),
        (lambda: layers.UpSampling2D(1), "size is 1"),
        (lambda: layers.MaxPooling2D(1), "pool size"),
        (lambda: layers.Rescaling(1.0), "scale is 1"),
    ],
)
def test_what_changes_nothing_is_refused(layer: Callable[[], Any], why: str) -> None:
    idle = layer()
    model = keras.Sequential(
        [keras.Input((4, 4, 2)), idle, layers.Flatten(name="flat"), layers.Dense(2, name="head")]
    )
    with pytest.raises(SurgeryError, match=f"would change nothing: '{idle.name}': .*{why}"):
        without_layers(model, [idle.name])
    # In a group with something that matters it may go.
    model.add(layers.ReLU(name="relu"))
    assert without_layers(model, [idle.name, "relu"]).changes == ()


def test_what_changes_something_has_no_reason() -> None:
    model = resnet()
    every = [*model.layers, *stack().layers, *attention().layers]
    assert [layer.name for layer in every if no_op_reason(layer)] == []
    for layer in [
        layers.Dropout(0.1),
        layers.MaxPooling2D(1, strides=2),
        layers.UpSampling1D(2),
        layers.ZeroPadding1D(1),
        layers.Permute((2, 1)),
        layers.Rescaling(2.0),
        layers.Activation("linear", activity_regularizer="l2"),
        layers.Flatten(),
    ]:
        assert no_op_reason(layer) is None


# Paired initialisation


def test_weights_are_inherited_by_name_and_shape() -> None:
    donor = initial_weights(stack())
    assert list(donor) == ["dense_1", "bn", "dense_2", "head"]
    keras.utils.set_random_seed(2)
    variant = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(12, name="dense_1"),
            layers.Dense(9, name="dense_2"),
            layers.Dense(3, name="head"),
            layers.Dense(3, name="other"),
        ]
    )
    other = variant.get_layer("other").get_weights()
    assert inherit_weights(donor, variant) == ["dense_2", "head"]
    for ours, theirs in zip(
        variant.get_layer("dense_1").get_weights(), donor["dense_1"], strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(variant.get_layer("other").get_weights(), other, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    names = list(initial_weights(nested()))
    assert names == ["first", "block/widen", "block/norm", "block/narrow", "tail/narrow", "head"]
    assert inherit_weights(initial_weights(nested()), nested()) == []
    with pytest.raises(SurgeryError, match="isn't built"):
        initial_weights(keras.Sequential([layers.Dense(3)]))


def unbuilt(**more: Any) -> Any:
    keras.utils.set_random_seed(7)
    names = ("first", "wide", "last")
    return keras.Sequential([layers.Dense(3, name=name, **more) for name in names])


def test_layers_of_a_sequential_that_is_not_built_are_left_out_by_name() -> None:
    x = RNG.random((2, 3))
    whole, surgery = unbuilt(), without_layers(unbuilt(), ["wide"])
    assert surgery.removed == ("wide",)
    assert layer_names(unbuilt()) == ["first", "wide", "last"]
    whole(x), surgery.model(x)
    assert [layer.name for layer in surgery.model.layers] == ["first", "last"]
    for name in ("first", "last"):  # drawn from the layer's own seed, whenever that is
        for one, other in zip(
            whole.get_layer(name).get_weights(),
            surgery.model.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["last"], "without its last layer 'last' its output would have an unknown shape"),
        (["wid"], "the model has no layer 'wid'; did you mean 'wide'"),
    ],
)
def test_what_can_not_be_left_out_of_one_that_is_not_built(names: list[str], message: str) -> None:
    with pytest.raises(SurgeryError, match=message):
        without_layers(unbuilt(), names)


def test_one_that_is_compiled_before_it_is_built_is_refused() -> None:
    model = unbuilt()
    model.compile(loss="mse")
    with pytest.raises(SurgeryError, match="isn't built"):
        without_layers(model, ["wide"])
