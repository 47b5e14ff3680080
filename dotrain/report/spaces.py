"""What a run has searched, where that has changed while it went on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dotrain.results.text import count_text
from dotrain.space import SpaceError, as_domain
from dotrain.store import Record


def space_lines(header: Mapping[str, Any], records: Iterable[Record]) -> Iterator[str]:
    """Yield a line for each change of the search space, in their order.

    Args:
        header: The journal's.
        records: The journal.
    """
    search = header["config"].get("search") or {}
    before = dict(search.get("space") or {})
    constraints = list(search.get("space_constraints") or ())
    launched: set[str] = set()
    for record in records:
        if record["type"] == "Launch":
            launched.add(record["trial_id"])
        space = record.get("space") if record["type"] == "Resumed" else None
        if space:
            now = space["domains"]
            unlike = [name for name in now if _text(now[name]) != _text(before.get(name))]
            said = [f"{name} {_text(now[name])} (was {_text(before.get(name))})" for name in unlike]
            texts = [one["text"] for one in space["constraints"]]
            if texts != constraints:
                said.append(f"constraints: {', '.join(texts) or 'none'}")
            before, constraints = now, texts
            yield f"after {count_text(len(launched), 'trial')} another space was searched: {'; '.join(said)}"


def _text(spec: Any) -> str:
    """Return a domain as people read it."""
    try:
        return "not searched" if spec is None else str(as_domain(spec))
    except (SpaceError, TypeError):  # one that was allowed once, or of a run from Python: its text
        return str(spec)
