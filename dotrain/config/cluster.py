"""Mistakes in a config's `cluster:` section that go beyond its structure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dotrain.config.errors import Problem, dotted
from dotrain.config.schema import CLUSTER_KINDS, Cluster, SimulationModel
from dotrain.config.secrets import not_kept
from dotrain.config.source import Source
from dotrain.config.validation import validate_section
from dotrain.errors import did_you_mean


def cluster_problems(cluster: Cluster, source: Source, folder: Path) -> Iterator[Problem]:
    """Yield what is wrong with a cluster section, beyond its structure.

    Args:
        cluster: The section.
        source: Where everything stands.
        folder: Where paths in the config start from.
    """
    kind = cluster.kind
    known = list(CLUSTER_KINDS)
    if kind == "simulated":
        yield from validate_section(
            SimulationModel, cluster.options, source, ("cluster", "options")
        )
    if kind not in known and "." not in kind:
        hint = did_you_mean(kind, known)
        yield source.problem(
            ("cluster", "kind"),
            f"unknown kind '{kind}'{hint} (or a Dask cluster class, package.module.Class)",
        )
    if kind == "address" and not cluster.address:
        yield source.problem(
            ("cluster", "address"), "kind 'address' needs the scheduler's, tcp://host:8786"
        )
    for path in not_kept(source.data.get("cluster"), ("cluster",)):
        message = f"was not kept; give it again with --set {dotted(path)}=..."
        yield source.problem(path, message)
    yield from _tls(cluster, source, folder)
    if kind != "address" and cluster.address:
        yield source.problem(
            ("cluster", "address"), f"goes with kind 'address' only, not '{kind}'", at_key=True
        )
    if cluster.options and "." not in kind and kind != "simulated":
        yield source.problem(
            ("cluster", "options"),
            f"go with a Dask cluster class or 'simulated' only, not '{kind}'",
            at_key=True,
        )
    if kind == "inline" and cluster.workers not in (None, 1):
        yield source.problem(
            ("cluster", "workers"), "kind 'inline' runs one trial at a time; expected 1"
        )


def _tls(cluster: Cluster, source: Source, folder: Path) -> Iterator[Problem]:
    encrypted = (cluster.address or "").startswith("tls://")
    if cluster.tls is None:
        if encrypted:
            message = "a tls:// address needs cluster.tls: {ca_file: ..., cert: ..., key: ...}"
            yield source.problem(("cluster", "address"), message)
        return
    if not encrypted:
        message = "goes with an address that starts with tls:// only"
        yield source.problem(("cluster", "tls"), message, at_key=True)
    for key, name in cluster.tls.model_dump().items():
        if not (folder / name).is_file():
            message = f"no file {folder / name}"
            yield source.problem(("cluster", "tls", key), message)
