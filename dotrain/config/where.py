"""The config's `cluster:`, where trials run."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from dotrain.config.section import Section


class Tls(Section):
    """Files for mutual TLS with a remote scheduler."""

    ca_file: str = Field(description="Certificate of the authority; a path relative to the config.")
    cert: str = Field(description="Certificate of this client; a path relative to the config.")
    key: str = Field(description="Private key of this client; a path relative to the config.")


class Adapt(Section):
    """How many workers a Dask cluster class starts: as many as have something to do."""

    minimum: int = Field(default=0, ge=0, description="The fewest workers.")
    maximum: int = Field(ge=1, description="The most workers.")


class Cluster(Section):
    """Where trials run."""

    kind: str = Field(
        default="local",
        description="Where: a kind by name, or the class of a Dask cluster as "
        "package.module.Class, such as dask_jobqueue.SLURMCluster.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="How many worker processes; by default one per core (local), or as many as the "
        "cluster has. A trial takes one, a distributed one takes distribution.workers.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="How many threads each worker's libraries may use; by default OMP_NUM_THREADS, "
        "else its share of the cores (local), or those that it was started with.",
    )
    adapt: Adapt | None = None
    address: str | None = Field(
        default=None, description="The scheduler's: tcp://host:8786 or tls://host:8786."
    )
    options: dict[str, Any] = Field(
        default={}, description="Keyword arguments of a Dask cluster class, or of the simulation."
    )
    tls: Tls | None = None
    connect_timeout_s: float = Field(
        default=10.0, gt=0, description="The longest until a first worker is there, in seconds."
    )
