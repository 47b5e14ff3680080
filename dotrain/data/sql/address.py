"""Where a database is: a URL in a variable of the environment, and nowhere else.

It holds a password more often than not. So a config names the variable (``env:DB_URL``), the URL is read when it is
needed, and whatever a driver has to say of it is told without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn, final
from urllib.parse import parse_qsl, unquote, urlencode

from dotrain.data.source import BadData

_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9_]*)(?:\+([a-z0-9_]+))?://(.*)", re.DOTALL)
_EXAMPLES: Final = "sqlite:///FILE, duckdb:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
#: Options of a URL whose values help to see what is wrong, and are no secret.
_SHOWN: Final = frozenset({"host", "hostaddr", "port", "sslmode", "connect_timeout"})
#: Shorter ones are taken out of a message as words only: all of its letters would go else.
_LEAST_OF_A_SECRET: Final = 4
#: How long a server may take to answer, if the URL doesn't say: its driver would wait for minutes.
_CONNECT_TIMEOUT_S: Final = 30
#: The drivers of Python for a database, by the names of their packages, the better one first.
_DRIVERS: Final = {"postgresql": ("psycopg", "psycopg2", "pg8000")}
#: Packages that read a database as Arrow.
_ADBC: Final = {"sqlite": "adbc_driver_sqlite", "postgresql": "adbc_driver_postgresql"}


def variable_of(connection: str) -> str:
    """Return the variable that a config's ``connection`` names.

    Raises:
        BadData: If it is anything else.
    """
    if match := _REFERENCE.fullmatch(connection):
        return match[1]
    # What was written isn't repeated: it may be the URL with its password.
    found = "a URL" if "://" in connection else "something else"
    raise BadData(
        f"expected env:NAME, a variable of the environment that holds the database's URL, found {found}: what stands "
        "in a config is kept and shown; write connection: env:DB_URL and set DB_URL where the command is started",
        "connection",
    )


@final
class Address:
    """A database's URL: it shows itself to drivers alone.

    Attributes:
        variable: The variable that it was in.
        kind: The database's: ``"sqlite"``, ``"duckdb"``, ``"postgresql"``, or as SQLAlchemy names others.
        driver: The driver of SQLAlchemy that the URL asks for, or ``""``.
    """

    def __init__(self, variable: str, environ: Mapping[str, str] | None = None) -> None:
        """Read the variable.

        Raises:
            BadData: If it isn't set, or is no URL of a database.
        """
        url = (os.environ if environ is None else environ).get(variable, "").strip()
        self.variable = variable
        if not url:
            self._refuse(f"isn't set; it is to hold the database's URL, such as {_EXAMPLES}")
        match = _SCHEME.fullmatch(url)
        if not match:
            self._refuse(f"holds no URL of a database; expected one such as {_EXAMPLES}")
        self.kind = {"postgres": "postgresql"}.get(match[1], match[1])
        self.driver = match[2] or ""
        self._url = url
        place, _, options = str(match[3]).partition("?")
        self._place, self._options = place, options
        if self.is_file:
            self._check_file()
        else:
            self._check_password()

    def __repr__(self) -> str:
        return f"Address({self.variable!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the URL of a database is not pickled: a file could come of it")

    @property
    def is_file(self) -> bool:
        """Whether the database is a file of this machine."""
        return self.kind in ("sqlite", "duckdb")

    @property
    def file(self) -> str:
        """Where it lies, then; ``":memory:"`` if nowhere."""
        return self._place.removeprefix("/") or ":memory:"

    @property
    def options(self) -> dict[str, str]:
        """What stands behind ``?``."""
        return dict(parse_qsl(self._options, keep_blank_values=True))

    @property
    def adbc(self) -> str:
        """The installed package that reads the database as Arrow, or ``""``: a driver that the URL names goes first."""
        name = "" if self.driver else _ADBC.get(self.kind, "")
        return name if name and find_spec(name) and find_spec("adbc_driver_manager") else ""

    def packages(self) -> tuple[str, ...]:
        """Return the packages without which it can't be read here, as they are imported."""
        if self.kind == "duckdb":
            return ("duckdb",)
        if self.adbc:
            return (self.adbc,)
        if self.driver in _DRIVERS.get(self.kind, ()):
            return ("sqlalchemy", self.driver)
        drivers = () if self.driver else _DRIVERS.get(self.kind, ())
        if drivers and not any(map(find_spec, drivers)):
            return ("sqlalchemy", drivers[0])
        return ("sqlalchemy",)

    def url(self) -> str:
        """Return the URL as SQLAlchemy and libpq take it, for a driver alone."""
        driver = self.driver
        if not driver and not self.adbc:
            driver = next(filter(find_spec, _DRIVERS.get(self.kind, ())), "")
        options = self._options
        if self.kind == "postgresql" and driver != "pg8000" and "connect_timeout" not in options:
            wait = urlencode({"connect_timeout": _CONNECT_TIMEOUT_S})
            options = f"{options}&{wait}" if options else wait
        name = f"{self.kind}+{driver}" if driver else self.kind
        return f"{name}://{self._place}" + (f"?{options}" if options else "")

    def cleaned(self, message: str) -> str:
        """Return a message without anything of the URL that may be a secret."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            pattern = re.escape(secret)
            if len(secret) < _LEAST_OF_A_SECRET or secret in self._users():
                pattern = rf"(?<!\w){pattern}(?!\w)"
            message = re.sub(pattern, "***", message, flags=re.IGNORECASE)
        return message

    def _users(self) -> set[str]:
        if self.is_file:
            return set()
        user = self._place.rpartition("@")[0].partition(":")[0]
        return {user, unquote(user)} - {""}

    def _secrets(self) -> set[str]:
        before = "" if self.is_file else self._place.rpartition("@")[0]
        password = before.partition(":")[2]
        found = {self._url, self.url(), before, password, self._options, *self._users()}
        for pair in self._options.split("&"):
            key, _, value = pair.partition("=")
            if key not in _SHOWN:
                found.add(value)
        return ({unquote(secret) for secret in found} | found) - {""}

    def _check_file(self) -> None:
        if self._place and not self._place.startswith("/"):
            self._refuse(
                f"holds no file; expected {self.kind}:///FILE, with three slashes before it"
            )
        if self.kind == "sqlite" and self._options:
            self._refuse(
                "holds something behind '?'; a file of SQLite is opened for reading only, without options"
            )
        if self.file == ":memory:" and self.kind == "sqlite":
            self._refuse("names no file; expected sqlite:///FILE")
        if self.file.startswith((":memory:", "md:")):
            return
        if Path(self.file).is_file():
            with open(self.file, "rb") as file:
                begin = file.read(12)
            other = (
                "sqlite"
                if begin == b"SQLite forma"
                else "duckdb"
                if begin[8:] == b"DUCK"
                else self.kind
            )
            if other != self.kind:
                self._refuse(f"points to a file of another database; write {other}:///FILE")
            return
        whence = (
            "" if Path(self.file).is_absolute() else " (from the folder where the command runs)"
        )
        self._refuse(f"points to no file{whence}; it is read, and never made")

    def _check_password(self) -> None:
        """Refuse what drivers would take apart elsewhere than was meant, and then show a part of."""
        whole = self._place + self._options
        before, _, behind = self._place.rpartition("@")
        if whole.count("@") > 1 or "/" in before or ("@" in whole and not before):
            self._refuse(
                "holds an '@', '/' or '?' where none is expected: in a password they are written %40, %2F, %3F"
            )
        if re.search(r"%(?![0-9A-Fa-f]{2})", whole):
            self._refuse("holds a '%' that stands for itself, which is written %25 in a URL")
        if not (behind or self._options):
            self._refuse(f"names no database; expected a URL such as {_EXAMPLES}")

    def _refuse(self, why: str) -> NoReturn:
        raise BadData(f"the variable {self.variable} {why}", "connection")
