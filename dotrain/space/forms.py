"""The forms in which a domain is written: an object, a mapping, or the deck's pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dotrain.errors import did_you_mean
from dotrain.space.base import Domain
from dotrain.space.domains import Categorical, Discrete, Float, Int
from dotrain.space.normal import LogNormal, Normal
from dotrain.space.values import SpaceError

DOMAINS: Mapping[str, type[Domain]] = {
    "float": Float,
    "int": Int,
    "discrete": Discrete,
    "categorical": Categorical,
    "normal": Normal,
    "log_normal": LogNormal,
}


#: The deck's names: type -> (our type, our key for what follows it).
DECK_TYPES: Mapping[str, tuple[str, str]] = {
    "DOUBLE": ("float", "range"),
    "INTEGER": ("int", "range"),
    "DISCRETE": ("discrete", "values"),
    "CATEGORICAL": ("categorical", "values"),
}


def expand_deck_form(spec: Any) -> Any:
    """Turn ``('INTEGER', [2, 8])`` into ``{"type": "int", "range": [2, 8]}``; leave the rest.

    The type may be in small letters too.

    Raises:
        SpaceError: If `spec` is a pair whose first part is no known type.
    """
    if not (isinstance(spec, list | tuple) and len(spec) == 2 and isinstance(spec[0], str)):
        return spec
    written = spec[0].upper()
    if written not in DECK_TYPES:
        raise SpaceError(f"unknown type '{spec[0]}'{did_you_mean(written, list(DECK_TYPES))}")
    kind, key = DECK_TYPES[written]
    return {"type": kind, key: spec[1]}


def as_domain(spec: Any) -> Domain:
    """Return the domain that one of its forms describes.

    Raises:
        SpaceError: If it can't be.
        TypeError: If it lacks a key, or has one too many.
    """
    spec = expand_deck_form(spec)
    if isinstance(spec, Domain):
        return spec
    if not isinstance(spec, Mapping) or "type" not in spec:
        raise SpaceError(f"expected a domain or ('TYPE', [...]), got {spec!r}")
    kind = spec["type"]
    if kind not in DOMAINS:
        raise SpaceError(f"unknown type '{kind}'{did_you_mean(str(kind), list(DOMAINS))}")
    return DOMAINS[kind](**{key: value for key, value in spec.items() if key != "type"})
