"""One device of one worker: nothing to set up."""

from __future__ import annotations

from typing import Any

from dotrain.core.strategy import AbstractStrategy
from dotrain.frameworks import registry


class Single(AbstractStrategy):
    """Train on one worker."""

    def __init__(self, workers: int = 1) -> None:
        """Make the strategy.

        Args:
            workers: Always 1; any other number is refused, with what to do.
        """
        if workers != 1:
            raise ValueError(
                f"strategy 'single' trains on one worker, not {workers}; say workers: 1 "
                "(-s distribution.workers=1), or another strategy: "
                "'mirrored' (devices of one machine), 'multi_worker_mirrored', 'ddp' or 'fsdp'"
            )

    def open(self) -> Any:
        """Return a scope that changes nothing."""
        return _Anywhere()


class _Anywhere:
    """A scope that changes nothing; asked for more, it is the default of a loaded framework."""

    num_replicas_in_sync = 1

    def __enter__(self) -> _Anywhere:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def scope(self) -> _Anywhere:
        """Return the scope, as the scopes of frameworks do."""
        return self

    def __getattr__(self, name: str) -> Any:
        for framework in registry.loaded():
            own = framework.scope()
            if hasattr(own, name):
                return getattr(own, name)
        raise AttributeError(f"the scope of one process has no attribute '{name}'")
