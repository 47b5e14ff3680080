"""Whether a class can stand in for its interface: every form that a method may have."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import pytest

from dotrain.core.interface import broken_method
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.core.strategy import AbstractStrategy, Seat


class Base:
    """An interface with every form of member."""

    adds: ClassVar[bool] = False

    @property
    def slots(self) -> int:
        return 1

    def look(self, one: Any, two: Any = None) -> Any:
        return None

    @abstractmethod
    def other(self) -> Any: ...

    def create_trial(self, params: Any) -> Any:
        return None

    def _own(self, one: Any) -> None: ...


class Callable:
    def __call__(self, one: Any, two: Any = None) -> Any:
        return None


class TooFew:
    def __call__(self, one: Any) -> Any:
        return None


def members(**given: Any) -> type[Base]:
    return type("Mine", (Base,), given)


async def waits(self: Any, one: Any, two: Any) -> Any:
    return None


FITS: dict[str, dict[str, Any]] = {
    "nothing of its own": {},
    "the same": {"look": lambda self, one, two=None: None},
    "other names": {"look": lambda me, a, b: None},
    "more with defaults": {"look": lambda self, one, two, three=3: None},
    "any": {"look": lambda *args: None},
    "static": {"look": staticmethod(lambda one, two: None)},
    "of the class": {"look": classmethod(lambda cls, one, two: None)},
    "a callable": {"look": Callable()},
    "without a signature": {"look": staticmethod(max)},
    "its own business": {"create_trial": lambda self: None, "_own": lambda self: None},
    "a value": {"adds": True, "slots": 4},
    "a property": {"adds": property(lambda self: True), "slots": property(lambda self: 2)},
}
BREAKS: dict[str, tuple[dict[str, Any], str]] = {
    "too few": (
        {"look": lambda self, one: None},
        "look(self, one) can't be called as look(one, two); expected def look(self, one, two=None)",
    ),
    "too many": ({"look": lambda self, a, b, c: None}, "can't be called as look(one, two)"),
    "static with self": (
        {"look": staticmethod(lambda self, one, two: None)},
        "can't be called as look(one, two)",
    ),
    "of the class, too few": (
        {"look": classmethod(lambda cls, one: None)},
        "can't be called as look(one, two)",
    ),
    "a callable with too few": ({"look": TooFew()}, "can't be called as look(one, two)"),
    "by keyword": ({"look": lambda self, *, one, two: None}, "can't be called as look(one, two)"),
    "no method": ({"look": 5}, "look is 5, not a method; expected def look(self, one, two=None)"),
    "async": ({"look": waits}, "look is async; expected def look(self, one, two=None)"),
    "a method for a value": (
        {"adds": lambda self: True},
        "adds is a method; expected a value such as False",
    ),
    "a method for a property": (
        {"slots": lambda self: 2},
        "slots is a method; expected a @property",
    ),
    "a static method for a property": (
        {"slots": staticmethod(lambda: 2)},
        "slots is a method; expected a @property",
    ),
}


@pytest.mark.parametrize("given", FITS.values(), ids=FITS)
def test_what_can_be_called_as_the_interface_is_fits(given: dict[str, Any]) -> None:
    assert broken_method(members(**given), Base) == ""


@pytest.mark.parametrize(("given", "message"), BREAKS.values(), ids=BREAKS)
def test_what_can_not_is_told_with_its_place(given: dict[str, Any], message: str) -> None:
    told = broken_method(members(**given), Base)
    assert told.endswith(message) or message in told
    (value,) = given.values()
    if hasattr(value, "__code__"):
        code = value.__code__
        assert told.startswith(f"{code.co_filename}:{code.co_firstlineno}: ")


def test_what_a_base_class_of_ones_own_breaks_is_found() -> None:
    middle = members(look=lambda self: None)
    assert "can't be called" in broken_method(type("Mine", (middle,), {}), Base)


class Least(AbstractStrategy):
    def open(self) -> Any:
        return "opened"


def test_a_strategy_has_only_to_open() -> None:
    strategy = Least()
    assert (strategy.slots, strategy.environment(), strategy.packages) == (1, {}, ())
    assert (strategy.shard("data"), strategy.open()) == ("data", "opened")
    assert strategy.peer_is_gone(ValueError()) is False
    strategy.begin(Seat())
    strategy.check_use()


def test_a_seat_alone_has_one_rank() -> None:
    assert (Seat().rank, Seat().ranks, Seat(2, ("a:1", "b:1", "c:1")).ranks) == (0, 1, 3)


def test_the_policies_defaults() -> None:
    assert (AbstractOptimizer.needs_num_trials, AbstractOptimizer.gives_budget) == (True, False)
    assert AbstractOptimizer.tries_once

    class NoRule(AbstractEarlyStop):
        def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> None:
            return None

    rule: Any = NoRule()
    assert rule.on_report(None, 0, 0.0) is rule.on_end(None) is rule.on_replaced(None, 0, 0.0)
