"""Leave layers out of a Keras model: each is bypassed, and the model is built anew around them.

Nothing is predicted from shapes: the graph is rebuilt, every layer called on what it now gets, and
the first that fails is named. A layer that gets another shape or dtype than before is traced once
too, since some find out only when they run.

Keras' public `clone_model` refuses Sequential models, keeps the inputs of nested models at their old
shapes, runs dead branches and can't copy lambdas. So the graph is read here, from `_nodes_by_depth`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dotrain.ablation.layers import Change, Surgery, SurgeryError
from dotrain.frameworks.keras.surgery.alike import compile_alike, like
from dotrain.frameworks.keras.surgery.copies import (
    copy_layer,
    copy_state,
    copy_trainable,
    own_randomness,
    reason,
    shapes,
)
from dotrain.frameworks.keras.surgery.names import graph_of, walk
from dotrain.frameworks.keras.surgery.plan import Plan, Plans, first_argument
from dotrain.frameworks.keras.surgery.unbuilt import is_unbuilt, without_unbuilt
from dotrain.frameworks.keras.surgery.wanted import resolve
from dotrain.frameworks.keras.surgery.words import (
    GROUP,
    VARIANT,
    in_words,
    quoted,
    reshaped,
    spec,
)


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
        if is_unbuilt(model):
            found = resolve(wanted, list(walk(model)), model)
            return without_unbuilt(model, [one for one in model.layers if id(one) in found])
        with own_randomness():
            return Surgeon(model, wanted).operate()
    except SurgeryError:
        raise
    except Exception as error:
        # Layers run code of anyone; whatever it raises, this arm of a study can't be had.
        raise SurgeryError(
            f"leaving out {quoted(wanted)} fails: {type(error).__name__}: {reason(error)}; "
            f"{VARIANT}"
        ) from error


class Surgeon:
    """One operation: the layers to leave out, the copies of those that stay, what went wrong."""

    def __init__(self, model: Any, names: list[str]) -> None:
        self.model = model
        places = list(walk(model))
        self.first_name = {id(o): name for name, o in reversed(places)}
        #: The layers to leave out, by id, with the names they were found by.
        self.removed = resolve(names, places, model)
        self._plans = Plans(self.removed, self.first_name)
        #: The originals and their copies, by the original's id.
        self.copies: dict[int, tuple[Any, Any]] = {}
        self.changes: list[Change] = []
        #: Layers that were called on something with another shape or dtype, by the original's id.
        self._affected: set[int] = set()
        #: What changed the arguments of the nested models that are being built, in words.
        self._outer_culprits: list[str | None] = []

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
        compile_alike(self.model, new)
        return Surgery(
            model=new,
            removed=tuple(self.removed.values()),
            changes=tuple(dict.fromkeys(self.changes)),
            params=new.count_params() - self.model.count_params(),
        )

    def _nothing_left(self) -> SurgeryError:
        return SurgeryError(
            f"leaving out {quoted(self.removed.values())} leaves nothing that could be trained"
        )

    def _build(self, model: Any, fed: list[Any]) -> Any:
        """Build a model around copies of the layers that are left.

        Args:
            model: The original, at the top or nested.
            fed: If it is nested, the new tensors it will be called on.
        """
        import keras

        plan = self._plans.of(model)
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
            return like(model, keras.Sequential)(layers=layers, name=model.name)
        outputs = {id(t): plan.now(t) for t in graph.outputs}
        if model is self.model:
            self._keep_output_names(graph, outputs)
        return like(model, keras.Model)(
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

    def _call(self, node: Any, plan: Plan) -> Any:
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
            if differs and not self._plans.takes_apart(old):
                _trace(new, args, kwargs, node)
        except SurgeryError:
            raise
        except Exception as error:
            raise self._broken(node, plan, error) from error
        is_leaf = isinstance(old, keras.Layer) and not self._plans.takes_apart(old)
        if is_leaf and id(old) not in self._affected:
            specs = [spec(t) for t in keras.tree.flatten(made)]
            if shapes(old) != shapes(new) or specs != [spec(t) for t in node.output_tensors]:
                raise SurgeryError(
                    f"layer '{self.first_name[id(old)]}' ({type(old).__name__}) can't be copied: "
                    "what its get_config() describes has other weights or outputs; mend it, or "
                    f"{VARIANT}"
                )
        self._note_merged(node, plan)
        return made

    def _copy(self, node: Any, plan: Plan, args: Any, kwargs: Any) -> Any:
        """Return the copy of what a node calls, made the first time for what it is called on."""
        import keras

        old = node.operation
        if id(old) in self.copies:
            return self.copies[id(old)][1]
        if graph_of(old) is not None and not any(id(o) in self.removed for _, o in walk(old)):
            try:
                like(old, keras.Model)
            except SurgeryError:
                self._plans.whole.add(id(old))
        if not self._plans.takes_apart(old):
            new = copy_layer(old)
        else:
            self._outer_culprits.append(plan.culprit(node.input_tensors))
            new = self._build(old, first_argument(old, args, kwargs))
            self._outer_culprits.pop()
        self.copies[id(old)] = old, new
        return new

    def _culprit(self, plan: Plan, tensors: Sequence[Any]) -> str:
        known = [plan.culprit(tensors), *reversed(self._outer_culprits)]
        return next(filter(None, known), quoted(self.removed.values()))

    def _broken(self, node: Any, plan: Plan, error: Exception) -> SurgeryError:
        layer = node.operation
        name = self.first_name[id(layer)]
        return SurgeryError(
            f"leaving out {self._culprit(plan, node.input_tensors)} breaks '{name}' "
            f"({type(layer).__name__}): {reason(error)}; {GROUP}"
        )

    def _check_outputs(self, after: Any) -> None:
        import keras

        plan = self._plans.of(self.model)
        for old, new in zip(plan.graph.outputs, after.outputs, strict=True):
            floats = {keras.backend.is_float_dtype(t.dtype) for t in (old, new)}
            if old.shape != new.shape or len(floats) > 1:
                raise SurgeryError(
                    f"leaving out {self._culprit(plan, [old])} changes the model's output "
                    f"'{plan.name_of(old)}' ({in_words(old, new)}); {GROUP}"
                )

    def _note_merged(self, node: Any, plan: Plan) -> None:
        before = list({id(t): t for t in node.input_tensors}.values())
        after = [plan.stand_in(t) for t in before]
        if len({id(t) for t in after}) < len(before):
            was, now = (quoted(map(plan.name_of, tensors)) for tensors in (before, after))
            name = self.first_name[id(node.operation)]
            self.changes.append(Change("inputs", name, f"inputs {was}", now))

    def _tell_what_went(self, model: Any, path: str) -> None:
        """List what the new model lacks beside the layers asked for."""
        import keras

        plan = self._plans.of(model)
        idle = {id(t._keras_history.operation) for t in plan.idle_inputs}
        for operation in plan.graph.operations:
            name = path + operation.name
            inside = walk(operation, f"{name}/") if graph_of(operation) is not None else ()
            if isinstance(operation, keras.layers.InputLayer):
                if id(operation) in idle:
                    self._went("dropped", name, operation, "nothing uses what is fed to it")
            elif id(operation) in self.removed:
                for inner, layer in inside:
                    known = id(layer) in self.removed or id(layer) in self.copies
                    if not known and not isinstance(layer, keras.layers.InputLayer):
                        self._went("removed", inner, layer, f"with '{name}'")
            elif id(operation) in self.copies:
                if self._plans.takes_apart(operation):
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
            if not self._plans.takes_apart(old) and not copy_state(old, new):
                self.changes.extend(reshaped(self.first_name[id(old)], old, new))


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

    def run(operation: Any, args: Any, kwargs: Any) -> None:
        if keras.backend.backend() == "torch":
            # Its placeholders take any dtype.
            operation(*_zeros(args), **_zeros(kwargs))
        else:
            Probe(operation).compute_output_spec(*args, **kwargs)

    try:
        run(layer, args, kwargs)
    except Exception:
        before = original.arguments
        try:
            run(original.operation, before.args, before.kwargs)
        except Exception:
            return
        raise


def _zeros(arguments: Any) -> Any:
    """Return arguments with zeros for placeholders, in batches of two."""
    import keras

    def zeros(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor):
            return value
        return keras.ops.zeros([2 if size is None else size for size in value.shape], value.dtype)

    return keras.tree.map_structure(zeros, arguments)
