"""The configurations, where Maggy's last version has them."""

from dotrain.maggy.experiment_config import AblationConfig as AblationConfig
from dotrain.maggy.experiment_config import BaseConfig as BaseConfig
from dotrain.maggy.experiment_config import HyperparameterOptConfig as HyperparameterOptConfig
from dotrain.maggy.experiment_config import LagomConfig as LagomConfig
from dotrain.maggy.experiment_config import TfDistributedConfig as TfDistributedConfig
from dotrain.maggy.experiment_config import TorchDistributedConfig as TorchDistributedConfig
