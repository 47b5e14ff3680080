"""What ends an attempt or a run early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What ends an attempt or a run before it ends by itself.

    Attributes:
        trial_timeout_s: The longest an attempt may take, in seconds; None is no limit.
        max_trial_time_s: A trial that has trained for so long, over all its attempts, is stopped as an
            early-stop rule would stop it, in seconds; None is no limit.
        max_time_s: The longest the run may take, in seconds; None is no limit.
        retries: How often a trial that lost its worker is launched again.
        max_failures: A run ends when this many trials in a row have failed, or the first so many
            have all diverged, and at least as many as there are slots. One that fails is tried on
            another host first, where there is one (see `Hosts`).
        target: A search is over as soon as its best value is as good as this; None is no such value.
        no_better_for: A search is over when so many trials have ended one after the other, failures
            aside, and the best value has not become better; None is no limit. See `Enough`.
    """

    trial_timeout_s: float | None = None
    max_trial_time_s: float | None = None
    max_time_s: float | None = None
    retries: int = 2
    max_failures: int = 10
    target: float | None = None
    no_better_for: int | None = None

    @property
    def enough(self) -> tuple[float | None, int | None]:
        """What ends a search before all is tried."""
        return self.target, self.no_better_for

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Limits:
        """Return the limits of a record; those that this version doesn't know are passed over."""
        return cls(**{f.name: data[f.name] for f in fields(cls) if f.name in data})
