"""What every section of a config is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dotrain.space import Categorical, Discrete, Float, Int, LogNormal, Normal


class Section(BaseModel):
    """Base class of all sections: no unknown keys, no silent conversions, frozen."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )


DomainSpec = Annotated[
    Float | Int | Discrete | Categorical | Normal | LogNormal, Field(discriminator="type")
]


class Named(BaseModel):
    """A section that names a plugin, which decides the other keys."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)

    @property
    def options(self) -> dict[str, Any]:
        """The plugin's own keys."""
        return dict(self.model_extra or {})


class Plugin(Named):
    """A plugin by name, with its own keys beside it."""

    name: str = Field(description="A registered name, or module:Class of your own.")


#: What runs where nothing is searched.
SINGLE = Plugin(name="single")
#: The rule that stops nothing.
NO_RULE = Plugin(name="none")
