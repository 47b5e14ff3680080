"""TensorFlow: data sets, strategies, and what makes Keras train with them as one process would."""
