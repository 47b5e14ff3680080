"""The jobs of a run in a batch queue, found by their name: those that nobody else knows of, too.

A driver that was killed leaves jobs behind, some of which haven't begun. Their name follows from the run
directory, so the next driver of the same run finds them, and a copy of the directory has nothing to do with them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import dask

from dotrain.errors import ResourcesUnavailable

#: How long a command of the queue may take, in seconds.
_COMMAND_S = 20.0
#: How long cancelled jobs may take to end, in seconds; Slurm kills after 30 by default.
_GONE_S = 60.0
#: How often it is looked whether they have, in seconds.
_LOOK_S = 0.5


def name_of(run_dir: Path, prefix: str = "") -> str:
    """Return the name of all jobs of a run.

    Args:
        run_dir: The run's directory.
        prefix: What the name begins with.
    """
    path = run_dir.absolute()
    name = f"{prefix or 'dotrain'}-{path.name}-{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
    # A comma would part names for Slurm: other jobs of the user would be ended.
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)


def in_queue(
    cls: Any, options: Mapping[str, Any], run_dir: Path
) -> tuple[dict[str, Any], SlurmJobs | None]:
    """Return a cluster's options with what its jobs need from us, and those jobs if they can be found.

    They bear the run's name. And in Slurm the worker takes the place of the job's shell, where the user has not
    said more of how it is started than by which Python: the shell would die of the SIGTERM with which Slurm announces the
    end, and that of the shell is the job's. Without it the worker has the time that Slurm gives (KillWait).

    Args:
        cls: The class of the cluster.
        options: Its keyword arguments, as the user has them.
        run_dir: The run's directory.
    """
    job = getattr(cls, "job_cls", None)  # of dask_jobqueue's classes
    if job is None:
        return dict(options), None
    name = name_of(run_dir, str(options.get("job_name") or ""))
    command = shlex.split(getattr(job, "cancel_command", None) or "")
    is_slurm = bool(command) and Path(command[0]).name == "scancel"
    named = {**options, "job_name": name}
    if not is_slurm:
        return named, None
    section = options.get("config_name") or getattr(job, "config_name", "slurm")
    python = options.get("python") or dask.config.get(f"jobqueue.{section}.python", None)
    python = str(python or sys.executable)
    is_alone = len(shlex.split(python)) == 1
    return {**named, "python": f"exec {python}" if is_alone else python}, SlurmJobs(name)


@final
class SlurmJobs:
    """All jobs of one name and of this user in Slurm's queue."""

    def __init__(self, name: str) -> None:
        """Make it; nobody is asked.

        Args:
            name: The jobs'.
        """
        self.name = name
        self._which = ("-n", name, "-u", str(os.getuid()))

    async def states(self) -> Counter[str]:
        """Return how many are in which state, such as ``PENDING (Priority)``.

        Raises:
            ResourcesUnavailable: If Slurm doesn't say.
        """
        listed = await _output("squeue", "-h", *self._which, "-o", "%T (%r)")
        return Counter(line.strip().replace(" (None)", "") for line in listed.splitlines())

    async def text(self) -> str:
        """Return in a line what the queue says of them."""
        try:
            states = await self.states()
        except ResourcesUnavailable as error:
            return str(error)
        if not states:
            return f"no job {self.name} is in Slurm's queue"
        return "jobs: " + ", ".join(f"{number} {state}" for state, number in sorted(states.items()))

    async def end(self) -> None:
        """Cancel them all, and wait until nothing of them runs.

        Raises:
            ResourcesUnavailable: If they don't end, or Slurm doesn't answer.
        """
        if not await self.states():
            return
        await _output("scancel", *self._which)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _GONE_S
        while states := await self.states():
            if loop.time() > until_s:
                left = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
                raise ResourcesUnavailable(
                    f"jobs {self.name} have not ended within {_GONE_S:g} s of scancel: {left}; "
                    f"end them with: scancel -f -s KILL -n {self.name}"
                )
            await asyncio.sleep(_LOOK_S)


async def _output(*command: str) -> str:
    """Return what a command of the queue prints.

    Raises:
        ResourcesUnavailable: If it can't be run, or has not been done in time.
    """
    try:
        # A session of its own: Ctrl-C is for the driver.
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ResourcesUnavailable(f"can't run {command[0]}: {error.strerror}") from None
    try:
        out, err = await asyncio.wait_for(process.communicate(), _COMMAND_S)
    except TimeoutError:
        process.kill()
        raise ResourcesUnavailable(
            f"{shlex.join(command)} has not answered for {_COMMAND_S:g} s"
        ) from None
    if process.returncode:
        what = " ".join(err.decode(errors="replace").split())
        raise ResourcesUnavailable(f"{shlex.join(command)} failed: {what}")
    return out.decode(errors="replace")
