"""Why a train function failed, told from the user's point of view; itself it never fails."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import traceback
from pathlib import Path

from dotrain.core.failure import Failure, FailureKind
from dotrain.errors import UsageError
from dotrain.training.errors import BadReport, BadResult, BadSetup
from dotrain.usercode.whose import Whose, whose_frame

_OUR_WRITERS = {str(Path(__file__).with_name(name)) for name in ("checkpoint.py", "report_log.py")}
_KINDS: tuple[tuple[type[Exception], FailureKind], ...] = (
    (BadReport, FailureKind.BAD_REPORT),
    (BadResult, FailureKind.BAD_RESULT),
    (BadSetup, FailureKind.SETUP),
    (UsageError, FailureKind.SETUP),
)
#: A message is one line for people; the log holds the rest.
_MESSAGE_CHARS = 300
_TRACEBACK_CHARS = 20_000
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: With less free than this, in bytes, the disk is full whatever else may have failed.
_NO_ROOM = 1 << 20


def plain_text(text: str) -> str:
    """Return `text` with what UTF-8 can't hold (lone surrogates) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def describe_failure(error: BaseException) -> Failure:
    """Describe an exception that came out of the user's function.

    The location is the user's own last frame, not the library's where it was raised.
    """
    name = type(error).__name__
    try:
        return _describe(error, name)
    except Exception:  # e.g. the exception's own __str__ raises, or the current folder is gone
        return Failure(FailureKind.EXCEPTION, f"{name}: (its message can't be told)")


def _describe(error: BaseException, name: str) -> Failure:
    trace = error.__traceback__
    told = [
        (whose_frame(frame), summary)
        for (frame, _), summary in zip(
            traceback.walk_tb(trace), traceback.extract_tb(trace), strict=False
        )
    ]
    frames = [summary for whose, summary in told if whose is not Whose.DOTRAIN]
    own = [summary for whose, summary in told if whose is Whose.USER]
    kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), FailureKind.EXCEPTION)
    text = _first_line(_text_of(error)) or "(no message)"
    location = source = ""
    if own:
        last = own[-1]
        location = f"{_shown(last.filename)}:{last.lineno} in {last.name}"
        source = last.line or ""
    elif isinstance(error, SyntaxError) and error.filename:
        location = f"{_shown(error.filename)}:{error.lineno}"
        source = (error.text or "").strip()
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
    with contextlib.suppress(Exception):
        lines += traceback.format_exception_only(error)
    return Failure(
        kind,
        f"{name}: {text}" if kind.names_exception else text,
        plain_text(location),
        plain_text(source),
        plain_text("".join(lines))[-_TRACEBACK_CHARS:],
    )


def disk_is_full(error: BaseException, run_dir: str) -> bool:
    """Whether an attempt ended because the run directory's disk is full.

    Then it is no failure of the trial: the driver can't record anything either.
    """
    if not (isinstance(error, OSError) and error.errno in _FULL):
        return False
    # Written by us, such as a checkpoint, whose half is removed by now.
    frames = traceback.extract_tb(error.__traceback__)
    if any(frame.filename in _OUR_WRITERS for frame in frames):
        return True
    try:
        return shutil.disk_usage(run_dir).free < _NO_ROOM
    except OSError:
        return False


def describe_bad_result(message: str, function: object) -> Failure:
    """Describe a result that is none; the location is the function that returned it."""
    code = getattr(function, "__code__", None)
    location = f"{_shown(code.co_filename)}:{code.co_firstlineno} in {code.co_name}" if code else ""
    return Failure(FailureKind.BAD_RESULT, _first_line(message), plain_text(location))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(its __str__ raises {type(broken).__name__})"


def _first_line(text: str) -> str:
    line = next(iter(plain_text(text).strip().splitlines()), "")
    return line if len(line) <= _MESSAGE_CHARS else line[: _MESSAGE_CHARS - 3] + "..."


def _shown(filename: str) -> str:
    """Return a path as the user would type it: relative where that is shorter."""
    if os.path.isabs(filename):
        with contextlib.suppress(OSError, ValueError):
            relative = os.path.relpath(filename)
            return filename if relative.startswith("..") else relative
    return filename
