"""Which NVIDIA GPUs a process sees, and which of its machine's those are; CUDA isn't started for it."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from dotrain.executors.dealing import Gpu
from dotrain.executors.machine import VISIBLE

#: What lists them by the number that CUDA takes, each with the name that no other has.
_COMMAND = ("nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader")
#: Its exit code where it sees none.
_NONE = 6
#: How long it may take, in seconds: drivers that aren't loaded yet take some.
_WITHIN_S = 6.0
#: What CUDA takes for a GPU.
_NAME = re.compile(r"\d+|(GPU|MIG)-.+")


class NotTold(Exception):
    """What lists the GPUs can't tell them now."""


def visible(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the GPUs that a process sees, by the names that CUDA takes.

    Args:
        environment: Of the process.
    """
    said = environment.get(VISIBLE)
    if said is None:
        count = len([*Path("/proc/driver/nvidia/gpus").glob("*")])
        return tuple(map(str, range(count)))
    names = (name.strip() for name in said.split(","))
    # CUDA sees what stands before the first that is none.
    return tuple(itertools.takewhile(_NAME.fullmatch, names))


def by_name(environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the same where nobody else's are to be told from them.

    Args:
        environment: Of the process.
    """
    return tuple(Gpu(name, name) for name in visible(environment))


def told_apart(environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the same, each with what tells it from the machine's others.

    A number may mean different GPUs for processes of one machine: a batch queue may let each see its own alone, which
    then counts from 0. So `nvidia-smi` is asked where it is installed; elsewhere numbers are taken as they are.

    Args:
        environment: Of the process.

    Raises:
        NotTold: If it doesn't answer.
    """
    keys = _listed(environment)
    if keys is None:
        return by_name(environment)
    if VISIBLE not in environment:
        return tuple(Gpu(key, name) for name, key in keys.items())
    found = []
    for name in visible(environment):
        key = keys.get(name)
        if key is None and name.isdecimal():
            break  # there is no such GPU
        # A name may be shortened, and parts of a GPU aren't listed.
        long = [one for one in keys.values() if one.startswith(name)]
        found.append(Gpu(key or (long[0] if len(long) == 1 else name), name))
    return tuple(found)


def _listed(environment: Mapping[str, str]) -> dict[str, str] | None:
    """Return all that can be used here, by number; None if nothing lists them."""
    command = shutil.which(_COMMAND[0], path=environment.get("PATH"))
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, *_COMMAND[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        raise NotTold(f"{_COMMAND[0]} has not answered for {_WITHIN_S:g} s") from None
    except OSError as error:
        raise NotTold(f"{_COMMAND[0]}: {error}") from error
    if done.returncode == _NONE:
        return {}
    if done.returncode:
        said = (done.stdout or done.stderr).strip().partition("\n")[0]
        raise NotTold(f"{_COMMAND[0]} ended with exit code {done.returncode}: {said}")
    lines = [line.partition(",") for line in done.stdout.splitlines() if "," in line]
    return {number.strip(): key.strip() for number, _, key in lines}
