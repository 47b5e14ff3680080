"""Leave layers out of a Keras model: each is bypassed, and the model is built anew around them.

Nothing is predicted from shapes: the graph is rebuilt, every layer called on what it now gets, and
the first that fails is named. A layer that gets another shape or dtype than before is traced once
too, since some find out only when they run.

Keras' public `clone_model` refuses Sequential models, keeps the inputs of nested models at their old
shapes, runs dead branches and can't copy lambdas. So the graph is read here, from `_nodes_by_depth`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dotrain.ablation.initial import (
    SurgeryError,
    copy_layer,
    copy_state,
    copy_trainable,
    custom_objects,
    graph_of,
    inherit_weights,
    initial_weights,
    is_keras,
    layer_names,
    layers_matching,
    name_hint,
    overrides,
    own_randomness,
    reason,
    shapes,
    walk,
)

__all__ = [
    "Change",
    "Surgery",
    "SurgeryError",
    "inherit_weights",
    "initial_weights",
    "layer_names",
    "layers_matching",
    "no_op_reason",
    "without_layers",
]

_VARIANT = "write a variant under `models:`"
_GROUP = f"leave out a whole group that ends in the shape it began with, or {_VARIANT}"


@dataclass(frozen=True)
class Change:
    """What else is different in a model from which layers were left out.

    Attributes:
        kind: ``kernel shape``: a layer's weights have another shape, and fresh values;
            ``dropped``: nothing uses the layer any more; ``removed``: it was inside of a model
            that was left out, or nothing is left inside of it; ``inputs``: two inputs of a merge
            have become one and the same, so that an Add now doubles it.
        layer: The qualified name of the layer.
        before: Weights with their shape, or inputs, or the class of a layer that went.
        after: The new shape or inputs, or why the layer went.
    """

    kind: Literal["kernel shape", "dropped", "removed", "inputs"]
    layer: str
    before: str
    after: str

    def __str__(self) -> str:
        if self.kind in ("dropped", "removed"):
            return f"{self.layer} ({self.before}): {self.kind}, {self.after}"
        return f"{self.layer}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Surgery:
    """A model without some of its layers.

    Attributes:
        model: The new Keras model, compiled as the original if that was. Layers whose weights kept
            their shapes have the original's, with its states of random generators; others have
            fresh ones.
        removed: The qualified names of the layers that were asked for.
        changes: What else changed.
        params: How many parameters the new model has more; mostly negative.
    """

    model: Any
    removed: tuple[str, ...]
    changes: tuple[Change, ...]
    params: int


def without_layers(model: Any, names: Sequence[str]) -> Surgery:
    """Build a model anew without some of its layers, which are bypassed all together.

    A shared layer is bypassed wherever it is called. All inputs of the model stay, used or not.
    The original isn't changed. Fresh weights depend on Python's global random state only, and don't
    change it, so that what is drawn later is as it would be for the original.

    Shapes that are unknown until there is data (None) can't be checked here.

    Args:
        model: A built Sequential or a functional model.
        names: Names of layers: qualified, or plain where only one layer has that name.

    Returns:
        The new model and how it differs.

    Raises:
        SurgeryError: If a name is unknown or ambiguous, leaving the layers out would change
            nothing, or what would be left isn't a model with outputs of the same shapes.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    try:
        with own_randomness():
            return _Surgeon(model, wanted).operate()
    except SurgeryError:
        raise
    except Exception as error:
        # Layers run code of anyone; whatever it raises, this arm of a study can't be had.
        raise SurgeryError(
            f"leaving out {_quoted(wanted)} fails: {type(error).__name__}: {reason(error)}; "
            f"{_VARIANT}"
        ) from error


