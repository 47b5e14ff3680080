"""Whether a trial has asked for what its arm of an ablation study changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dotrain.ablation.components import Component, Feature, FeatureGroup, Switch
from dotrain.errors import did_you_mean
from dotrain.training.arguments import name_of
from dotrain.training.generators import DataGenerator, ModelGenerator, Sources


@dataclass(frozen=True)
class Use:
    """What the functions of a trial have asked for.

    An arm whose change nobody asked for has trained the baseline once more: its difference would
    be zero, or noise, and mean nothing.

    Attributes:
        sources: What the generators draw from.
        model_gen: Gives the model.
        data_gen: Gives the data.
        left_out: What must have been left out.
    """

    sources: Sources
    model_gen: ModelGenerator
    data_gen: DataGenerator
    left_out: Sequence[Component]

    @property
    def goes_on(self) -> bool:
        """Whether the attempt goes on from a checkpoint.

        There it may find what it would else have made; then only what it has made is looked at.
        """
        return self.sources.resume_step > 0

    def missed(self) -> str:
        """Return which components were not left out, why, and what to do; or ``""``."""
        columns = [one for one in self.left_out if isinstance(one, Feature | FeatureGroup)]
        if columns and not self.data_gen.used and not self.goes_on:
            return (
                "nothing was left out of the data: the train function has never used data_gen; "
                "get the data from it instead of calling the data function"
            )
        if columns and self.data_gen.used:
            seen = self.data_gen.features.seen
            if missed := [name for one in columns for name in one.missed(seen)]:
                return self._never_asked(missed)
        of_model = any(one.of_model for one in self.left_out)
        if of_model and not self.model_gen.used and not self.goes_on:
            return (
                "nothing was left out of the model: the train function has never called "
                "model_gen.create(); get the model from it instead of building it"
            )
        if not self.goes_on and (idle := self._never_run()):
            return (
                f"no model without {_quoted(idle)} was trained: nothing has come by the place where that was "
                "left out of what model_gen.create() gave; train that very model, by its own forward()"
            )
        asked = self.sources.asked
        for one in self.left_out:
            if isinstance(one, Switch) and not (self.goes_on or asked & one.hparams.keys()):
                names = ", ".join(f"'{name}'" for name in one.hparams)
                return (
                    f"{one.name} was not switched off: no function has asked for {names} in this "
                    "trial, or the call gave a value of its own; name it as an argument of the "
                    "train, model or data function, and leave it out of calls"
                )
        return ""

    def _never_run(self) -> list[str]:
        """Return the layers without which no model was run, of all that were built."""
        first, *others = [uncalled() for uncalled in self.model_gen.uncalled] or [()]
        return [name for name in first if all(name in other for other in others)]

    def _never_asked(self, columns: Sequence[str]) -> str:
        table, function = self.sources.loaded.program.table, self.sources.loaded.data
        if table is not None or function is None:
            where = table.text if table is not None else "the data"
            return f"{where} has no column {_quoted(columns)}"
        seen = sorted(self.data_gen.features.seen)
        hint = did_you_mean(columns[0], seen) if seen else ""
        return (
            f"{_quoted(columns)} was not left out of the data: {name_of(function)}() has never "
            f"asked 'features' about it; give features.select(columns) in every trial{hint}"
        )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
