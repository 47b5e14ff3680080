"""Maggy's API, of both generations, on dotrain: what was imported from ``maggy`` comes from ``dotrain.maggy``."""

from dotrain.maggy.searchspace import Searchspace as Searchspace
from dotrain.maggy.trial import Trial as Trial

__all__ = ["Searchspace", "Trial"]
