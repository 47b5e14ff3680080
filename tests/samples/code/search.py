"""A curve that the hyperparameters decide; more units than there is memory for fail."""

import random
import time


def train(lr, units, activation, reporter, leak=0.25, epochs=5):
    if units > 50:
        raise MemoryError(f"no room for {units} units")
    value = 0.0
    for step in range(epochs):
        time.sleep(0.02)  # so that a stop finds something to stop
        noise = random.gauss(0.0, 0.01)
        value = (1 - 0.5 ** (step + 1)) * (0.5 + lr * 5 - abs(0.1 - leak)) + noise
        reporter.broadcast({"score": value, "loss": 1 - value}, step)
    return {"score": value, "loss": 1 - value}
