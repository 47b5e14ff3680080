"""Libraries that samplers ask."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

from threadpoolctl import ThreadpoolController


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


def single_threaded() -> Callable[[], AbstractContextManager[Any]]:
    """Return what keeps the libraries that are imported by now to one thread, while it is entered.

    The order of sums, and so the last bits, depends on the number of threads.
    """
    controller = ThreadpoolController()
    return lambda: controller.limit(limits=1)
