"""What a result may depend on besides the user's own: Python, packages, the platform."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def own_version() -> str:
    """Return the version of this dotrain."""
    return version("dotrain")


def _packages() -> list[str]:
    """Return the packages that a result may depend on, installed or not."""
    from dotrain.frameworks import registry

    others = ("optuna", "scipy", "statsmodels", "pandas", "pyarrow")
    frameworks = (name for one in registry.every() for name in one.distributions)
    return list(dict.fromkeys(("dask", "distributed", "numpy", *frameworks, *others)))


def environment() -> dict[str, Any]:
    """Return the versions of what drives a run; nothing is imported for it.

    Returns:
        ``python``, ``platform``, and ``packages``: those that a result may depend on.
    """
    packages = {name: _installed(name) for name in _packages()}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name, found in packages.items() if found},
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def version_text(*, verbose: bool = False) -> str:
    """Return what ``dotrain --version`` prints.

    Args:
        verbose: Whether to name all that a result may depend on.
    """
    lines = [f"dotrain {own_version()}"]
    if verbose:
        found = environment()
        named = {name: found["packages"].get(name, "not installed") for name in _packages()}
        pairs = {"python": found["python"], **named, "platform": found["platform"]}
        width = max(map(len, pairs))
        lines += [f"{name:{width}}  {text}" for name, text in pairs.items()]
    return "\n".join(lines) + "\n"
