"""Keras 3: seeds, callbacks, layers left out. `callbacks` alone imports it when it is imported."""
