"""Maggy's public notebooks, written anew with small data: whole trainings of Keras and of PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotrain.maggy import Searchspace, experiment
from dotrain.maggy.ablation import AblationStudy
from dotrain.maggy.callbacks import KerasBatchEnd, KerasEpochEnd
from dotrain.maggy.experiment_config import OptimizationConfig, TorchDistributedConfig
from dotrain.maggy.experiment_config.tf_distributed import TfDistributedConfig
from tests.late import needs_keras, needs_torch

# Keras and TensorFlow warn about themselves.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

HERE = {"cluster": {"kind": "inline"}, "quiet": True}
# This process has a TensorBoard that other tests have told to go without TensorFlow.
APART = {"cluster": {"kind": "local", "workers": 1}, "quiet": True}
GROUP = {"cluster": {"kind": "local", "workers": 2}, "quiet": True}


def images() -> Any:
    rng = np.random.default_rng(0)
    x = rng.random((64, 12, 12, 1), dtype="float32")
    return x, (x.mean((1, 2, 3)) > 0.5).astype("int32")


def digits(kernel: int, pool: int, dropout: float, reporter: Any) -> float:
    from keras.callbacks import TensorBoard
    from keras.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
    from keras.models import Sequential

    from dotrain.maggy import tensorboard

    log_dir = tensorboard.logdir()
    x, y = images()
    model = Sequential(
        [Input((12, 12, 1)), Conv2D(4, kernel_size=(kernel, kernel), activation="relu")]
    )
    model.add(MaxPooling2D(pool_size=(pool, pool)))
    model.add(Dropout(dropout))
    model.add(Flatten())
    model.add(Dense(2, activation="softmax"))
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    tb_callback = TensorBoard(log_dir, update_freq="batch", profile_batch=0)
    callbacks = [KerasBatchEnd(reporter, metric="accuracy"), tb_callback]
    model.fit(x, y, batch_size=16, callbacks=callbacks, epochs=1, verbose=0, validation_data=(x, y))
    score = model.evaluate(x, y, verbose=0)
    print("Test loss:", score[0])
    return score[1]


@needs_keras
def test_the_search_on_mnist(tmp_path: Path) -> None:
    sp = Searchspace(kernel=("INTEGER", [2, 4]), pool=("INTEGER", [2, 3]))
    sp.add("dropout", ("DOUBLE", [0.01, 0.99]))
    result = experiment.lagom(
        train_fn=digits,
        searchspace=sp,
        optimizer="randomsearch",
        direction="max",
        num_trials=2,
        name="MNIST",
        hb_interval=1,
        es_interval=1,
        es_min=5,
        runs_dir=tmp_path,
        **APART,
    )
    assert result["num_trials"] == 2
    assert result["num_epochs"] == 4  # batches, in fact
    folder = result.found.run_dir / "trials" / result["best_id"]
    assert [*folder.glob("train/events.out.tfevents*")]
    assert "Test loss:" in (folder / "output.log").read_text()


COLUMNS = {
    name: np.random.default_rng(i).normal(size=40)
    for i, name in enumerate(("pclass", "fare", "sex"))
}
SURVIVED = (COLUMNS["pclass"] + COLUMNS["sex"] > 0).astype("float32")


def passengers(num_epochs: int, batch_size: int, features: Any) -> Any:
    import tensorflow as tf

    rows = np.stack([COLUMNS[name] for name in features.select(COLUMNS)], 1)
    return tf.data.Dataset.from_tensor_slices((rows, SURVIVED)).batch(batch_size).repeat(num_epochs)


def base_model_generator() -> Any:
    import tensorflow as tf

    model = tf.keras.Sequential()
    model.add(tf.keras.layers.Dense(8, activation="relu"))
    model.add(tf.keras.layers.Dense(8, name="my_dense_two", activation="relu"))
    model.add(tf.keras.layers.Dense(8, name="my_dense_three", activation="relu"))
    model.add(tf.keras.layers.Dense(1, activation="sigmoid"))
    return model


def my_custom_model() -> Any:
    import tensorflow as tf

    return tf.keras.Sequential([tf.keras.layers.Dense(1, activation="sigmoid")])


def training_fn(dataset_function: Any, model_function: Any) -> float:
    import tensorflow as tf

    tf_dataset = dataset_function(2, 10)
    model = model_function()
    model.compile(
        optimizer=tf.keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(tf_dataset, epochs=2, steps_per_epoch=4, verbose=0)
    return float(history.history["accuracy"][-1])


@needs_keras
@pytest.mark.usefixtures("rehearsed_here")
def test_the_ablation_of_titanic(tmp_path: Path) -> None:
    ablation_study = AblationStudy(
        "titanic_train_dataset",
        training_dataset_version=1,
        label_name="survived",
        dataset_generator=passengers,
    )
    ablation_study.features.include("pclass")
    ablation_study.model.set_base_model_generator(base_model_generator)
    ablation_study.model.layers.include("my_dense_two")
    ablation_study.model.layers.include_groups(["my_dense_two", "my_dense_three"])
    ablation_study.model.add_custom_model_generator(my_custom_model, "a custom model")
    result = experiment.lagom(
        map_fun=training_fn,
        experiment_type="ablation",
        ablation_study=ablation_study,
        ablator="loco",
        name="Titanic-LOCO",
        runs_dir=tmp_path,
        **HERE,
    )
    assert result["num_trials"] == 5
    arms = [trial.arm.name for trial in result.found.trials]
    assert arms[:3] == ["baseline", "feature:pclass", "layer:my_dense_two"]
    assert arms[4] == "model:a custom model"
    best = result["best_config"]
    assert best.keys() == {"ablated_feature", "ablated_layer"}


def network() -> Any:
    import keras

    class NeuralNetwork(keras.Sequential):
        def __init__(self, nl: int = 4) -> None:
            super().__init__()
            self.add(keras.layers.Dense(10, activation="tanh"))
            for _ in range(nl - 2):
                self.add(keras.layers.Dense(8, activation="tanh"))
            self.add(keras.layers.Dense(3, activation="softmax"))

    return NeuralNetwork


def iris() -> Any:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    y = np.eye(3, dtype="float32")[(x[:, 0] > 0).astype(int) + (x[:, 1] > 0)]
    return (x[:45], y[:45]), (x[45:], y[45:])


def training_function(model: Any, train_set: Any, test_set: Any, hparams: dict[str, Any]) -> Any:
    import keras

    model = model(nl=hparams["number_layers"])
    model.compile(keras.optimizers.Adam(0.04), "categorical_crossentropy", metrics=["accuracy"])
    data = train_set if isinstance(train_set, tuple) else (train_set,)
    model.fit(*data, epochs=2, verbose=0)
    test = test_set if isinstance(test_set, tuple) else (test_set,)
    return model.evaluate(*test, verbose=0)


@needs_keras
def test_the_search_on_iris_returns_what_evaluate_gives(tmp_path: Path) -> None:
    train_set, test_set = iris()
    sp = Searchspace(number_layers=("DISCRETE", [2, 3]))

    def searched(model: Any, hparams: Any, train_set: Any, test_set: Any, reporter: Any) -> Any:
        import keras

        net = model(nl=hparams["number_layers"])
        net.compile(keras.optimizers.Adam(0.04), "categorical_crossentropy", metrics=["accuracy"])
        callback = KerasEpochEnd(reporter)  # Maggy's default is the validation's loss
        net.fit(*train_set, epochs=2, verbose=0, validation_data=test_set, callbacks=[callback])
        return net.evaluate(*test_set, verbose=0)

    config = OptimizationConfig(
        num_trials=2,
        optimizer="gridsearch",
        searchspace=sp,
        optimization_key="accuracy",
        model=network(),
        train_set=train_set,
        test_set=test_set,
    )
    result = experiment.lagom(train_fn=searched, config=config, runs_dir=tmp_path, **HERE)
    for trial in result.found.trials:
        assert trial.metrics is not None
        assert trial.metrics["loss"] == pytest.approx(trial.metric_history[-1], rel=1e-4)
        assert 0 <= trial.final_metric <= 1


@needs_keras
def test_a_training_of_tensorflow_on_two_workers(tmp_path: Path) -> None:
    train_set, test_set = iris()
    config = TfDistributedConfig(
        name="tf_test",
        model=network(),
        train_set=train_set,
        test_set=test_set,
        hparams={"train_batch_size": 8, "test_batch_size": 8, "number_layers": 3},
    )
    result = experiment.lagom(training_function, config, runs_dir=tmp_path, **GROUP)
    assert result["test result"] == result["best_val"] > 0
    (trial,) = result.found.trials
    assert trial.slots == 2


@needs_torch
def test_a_training_of_pytorch_on_two_workers(tmp_path: Path) -> None:
    import torch

    class NeuralNetwork(torch.nn.Module):
        def __init__(self, l1_size: int) -> None:
            super().__init__()
            self.linear1 = torch.nn.Linear(2, l1_size)
            self.output = torch.nn.Linear(l1_size, 1)

        def forward(self, x: Any) -> Any:
            return self.output(torch.relu(self.linear1(x)))

    def train(module: Any, hparams: Any, train_set: Any, test_set: Any) -> float:
        import torch

        model = module(**hparams)
        loader = torch.utils.data.DataLoader(train_set, batch_size=16)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        criterion = torch.nn.MSELoss()
        for _ in range(2):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        print("rows", len(train_set), [float(x.sum()) for x, _ in loader])
        with torch.no_grad():
            x, y = next(iter(torch.utils.data.DataLoader(test_set, batch_size=len(test_set))))
            return float(criterion(model(x), y))

    x = torch.linspace(0, 1, 130).reshape(65, 2)
    dataset = torch.utils.data.TensorDataset(x, x[:, :1] ** 2)
    train_set, test_set = (
        torch.utils.data.Subset(dataset, rows) for rows in (range(45), range(45, 65))
    )
    config = TorchDistributedConfig(
        name="torch_test",
        module=NeuralNetwork,
        train_set=train_set,
        test_set=test_set,
        hparams={"l1_size": 4},
    )
    result = experiment.lagom(train, config, runs_dir=tmp_path, **GROUP)
    assert result["test result"] > 0
    logs = [file.read_text() for file in result.found.run_dir.glob("trials/t0000/output*.log")]
    rows = [line for log in logs for line in log.splitlines() if line.startswith("rows")]
    assert len(rows) == len({*rows}) == 2  # each its own
    assert all(line.startswith("rows 23 ") for line in rows)
