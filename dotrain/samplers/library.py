"""Libraries that samplers ask."""

from __future__ import annotations

from importlib.util import find_spec


def require(name: str, *modules: str, extra: str) -> None:
    """Refuse a sampler whose libraries aren't installed; none is imported.

    Args:
        name: As the config has it.
        *modules: That it imports.
        extra: Of dotrain, which brings them.

    Raises:
        ValueError: With what to install.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ValueError(f"'{name}' needs {', '.join(missing)}: pip install 'dotrain[{extra}]'")
