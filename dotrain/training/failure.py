"""Why a train function failed, told from the user's point of view; itself it never fails."""

from __future__ import annotations

import contextlib
import shutil
import sys
import traceback
from pathlib import Path

from dotrain.core.failure import Failure, FailureKind
from dotrain.errors import UsageError
from dotrain.store.disk import FULL
from dotrain.training.errors import BadReport, BadResult, BadSetup
from dotrain.usercode.home import at_home, shown, stayed_behind
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
#: What is said of a file beside the code that this worker hasn't got.
_NOT_HERE = "it didn't go with the code to this worker: name it under 'ship:' in the config"
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
    text = _first_line(at_home(_text_of(error))) or "(no message)"
    if isinstance(error, FileNotFoundError) and stayed_behind(error.filename):
        text += f"; {_NOT_HERE}"
    location = source = ""
    if own:
        last = own[-1]
        location = f"{shown(last.filename)}:{last.lineno} in {last.name}"
        source = last.line or ""
    elif isinstance(error, SyntaxError) and error.filename:
        location = f"{shown(error.filename)}:{error.lineno}"
        source = (error.text or "").strip()
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
    with contextlib.suppress(Exception):
        lines += traceback.format_exception_only(error)
    return Failure(
        kind,
        f"{name}: {text}" if kind.names_exception else text,
        plain_text(location),
        plain_text(source),
        plain_text(at_home("".join(lines)))[-_TRACEBACK_CHARS:],
    )


def disk_is_full(error: BaseException, run_dir: str) -> bool:
    """Whether an attempt ended because the run directory's disk is full.

    Then it is no failure of the trial: the driver can't record anything either.
    """
    if not (isinstance(error, OSError) and error.errno in FULL):
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
    location = f"{shown(code.co_filename)}:{code.co_firstlineno} in {code.co_name}" if code else ""
    return Failure(FailureKind.BAD_RESULT, _first_line(message), plain_text(location))


def print_failure(error: BaseException) -> None:
    """Print a traceback for the log of a worker, with the paths that the user knows."""
    print(at_home("".join(traceback.format_exception(error))), end="", file=sys.stderr, flush=True)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(its __str__ raises {type(broken).__name__})"


def _first_line(text: str) -> str:
    line = next(iter(plain_text(text).strip().splitlines()), "")
    return line if len(line) <= _MESSAGE_CHARS else line[: _MESSAGE_CHARS - 3] + "..."