def no_op_reason(layer: Any) -> str | None:
    """Return why leaving a layer out would change nothing, or None if it would.

    Args:
        layer: A layer of a built model.
    """
    import keras

    kind = type(layer).__name__
    if not is_keras(type(layer)) or getattr(layer, "activity_regularizer", None) is not None:
        return None
    if kind == "Identity":
        return "it returns its input"
    if kind == "Activation" and layer.activation is keras.activations.linear:
        return "its activation is linear"
    if kind.endswith(("Dropout", "Dropout1D", "Dropout2D", "Dropout3D")) and not layer.rate:
        return "its rate is 0"
    if kind == "GaussianNoise" and not layer.stddev:
        return "its stddev is 0"
    if kind == "Rescaling" and _all_equal(layer.scale, 1) and _all_equal(layer.offset, 0):
        return "its scale is 1 and its offset 0"
    if kind == "Permute" and list(layer.dims) == sorted(layer.dims):
        return "it permutes nothing"
    if kind.startswith("ZeroPadding") and _all_equal(layer.padding, 0):
        return "its padding is 0"
    if kind.startswith("Cropping") and _all_equal(layer.cropping, 0):
        return "it crops nothing"
    if kind.startswith("UpSampling") and _all_equal(layer.size, 1):
        return "its size is 1"
    if kind.startswith(("MaxPooling", "AveragePooling")) and _all_equal(
        [layer.pool_size, layer.strides], 1
    ):
        return "its pool size and strides are 1"
    if kind in ("Flatten", "Reshape") and _keeps_shape(layer):
        return "its output has its input's shape"
    return None


def _all_equal(value: Any, to: int) -> bool:
    if isinstance(value, list | tuple):
        return all(_all_equal(part, to) for part in value)
    return isinstance(value, int | float) and value == to


def _keeps_shape(layer: Any) -> bool:
    calls = [(node.input_tensors, node.output_tensors) for node in layer._inbound_nodes]
    return bool(calls) and all(
        ins[0].shape == outs[0].shape and list(outs[0].shape[1:]).count(None) < 2
        for ins, outs in calls
    )


