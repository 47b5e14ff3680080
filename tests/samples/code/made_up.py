"""Never called: the run is simulated."""


def train(lr, width, activation, batch_size, leak=0.0):
    return 0.0
