"""Small expressions, such as ``units1 >= 2 * units2``, read by Python's parser; nothing of them is ever run.

What names and values in them mean is up to who asks: hyperparameters, one configuration at a time
(`dotrain.space.constraints`), or the columns of a table, all rows at once (`dotrain.data.derive`).
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import Any, Final

from dotrain.space.values import SpaceError, is_number

#: Longer ones are no expressions, but programs.
_LONGEST: Final = 1000
#: What other languages write, and what to write here.
_OTHERWISE = (
    ("&&", "; write and"),
    (r"\|\|", "; write or"),
    ("(?<![<>=!])=(?!=)", "; == compares"),
    (r"!(?!=)", "; write not"),
)


def read_expression(text: str) -> ast.expr:
    """Return the tree of an expression.

    Raises:
        SpaceError: If it can't be read.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        raise SpaceError(f"longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        at = f" at its character {error.offset}" if error.offset else ""
        other = next((right for wrong, right in _OTHERWISE if re.search(wrong, text)), "")
        raise SpaceError(f"can't be read{at}: {error.msg}{other}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SpaceError(f"can't be read: {error or type(error).__name__}") from None


def read_literal(node: ast.AST) -> Any:
    """Return a value that is written in an expression: text, a finite number, True, False, None, or a list of these.

    Raises:
        SpaceError: If it is anything else.
    """
    match node:
        case ast.Constant(value=value) if isinstance(value, str | bool | int | float | None):
            if not isinstance(value, float) or math.isfinite(value):
                return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if is_number(value):
            return -value  # type: ignore[operator]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [read_literal(item) for item in items]
        case _ if not isinstance(node, ast.Constant):
            raise SpaceError(f"expected text and numbers in a list, got {ast.unparse(node)}")
    raise SpaceError(f"expected text or a finite number, got {ast.unparse(node)}")
