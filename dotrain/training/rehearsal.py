"""The rehearsal of an ablation study: is there anything to leave out, before anything is trained?

The driver doesn't import the user's code, so this is a process of its own. It builds every arm's
model once, and loads the data once without each column. Input: a pickled `Program`; output: a
`Rehearsal` as JSON.
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dotrain.ablation.components import (
    Component,
    Feature,
    FeatureGroup,
    LayerComponent,
    ModelVariant,
    Switch,
    Variant,
)
from dotrain.ablation.study import BASELINE
from dotrain.core.failure import Failure
from dotrain.errors import DotrainError, UsageError, did_you_mean
from dotrain.frameworks import registry
from dotrain.temporary import Kind, OwnFolder
from dotrain.training.environment import Environment
from dotrain.training.failure import describe_failure
from dotrain.training.generators import DataGenerator, ModelGenerator, Sources, first_rows
from dotrain.training.leaving_out import operate
from dotrain.training.program import LoadedProgram, Program, load_program, prepared
from dotrain.training.seeding import seed_everything


@dataclass
class Rehearsal:
    """What the rehearsal has found.

    Attributes:
        problems: (component, what is wrong with it); with any, the study must not run.
        notes: What could not be looked into, and why.
        params: Parameters of the baseline's model, and of each arm's the difference to it.
        changes: By arm, what else changes in its model.
    """

    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    params: dict[str, int] = field(default_factory=dict)
    changes: dict[str, list[str]] = field(default_factory=dict)


def rehearse(program: Program) -> Rehearsal:
    """Rehearse the study of a program, in a process of its own.

    Raises:
        DotrainError: If the user's code can't be imported, or ends the process.
    """
    with OwnFolder(Kind.REHEARSAL) as folder:
        answer = folder.path / "answer.json"
        environment = {**registry.environment(), **os.environ, **program.environment.values()}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "dotrain.training.rehearsal", str(answer)],
            input=pickle.dumps(replace(program, environment=Environment())),
            capture_output=True,
            env=environment,
            check=False,
        )
        if not answer.exists():
            words = done.stderr.decode(errors="replace").strip().splitlines()[-15:]
            raise DotrainError(
                "the study can't be rehearsed: importing or building what it needs ended the "
                f"process with exit code {done.returncode}:\n" + "\n".join(words)
            )
        found = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        raise DotrainError(f"the study can't be rehearsed: {found['error']}")
    found["problems"] = [tuple(problem) for problem in found["problems"]]
    return Rehearsal(**found)


class _Stage:
    """Where the study is rehearsed."""

    def __init__(self, loaded: LoadedProgram) -> None:
        study = loaded.program.study
        assert study is not None
        self.loaded = loaded
        self.study = study
        self.found = Rehearsal()
        self.rows: dict[Any, Any] = {}
        self.compared = False

    def play(self) -> Rehearsal:
        components = list(self.study.components.values())
        features = [one for one in components if isinstance(one, Feature | FeatureGroup)]
        # Of a table it is known already.
        if features and self.loaded.program.table is None:
            self._columns(features)
        self._hyperparameters([c for c in components if isinstance(c, Switch)])
        if self.loaded.model is not None:
            self._models()
        return self.found

    def _sources(self, variant: Variant) -> Sources:
        # Every arm is built from the same random numbers.
        seed_everything(0)
        hparams = {**self.loaded.program.hparams, **variant.hparams}
        common = {"hparams": dict(hparams), "seed": 0, "trial_dir": Path(tempfile.gettempdir())}
        return Sources(self.loaded, common, hparams, 0, variant, rows=self.rows)

    def _problem(self, component: Component, message: str) -> None:
        self.found.problems.append((component.name, message))

    # ---- columns ----

    def _columns(self, components: Sequence[Feature | FeatureGroup]) -> None:
        whole = DataGenerator(self._sources(Variant()))
        try:
            before = whole.load("train")
        except Exception as error:
            self._note("the data can't be loaded beforehand", error)
            return
        seen = whole.features.seen
        for component in components:
            if missed := component.missed(seen):
                hint = did_you_mean(missed[0], sorted(seen))
                self._problem(component, f"no column '{missed[0]}' is asked for{hint}")
                continue
            try:
                without = self._sources(Variant.of([component]))
                after = DataGenerator(without).load("train")
            except Exception as error:
                self._problem(component, f"the data can't be loaded without it: {_words(error)}")
                continue
            if _equal(before, after):
                self._problem(component, "leaving it out changes nothing: the data are the same")

    # ---- hyperparameters ----

    def _hyperparameters(self, components: list[Switch]) -> None:
        """Look for components whose values the functions have by default."""
        defaults: dict[str, Any] = {}
        for function in (self.loaded.train, self.loaded.model, self.loaded.data):
            if function is not None:
                defaults.update(_defaults(function))
        known = {**defaults, **self.loaded.program.hparams}
        for component in components:
            if all(name in known and known[name] == v for name, v in component.hparams.items()):
                values = ", ".join(f"{k} is {v!r}" for k, v in component.hparams.items())
                self._problem(component, f"leaving it out changes nothing: {values} already")

    # ---- models ----

    def _models(self) -> None:
        try:
            model = ModelGenerator(self._sources(Variant())).create()
            whole = registry.of_model(model).parameters(model)
        except Exception as error:
            self._note("the model can't be built beforehand", error)
            return
        for component in self.study.components.values():
            if isinstance(component, LayerComponent):
                self._layers(component)
            elif isinstance(component, ModelVariant):
                self._variant(component, model)
        if self.found.problems:
            return
        counts = {}
        for arm in self.study.arms:
            variant = self.study.variant(arm.name)
            try:
                built = ModelGenerator(self._sources(variant)).create()
                counts[arm.name] = registry.of_model(built).parameters(built)
            except Exception as error:
                for name in arm.left_out:
                    self._problem(self.study.components[name], f"arm {arm.name}: {_words(error)}")
                return
        if whole is None:
            return
        base = counts[BASELINE] or 0
        self.found.params = {
            name: count if name == BASELINE else count - base
            for name, count in counts.items()
            if count is not None
        }

    def _layers(self, component: LayerComponent) -> None:
        sources = self._sources(Variant())
        model = ModelGenerator(sources).create()
        try:
            surgery = operate(model, [component], first_rows(sources))
        except UsageError as error:
            self._problem(component, str(error))
            return
        if not self._rows_last():
            self._problem(
                component,
                "the data function gives other rows at its second call, which arms without layers make and "
                "the baseline doesn't; let them follow from its arguments and `seed` alone, or give the "
                "model an example of its own to be run on",
            )
        self.found.changes[component.name] = [str(change) for change in surgery.changes]

    def _rows_last(self) -> bool:
        """Whether the first rows of the data, if a surgery has asked for them, are those of another call."""
        sources = self._sources(Variant())
        first, sources.rows = dict(sources.rows), {}
        again = first_rows(sources)
        if self.compared or not first or again is None:
            return True
        self.compared = True
        return all(_equal(rows, again()) for rows in first.values())

    def _variant(self, component: Component, original: Any) -> None:
        try:
            model = ModelGenerator(self._sources(Variant.of([component]))).create()
        except Exception as error:
            self._problem(component, f"can't be built: {_words(error)}")
            return
        if registry.of_model(original).same_graph(original, model):
            self._problem(component, "changes nothing: it has the graph of 'model:'")

    def _note(self, what: str, error: Exception) -> None:
        self.found.notes.append(f"{what} ({_words(error)}); it is checked in the first trials")


def _words(error: BaseException) -> str:
    return _told(describe_failure(error))


def _told(failure: Failure) -> str:
    return f"{failure.message} ({failure.location})" if failure.location else failure.message


def _defaults(function: Callable[..., Any]) -> Mapping[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _equal(one: Any, other: Any) -> bool:
    """Whether two data sets are the same, as far as can be told."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        same = len(one) == len(other)
        return same and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    import numpy as np

    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    for framework in registry.loaded():
        told = framework.same_data(one, other)
        if told is not None:
            return told
    if hasattr(one, "equals"):
        return bool(one.equals(other))
    try:
        return np.array_equal(np.asarray(one), np.asarray(other))
    except (TypeError, ValueError):
        return one is other


def main() -> None:
    """Read the program from standard input and write what was found."""
    program: Program = pickle.load(sys.stdin.buffer)
    answer = Path(sys.argv[1])
    found: dict[str, Any]
    try:
        loaded = prepared(load_program(program))
        if isinstance(loaded, Failure):
            found = {"error": _told(loaded)}
        else:
            found = asdict(_Stage(loaded).play())
    except Exception as error:
        found = {"error": _words(error)}
    answer.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
