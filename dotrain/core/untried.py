"""A finite space, of which each configuration is tried once."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from dotrain.space import Params, Searchspace, is_plain, value_key

#: Draws that were all tried before, after which the rest of the space is counted out instead.
_REDRAWS: Final = 1000

_Key = tuple[tuple[str, Any], ...]


class Untried:
    """What is left of a finite space.

    Attributes:
        size: How many configurations the space has; None if that can't be told, as constraints are about too many.
    """

    def __init__(self, space: Searchspace) -> None:
        """Make it, with nothing tried yet.

        Args:
            space: A finite one.
        """
        self._space = space
        self.size = space.size
        self._tried: set[_Key] = set()
        #: What is left, in the order in which it will be tried, once that is known.
        self._rest: list[Params] | None = None

    def note(self, params: Params) -> None:
        """Take a configuration for tried; of one outside the space nothing is known."""
        if (
            all(map(is_plain, params.values()))
            and _key(params) not in self._tried
            and params in self._space
        ):
            # As the space has it: a step is met within rounding.
            self._tried.add(_key(self._space.from_unit(self._space.to_unit(params))))

    def draw(self, draw: Callable[[], Params], rng: Random) -> Params | None:
        """Return a configuration that wasn't tried, and is from now on; None if none is left.

        The draws' first occurrences come in the draws' order. After many repeats in a row, one is
        taken from what is left.

        Args:
            draw: Returns any configuration of the space, at random.
            rng: Takes from what is left, each as likely.
        """
        if self.size is not None and len(self._tried) >= self.size:
            return None
        for _ in range(_REDRAWS if self._rest is None else 0):
            params = draw()
            if self.is_new(params):
                return params
        if self.size is None:
            return None  # so many repeats say that there is next to nothing left
        everything = self._space.configurations()
        # Most of a large space is new, however seldom it is drawn; a small one is gone through.
        while self.size > max(_REDRAWS, 4 * len(self._tried)):
            params = everything.at(rng.randrange(self.size))
            if self.is_new(params):
                return params
        if self._rest is None:
            self._rest = [params for params in everything if _key(params) not in self._tried]
            rng.shuffle(self._rest)
        while not self.is_new(params := self._rest.pop()):
            pass
        return params

    def is_new(self, params: Params) -> bool:
        """Take a configuration of the space for tried; return whether it wasn't."""
        before = len(self._tried)
        self._tried.add(_key(params))
        return len(self._tried) > before


def _key(params: Params) -> _Key:
    """Return what tells configurations apart, True from 1 among them."""
    return tuple((name, value_key(params[name])) for name in sorted(params))
