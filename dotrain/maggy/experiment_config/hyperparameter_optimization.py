"""Where Maggy >= 1.0 has it too."""

from dotrain.maggy.experiment_config import HyperparameterOptConfig as HyperparameterOptConfig
