"""The command line in a process of its own that needn't import anything.

    python -m tests.warm DESCRIPTOR [MODULE ...]

This server has imported what commands import, or some modules, and forks for each. Its children are processes like any
other, with streams, folder, environment and exit code of their own; what they have imported is all
that differs from ``python -m dotrain``, so frameworks are not among it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import ModuleType
from typing import Any, NoReturn

import dotrain
from dotrain.cli import app

#: What commands import when they need it, and takes long.
IMPORTED = (
    "distributed",
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "scipy.stats",
    "statsmodels.stats.multitest",
)
#: What imports a framework, or is a program.
LEFT_OUT = ("frameworks", "callbacks", "__main__")

#: What ``python -m dotrain`` does.
COMMAND = "import runpy; runpy.run_module('dotrain', run_name='__main__', alter_sys=True)"


class Warm:
    """The test's end of a server."""

    def __init__(
        self, start: Callable[..., subprocess.Popen[Any]], root: Path, *modules: str
    ) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = start(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno()), *modules],
                pass_fds=[theirs.fileno()],
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        timeout_s: float,
        code: str = COMMAND,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``dotrain`` with some arguments; the environment is this process's, and some more."""
        request = {
            "code": code,
            "argv": ["dotrain", *arguments],
            "cwd": str(cwd),
            "environment": {**os.environ, **environment},
        }
        self._socket.settimeout(timeout_s)
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            with open(os.devnull) as nothing:
                streams = [file.fileno() for file in (nothing, out, err)]
                data = json.dumps(request).encode()
                socket.send_fds(self._socket, [len(data).to_bytes(8)], streams)
                self._socket.sendall(data)
            answer = self._socket.recv(8)
            assert answer, "tests/warm.py has ended; its stderr says why"
            status = int.from_bytes(answer, signed=True)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, status, out.read(), err.read())

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


def serve(connection: socket.socket) -> str | None:
    """Fork for each request; return its code in the child, nothing at the end of all."""
    while True:
        size, streams, _, _ = socket.recv_fds(connection, 8, 3)
        if not size:
            return None
        data = b""
        while len(data) < int.from_bytes(size):
            data += connection.recv(1 << 20)
        request = json.loads(data)
        child = os.fork()
        if not child:
            connection.close()
            for target, stream in enumerate(streams):
                os.dup2(stream, target)
                os.close(stream)
            os.chdir(request["cwd"])
            os.environ.clear()
            os.environ.update(request["environment"])
            sys.path[0] = request["cwd"]
            sys.argv = request["argv"]
            return str(request["code"])
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, signed=True))


def be(code: str) -> NoReturn:
    """Run code, and end as an interpreter does, but for taking apart what it has imported."""
    status = 0
    try:
        sys.modules["__main__"] = ModuleType("__main__")
        exec(code, vars(sys.modules["__main__"]))
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def import_all() -> None:
    """Import what any command does."""
    root = Path(dotrain.__file__).parent
    files = [file.relative_to(root).with_suffix("") for file in root.rglob("*.py")]
    ours = [".".join(("dotrain", *file.parts)) for file in files if file.parts[0] not in LEFT_OUT]
    for name in (*IMPORTED, *sorted(name.removesuffix(".__init__") for name in ours)):
        import_module(name)
    # Typer and rich import what help and errors need when they need it.
    app(["--help"], standalone_mode=False)


def main() -> None:
    """Import, serve, and be the command that was asked for."""
    for name in sys.argv[2:]:
        import_module(name)
    if not sys.argv[2:]:
        import_all()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        code = serve(connection)
    if code is not None:
        be(code)


if __name__ == "__main__":
    main()
