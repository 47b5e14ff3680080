"""The search space: hyperparameters by name, some of which depend on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any, ClassVar, Final, final

from dotrain.errors import UsageError, did_you_mean
from dotrain.space.base import Domain
from dotrain.space.by_name import ByName
from dotrain.space.circles import circles_of
from dotrain.space.conditions import is_met
from dotrain.space.constraints import Constraint
from dotrain.space.counting import Configurations
from dotrain.space.forms import as_domain
from dotrain.space.never import never_together, unmet, was_taken
from dotrain.space.share import Share
from dotrain.space.values import SpaceError, plain_if_possible

Params = dict[str, Any]

#: Draws until one meets the constraints; of a finite space what is left is then counted out.
_DRAWS: Final = 100_000
_DRAWS_OF_FINITE: Final = 100


@final
class Searchspace(ByName):
    """The hyperparameters of a search: a mapping from their names to their domains.

    Example:
        >>> sp = Searchspace(kernel=('INTEGER', [2, 8]), lr=Float(range=(1e-4, 1e-1), scale="log"))
        >>> sp.names
        ('kernel', 'lr')
        >>> sp.add('dropout', ('DOUBLE', [0.1, 0.9]))
        >>> sp['dropout'].range
        (0.1, 0.9)
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
        self.domains = {}
        self.constraints: tuple[Constraint, ...] = ()
        #: What configurations that lack a parameter had for it, where it was added later.
        self.assumed: Mapping[str, Any] = {}
        self._take(params)

    def add(self, name: str, spec: Any) -> None:
        """Add a parameter, behind those that are there.

        Args:
            name: Its name, a new one.
            spec: As of ``Searchspace(name=spec)``; its conditions may be on parameters that are there.

        Raises:
            UsageError: If there is a parameter of that name, or it can't be; the space is as it was.
        """
        if name in self.domains:
            raise UsageError(f"search space, parameter '{name}': it is there already")
        self._take({name: spec})

    def _take(self, params: Mapping[str, Any]) -> None:
        before, self.domains = self.domains, dict(self.domains)
        name = ""
        try:
            for name, spec in params.items():
                self.domains[name] = as_domain(spec)
        except (SpaceError, TypeError) as error:
            self.domains = before
            raise UsageError(f"search space, parameter '{name}': {error}") from None
        for name, message in self.problems():
            self.domains = before
            raise UsageError(f"search space, parameter '{name}': {message}")
        self._made: dict[int | None, Configurations] = {}
        for known in ("size", "share", "_order"):
            self.__dict__.pop(known, None)  # worked out of the space as it was

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

    def constrained(self, constraints: Sequence[Constraint]) -> Searchspace:
        """Return the part of this space that meets constraints, and nothing else."""
        space = Searchspace.unchecked(self.domains)
        space.constraints = tuple(constraints)
        return space

    def to_record(self) -> dict[str, Any]:
        """Return all of it as plain data, constraints and what they name of fixed hyperparameters too."""
        record = {
            "domains": self.to_data(),
            "constraints": [{"text": one.text, "fixed": one.fixed} for one in self.constraints],
        }
        return {**record, "assumed": dict(self.assumed)} if self.assumed else record

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Searchspace:
        """Return the space that `to_record` tells of."""
        domains = {name: as_domain(spec) for name, spec in record["domains"].items()}
        constraints = [
            Constraint(one["text"], domains, one["fixed"]) for one in record["constraints"]
        ]
        space = cls.unchecked(domains).constrained(constraints)
        space.assumed = record.get("assumed", {})
        return space

    def reading(self, params: Params) -> Params | None:
        """Return what a configuration of an earlier space is in this one; None if it doesn't lie in it."""
        full = {**self.assumed, **params}
        return full if full in self else None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": {}}

    @property
    def is_finite(self) -> bool:
        """Whether there is no continuum in it."""
        return all(domain.size is not None for domain in self.domains.values())

    @cached_property
    def size(self) -> int | None:
        """Number of different configurations; None for a continuum, and where constraints make it hard to tell."""
        if not self.is_finite:
            return None
        try:
            return self.configurations().size
        except SpaceError:
            return None

    def unmet(self, params: Mapping[str, Any]) -> list[str]:
        """Return the constraints that a configuration doesn't meet, as they are written."""
        plain = {name: plain_if_possible(value) for name, value in params.items()}
        return [one.text for one in self.constraints if not one.holds(plain)]

    @cached_property
    def share(self) -> Share:
        """How much of the space without constraints meets them: counted, or of random draws."""
        if self.size is not None:
            return Share(self.size, Configurations(self.domains).size, is_exact=True)
        rng = Random(0)
        return Share.of_draws(lambda: not self.unmet(self._draw(rng)))

    def configurations(self, points: int | None = None) -> Configurations:
        """Return all configurations, counted and not yet made.

        Args:
            points: The most values per parameter. None takes every value.

        Raises:
            SpaceError: If a parameter is a continuum and `points` is None, or constraints are about too many.
        """
        if points not in self._made:
            self._made[points] = Configurations(self.domains, points, self.constraints)
        return self._made[points]

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
        circles = circles_of(self.domains)
        for name in circles:
            yield name, "when: the conditions go round in a circle"
        if conditions_are_sound and not circles and not goes_on:
            for name in never_together(self.domains):
                yield name, "when: its conditions never hold together"

    def _unmet_of(self, name: str, domain: Domain, *, goes_on: bool) -> Iterator[str]:
        for other, condition in domain.when.items():
            if other not in self.domains:
                yield f"no parameter '{other}'{did_you_mean(other, [*self.domains])}"
            elif other != name and not (goes_on and was_taken(self.domains[other], condition)):
                yield from unmet(other, self.domains[other], condition)

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
        """Draw one configuration; every parameter takes one draw, in use or not, and again until constraints are met.

        Args:
            rng: The only source of randomness.

        Returns:
            Values by name, in the order of `names`; parameters whose condition fails are absent.
        """
        return self.meeting(lambda: self._draw(rng), rng)

    def _draw(self, rng: Random) -> Params:
        return self.from_unit([rng.random() for _ in self.names])

    def meeting(self, draw: Callable[[], Params], rng: Random) -> Params:
        """Return the first of some draws that meets the constraints.

        Args:
            draw: Returns a configuration of the space, constraints aside.
            rng: Draws in its place where it meets them too seldom.

        Raises:
            SpaceError: If no draw meets them; where `share` is enough that doesn't happen.
        """
        if not self.constraints:
            return draw()
        for _ in range(_DRAWS_OF_FINITE):
            if not self.unmet(params := draw()):
                return params
        if self.size is not None:
            return self.configurations().at(rng.randrange(self.size))
        for _ in range(_DRAWS):
            if not self.unmet(params := self._draw(rng)):
                return params
        raise SpaceError(f"none of {_DRAWS:,} random draws meets the constraints")

    def from_unit(self, point: Sequence[float]) -> Params:
        """Map a point of the unit cube, one coordinate per name of `names`, to a configuration.

        Whether it meets the constraints has to be asked.
        """
        unit = dict(zip(self.names, point, strict=True))
        return self.build(lambda name: self.domains[name].from_unit(unit[name]))

    def complete(self, given: Mapping[str, Any], rng: Random) -> Params:
        """Return a configuration that has some values given, and the others drawn until constraints are met.

        Args:
            given: Values of parameters by name; one that turns out not to be in use is left out.
            rng: The only source of randomness.

        Raises:
            SpaceError: If no draw meets them.
        """

        def value_of(name: str) -> Any:
            return given[name] if name in given else self.domains[name].from_unit(rng.random())

        for _ in range(_DRAWS_OF_FINITE):
            if not (unmet := self.unmet(params := self.build(value_of))):
                return params
        raise SpaceError(f"nothing that has these values meets {', '.join(unmet)}")

    def allows(self, given: Mapping[str, Any]) -> bool:
        """Whether `complete` has a configuration for some values, as far as it finds one."""
        domains = self.domains
        if not all(name in domains and value in domains[name] for name, value in given.items()):
            return False
        try:
            self.complete(given, Random(0))
        except SpaceError:
            return False
        return True

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
        return (
            set(params) == expected
            and all(params[n] in self.domains[n] for n in expected)
            and not self.unmet(params)
        )

    def __repr__(self) -> str:
        return f"Searchspace({', '.join(f'{n}={d}' for n, d in self.domains.items())})"
