"""The Keras side: callbacks, checkpoints that continue exactly, batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotrain.core.events import Reported, TrialEvent
from dotrain.errors import DotrainError
from dotrain.training.channel import Channel
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadReport, EarlyStop
from dotrain.training.generators import DataGenerator, Sources
from dotrain.training.numbers import as_number
from dotrain.training.place import Agreement
from dotrain.training.program import LoadedProgram, Program
from dotrain.training.reporter import Reporter
from dotrain.training.seeding import seed_everything
from dotrain.usercode.function import FunctionRef, Functions
from tests.late import Late, needs_keras

keras = Late("keras")
# Keras and TensorFlow warn about themselves.
pytestmark = [needs_keras, pytest.mark.filterwarnings("default")]

X = np.linspace(-1, 1, 24).reshape(12, 2).astype("float32")
Y = (X[:, :1] * 2 - X[:, 1:]).astype("float32")


def model() -> Any:
    seed_everything(5)
    net = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    net.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse", metrics=["mae"])
    return net


def reporter(stop_at: int | None = None) -> tuple[Reporter, list[TrialEvent]]:
    sent: list[TrialEvent] = []
    channel = Channel(sent.append)

    def send(event: TrialEvent) -> None:
        sent.append(event)
        if isinstance(event, Reported) and event.step == stop_at:
            channel.stop("enough")

    channel.send = send
    return Reporter("t0000", 1, "score", channel, Agreement()), sent


def fit(net: Any, epochs: int, **options: Any) -> Any:
    return net.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, **options)


def test_an_epoch_is_a_report_of_the_metric_and_the_other_logs() -> None:
    from dotrain.callbacks import KerasEpochEnd

    report, sent = reporter()
    fit(model(), 3, callbacks=[KerasEpochEnd(report, "loss")])
    assert [event.step for event in sent] == [0, 1, 2]  # type: ignore[attr-defined]
    assert set(sent[0].metrics) == {"loss", "mae"}  # type: ignore[attr-defined]


def test_a_batch_is_a_report_too() -> None:
    from dotrain.callbacks import KerasBatchEnd

    report, sent = reporter()
    fit(model(), 2, callbacks=[KerasBatchEnd(report, metric="loss")])
    assert [event.step for event in sent] == list(range(6))  # type: ignore[attr-defined]


def test_a_stop_leaves_fit_at_once() -> None:
    from dotrain.callbacks import KerasEpochEnd

    report, sent = reporter(stop_at=1)
    with pytest.raises(EarlyStop, match="enough"):
        fit(model(), 9, callbacks=[KerasEpochEnd(report, "mae")])
    assert len(sent) == 2


def test_a_metric_that_keras_does_not_log_is_named() -> None:
    from dotrain.callbacks import KerasEpochEnd

    report, _ = reporter()
    with pytest.raises(BadReport, match="no 'score'; they hold loss, mae"):
        fit(model(), 1, callbacks=[KerasEpochEnd(report)])


def test_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    from dotrain.callbacks import KerasCheckpoint

    whole = model()
    fit(whole, 4)
    checkpoint = Checkpoint(tmp_path)
    fit(model(), 2, callbacks=[KerasCheckpoint(checkpoint)])
    assert checkpoint.step == 2
    resumed = model()
    fit(
        resumed,
        4,
        initial_epoch=checkpoint.step,
        callbacks=[KerasCheckpoint(Checkpoint(tmp_path))],
    )
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_begins_from_anothers_checkpoint_trains_with_its_own_rate(tmp_path: Path) -> None:
    from dotrain.callbacks import KerasCheckpoint

    def train(rate: Any, begins_at: int, folder: Path, seed: int) -> float:
        net = model()
        net.compile(keras.optimizers.Adam(rate), "mse")
        keep = KerasCheckpoint(Checkpoint(folder, seed=seed))
        fit(net, begins_at + 1, initial_epoch=begins_at, callbacks=[keep])
        return float(net.optimizer.learning_rate)

    train(0.5, 0, tmp_path / "rate", seed=1)
    assert train(0.25, 1, tmp_path / "rate", seed=1) == 0.5, "what was made of it holds on"
    assert train(0.25, 2, tmp_path / "rate", seed=2) == 0.25
    decay = keras.optimizers.schedules.ExponentialDecay
    train(decay(0.5, 3, 0.5, staircase=True), 0, tmp_path / "schedule", seed=1)
    assert train(decay(0.25, 3, 0.5, staircase=True), 1, tmp_path / "schedule", seed=2) == 0.0625


def generator(
    data: Callable[..., Any], hparams: dict[str, Any] | None = None, seed: int = 0
) -> DataGenerator:
    functions = Functions(FunctionRef("train"), packages=("keras",))
    program = Program("token", functions, "score", {}, "/nowhere")
    loaded = LoadedProgram(program, lambda: None, None, data)
    return DataGenerator(Sources(loaded, {}, hparams or {}, seed))


def test_batches_hold_every_row_once_shuffled_by_the_trials_seed() -> None:
    def rows(seed: int, split: str = "train") -> list[list[float]]:
        data = generator(lambda split: (X, Y), {"batch_size": 5}, seed)
        return [features[:, 0].numpy().tolist() for features, _ in data.batch(split=split)]

    first, again, other = rows(1), rows(1), rows(2)
    assert [len(batch) for batch in first] == [5, 5, 2]
    assert first == again != other
    assert sorted(row for batch in first for row in batch) == sorted(X[:, 0].tolist())
    assert [row for batch in rows(1, "validation") for row in batch] == X[:, 0].tolist()


def test_anything_else_comes_as_it_is() -> None:
    assert generator(lambda: [1, 2]).batch() == [1, 2]


def test_layer_names_do_not_depend_on_what_ran_before() -> None:
    assert [layer.name for layer in model().layers] == [layer.name for layer in model().layers]


def test_equal_seeds_give_equal_weights() -> None:
    for a, b in zip(model().get_weights(), model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_of_tensorflows_scalars_the_real_numbers_are_numbers() -> None:
    import tensorflow as tf

    for value in (tf.constant(0.5), tf.constant([0.5]), tf.Variable(0.5), tf.cast(0.5, "bfloat16")):
        assert as_number(value) == 0.5
    assert as_number(tf.constant(3, tf.uint8)) == 3.0
    for value in (True, [True], "0.5", 1 + 2j, [0.5, 0.5]):
        assert as_number(tf.constant(value)) is None
    assert as_number(tf.Variable(True)) is None


def test_a_list_of_an_evaluation_has_the_names_of_its_metrics_or_is_refused(tmp_path: Path) -> None:
    from dotrain import experiment
    from dotrain.callbacks import KerasEpochEnd

    def train(model_gen):  # type: ignore[no-untyped-def]
        net = model_gen.create()
        fit(net, 1)
        return net.evaluate(X, Y, verbose=0)

    def own(reporter):  # type: ignore[no-untyped-def]
        net = model()
        fit(net, 1, callbacks=[KerasEpochEnd(reporter, "loss")])
        return net.evaluate(X, Y, verbose=0)

    def stale(model_gen):  # type: ignore[no-untyped-def]
        net = model_gen.create()
        numbers = net.evaluate(X, Y, verbose=0)
        fit(net, 1)
        return numbers

    def unknown():  # type: ignore[no-untyped-def]
        return model().evaluate(X, Y, verbose=0)

    def run(function: Any) -> Any:
        options = {"metric": "mae", "model": model, "cluster": {"kind": "inline"}, "quiet": True}
        return experiment.lagom(function, direction="min", runs_dir=tmp_path, **options).trials[0]

    expected = model()
    fit(expected, 1)
    told = expected.evaluate(X, Y, verbose=0, return_dict=True)
    for function in (train, own):
        trial = run(function)
        assert trial.final_metric == pytest.approx(told["mae"])
        assert trial.metrics == {"loss": pytest.approx(told["loss"])}
    for function in (stale, unknown):
        with pytest.raises(DotrainError, match=r"returned \[.*\] \(list\).* which of these it is"):
            run(function)
