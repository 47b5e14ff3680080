"""TensorFlow's tutorial "Multi-worker training with Keras", as a train function.

Its ``mnist_setup.py`` and ``main.py`` as published, but for the marked lines: the strategy, a
smaller data set that needs no network, fewer steps, and a result.
"""

import json
import os

import numpy as np
import tensorflow as tf


def load_digits():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.kron(images.reshape(-1, 8, 8), np.ones((3, 3)))[:, :, :] * 16, labels


def mnist_dataset(batch_size):
    x_train, y_train = load_digits()  # was: tf.keras.datasets.mnist.load_data()
    x_train = np.pad(x_train, ((0, 0), (2, 2), (2, 2)))
    # The `x` arrays are in uint8 and have values in the [0, 255] range.
    # You need to convert them to float32 with values in the [0, 1] range.
    x_train = x_train / np.float32(255)
    y_train = y_train.astype(np.int64)
    train_dataset = tf.data.Dataset.from_tensor_slices(
        (x_train, y_train)).shuffle(60000).repeat().batch(batch_size)
    return train_dataset


def build_and_compile_cnn_model():
    model = tf.keras.Sequential([
        tf.keras.layers.InputLayer(input_shape=(28, 28)),
        tf.keras.layers.Reshape(target_shape=(28, 28, 1)),
        tf.keras.layers.Conv2D(32, 3, activation='relu'),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(128, activation='relu'),
        tf.keras.layers.Dense(10)
    ])
    model.compile(
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=tf.keras.optimizers.SGD(learning_rate=0.001),
        metrics=['accuracy'])
    return model


def main(dist_strategy):
    per_worker_batch_size = 64
    tf_config = json.loads(os.environ['TF_CONFIG'])
    num_workers = len(tf_config['cluster']['worker'])

    strategy = dist_strategy()  # was: tf.distribute.MultiWorkerMirroredStrategy()

    global_batch_size = per_worker_batch_size * num_workers
    multi_worker_dataset = mnist_dataset(global_batch_size)

    with strategy.scope():
        # Model building/compiling need to be within `strategy.scope()`.
        multi_worker_model = build_and_compile_cnn_model()

    history = multi_worker_model.fit(multi_worker_dataset, epochs=2, steps_per_epoch=10)
    return {'loss': history.history['loss'][-1], 'first': history.history['loss'][0]}
