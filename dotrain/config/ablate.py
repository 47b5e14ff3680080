"""From the config's `ablation:` section to a study; what can be checked without the user's code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dotrain.ablation.ablators import AbstractAblator
from dotrain.ablation.components import (
    Component,
    Feature,
    FeatureGroup,
    Layer,
    LayerGroup,
    ModelVariant,
    Switch,
    Variant,
)
from dotrain.ablation.study import Arm, Study
from dotrain.config.arguments import not_taken, place_of
from dotrain.config.errors import Problem
from dotrain.config.schema import (
    Ablation,
    FeaturePattern,
    FeatureView,
    LayerPattern,
    LayerPrefix,
    Settings,
)
from dotrain.config.source import Source
from dotrain.errors import UsageError, did_you_mean
from dotrain.space import Searchspace
from dotrain.usercode.function import Described


def components_of(section: Ablation) -> Iterator[Component]:
    """Yield everything that the section names, in its order."""
    here = ("ablation",)
    for index, entry in enumerate(section.features):
        path: tuple[str | int, ...] = (*here, "features", index)
        if isinstance(entry, FeatureView):
            yield FeatureGroup(f"{entry.view}:*", view=entry.view, path=path)
        elif isinstance(entry, FeaturePattern):
            yield FeatureGroup(entry.pattern, pattern=entry.pattern, path=path)
        elif isinstance(entry, str):
            yield Feature(entry, path=path)
        else:
            yield FeatureGroup("+".join(entry), tuple(entry), path=path)
    for index, name in enumerate(section.layers):
        yield Layer(name, path=(*here, "layers", index))
    for index, group in enumerate(section.layer_groups):
        path = (*here, "layer_groups", index)
        if isinstance(group, LayerPrefix):
            yield LayerGroup(f"{group.prefix}*", prefix=group.prefix, path=path)
        elif isinstance(group, LayerPattern):
            yield LayerGroup(group.pattern, pattern=group.pattern, path=path)
        else:
            yield LayerGroup("+".join(group), tuple(group), path=path)
    for name in section.models:
        yield ModelVariant(name, path=(*here, "models", name))
    for name, hparams in section.components.items():
        yield Switch(name, hparams, path=(*here, "components", name))


#: What a train function gets models and data from, and how, by the key of the config; the older names are the second ones.
_ASKED = {
    "model": dict.fromkeys(("model_gen", "model_function"), "get it from model_gen.create()"),
    "data": dict.fromkeys(
        ("data_gen", "dataset_function"), "get it from data_gen.load() or .batch()"
    ),
}


class StudyBuilder:
    """Makes the study of a config, and collects what is wrong with it.

    Attributes:
        problems: What was found.
        warnings: What a person should know before anything is trained.
    """

    def __init__(self, settings: Settings, source: Source) -> None:
        assert settings.ablation is not None
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._section = settings.ablation
        self._settings = settings
        self._source = source

    def build(
        self,
        ablator: AbstractAblator,
        data: Described | None,
        taken: set[str] | None,
        train: Described | None = None,
    ) -> Study | None:
        """Return the study, or None if there were problems.

        Args:
            ablator: Decides what each arm leaves out.
            data: The data function, or None if there is none or it isn't known.
            taken: What the user's functions take, as of `names_taken`.
            train: The train function, or None if it isn't known.
        """
        components = list(components_of(self._section))
        self._check_components(components, data)
        self._check_asked(components, train)
        self._check_hparams(components, taken)
        if self.problems:
            return None
        try:
            arms = [ablator.baseline(components), *ablator.arms(components)]
        except ValueError as error:
            self._problem(("ablation", "ablator"), str(error))
            return None
        if len(arms) == 1:
            self._problem(("ablation", "ablator"), "makes no arm beside the baseline")
            return None
        by_name = {component.name: component for component in components}
        self._check_arms(arms, by_name)
        study = Study(
            by_name,
            tuple(arms),
            ablator.adds,
            self._section.seeds,
            self._section.keep_derived,
        )
        self._warn_of_few_seeds(study)
        return None if self.problems else study

    def _check_arms(self, arms: Sequence[Arm], components: Mapping[str, Component]) -> None:
        here = ("ablation", "ablator")
        baseline, names = arms[0], [arm.name for arm in arms]
        for index, arm in enumerate(arms):
            unknown = [name for name in arm.left_out if name not in components]
            if unknown:
                hint = did_you_mean(unknown[0], list(components))
                self._problem(here, f"arm {arm.name}: unknown component '{unknown[0]}'{hint}")
                continue
            if arm.name in names[:index]:
                self._problem(here, f"makes two arms named {arm.name}")
            if arm is not baseline and set(arm.left_out) == set(baseline.left_out):
                self._problem(here, f"arm {arm.name} leaves out the same as the baseline")
            try:
                Variant.of([components[name] for name in arm.left_out])
            except UsageError as error:
                self._problem(here, f"arm {arm.name}: {error}")
        untold = [name for name in components if len({name in arm.left_out for arm in arms}) == 1]
        if untold:
            message = f"all arms are alike in {', '.join(untold)}: nothing is learnt of it"
            self.warnings.append(self._source.problem(here, message))

    def _problem(self, path: tuple[str | int, ...], message: str, **where: bool) -> None:
        self.problems.append(self._source.problem(path, message, **where))

    def _check_components(
        self,
        components: Sequence[Component],
        data: Described | None,
    ) -> None:
        if not components:
            known = "features, layers, layer_groups, models or components"
            self._problem(("ablation",), f"leaves nothing out; expected {known}", at_key=True)
        seen: set[str] = set()
        for component in components:
            if component.name in seen:
                self._problem(component.path, f"{component.name} is named twice")
            seen.add(component.name)
            if component.of_model and self._settings.model is None:
                message = f"{self._source.lacks('model')} to leave it out of; the train function "
                message += "then gets the model from model_gen.create()"
                self._problem(component.path, message)
            if isinstance(component, FeatureGroup) and len(set(component.names)) < len(
                component.names
            ):
                self._problem(component.path, "names a column twice")
            if isinstance(component, Feature | FeatureGroup):
                self._check_feature(component, data)

    def _check_asked(self, components: Sequence[Component], train: Described | None) -> None:
        """Look whether the train function asks for what things are left out of."""
        signature = train.signature() if train is not None else None
        if train is None or signature is None or signature.takes_any:
            return
        for component in components:
            key = "model" if component.of_model else "data"
            if isinstance(component, Switch) or getattr(self._settings, key) is None:
                continue
            if not signature.names & _ASKED[key].keys():
                name, way = next(iter(_ASKED[key].items()))
                message = (
                    f"{place_of(train, signature)} doesn't ask for '{name}', so nothing can be left out of the {key}; "
                    f"{way}"
                )
                self._problem(component.path, message)

    def _check_feature(self, component: Component, data: Described | None) -> None:
        if isinstance(component, FeatureGroup) and component.view and data is not None:
            message = (
                "a data function has no feature views; name its columns, or give a pattern of them"
            )
            self._problem(component.path, message)
        if not self._source.has(("data",)):
            message = f"{self._source.lacks('data')} to leave a column out of"
            self._problem(component.path, message)
        if data is None or (signature := data.signature()) is None:
            return
        if not (signature.takes_any or "features" in signature.names):
            self._problem(
                component.path,
                f"{place_of(data, signature)} doesn't ask for 'features', so "
                "no column can be left out; use features.select(columns) there",
            )

    def _check_hparams(self, components: Sequence[Component], taken: set[str] | None) -> None:
        """Look whether anything takes the hyperparameters that components switch."""
        for component in (one for one in components if isinstance(one, Switch)):
            if not component.hparams:
                message = "changes nothing: expected the hyperparameters that switch it off"
                self._problem(component.path, message)
            for name, value in component.hparams.items():
                path = (*component.path, name)
                if name in Searchspace.RESERVED - {"budget"}:
                    message = "this name is reserved: functions get something else by it"
                    self._problem(path, message, at_key=True)
                elif message := not_taken(name, taken):
                    self._problem(path, message, at_key=True)
                elif self._settings.hparams.get(name, ...) == value:
                    message = f"changes nothing: hparams.{name} is {value!r} already"
                    self._problem(path, message)

    def _warn_of_few_seeds(self, study: Study) -> None:
        from dotrain.ablation.statistics import seeds_needed, smallest_p

        arms, seeds = len(study.arms) - 1, study.seeds
        needed = seeds_needed(arms)
        if seeds < needed:
            least = min(1.0, arms * smallest_p(seeds))
            self.warnings.append(
                self._source.problem(
                    ("ablation", "seeds"),
                    f"{seeds} seeds can't show anything: with {arms} comparisons the smallest "
                    f"possible adjusted p is {least:.3g}; {needed} seeds would do",
                )
            )
