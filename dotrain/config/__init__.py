"""From a YAML file to validated, frozen settings; every error with file:line:column."""

from dotrain.config.errors import ConfigError, Problem
from dotrain.config.load import load_config
from dotrain.config.loaded import LoadedConfig

__all__ = ["ConfigError", "LoadedConfig", "Problem", "load_config"]
