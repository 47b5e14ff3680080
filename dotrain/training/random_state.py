"""The state of every generator in reach, kept with a checkpoint: what is continued draws on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dotrain.frameworks import registry
from dotrain.training.errors import BadSetup

#: In the folder of a checkpoint, which is the user's else.
FILE = ".random-state.json"


def write_state(folder: Path, seed: int | None) -> None:
    """Write the states of all loaded frameworks' generators, Python's and NumPy's among them.

    Args:
        folder: Of a checkpoint.
        seed: The trial's.
    """
    states = {_name(one): one.random_state() for one in registry.loaded()}
    text = json.dumps({"seed": seed, "states": states})
    (folder / FILE).write_text(text, encoding="utf-8")


def restore_state(folder: Path, seed: int | None) -> bool:
    """Let all loaded generators go on as when a checkpoint was saved.

    Args:
        folder: Of the checkpoint.
        seed: The trial's.

    Returns:
        Whether they do: not without a state, nor from that of another trial, whose numbers this one would draw
        again.

    Raises:
        BadSetup: If it is damaged.
    """
    file = folder / FILE
    try:
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if kept["seed"] != seed:
            return False
        for framework in registry.loaded():
            state = kept["states"].get(_name(framework))
            if state is not None:
                framework.set_random_state(state)
    except FileNotFoundError:  # of an earlier version
        return False
    except Exception as error:
        raise BadSetup(
            f"{file}: the states of the generators are damaged ({type(error).__name__}: {error}); without the file, "
            "the trial goes on with numbers from its seed and the checkpoint's step, not with those of the uninterrupted training"
        ) from error
    return True


def _name(framework: object) -> str:
    return type(framework).__name__
