"""A real PostgreSQL on this machine, in a folder of its own, that asks for a password.

Debian's package `postgresql`; as root its programs run as Debian's user `postgres`. Nothing of it is left when it is closed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import start

#: Set where a missing PostgreSQL is a mistake: then its tests fail instead of being skipped.
REQUIRED = os.environ.get("DOTRAIN_REQUIRE_POSTGRES") == "1"
USER = "canaryuser"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs: Debian has them outside of the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").is_file()), None)


def why_not() -> str:
    """Why there can be none here, or ``""``."""
    if programs() is None:
        return "needs initdb and postgres: apt-get install postgresql"
    if os.geteuid() == 0 and not shutil.which("runuser"):
        return "needs runuser: PostgreSQL refuses to run as root"
    return ""


class Postgres:
    """The server, until `close`: at a socket in its folder, without a port."""

    def __init__(self, password: str) -> None:
        found = programs()
        assert found
        self.password = password
        # Not below pytest's folders: the path of a socket has at most 107 characters, and these are ours alone.
        self.folder = Path(tempfile.mkdtemp(prefix="dotrain-postgres-", dir="/tmp"))
        (self.folder / "password").write_text(password)
        as_user: list[str] = []
        if os.geteuid() == 0:
            as_user = ["runuser", "-u", "postgres", "--"]
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "postgres")
        data = str(self.folder / "data")
        options = [
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(self.folder / "password"),
            "-N",
        ]
        subprocess.run(
            [*as_user, str(found / "initdb"), "-D", data, *options, "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            # Its end is that of `runuser`, which hands SIGTERM on.
            self._process: subprocess.Popen[Any] = start(
                [
                    *as_user,
                    str(found / "postgres"),
                    "-D",
                    data,
                    "-k",
                    str(self.folder),
                    "-h",
                    "",
                    "-F",
                ],
                stdout=log,
                stderr=log,
                cwd="/",
            )

    def url(self, scheme: str = "postgresql") -> str:
        return f"{scheme}://{USER}:{self.password}@/postgres?host={self.folder}"

    def run(self, *statements: str, rows: tuple[str, list[tuple[Any, ...]]] | None = None) -> None:
        """Run statements, and insert rows, when it is up."""
        import psycopg

        with self._connect(psycopg) as connection:
            for statement in statements:
                connection.execute(statement)
            if rows:
                connection.cursor().executemany(*rows)

    def _connect(self, psycopg: Any) -> Any:
        while True:
            try:
                return psycopg.connect(self.url())
            except psycopg.OperationalError:
                # It asks until there is a socket: each time it takes milliseconds.
                assert self._process.poll() is None, self.log.read_text()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
