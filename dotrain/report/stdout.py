"""Standard output: text for people as its encoding can show it, data for programs as UTF-8."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def printing() -> Iterator[None]:
    """Print within this; a reader that has left (`| head`) is no mistake, nor is a letter unknown."""
    stream = sys.stdout
    before = getattr(stream, "errors", None)
    _reconfigure(stream, "backslashreplace")
    try:
        yield
        stream.flush()
    except (BrokenPipeError, SystemExit):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    finally:
        _reconfigure(stream, before)


def _reconfigure(stream: object, errors: str | None) -> None:
    if isinstance(stream, io.TextIOWrapper) and errors is not None:
        stream.reconfigure(errors=errors)


def print_data(text: str) -> None:
    """Print what programs read, whatever the encoding that a terminal would need."""
    if not isinstance(sys.stdout, io.TextIOWrapper):  # a notebook's takes any text
        sys.stdout.write(text)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))


def print_json(value: Any) -> None:
    """Print a value as one JSON object."""
    print_data(json.dumps(value, indent=2) + "\n")
