"""Why a train function failed, told from the user's point of view."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from pathlib import Path

from dotrain.core.trial import Failure
from dotrain.training.errors import BadReport, BadResult, BadSetup

_OURS = str(Path(__file__).resolve().parents[1]) + os.sep
_LIBRARIES = tuple(
    {os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")}
)
_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (BadReport, "bad report"),
    (BadResult, "bad result"),
    (BadSetup, "setup"),
)


def describe_failure(error: BaseException) -> Failure:
    """Describe an exception that came out of the user's function.

    The location is the user's own last frame, not the library's where it was raised.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _ours(frame)]
    own = [frame for frame in frames if _is_user(frame)]
    kind = next((name for cls, name in _KINDS if isinstance(error, cls)), "exception")
    text = str(error).strip() or "(no message)"
    message = f"{type(error).__name__}: {text}" if kind == "exception" else text
    location = source = ""
    if own:
        last = own[-1]
        location = f"{_shown(last.filename)}:{last.lineno} in {last.name}"
        source = last.line or ""
    elif isinstance(error, SyntaxError) and error.filename:
        location = f"{_shown(error.filename)}:{error.lineno}"
        source = (error.text or "").strip()
    lines = [
        "Traceback (most recent call last):\n",
        *traceback.format_list(frames),
        *traceback.format_exception_only(error),
    ]
    return Failure(kind, message, location, source, "".join(lines))


def describe_bad_result(message: str, function: object) -> Failure:
    """Describe a result that is none; the location is the function that returned it."""
    code = getattr(function, "__code__", None)
    location = f"{_shown(code.co_filename)}:{code.co_firstlineno} in {code.co_name}" if code else ""
    return Failure("bad result", message, location)


def _ours(frame: traceback.FrameSummary) -> bool:
    return os.path.realpath(frame.filename).startswith(_OURS)


def _is_user(frame: traceback.FrameSummary) -> bool:
    path = os.path.realpath(frame.filename)
    if f"{os.sep}site-packages{os.sep}" in path or f"{os.sep}dist-packages{os.sep}" in path:
        return False
    return not path.startswith(_LIBRARIES) and not frame.filename.startswith("<frozen")


def _shown(filename: str) -> str:
    """Return a path as the user would type it: relative where that is shorter."""
    if sys.platform == "win32" or not os.path.isabs(filename):
        return filename
    relative = os.path.relpath(filename)
    return filename if relative.startswith("..") else relative