class _Plan:
    """The graph of one model with the bypasses thought in: which calls are left, and on what.

    All tensors are the original's, until `built` says what they are in the new model.
    """

    def __init__(self, model: Any, surgeon: _Surgeon) -> None:
        graph: Any = graph_of(model)
        self.graph = graph
        self._surgeon = surgeon
        depths = graph._nodes_by_depth
        every = [node for depth in sorted(depths, reverse=True) for node in depths[depth]]
        calls = [node for node in every if not node.is_input]
        self.maker = {id(t): node for node in every for t in node.output_tensors}
        #: For each call that is bypassed, by id, the input that goes on.
        self.kept: dict[int, Any] = {}
        #: For each tensor that such a call made, by id, the tensor that takes its place.
        self._instead: dict[int, Any] = {}
        self.bypassed: set[int] = set()
        #: The new tensors, by the id of the original.
        self.built: dict[int, Any] = {}
        for node in calls:
            kept = None
            if surgeon.leaves_out(node.operation):
                kept = self._choose(node)
            elif graph_of(node.operation) is not None:
                kept = surgeon.plan(node.operation).returned_argument(node)
            if kept is not None:
                self.kept[id(node)] = kept
                self.bypassed.add(id(node.operation))
                for tensor in node.output_tensors:
                    self._instead[id(tensor)] = self.stand_in(kept)
        used = {id(self.stand_in(t)) for t in graph.outputs}
        #: The calls that are left, in an order in which they can be made.
        self.live: list[Any] = []
        for node in reversed(calls):
            if id(node) not in self.kept and any(id(t) in used for t in node.output_tensors):
                self.live.insert(0, node)
                used.update(id(self.stand_in(t)) for t in node.input_tensors)
        used_before = {id(t) for node in calls for t in node.input_tensors}
        self.idle_inputs = [t for t in graph.inputs if id(t) in used_before - used]

    def stand_in(self, tensor: Any) -> Any:
        """Return the tensor that takes the place of `tensor`: itself if its maker stays."""
        return self._instead.get(id(tensor), tensor)

    def now(self, tensor: Any) -> Any:
        """Return what there is in the new model in place of `tensor`."""
        return self.built[id(self.stand_in(tensor))]

    def differs(self, tensor: Any) -> bool:
        """Whether what there is now has another shape or dtype."""
        return _spec(self.now(tensor)) != _spec(tensor)

    def returned_argument(self, call: Any) -> Any | None:
        """Return which argument of a call of this model comes out again, nothing being left."""
        if len(self.graph.outputs) == 1:
            left = self.stand_in(self.graph.outputs[0])
            arguments = _first_argument(call.operation, call.arguments.args, call.arguments.kwargs)
            for mine, theirs in zip(self.graph.inputs, arguments, strict=False):
                if left is mine:
                    return theirs
        return None

    def _choose(self, call: Any) -> Any:
        """Return the input by which a call is bypassed."""
        layer, outs = call.operation, call.output_tensors
        if len(outs) > 1:
            raise SurgeryError(
                f"'{layer.name}' ({type(layer).__name__}) has {len(outs)} outputs, which its input "
                f"can't replace; {_VARIANT}"
            )
        different = list({id(self.stand_in(t)): t for t in _main_inputs(call)}.values())
        if len(different) == 1:
            return different[0]
        fitting = [t for t in different if t.shape == outs[0].shape]
        if len(fitting) == 1:
            return fitting[0]
        merged = (
            f"'{layer.name}' ({type(layer).__name__}) merges "
            f"{_quoted(self.name_of(t) for t in different)}"
        )
        if not fitting:
            raise SurgeryError(
                f"{merged}, and none of them has the shape of its output, {outs[0].shape}, to "
                f"replace it; {_VARIANT}"
            )
        which = _quoted(self.name_of(t) for t in fitting)
        raise SurgeryError(
            f"{merged}; which should go on, of those with the shape of its output, {which}? Leave "
            f"out the layers of the other branch, with or without '{layer.name}', or {_VARIANT}"
        )

    def name_of(self, tensor: Any) -> str:
        """Return the name of what makes a tensor."""
        return str(self.maker[id(tensor)].operation.name)

    def culprit(self, tensors: Sequence[Any]) -> str | None:
        """Return which layer's absence gave one of `tensors` another shape, in words, if known."""
        tensor = next((t for t in tensors if self.differs(t)), None)
        while tensor is not None:
            node = self.maker[id(tensor)]
            layer, kept = node.operation, self.kept.get(id(node))
            if kept is None:
                tensor = next((t for t in node.input_tensors if self.differs(t)), None)
                if tensor is None and self._surgeon.was_taken_apart(layer):
                    inner = self._surgeon.plan(layer)
                    return inner.culprit(inner.graph.outputs)
            elif _spec(kept) != _spec(tensor):
                name = self._surgeon.first_name[id(layer)]
                return f"'{name}' ({type(layer).__name__}, {_in_words(kept, tensor)})"
            else:
                tensor = kept
        return None


