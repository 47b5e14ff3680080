"""Mutual TLS with a real scheduler and worker: the right certificates work, no others do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from dotrain.config import ConfigError, load_config
from dotrain.errors import ResourcesUnavailable
from tests.cluster import cluster
from tests.conftest import Project


def certificate(folder: Path, ca: trustme.CA, name: str) -> dict[str, str]:
    folder.mkdir()
    issued = ca.issue_cert(name)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    return {
        "ca_file": str(folder / "ca.pem"),
        "cert": str(folder / "cert.pem"),
        "key": str(folder / "key.pem"),
    }


@pytest.fixture(scope="module")
def tls_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("tls")
    ours = certificate(folder / "ours", trustme.CA(), "127.0.0.1")
    from distributed.security import Security

    files = {"ca-file": ours["ca_file"], "cert": ours["cert"], "key": ours["key"]}
    options = [part for name, file in files.items() for part in (f"--tls-{name}", file)]
    security = Security(
        tls_ca_file=ours["ca_file"],
        tls_client_cert=ours["cert"],
        tls_client_key=ours["key"],
        require_encryption=True,
    )
    with cluster(folder / "cluster", ["--protocol", "tls", *options], security) as found:
        found.worker()
        found.wait_for(1)
        yield found.address, ours


def section(address: str, tls: dict[str, str]) -> dict[str, Any]:
    return {"kind": "address", "address": address, "tls": tls, "connect_timeout_s": 2}


def test_the_right_certificates_work(
    project: Project, tls_cluster: tuple[str, dict[str, str]]
) -> None:
    address, ours = tls_cluster
    assert address.startswith("tls://")
    patient = {**section(address, ours), "connect_timeout_s": 60}
    result = project.run("def train(): return 0.5", cluster=patient)
    assert result.best is not None
    assert result.best["value"] == 0.5


def test_certificates_of_another_authority_are_refused(
    project: Project, tls_cluster: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, _ = tls_cluster
    theirs = certificate(tmp_path / "theirs", trustme.CA(), "127.0.0.1")
    with pytest.raises(ResourcesUnavailable, match="don't accept each other's certificates"):
        project.run("def train(): return 0.5", cluster=section(address, theirs))


def test_no_certificates_are_refused(
    project: Project, tls_cluster: tuple[str, dict[str, str]]
) -> None:
    address, _ = tls_cluster
    plain = {"kind": "address", "connect_timeout_s": 2, "address": address.replace("tls:", "tcp:")}
    with pytest.raises(ResourcesUnavailable, match="no Dask scheduler answers"):
        project.run("def train(): return 0.5", cluster=plain)


def test_mistakes_in_the_section_are_shown_where_they_stand(project: Project) -> None:
    project.write("user.py", "def train(): return 1")
    nothing = {"ca_file": "no.pem", "cert": "no.pem", "key": "no.pem"}
    with pytest.raises(ConfigError, match=r"cluster\.tls\.key: no file .*no\.pem"):
        load_config(project.config(cluster=section("tls://127.0.0.1:1", nothing)))
    with pytest.raises(ConfigError, match=r"cluster\.tls: goes with an address that starts with"):
        load_config(project.config(cluster=section("tcp://127.0.0.1:1", nothing)))
    bare = {"kind": "address", "address": "tls://127.0.0.1:1"}
    with pytest.raises(ConfigError, match=r"cluster\.address: a tls:// address needs cluster\.tls"):
        load_config(project.config(cluster=bare))


def test_files_that_hold_no_certificate_are_named(project: Project) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        project.write(name, "nonsense")
    files = {"ca_file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    with pytest.raises(ResourcesUnavailable, match="these files don't make TLS"):
        project.run("def train(): return 1.0", cluster=section("tls://127.0.0.1:1", files))


def test_a_cluster_class_makes_certificates_of_its_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(project.path))
    project.write(
        "listed.py",
        """
        from pathlib import Path

        from distributed import LocalCluster

        class Listed(LocalCluster):
            def scale(self, workers):
                Path(__file__).with_name("address").write_text(self.scheduler_address)
                super().scale(workers)
        """,
    )
    options = {"n_workers": 0, "threads_per_worker": 1, "security": True, "dashboard_address": ":0"}
    section = {"kind": "listed.Listed", "workers": 1, "options": options}
    result = project.run("def train(): return 0.5", cluster=section)
    assert result.best is not None
    assert result.best["value"] == 0.5
    address = (project.path / "address").read_text()
    assert address.startswith("tls://127.0.0.1:")
