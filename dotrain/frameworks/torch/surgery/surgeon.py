"""Leaves layers out: watches the model run, bypasses them in a copy, and looks whether that is right."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dotrain.ablation.layers import Change, Surgery, SurgeryError
from dotrain.frameworks.torch.surgery.alike import parameters
from dotrain.frameworks.torch.surgery.checks import (
    alike,
    check_effect,
    check_outputs,
    check_rows,
    copied,
    gradients,
    merged,
    refuse_unfit,
    seed,
)
from dotrain.frameworks.torch.surgery.examples import find_example
from dotrain.frameworks.torch.surgery.names import layers_of, resolve
from dotrain.frameworks.torch.surgery.runs import Broken, Example, Run, run, signature_of
from dotrain.frameworks.torch.surgery.stand_in import Passes, passes_of, put_in_place
from dotrain.frameworks.torch.surgery.widths import CannotRebuild, kind_of, needed, rebuild
from dotrain.frameworks.torch.surgery.words import (
    ARGUMENT,
    EXAMPLE,
    GROUP,
    VARIANT,
    called,
    quoted,
    reason,
)


def without_layers(
    model: Any, names: Sequence[str], first_rows: Callable[[], Any] | None = None
) -> Surgery:
    """Return a model without some of its layers; the original isn't changed.

    Args:
        model: A module.
        names: Qualified names of layers, or ends of ones.
        first_rows: Returns the first rows of the study's data, as a batch.

    Raises:
        SurgeryError: If there can't be one, or it would compute the same.
    """
    asked = resolve(names, model)
    refuse_unfit(model, asked)
    with _own_randomness() as anew:
        return _Surgeon(model, asked, find_example(model, first_rows), anew).operate()


class _Surgeon:
    def __init__(
        self, model: Any, asked: list[str], example: Example, anew: Callable[[], None]
    ) -> None:
        self.model = model
        self.asked = asked
        self.example = example
        self.anew = anew
        self.layers = layers_of(model)
        self.before: dict[bool, Run] = {}
        #: What stands in for each layer that is left out.
        self.passes: dict[str, Passes] = {}
        #: The widths that layers are built anew for.
        self.widths: dict[str, Any] = {}

    def operate(self) -> Surgery:
        """Watch, bypass, build anew, look again."""
        self._watch()
        self._find_widths()
        self.anew()
        new = self._bypassed()
        changes = [*self._went(), *self._rebuild(new)]
        stand_ins = {name: new.get_submodule(name) for name in self.passes}
        changes += self._look_at(new)
        for module in stand_ins.values():
            module.passage.called = False  # its copies were run
        return Surgery(
            model=new,
            removed=tuple(self.asked),
            changes=tuple(dict.fromkeys(changes)),
            params=(parameters(new) or 0) - (parameters(self.model) or 0),
            uncalled=lambda: _uncalled(stand_ins),
        )

    # ---- the original ----

    def _watch(self) -> None:
        """Run the original in both modes, and find out what may stand in for what is left out."""
        inside = [
            name
            for name in self.layers
            if any(f"{name}.".startswith(f"{a}.") or a.startswith(f"{name}.") for a in self.asked)
        ]
        for training in (True, False):
            self.original = one = copied(self.model)
            try:
                found = self._run(one, training, keep=frozenset(inside))
            except Broken as broken:
                error = broken.__cause__ or broken
                raise SurgeryError(
                    f"in the mode of evaluation the model breaks on what it was run on in training: "
                    f"{reason(error)} (in {broken.run.place()}); {EXAMPLE}"
                ) from broken
            if training:
                self.gradients = gradients(one, found.output)
            mine = {id(module) for module in self.model.modules()}
            strangers = [module for module in found.strangers if id(module) in mine]
            if strangers:
                names = {id(module): name for name, module in self.model.named_modules()}
                raise SurgeryError(
                    f"a copy of the model still calls the original's "
                    f"{called(names[id(strangers[0])], strangers[0])}, by a function or a hook that "
                    f"holds on to it; let forward() call it as an attribute of self, or {VARIANT}"
                )
            self.before[training] = found
        for name in self.asked:
            for part in self._called(name):
                calls = [call for one in self.before.values() for call in one.kept.get(part, ())]
                layer = self.layers[part]
                self.passes[part] = passes_of(part, layer, signature_of(layer), calls)

    def _run(self, model: Any, training: bool, **more: Any) -> Run:
        seed()
        return run(model, self.example, training=training, **more)

    def _called(self, name: str) -> list[str]:
        """Return the layer, or those inside of it if the code calls these: of a list, say."""
        kept = {part for one in self.before.values() for part in one.kept}
        if name in kept:
            return [name]
        inside = [part for part in self.layers if part.startswith(f"{name}.") and part in kept]
        outer = [p for p in inside if not any(p.startswith(f"{q}.") for q in inside)]
        if not outer:
            around = max((p for p in kept if name.startswith(f"{p}.")), key=len, default="")
            instead = f"leave out '{around}', which it lies in" if around else ARGUMENT
            raise SurgeryError(
                f"no forward pass calls {called(name, self.layers[name])}, so that leaving it out would "
                f"change nothing or break the code that uses its weights; {instead}"
            )
        idle = [
            part
            for part in self.layers
            if part.startswith(f"{name}.")
            and [*self.layers[part].parameters(recurse=False)]
            and not any(f"{part}.".startswith(f"{one}.") for one in outer)
        ]
        if idle:
            raise SurgeryError(
                f"{called(name, self.layers[name])} is never called itself, and on the example not all that "
                f"lies inside is: {quoted(idle[:5])} would stay; name the layers that should go, as a "
                f"group: [{', '.join(outer[:5])}]"
            )
        return outer

    # ---- the copy ----

    def _bypassed(self) -> Any:
        """Return a copy in which the layers are bypassed."""
        new = copied(self.model)
        for name, passes in self.passes.items():
            module = new.get_submodule(name)
            put_in_place(module, name, passes)
        _do_without_fast_path(new, self.passes)
        return new

    def _find_widths(self) -> None:
        """Run a copy, and build anew each layer that gets another width, until all fit."""
        new = self._bypassed()
        fitted: dict[str, Any] = {}

        def fit(name: str, module: Any, x: Any) -> None:
            kind = kind_of(module)
            if kind is None or not name:
                return
            try:
                width = needed(module, x)
                if width is not None and name in fitted:
                    raise CannotRebuild(
                        f"it is called on several widths, {fitted[name]} and {width}"
                    )
                if width is not None:
                    self._check_rank(name, x)
                    self._check_sharing(name)
                    rebuild(module, width)
                    self.widths[name] = width
            except CannotRebuild as error:
                raise SurgeryError(
                    f"leaving out {quoted(self.asked)} breaks {called(name, module)}: {error}; {GROUP}"
                ) from error
            fitted[name] = kind.has(module)

        for training in (True, False):
            try:
                self._run(new, training, before=fit)
            except Broken as broken:
                raise self._broken(broken) from broken

    def _check_rank(self, name: str, x: Any) -> None:
        """Refuse what gets more or fewer dimensions than it did: it would run on another axis."""
        shapes = [s for one in self.before.values() for s in one.calls.get(name, ()) if s]
        shape = getattr(x, "shape", None)
        if shape is not None and shapes and len(shape) not in map(len, shapes):
            raise CannotRebuild(f"it gets {tuple(shape)} instead of {shapes[0]}")

    def _check_sharing(self, name: str) -> None:
        own = {id(parameter): key for key, parameter in self.layers[name].named_parameters()}
        for other, module in self.model.named_modules():
            if f"{other}.".startswith(f"{name}.") or module is self.layers[name]:
                continue
            for parameter in module.parameters(recurse=False):
                if id(parameter) in own:
                    raise CannotRebuild(
                        f"it would need another width, but shares its {own[id(parameter)]} with "
                        f"{called(other, module)}"
                    )

    def _broken(self, broken: Broken) -> SurgeryError:
        error = broken.__cause__
        if isinstance(error, SurgeryError):
            return error
        assert error is not None
        return SurgeryError(
            f"leaving out {quoted(self.asked)} breaks {broken.run.place()}: {reason(error)}; {GROUP}"
        )

    def _rebuild(self, new: Any) -> Iterator[Change]:
        """Build the layers anew for which that was found, in the model's order."""
        for name in self.layers:
            if name not in self.widths:
                continue
            module = new.get_submodule(name)
            before = _shapes(module)
            rebuild(module, self.widths[name])
            yield from _reshaped(name, before, _shapes(module))

    def _went(self) -> Iterator[Change]:
        """Tell which layers went with those that were left out."""
        for name in self.passes:
            for inner, module in self.layers.items():
                if inner.startswith(f"{name}.") and not [*module.children()]:
                    yield Change("removed", inner, type(module).__name__, f"with '{name}'")

    # ---- and whether it is right ----

    def _look_at(self, model: Any) -> Iterator[Change]:
        """Run a copy of the new model, and refuse it if it isn't right."""
        what, after = quoted(self.asked), None
        outputs: list[tuple[Any, Any]] = []
        for training in (True, False):
            one = copied(model)
            try:
                found = self._run(one, training)
            except Broken as broken:
                raise self._broken(broken) from broken
            check_outputs(self.before[training].output, found.output, what)
            if not training:
                self._look_away(one, found.output)
                before = self.original, self.before[False].output
                check_rows(self.example, what, before, (one, found.output))
            yield from merged(self.before[training], found, what)
            outputs.append((self.before[training].output, found.output))
            if training:
                after = gradients(one, found.output)
        check_effect(outputs, self.gradients, after, self.asked, list(self.passes))

    def _look_away(self, model: Any, watched: Any) -> None:
        """Refuse a model that computes something else where nobody watches, by a faster way of its own."""
        import torch

        seed()
        try:
            with torch.no_grad():
                output = model(*self.example.args, **self.example.kwargs)
        except Exception as error:
            raise SurgeryError(
                f"leaving out {quoted(self.asked)} breaks the model where its layers have no hooks: "
                f"{reason(error)}; {GROUP}"
            ) from error
        if not alike(watched, output):
            raise SurgeryError(
                f"without {quoted(self.asked)} the model computes something else when its layers have no "
                f"hooks: it uses their weights itself; {ARGUMENT}"
            )