class _Surgeon:
    """One operation: the layers to leave out, the copies of those that stay, what went wrong."""

    def __init__(self, model: Any, names: list[str]) -> None:
        self.model = model
        #: Every operation, with every qualified name it has.
        self.places = list(walk(model))
        self.first_name = {id(o): name for name, o in reversed(self.places)}
        self.removed = self._resolve(names)
        self._plans: dict[int, _Plan] = {}
        #: The originals and their copies, by the original's id.
        self.copies: dict[int, tuple[Any, Any]] = {}
        self.changes: list[Change] = []
        #: Layers that were called on something with another shape or dtype, by the original's id.
        self._affected: set[int] = set()
        #: Nested models that can only be copied as they are, by id.
        self._whole: set[int] = set()
        #: What changed the arguments of the nested models that are being built, in words.
        self._outer_culprits: list[str | None] = []

    def leaves_out(self, operation: Any) -> bool:
        """Whether an operation was asked for."""
        return id(operation) in self.removed

    def plan(self, model: Any) -> _Plan:
        """Return what is left of a model."""
        if id(model) not in self._plans:
            self._plans[id(model)] = _Plan(model, self)
        return self._plans[id(model)]

    def _resolve(self, names: list[str]) -> dict[int, str]:
        import keras

        if not names:
            raise SurgeryError("no layer to leave out was named")
        found = {}
        whys = {}
        for asked in names:
            name, layer = self._find(asked)
            if isinstance(layer, keras.layers.InputLayer):
                raise SurgeryError(
                    f"'{name}' is an input, not a layer that could be left out; leave out what "
                    "uses it, or leave the feature out of the data"
                )
            found[id(layer)] = name
            whys[name] = no_op_reason(layer)
        if all(whys.values()):
            said = "; ".join(f"'{name}': {why}" for name, why in whys.items())
            raise SurgeryError(f"leaving it out would change nothing: {said}")
        return found

    def _find(self, name: str) -> tuple[str, Any]:
        exact = next((place for place in self.places if place[0] == name), None)
        if exact is not None:
            return exact
        ending = [place for place in self.places if place[0].endswith(f"/{name}")]
        if len({id(layer) for _, layer in ending}) > 1:
            places = _quoted(place for place, _ in ending)
            raise SurgeryError(f"several layers are called '{name}': {places}; which one?")
        if not ending:
            # The names of operations such as the one behind x + y are known, but not proposed.
            raise SurgeryError(
                f"the model has no layer '{name}'{name_hint(name, layer_names(self.model))}"
            )
        return ending[0]

    def operate(self) -> Surgery:
        """Build the new model.

        Raises:
            SurgeryError: If there can't be one.
        """
        new = self._build(self.model, [])
        self._check_outputs(graph_of(new))
        if self.model.trainable_variables and not new.trainable_variables:
            raise self._nothing_left()
        self._tell_what_went(self.model, "")
        self._inherit(new)
        _compile_alike(self.model, new)
        return Surgery(
            model=new,
            removed=tuple(self.removed.values()),
            changes=tuple(dict.fromkeys(self.changes)),
            params=new.count_params() - self.model.count_params(),
        )

    def _nothing_left(self) -> SurgeryError:
        return SurgeryError(
            f"leaving out {_quoted(self.removed.values())} leaves nothing that could be trained"
        )

    def _build(self, model: Any, fed: list[Any]) -> Any:
        """Build a model around copies of the layers that are left.

        Args:
            model: The original, at the top or nested.
            fed: If it is nested, the new tensors it will be called on.
        """
        import keras

        plan = self.plan(model)
        graph, built = plan.graph, plan.built
        for position, tensor in enumerate(graph.inputs):
            layer = tensor._keras_history.operation
            config = layer.get_config()
            if fed and not _fits(fed[position], tensor):
                config["batch_shape"] = fed[position].shape
            built[id(tensor)] = type(layer).from_config(config).output
        if not plan.live:
            raise self._nothing_left()
        for node in plan.live:
            made = keras.tree.flatten(self._call(node, plan))
            built.update(zip(map(id, node.output_tensors), made, strict=True))
        if isinstance(model, keras.Sequential):
            stay = [self.copies[id(o)][1] for o in model.layers if id(o) in self.copies]
            layers = [built[id(graph.inputs[0])], *stay]
            return _like(model, keras.Sequential)(layers=layers, name=model.name)
        outputs = {id(t): plan.now(t) for t in graph.outputs}
        if model is self.model:
            self._keep_output_names(graph, outputs)
        return _like(model, keras.Model)(
            inputs=keras.tree.map_structure(lambda t: built[id(t)], graph.input),
            outputs=keras.tree.map_structure(lambda t: outputs[id(t)], graph.output),
            name=model.name,
        )

    def _keep_output_names(self, graph: Any, outputs: dict[int, Any]) -> None:
        """Keep the names of outputs: losses are given by them, metrics are called after them.

        They are the names of the layers that make the outputs, which may have been left out.
        """
        import keras

        by_name = self.model.compiled and any(
            isinstance(part, dict) for part in self.model._compile_config.config.values()
        )
        if len(graph.outputs) == 1 and not by_name:
            return
        named: dict[str, Any] = {}
        for tensor, name in zip(graph.outputs, graph.output_names, strict=True):
            if outputs[id(tensor)]._keras_history.operation.name != name:
                layer = named.setdefault(name, keras.layers.Identity(name=name))
                outputs[id(tensor)] = layer(outputs[id(tensor)])

    def _call(self, node: Any, plan: _Plan) -> Any:
        """Call the copy of a layer as the layer was called, on what there is now."""
        import keras

        old = node.operation
        args, kwargs = node.arguments.fill_in({id(t): plan.now(t) for t in node.input_tensors})
        differs = any(plan.differs(t) for t in node.input_tensors)
        if differs:
            self._affected.add(id(old))
        try:
            new = self._copy(node, plan, args, kwargs)
            made = new(*args, **kwargs)
            if differs and not self.was_taken_apart(old):
                _trace(new, args, kwargs, node)
        except SurgeryError:
            raise
        except Exception as error:
            raise self._broken(node, plan, error) from error
        is_leaf = isinstance(old, keras.Layer) and not self.was_taken_apart(old)
        if is_leaf and id(old) not in self._affected:
            specs = [_spec(t) for t in keras.tree.flatten(made)]
            if shapes(old) != shapes(new) or specs != [_spec(t) for t in node.output_tensors]:
                raise SurgeryError(
                    f"layer '{self.first_name[id(old)]}' ({type(old).__name__}) can't be copied: "
                    "what its get_config() describes has other weights or outputs; mend it, or "
                    f"{_VARIANT}"
                )
        self._note_merged(node, plan)
        return made

    def _copy(self, node: Any, plan: _Plan, args: Any, kwargs: Any) -> Any:
        """Return the copy of what a node calls, made the first time for what it is called on."""
        import keras

        old = node.operation
        if id(old) in self.copies:
            return self.copies[id(old)][1]
        if graph_of(old) is not None and not any(self.leaves_out(o) for _, o in walk(old)):
            try:
                _like(old, keras.Model)
            except SurgeryError:
                self._whole.add(id(old))
        if not self.was_taken_apart(old):
            new = copy_layer(old)
        else:
            self._outer_culprits.append(plan.culprit(node.input_tensors))
            new = self._build(old, _first_argument(old, args, kwargs))
            self._outer_culprits.pop()
        self.copies[id(old)] = old, new
        return new

    def was_taken_apart(self, operation: Any) -> bool:
        """Whether an operation is a nested model that was built anew from its own layers."""
        return graph_of(operation) is not None and id(operation) not in self._whole

    def _culprit(self, plan: _Plan, tensors: Sequence[Any]) -> str:
        known = [plan.culprit(tensors), *reversed(self._outer_culprits)]
        return next(filter(None, known), _quoted(self.removed.values()))

    def _broken(self, node: Any, plan: _Plan, error: Exception) -> SurgeryError:
        layer = node.operation
        name = self.first_name[id(layer)]
        return SurgeryError(
            f"leaving out {self._culprit(plan, node.input_tensors)} breaks '{name}' "
            f"({type(layer).__name__}): {reason(error)}; {_GROUP}"
        )

    def _check_outputs(self, after: Any) -> None:
        import keras

        plan = self.plan(self.model)
        for old, new in zip(plan.graph.outputs, after.outputs, strict=True):
            floats = {keras.backend.is_float_dtype(t.dtype) for t in (old, new)}
            if old.shape != new.shape or len(floats) > 1:
                raise SurgeryError(
                    f"leaving out {self._culprit(plan, [old])} changes the model's output "
                    f"'{plan.name_of(old)}' ({_in_words(old, new)}); {_GROUP}"
                )

    def _note_merged(self, node: Any, plan: _Plan) -> None:
        before = list({id(t): t for t in node.input_tensors}.values())
        after = [plan.stand_in(t) for t in before]
        if len({id(t) for t in after}) < len(before):
            was, now = (_quoted(map(plan.name_of, tensors)) for tensors in (before, after))
            name = self.first_name[id(node.operation)]
            self.changes.append(Change("inputs", name, f"inputs {was}", now))

    def _tell_what_went(self, model: Any, path: str) -> None:
        """List what the new model lacks beside the layers asked for."""
        import keras

        plan = self.plan(model)
        idle = {id(t._keras_history.operation) for t in plan.idle_inputs}
        for operation in plan.graph.operations:
            name = path + operation.name
            inside = walk(operation, f"{name}/") if graph_of(operation) is not None else ()
            if isinstance(operation, keras.layers.InputLayer):
                if id(operation) in idle:
                    self._went("dropped", name, operation, "nothing uses what is fed to it")
            elif self.leaves_out(operation):
                for inner, layer in inside:
                    known = self.leaves_out(layer) or id(layer) in self.copies
                    if not known and not isinstance(layer, keras.layers.InputLayer):
                        self._went("removed", inner, layer, f"with '{name}'")
            elif id(operation) in self.copies:
                if self.was_taken_apart(operation):
                    self._tell_what_went(operation, f"{name}/")
            elif id(operation) in plan.bypassed:
                self._went("removed", name, operation, "nothing is left inside")
            else:
                self._went("dropped", name, operation, "nothing uses it any more")

    def _went(self, kind: Literal["dropped", "removed"], name: str, layer: Any, why: str) -> None:
        self.changes.append(Change(kind, name, type(layer).__name__, why))

    def _inherit(self, model: Any) -> None:
        """Give the copies what the originals have learnt or drawn, where the shapes allow it."""
        import keras

        if model.trainable != self.model.trainable:
            model.trainable = self.model.trainable
        pairs = [(old, new) for old, new in self.copies.values() if isinstance(old, keras.Layer)]
        # The flag of a model sets those of the layers inside, which were copied before it.
        for old, new in reversed(pairs):
            copy_trainable(old, new)
        for old, new in pairs:
            if not self.was_taken_apart(old) and not copy_state(old, new):
                self.changes.extend(_reshaped(self.first_name[id(old)], old, new))


