"""Features of the Titanic's passengers by name: three views, one that is computed on demand, and a service.

`feast apply` imports the other module of this folder too, which writes the files.
"""

from __future__ import annotations

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

passenger = Entity(name="passenger", join_keys=["passenger_id"], value_type=ValueType.INT64)


def view(name: str, schema: list[Field]) -> FeatureView:
    """Return the view of a file."""
    source = FileSource(
        name=f"{name}_file",
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
    )
    return FeatureView(name=name, entities=[passenger], schema=schema, source=source, online=False)


person = view("person", [Field(name="sex", dtype=String), Field(name="age", dtype=Float64)])
ticket = view("ticket", [Field(name="pclass", dtype=String)])
relatives = view("relatives", [Field(name="sibsp", dtype=Int64), Field(name="parch", dtype=Int64)])


@on_demand_feature_view(  # type: ignore[untyped-decorator]
    sources=[relatives], schema=[Field(name="family_size", dtype=Int64)]
)
def family(inputs: pd.DataFrame) -> pd.DataFrame:
    """Count brothers, sisters, spouses, parents, children, and the passenger."""
    return pd.DataFrame({"family_size": inputs["sibsp"] + inputs["parch"] + 1})


titanic_v1 = FeatureService(name="titanic_v1", features=[person, ticket, relatives, family])
