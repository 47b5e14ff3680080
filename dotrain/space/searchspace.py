"""The search space: hyperparameters by name, some of which depend on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any, ClassVar, final

from dotrain.errors import UsageError, did_you_mean
from dotrain.space.base import Domain
from dotrain.space.conditions import condition_text, is_met
from dotrain.space.counting import Axis, Configurations, never_together
from dotrain.space.domains import Categorical, Discrete, Float, Int
from dotrain.space.normal import LogNormal, Normal
from dotrain.space.values import SpaceError, as_list, is_number, value_text

Params = dict[str, Any]


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

    Raises:
        SpaceError: If `spec` is a pair whose first part is no known type.
    """
    if not (isinstance(spec, list | tuple) and len(spec) == 2 and isinstance(spec[0], str)):
        return spec
    if spec[0] not in DECK_TYPES:
        raise SpaceError(f"unknown type '{spec[0]}'{did_you_mean(spec[0], list(DECK_TYPES))}")
    kind, key = DECK_TYPES[spec[0]]
    return {"type": kind, key: spec[1]}


@final
class Searchspace:
    """The hyperparameters of a search, by name.

    Example:
        >>> sp = Searchspace(kernel=('INTEGER', [2, 8]), lr=Float(range=(1e-4, 1e-1), scale="log"))
        >>> sp.names
        ('kernel', 'lr')
    """

    #: Words that a train function is given by name for another purpose.
    RESERVED: ClassVar[frozenset[str]] = frozenset(
        {"hparams", "reporter", "model_gen", "data_gen", "model_function", "dataset_function"}
        | {"dist_strategy", "budget", "checkpoint", "trial_dir", "seed", "features"}
    )

    def __init__(self, /, **params: Any) -> None:
        """Build a space.

        Args:
            **params: For each name a domain, the deck's pair, or the mapping of the YAML form.

        Raises:
            UsageError: If a domain or a condition can't be; the message names the parameter.
        """
        self.domains: dict[str, Domain] = {}
        for name, spec in params.items():
            try:
                self.domains[name] = as_domain(spec)
            except (SpaceError, TypeError) as error:
                raise UsageError(f"search space, parameter '{name}': {error}") from None
        for name, message in self.problems():
            raise UsageError(f"search space, parameter '{name}': {message}")

    @classmethod
    def unchecked(cls, domains: Mapping[str, Domain]) -> Searchspace:
        """Return the space of some domains, of which `problems` has yet to be asked."""
        space = cls()
        space.domains = dict(domains)
        return space

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in the order they were given."""
        return tuple(self.domains)

    def to_data(self) -> dict[str, Any]:
        """Return the YAML form, from which ``Searchspace(**data)`` makes an equal space."""
        return {name: domain.to_data() for name, domain in self.domains.items()}

    @property
    def size(self) -> int | None:
        """Number of different configurations, or None for a continuum."""
        if any(domain.size is None for domain in self.domains.values()):
            return None
        return self.configurations().size

    def configurations(self, points: int | None = None) -> Configurations:
        """Return all configurations, counted and not yet made.

        Args:
            points: The most values per parameter. None takes every value.

        Raises:
            SpaceError: If a parameter is a continuum and `points` is None.
        """
        return Configurations(self.domains, points)

    def problems(self, *, goes_on: bool = False) -> Iterator[tuple[str, str]]:
        """Yield (parameter, message) for every mistake that only the whole space shows.

        Args:
            goes_on: Leave out values that a float is never exactly, which were taken before: a run
                that began with them goes on.
        """
        conditions_are_sound = True
        for name, domain in self.domains.items():
            if name in self.RESERVED:
                yield name, "this name is reserved: train functions get something else by it"
            for message in self._unmet_of(name, domain, goes_on=goes_on):
                conditions_are_sound = False
                yield name, f"when: {message}"
        circles = self._circles()
        for name in circles:
            yield name, "when: the conditions go round in a circle"
        if conditions_are_sound and not circles and not goes_on:
            for name in never_together(self.domains):
                yield name, "when: its conditions never hold together"

    def _unmet_of(self, name: str, domain: Domain, *, goes_on: bool) -> Iterator[str]:
        for other, condition in domain.when.items():
            if other not in self.domains:
                yield f"no parameter '{other}'{did_you_mean(other, [*self.domains])}"
            elif other != name and not (goes_on and _was_taken(self.domains[other], condition)):
                yield from _unmet(other, self.domains[other], condition)

    def _circles(self) -> list[str]:
        """Return a name of each circle of conditions, the first of it."""
        behind = {name: self._behind(name) for name in self.domains}
        found: list[str] = []
        for name, others in behind.items():
            if name in others and not any(name in behind[o] and o in others for o in found):
                found.append(name)
        return found

    def _behind(self, name: str) -> set[str]:
        """Return the names that one depends on, by way of others too."""
        seen, todo = set(), [name]
        while todo:
            for other in self.domains[todo.pop()].when:
                if other in self.domains and other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    @cached_property
    def _order(self) -> tuple[str, ...]:
        order: list[str] = []
        while len(order) < len(self.domains):
            order += [
                name
                for name, domain in self.domains.items()
                if name not in order and all(other in order for other in domain.when)
            ]
        return tuple(order)

    def _is_active(self, name: str, params: Params) -> bool:
        return all(
            other in params and is_met(condition, params[other])
            for other, condition in self.domains[name].when.items()
        )

    def sample(self, rng: Random) -> Params:
        """Draw one configuration; every parameter takes one draw, in use or not.

        Args:
            rng: The only source of randomness.

        Returns:
            Values by name, in the order of `names`; parameters whose condition fails are absent.
        """
        return self.from_unit([rng.random() for _ in self.names])

    def from_unit(self, point: Sequence[float]) -> Params:
        """Map a point of the unit cube, one coordinate per name of `names`, to a configuration."""
        unit = dict(zip(self.names, point, strict=True))
        return self.build(lambda name: self.domains[name].from_unit(unit[name]))

    def build(self, value_of: Callable[[str], Any]) -> Params:
        """Return the configuration of the values that are given, each asked for if it is in use.

        Args:
            value_of: Returns a parameter's value by its name; is asked for those it depends on first.
        """
        params: Params = {}
        for name in self._order:
            if self._is_active(name, params):
                params[name] = value_of(name)
        return {name: params[name] for name in self.names if name in params}

    def to_unit(self, params: Params) -> list[float]:
        """Map a configuration to the unit cube; parameters that are not in use give 0.5.

        Raises:
            ValueError: If a value is outside its domain.
        """
        return [
            domain.to_unit(params[name]) if name in params else 0.5
            for name, domain in self.domains.items()
        ]

    def grid(self, points: int | None = None) -> Iterator[Params]:
        """Return an iterator over every configuration of the grid once, the last name varying fastest.

        Args:
            points: The most values per parameter. None takes every value.

        Raises:
            SpaceError: If a parameter is a continuum and `points` is None.
        """
        return iter(self.configurations(points))

    def __contains__(self, params: object) -> bool:
        """Whether there is a parameter of that name; of a dict, whether it is a configuration."""
        if isinstance(params, str):
            return params in self.domains
        if not isinstance(params, dict):
            return False
        expected = {name for name in self.names if self._is_active(name, params)}
        return set(params) == expected and all(params[n] in self.domains[n] for n in expected)

    def __repr__(self) -> str:
        return f"Searchspace({', '.join(f'{n}={d}' for n, d in self.domains.items())})"


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


def _unmet(other: str, domain: Domain, condition: Any) -> Iterator[str]:
    """Yield what is wrong with a condition on a parameter, of which the domain is given."""
    if isinstance(condition, Mapping):
        if isinstance(domain, Categorical):
            yield f"'{other}' is categorical and has no order; write a list of its values"
        elif not _is_ever(domain, condition):
            yield f"{condition_text(other, condition)} never holds; '{other}' is {domain}"
        return
    values = as_list(condition)
    numbers = [value for value in values if is_number(value)]
    if isinstance(domain, Float | Normal | LogNormal) and domain.size is None and numbers:
        low, high = min(numbers), max(numbers)
        write = (
            f"{{min: {low}}} or {{max: {low}}}" if low == high else f"{{min: {low}, max: {high}}}"
        )
        shown = ", ".join(map(str, numbers))
        yield f"'{other}' is a {domain.type} and never exactly {shown}; write a range: {write}"
    for value in values:
        if domain.size is None and is_number(value):
            continue
        if domain.size is None or not Axis.of(domain).meets([value]):
            yield f"'{other}' is never {value!r}{_instead(domain, condition)}"
            if _instead(domain, condition):
                return


def _instead(domain: Domain, condition: Any) -> str:
    """Say how a value that is a list is written, if one was meant."""
    is_list = isinstance(condition, list | tuple) and list(condition) in domain
    return f"; write [{value_text(condition)}] for the list" if is_list else ""


def _was_taken(domain: Domain, condition: Any) -> bool:
    return isinstance(domain, Float) and all(value in domain for value in as_list(condition))


def _is_ever(domain: Domain, condition: Mapping[str, Any]) -> bool:
    if domain.size is not None:
        return Axis.of(domain).meets(condition)
    assert isinstance(domain, Float | Normal | LogNormal)
    low, high = domain.ends
    # Of a continuum a single value, its end too, is never drawn.
    return bool(max(low, condition.get("min", low)) < min(high, condition.get("max", high)))