def _reshaped(name: str, old: Any, new: Any) -> Iterator[Change]:
    """Yield how the weights of a layer differ, those that differ alike together."""
    if len(old.variables) != len(new.variables):
        counts = (f"{len(layer.variables)} variables" for layer in (old, new))
        yield Change("kernel shape", name, *counts)
        return
    alike: dict[tuple[str, str], list[str]] = {}
    for before, after in zip(old.variables, new.variables, strict=True):
        if before.shape != after.shape:
            # Below the layer's own name: "kernel", or "forward_lstm/lstm_cell/kernel".
            label = f"/{before.path}".rpartition(f"/{old.name}/")[2]
            alike.setdefault((str(tuple(before.shape)), str(tuple(after.shape))), []).append(label)
    for (was, is_now), labels in alike.items():
        yield Change("kernel shape", name, f"{', '.join(labels)} {was}", is_now)


def _main_inputs(call: Any) -> list[Any]:
    """Return the tensors that a call transforms, without states, masks and what it looks up."""
    import keras

    layer, args, kwargs = call.operation, call.arguments.args, call.arguments.kwargs
    one = [keras.layers.RNN, keras.layers.Bidirectional, keras.layers.MultiHeadAttention]
    if isinstance(layer, (*one, keras.layers.GroupQueryAttention)):
        found = _first_argument(layer, args, kwargs)
    else:
        main = {n: v for n, v in kwargs.items() if n != "mask" and not n.endswith("_mask")}
        found = keras.tree.flatten((args, main))
    return [t for t in found if isinstance(t, keras.KerasTensor)] or list(call.input_tensors)


