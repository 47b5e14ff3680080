"""The search space: domains, and hyperparameters by name."""

from dotrain.space.axis import Axis
from dotrain.space.base import Domain
from dotrain.space.conditions import condition_text, is_met
from dotrain.space.constraints import Constraint
from dotrain.space.counting import Configurations
from dotrain.space.domains import Categorical, Discrete, Float, Int
from dotrain.space.forms import DECK_TYPES, DOMAINS, as_domain, expand_deck_form
from dotrain.space.normal import LogNormal, Normal
from dotrain.space.searchspace import Params, Searchspace
from dotrain.space.share import Share
from dotrain.space.values import (
    Scalar,
    SpaceError,
    is_plain,
    plain_if_possible,
    plain_or_text,
    plain_params,
    plain_value,
    value_key,
    value_text,
)

__all__ = [
    "DECK_TYPES",
    "DOMAINS",
    "Axis",
    "Categorical",
    "Configurations",
    "Constraint",
    "Discrete",
    "Domain",
    "Float",
    "Int",
    "LogNormal",
    "Normal",
    "Params",
    "Scalar",
    "Searchspace",
    "Share",
    "SpaceError",
    "as_domain",
    "condition_text",
    "expand_deck_form",
    "is_met",
    "is_plain",
    "plain_if_possible",
    "plain_or_text",
    "plain_params",
    "plain_value",
    "value_key",
    "value_text",
]
