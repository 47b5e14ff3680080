"""Trainers that start their script again, once for each device, would start another worker instead.

Such a process would never join, and the trainer wait for it: so none is started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from dotrain.training.errors import BadSetup

_watches = False


def refuse_to_start_again() -> None:
    """Let an attempt to start this process' own command as another rank end in words, from now on."""
    global _watches
    if not _watches:
        _watches = True
        sys.addaudithook(_look)


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        _, command, _, environment = arguments
        if is_again(command, environment):
            raise BadSetup(
                "a trainer has started this script again, for a process of each of its devices, and a trial has no "
                "script: set `distribution: {strategy: ddp, workers: N}`, call dist_strategy() before the trainer is "
                "made, and its processes are there; or train on one device (`devices=1`)"
            )


def is_again(command: Any, environment: Any) -> bool:
    """Whether a command is this process' own, as another rank.

    Args:
        command: As `subprocess.Popen` takes it.
        environment: Its environment; None is this one's.
    """
    if not isinstance(command, Sequence) or isinstance(command, str | bytes) or len(command) < 2:
        return False
    if str((environment or {}).get("LOCAL_RANK", "0")) == "0":
        return False
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    own = [["-m", spec.name]] if spec else []
    own += [[os.path.abspath(sys.argv[0])], [sys.argv[0]]] if sys.argv and sys.argv[0] else []
    words = [str(word) for word in command[1:]]
    return any(words[: len(each)] == each for each in own)
