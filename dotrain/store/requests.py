"""What people ask of a run's driver, from any process that sees the run directory: one file a request."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import final

from dotrain.store.run_dir import RunDir, replace_file

_SUFFIX = ".json"


@dataclass(frozen=True)
class StopRequest:
    """A run, or one of its trials, is to end.

    Attributes:
        who: Wants it, as ``user@host``.
        why: In his words, or ``""``.
        trial_id: Which trial; None for the whole run.
    """

    who: str
    why: str = ""
    trial_id: str | None = None

    @property
    def text(self) -> str:
        """Who wants it and why."""
        return self.who + (f": {self.why}" if self.why else "")


@final
class Requests:
    """Those of a run that nobody has taken yet."""

    def __init__(self, run_dir: RunDir) -> None:
        self._folder = run_dir.requests

    def add(self, request: StopRequest) -> Path:
        """Make a request; its file is there until the driver has taken it.

        Raises:
            OSError: If it can't be written.
        """
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{secrets.token_hex(8)}{_SUFFIX}"
        replace_file(path, json.dumps(asdict(request)).encode())
        return path

    def pending(self) -> Iterator[tuple[Path, StopRequest]]:
        """Yield every request with its file; what is none is passed over."""
        try:
            found = sorted(self._folder.glob(f"*{_SUFFIX}"))
        except OSError:
            return
        for path in found:
            with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
                told = json.loads(path.read_text(encoding="utf-8"))
                texts = {f.name: told[f.name] for f in fields(StopRequest) if told.get(f.name)}
                if all(isinstance(text, str) for text in texts.values()):
                    yield path, StopRequest(**texts)

    def clear(self) -> None:
        """Forget what was asked of the driver before."""
        for path, _ in self.pending():
            path.unlink(missing_ok=True)
