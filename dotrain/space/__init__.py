"""The search space: domains, and hyperparameters by name."""

from dotrain.space.domains import (
    Categorical,
    Discrete,
    Domain,
    Float,
    Int,
    Scalar,
    SpaceError,
)
from dotrain.space.searchspace import (
    DECK_TYPES,
    DOMAINS,
    Params,
    Searchspace,
    expand_deck_form,
)

__all__ = [
    "DECK_TYPES",
    "DOMAINS",
    "Categorical",
    "Discrete",
    "Domain",
    "Float",
    "Int",
    "Params",
    "Scalar",
    "Searchspace",
    "SpaceError",
    "expand_deck_form",
]
