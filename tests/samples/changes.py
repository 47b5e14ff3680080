"""What is said of a sample now and wasn't when it was made, on purpose; README.md has the table."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from tests.samples.reading import Difference


class Change(NamedTuple):
    """One field that a later version tells otherwise; added fields need none.

    Attributes:
        sample: Its folder, ``v1/asha``; of the recipes ``recipes/digits-asha`` for suggestions,
            and the group for metrics, ``recipes/keras``.
        where: The field, such as ``after.show.*.error``; ``*`` stands for anything.
        now: What is told now, or ``...`` if it is another value in every place.
        why: For people who rely on what was told before.
    """

    sample: str
    where: str
    now: Any
    why: str


CHANGES: tuple[Change, ...] = (
    Change(
        "v1/lagom",
        "told.status.resume",
        "lagom(..., resume='RUN_DIR')",
        "`dotrain resume` was refused for it: the call that works is named",
    ),
)


def unexplained(sample: str, part: str, differences: list[Difference]) -> list[Any]:
    """Return the differences that no change explains, and the changes that explain nothing.

    Args:
        sample: Which sample.
        part: What all its fields begin with here.
        differences: What `holds` found.
    """
    changes = [c for c in CHANGES if c.sample == sample and c.where.split(".")[0] == part]
    left = [d for d in differences if not any(_explains(c, part, d) for c in changes)]
    idle = [c for c in changes if not any(_explains(c, part, d) for d in differences)]
    return [*left, *idle]


def _explains(change: Change, part: str, difference: Difference) -> bool:
    is_there = fnmatchcase(f"{part}.{difference.where}", change.where)
    return is_there and (change.now is ... or change.now == difference.got)
