"""What the URL of ``storage:`` may be, as far as it tells itself."""

from __future__ import annotations

import contextlib
import importlib.util
from urllib.parse import urlsplit

#: The extra of dotrain that brings what a protocol needs.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
#: What keeps files within the process that wrote them.
_IN_THIS_PROCESS = ("memory",)
#: What names files of this machine.
LOCAL = ("file", "local")


def url_problem(url: str) -> str | None:
    """Return what is wrong with a URL as far as it tells itself, or None; no secret is repeated.

    Nobody is asked over a network, and nothing of the protocol's package is imported.
    """
    protocol, found, rest = url.partition("://")
    if not found or "::" in url:
        return "expected a URL such as s3://bucket/folder, gs://bucket/folder or file:///folder"
    with contextlib.suppress(ValueError):
        user = urlsplit(url).netloc.rpartition("@")[0]
        if ":" in user or (user and protocol in _EXTRAS):
            return (
                "a URL with credentials in it would be written to the run directory; give them as "
                f"the library of {protocol}:// takes them, in the environment or its own files"
            )
    if "?" in url or "#" in url:
        return "expected a URL without '?' and '#': options and keys are taken from the environment"
    if _class_of(protocol) is None:
        return f"unknown protocol '{protocol}'; known are s3, gs, file, memory and others of fsspec"
    if protocol in LOCAL and not rest.startswith("/"):
        return f"expected an absolute path, {protocol}:///folder: workers have folders of their own"
    if not rest.strip("/") and protocol not in (*LOCAL, *_IN_THIS_PROCESS):
        return f"expected a bucket, {protocol}://bucket/folder"
    return _package_problem(protocol)


def _class_of(protocol: str) -> str | None:
    """Return the dotted path of the class of a protocol; ``""`` if a package has registered it, None if none has."""
    # Late: it takes as long as much of dotrain together.
    from fsspec.registry import known_implementations, registry

    known = known_implementations.get(protocol)
    if known is not None:
        return str(known["class"])
    return "" if protocol in registry else None


def _package_problem(protocol: str) -> str | None:
    package = (_class_of(protocol) or "").partition(".")[0]
    if not package or importlib.util.find_spec(package) is not None:
        return None
    extra = _EXTRAS.get(protocol)
    if extra is None:
        return f"{protocol}:// needs the package {package}, which isn't installed here"
    return f"{protocol}:// needs the package {package}: pip install 'dotrain[{extra}]'"


def is_in_this_process(url: str) -> bool:
    """Whether no other process sees what is written there."""
    return url.partition("://")[0] in _IN_THIS_PROCESS
