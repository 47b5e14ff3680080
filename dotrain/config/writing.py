"""Writing YAML such that our own reader reads it back as the same data."""

from __future__ import annotations

import math
from typing import Any

import yaml

from dotrain.config.source import LOST_FLOAT, LOST_NUMBER


class _Dumper(yaml.SafeDumper):
    """Quotes more: ``1e-3``, which the reader takes for a slip, and what PyYAML loses unquoted."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_lost = LOST_FLOAT.fullmatch(text) or LOST_NUMBER.fullmatch(text)
    is_plain = text.replace("\n", "").isprintable() and not is_lost
    style = None if is_plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(value: Any, *, one_line: bool = False) -> str:
    """Return plain data as YAML, keys in their order.

    Args:
        value: What ``yaml.safe_load`` gives.
        one_line: In flow style, without the line's end.
    """
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=one_line,
        width=math.inf if one_line else 100,
    )
    # A scalar alone is followed by the mark of the document's end.
    return text.removesuffix("...\n").strip() if one_line else text
