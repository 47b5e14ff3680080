"""What a person should look at in a table that is ready, though it can be trained on."""

from __future__ import annotations

from collections.abc import Iterator

from dotrain.data.table import Table

#: A text whose values are as many as this share of the training rows is perhaps a name, a date, a key.
_MANY, _MANY_OF = 100, 0.5
#: So far from the share that was asked for, a split isn't what people think.
_OFF = 0.05


def doubts(table: Table) -> Iterator[str]:
    """Yield what is doubtful, one sentence each.

    Args:
        table: The table.
    """
    trained = table.rows - table.validated
    for name in table.columns:
        facts = table.facts[name]
        if facts.missing == table.rows:
            yield f"column '{name}' has no value in any row"
        elif facts.kind == "category" and not facts.values and not facts.refusal:
            yield f"column '{name}' has no value in any row that is trained on"
        elif facts.kind == "category" and len(facts.values) > max(_MANY, _MANY_OF * trained):
            yield (
                f"column '{name}' has {len(facts.values):,} different values in {trained:,} rows to train on, each of "
                "which becomes a column: a key, a name, a date? leave it out (data.columns), or compute what counts (data.derive)"
            )
    share, asked = table.validated / table.rows, table.split.validation
    if abs(share - asked) > _OFF:
        by = table.split.by or table.split.time
        why = f"by '{by}' no closer split can be had" if by else "there are too few rows"
        yield f"{share:.0%} of the rows are validated on, where {asked:.0%} were asked for: {why}"