def _first_argument(layer: Any, args: Any, kwargs: Any) -> list[Any]:
    """Return the tensors in the first argument of a call, which may be given by name."""
    import keras

    name = next(iter(inspect.signature(layer.call).parameters))
    return list(keras.tree.flatten(args[0] if args else kwargs.get(name)))


def _fits(tensor: Any, declared: Any) -> bool:
    """Whether a tensor may be fed to an input."""
    if tensor is None or len(tensor.shape) != len(declared.shape):
        return tensor is None
    pairs = zip(tensor.shape, declared.shape, strict=True)
    return all(a == b or None in (a, b) for a, b in pairs)


def _trace(layer: Any, args: Any, kwargs: Any, original: Any) -> None:
    """Let a layer really run, on placeholders; calling it may only have asked it for a shape.

    Raises:
        Exception: Whatever the layer raises, if the original's call can be traced.
    """
    import keras

    class Probe(keras.Operation):  # type: ignore[misc]
        def __init__(self, traced: Any) -> None:
            super().__init__(name="probe")
            self.traced = traced

        def call(self, *args: Any, **kwargs: Any) -> Any:
            return self.traced(*args, **kwargs)

    try:
        Probe(layer).compute_output_spec(*args, **kwargs)
    except Exception:
        before = original.arguments
        try:
            Probe(original.operation).compute_output_spec(*before.args, **before.kwargs)
        except Exception:
            return
        raise


