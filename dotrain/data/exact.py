"""Numbers as floats, and which of them a float doesn't hold."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pyarrow as pa

#: Whole numbers up to this one are all floats too.
EXACT: Final = 2**53


def is_held(written: str, number: float) -> bool:
    """Whether a number that was read is the one that is written: else two of these could become one.

    Of fractions the nearest float is meant, and what has an exponent, or is infinite, is written as floats are.

    Args:
        written: As text.
        number: As a float, of 2**53 or more: below, no whole number is lost.
    """
    return (
        math.isinf(number) or "e" in written.lower() or Decimal(written.strip()) == Decimal(number)
    )


def floats(numbers: pa.Array) -> tuple[pa.Array, int | None]:
    """Return numbers as the nearest floats.

    Args:
        numbers: Of Arrow's decimals, of whole numbers, or of text.

    Returns:
        The floats, and the first place of a number that isn't held.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    # Arrow's own way from decimals to floats is off by a last digit in one of seven.
    written = numbers.cast(pa.string())
    found = written.cast(pa.float64())
    large = pc.greater_equal(pc.abs(found), float(EXACT)).fill_null(False)
    for place in pc.indices_nonzero(large).to_pylist():
        if not is_held(written[place].as_py(), found[place].as_py()):
            return found, place
    return found, None
