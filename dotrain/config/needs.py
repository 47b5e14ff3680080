"""The config's `resources:`, what each rank of a trial is to have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import Field, field_validator

from dotrain.config.errors import Problem
from dotrain.config.section import Section
from dotrain.config.source import Source
from dotrain.executors.base import AbstractExecutor
from dotrain.executors.machine import NOTHING, Needs

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGTP]?)(i?)B")
_THOUSANDS = {letter: power for power, letter in enumerate(("", "K", "M", "G", "T", "P"))}


class Resources(Section):
    """What each rank of a trial is to have; a trial on one worker is one rank."""

    gpus: float | None = Field(
        default=None,
        ge=0,
        description="GPUs: a whole number, or a share of one, such as 0.5; 0 hides them. By default those of "
        "the machine, or of a Dask worker, are dealt out evenly among its slots.",
    )
    cpus: int | None = Field(
        default=None, ge=1, description="Cores, and so the threads that its libraries may use."
    )
    memory: str | None = Field(
        default=None,
        description="Memory, such as 8GB or 500MiB: so many ranks run at once as there is room for. "
        "limits.trial_memory_mb ends who takes more.",
    )

    @field_validator("gpus")
    @classmethod
    def _check_gpus(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError(
                f"expected a whole number, or a share of one GPU below 1, got {value:g}"
            )
        return value

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, value: str | None) -> str | None:
        if value is not None and not _bytes(value):
            raise ValueError(f"expected a size with its unit, such as 8GB, got '{value}'")
        return value

    @property
    def needs(self) -> Needs:
        """The same as an executor takes it."""
        return Needs(self.gpus, self.cpus, None if self.memory is None else _bytes(self.memory))


def _bytes(size: str) -> int:
    """Return a size in bytes; 0 if it is none."""
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        return 0
    number, letter, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _THOUSANDS[letter.upper()])


def give(
    resources: Resources,
    kind: str,
    threads: int | None,
    executor: AbstractExecutor | None,
    source: Source,
) -> Iterator[Problem]:
    """Tell an executor what each rank needs; yield what is wrong with that.

    Args:
        resources: The section.
        kind: What the config calls the executor.
        threads: The config's ``cluster.threads``.
        executor: Not yet prepared; None if it couldn't be made.
        source: Where everything stands.
    """
    needs = resources.needs
    if needs.cpus is not None and threads is not None and threads != needs.cpus:
        message = f"differs from cluster.threads, {threads}; give one of the two"
        yield source.problem(("resources", "cpus"), message)
    if executor is None or needs == NOTHING:
        return
    if executor.shares_machine:
        executor.needs = needs
    else:
        message = (
            f"kind '{kind}' gives nobody a share of its machine; use cluster.kind: local, or workers "
            "of a Dask cluster"
        )
        yield source.problem(("resources",), message, at_key=True)