def _like(model: Any, base: Any) -> Any:
    """Return the class for a model in place of `model`: the same, if it can be called as `base`.

    Args:
        model: The original.
        base: ``keras.Sequential`` or ``keras.Model``.

    Raises:
        SurgeryError: If the class builds its own layers, and trains or runs in its own way.
    """
    cls = type(model)
    if is_keras(cls):
        return base
    parameters = list(inspect.signature(cls.__init__).parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    names = [parameter.name for parameter in parameters[1:4]]
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds or names in (
        ["inputs", "outputs", "name"],
        ["layers", "trainable", "name"],
    ):
        return cls
    own = {
        name
        for c in cls.__mro__
        if not is_keras(c) and not c.__module__.startswith(("tensorflow.", "builtins"))
        for name, value in vars(c).items()
        if not name.startswith("__") and (callable(value) or isinstance(value, property))
    } - {"get_config", "from_config", "build"}
    inherited = sorted(name for name in own if hasattr(base, name))
    if inherited:
        raise SurgeryError(
            f"'{model.name}' can't be built anew: its class {cls.__name__} makes its layers itself "
            f"and has its own {', '.join(inherited)}; let its __init__ take (*args, **kwargs) for "
            f"keras.Model, turn its parts off by arguments under `components:`, or {_VARIANT}"
        )
    return base


def _compile_alike(old: Any, new: Any) -> None:
    """Compile a model as another one was, sharing nothing that has a state.

    Keras' own way, through JSON, fails for functions and classes that it can't find by name.
    """
    if not old.compiled:
        return
    if overrides(new, "compile"):
        if not overrides(new, "compile_from_config"):
            raise SurgeryError(
                f"class {type(new).__name__} has its own compile() but no compile_from_config(); "
                "add that, or compile the model after the surgery"
            )
        new.compile_from_config(old.get_compile_config())
        return
    config = dict(old._compile_config.config)
    if config.get("optimizer") is not None:
        # Not as it was given to compile(): its learning rate may have been set since.
        config["optimizer"] = _anew(old.optimizer)
    for part in ("metrics", "weighted_metrics"):
        config[part] = _anew(config.get(part))
    # The optimizer is wrapped for mixed precision already, if it is to be.
    new.compile(**config, auto_scale_loss=False)
    if new.optimizer is not None:
        new.optimizer.build(new.trainable_variables)


def _anew(thing: Any) -> Any:
    """Return an optimizer or metrics without their state; names and functions as they are."""
    import keras

    if isinstance(thing, dict):
        return {key: _anew(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_anew(value) for value in thing]
    if not isinstance(thing, keras.Metric | keras.Optimizer):
        return thing
    try:
        with keras.saving.custom_object_scope(custom_objects(thing)):
            return type(thing).from_config(thing.get_config())
    except Exception as error:
        raise SurgeryError(
            f"the model is compiled with a {type(thing).__name__} that can't be copied: "
            f"{reason(error)}; compile the model after the surgery"
        ) from error


def _spec(tensor: Any) -> tuple[tuple[int | None, ...], str]:
    return tuple(tensor.shape), str(tensor.dtype)


def _in_words(before: Any, after: Any) -> str:
    """Return how two tensors differ: by their shapes, else by their dtypes."""
    if before.shape != after.shape:
        return f"{tuple(before.shape)} -> {tuple(after.shape)}"
    return f"{before.dtype} -> {after.dtype}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
