"""Two columns that are worth something, and a switch; ends its driver as `ladder` does."""

import random

from ladder import end_the_driver

COLUMNS = {"age": 1.0, "fare": 0.25}


def load_data(split, features, seed):
    rng = random.Random(seed)
    return [COLUMNS[name] + rng.gauss(0.0, 0.05) for name in features.select(COLUMNS)]


def train(data_gen, reporter, trial_dir, augment=True, noise=0.1, epochs=3):
    worth = sum(data_gen.load("train")) + 0.5 * augment
    value = 0.0
    for step in range(epochs):
        end_the_driver(trial_dir, step)
        value = worth * (step + 1) / epochs + random.gauss(0.0, noise)
        reporter.broadcast(value, step)
    return value