def _shapes(module: Any) -> dict[str, tuple[int, ...]]:
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tuple(value.shape) for name, value in state.items()}


def _reshaped(
    name: str, before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]
) -> Iterator[Change]:
    alike: dict[tuple[str, str], list[str]] = {}
    for key, shape in before.items():
        if after[key] != shape:
            alike.setdefault((str(shape), str(after[key])), []).append(key)
    for (was, is_now), keys in alike.items():
        yield Change("kernel shape", name, f"{', '.join(keys)} {was}", is_now)


def _uncalled(stand_ins: dict[str, Any]) -> tuple[str, ...]:
    """Return the layers that were left out where no forward pass has come by."""
    passages = {name: module.passage for name, module in stand_ins.items()}
    if any(passage.left for passage in passages.values()):
        return ()  # a copy of the model may have been run in another process
    return tuple(name for name, passage in passages.items() if not passage.called)


def _do_without_fast_path(model: Any, left_out: Any) -> None:
    """Let PyTorch's own encoders call their layers, whose weights they else use themselves."""
    import torch

    for name, module in model.named_modules():
        inside = any(place.startswith(f"{name}.") for place in left_out)
        if inside and isinstance(module, torch.nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
            if f"{name}.self_attn" in left_out:
                module.self_attn.shell.add("in_proj_bias", True)  # is asked for before that
        if inside and isinstance(module, torch.nn.TransformerEncoder):
            module.use_nested_tensor = False


@contextmanager
def _own_randomness() -> Iterator[Callable[[], None]]:
    """Draw random numbers beside the global generators, and leave these as they were.

    Yields:
        A function that lets what is drawn next depend on the state from before the block.
    """
    import numpy as np
    import torch

    python, numpy, own = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        try:
            yield lambda: torch.set_rng_state(own)
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
