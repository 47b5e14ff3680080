"""Variables for the processes of attempts, of which some hold what nobody may read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, final

from dotrain.errors import UsageError


@final
class Environment:
    """What ``env:`` says.

    It shows no value of a variable that was named alone, and refuses to be pickled with one: a
    file could come of it. What goes to another machine is `Sealed`.

    Attributes:
        missing: What is to be said of variables that this process hasn't got, when they are needed.
    """

    def __init__(
        self,
        plain: Mapping[str, str] | None = None,
        secret: Mapping[str, str] | None = None,
        missing: tuple[str, ...] = (),
    ) -> None:
        """Hold them.

        Args:
            plain: Those whose values stand in the config.
            secret: Those of the driver's own that were named there.
            missing: As of the attribute.
        """
        self._plain = dict(plain or {})
        self._secret = dict(secret or {})
        self.missing = missing

    @property
    def secret_names(self) -> list[str]:
        """The variables whose values are written nowhere."""
        return list(self._secret)

    def values(self) -> dict[str, str]:
        """Return all of them, to be given to a process; keep them out of files and messages."""
        return {**self._plain, **self._secret}

    def require(self) -> None:
        """Refuse to begin without what was named.

        Raises:
            UsageError: With every variable that is missing.
        """
        if self.missing:
            raise UsageError("\n".join(self.missing))

    def __bool__(self) -> bool:
        return bool(self._plain or self._secret)

    def __repr__(self) -> str:
        return f"Environment({', '.join([*self._plain, *self._secret])})"

    def __reduce__(self) -> tuple[type[Environment], tuple[Mapping[str, str]]]:
        if self._secret:
            _refuse()
        return Environment, (self._plain,)


@final
class Sealed:
    """The same on its way to a worker, in memory: it shows nothing, and can be pickled."""

    def __init__(self, plain: Mapping[str, str], secret: Mapping[str, str]) -> None:
        """Hold what an `Environment` is made of."""
        self._contents = (dict(plain), dict(secret))

    @classmethod
    def of(cls, environment: Environment) -> Sealed:
        """Seal them; only for a connection between two processes."""
        return cls(environment._plain, environment._secret)

    def open(self) -> Environment:
        """Return them."""
        return Environment(*self._contents)

    def __repr__(self) -> str:
        return "Sealed()"


def _refuse() -> NoReturn:
    raise TypeError("values of variables are not pickled: a file could come of it")
