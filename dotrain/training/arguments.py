"""Arguments by name: a function gets what it asks for and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from yaml.representer import Representer, SafeRepresenter

from dotrain.errors import did_you_mean
from dotrain.training.errors import BadSetup

#: What a call can't give: only the trial knows which columns are left out.
_OURS = "features"


@dataclass(frozen=True)
class Bound:
    """The arguments of one call.

    Attributes:
        args: By position, as the caller gave them.
        kwargs: By name.
        hparams: Which of these are hyperparameters that the caller didn't give.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    hparams: frozenset[str]


def bind(
    function: Callable[..., Any],
    available: Mapping[str, Any],
    hparams: Mapping[str, Any],
    args: Sequence[Any] = (),
    given: Mapping[str, Any] | None = None,
) -> Bound:
    """Choose the arguments for a call of a user's function, however the caller gives his own.

    Args:
        function: The user's function.
        available: What it may ask for by name.
        hparams: Hyperparameters; it may ask for them by name, and gets all with ``**kwargs``.
        args: Arguments the caller passes by position: to the function's first ones.
        given: Arguments the caller passes by name; like `args` they win over the rest.

    Raises:
        BadSetup: If the function asks for something nobody provides, or only by position; if the
            caller gives what it doesn't take, something twice, or what only the trial can give.
    """
    given = dict(given or {})
    parameters = parameters_of(function)
    if parameters is None:
        return Bound(tuple(args), given, frozenset())
    taken = _taken(function, parameters, args, given)
    wanted: dict[str, Any] = {}
    handed: set[str] = set()
    for parameter in parameters:
        name = parameter.name
        if name in taken or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            handed |= hparams.keys() - wanted.keys() - taken
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            if parameter.default is parameter.empty:
                raise BadSetup(
                    f"{name_of(function)}() takes '{name}' by position only; remove the /"
                )
        elif name in hparams:
            handed.add(name)
        elif name in available:
            wanted[name] = available[name]
        elif name not in given and parameter.default is parameter.empty:
            hint = did_you_mean(name, sorted({*available, *hparams, *given}))
            raise BadSetup(f"{name_of(function)}() asks for '{name}', which nobody provides{hint}")
    handed -= given.keys()
    kwargs = {**wanted, **{name: hparams[name] for name in handed}, **given}
    return Bound(tuple(args), kwargs, frozenset(handed))


def parameters_of(function: Callable[..., Any]) -> Sequence[inspect.Parameter] | None:
    """Return what a function takes; None where nobody can tell."""
    try:
        return _parameters_of(function)
    except TypeError:  # it can't be hashed, or isn't a function
        return _look_for_parameters(function)


def _look_for_parameters(function: Callable[..., Any]) -> Sequence[inspect.Parameter] | None:
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


#: What is looked up once in the process that others are forked from is known in all of them.
_parameters_of = lru_cache(maxsize=64)(_look_for_parameters)


def asks_for(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of that name."""
    return any(parameter.name == name for parameter in parameters_of(function) or ())


def name_of(function: Callable[..., Any]) -> str:
    """Return what a person calls a function."""
    inner = getattr(function, "func", function)  # of a partial
    return getattr(inner, "__name__", type(inner).__name__)


def _taken(
    function: Callable[..., Any],
    parameters: Sequence[inspect.Parameter],
    args: Sequence[Any],
    given: Mapping[str, Any],
) -> set[str]:
    """Return the names of the arguments that `args` fills; refuse what Python would, and more."""
    name = name_of(function)
    kinds = {p.kind for p in parameters}
    places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(args) > len(places) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        known = f" ({', '.join(places)})" if places else ""
        raise BadSetup(f"{name}() takes {len(places)} by position{known}, got {len(args)}")
    taken = places[: len(args)]
    for one in taken:
        if one in given:
            raise BadSetup(f"{name}() is given '{one}' twice: by position and by name")
    if _OURS in taken:
        raise BadSetup(
            f"{name}() gets '{_OURS}' from dotrain, and this call gives something else in its "
            f"place: make '{_OURS}' its last argument"
        )
    if _OURS in given:
        raise BadSetup(f"{name}() gets '{_OURS}' from dotrain: take it out of the call")
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for one in given:
            if one not in names:
                hint = did_you_mean(one, names)
                raise BadSetup(f"{name}() takes no argument '{one}'{hint}")
    return set(taken)


class Hparams(dict[str, Any]):
    """A trial's hyperparameters, which remember the names that were asked for.

    Who takes the whole has asked for all of them: what becomes of a copy can't be told.
    """

    def __init__(self, values: Mapping[str, Any], asked: set[str]) -> None:
        super().__init__(values)
        self._asked = asked

    def _whole(self) -> dict[str, Any]:
        self._asked.update(super().keys())
        return dict(super().items())

    def __getitem__(self, name: str) -> Any:
        self._asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._asked.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, and remember its name."""
        self._asked.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Take a value out, and remember its name."""
        self._asked.add(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return a value, or set it, and remember its name."""
        self._asked.add(name)
        return super().setdefault(name, default)

    # With an __iter__ of its own, `**hparams`, dict(hparams) and `|` come this way too.
    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._whole())

    def __eq__(self, other: object) -> bool:
        return self._whole() == other

    def keys(self) -> Any:
        """Return all names."""
        return self._whole().keys()

    def values(self) -> Any:
        """Return all values."""
        return self._whole().values()

    def items(self) -> Any:
        """Return all names and values."""
        return self._whole().items()

    def popitem(self) -> tuple[str, Any]:
        """Take the last one out."""
        self._whole()
        return super().popitem()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._whole(),)


# PyYAML goes by the exact type; with this, writing hyperparameters to a file is as of a dict.
for _representer in (SafeRepresenter, Representer):
    _representer.add_representer(Hparams, SafeRepresenter.represent_dict)
