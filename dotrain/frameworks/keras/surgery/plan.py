"""What is left of a graph when calls are bypassed: thought through before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping, Sequence
from typing import Any

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.keras.surgery.names import graph_of
from dotrain.frameworks.keras.surgery.words import VARIANT, in_words, quoted, spec

#: How many layers an error lists.
_SHOWN = 8


class Plans:
    """The plans of a model and of the models nested in it, each made when it is first asked for.

    Attributes:
        removed: The ids of the operations to leave out.
        first_name: The first qualified name of every operation, by id.
        whole: Nested models that can only be copied as they are, by id.
    """

    def __init__(self, removed: Container[int], first_name: Mapping[int, str]) -> None:
        self.removed = removed
        self.first_name = first_name
        self.whole: set[int] = set()
        self._known: dict[int, Plan] = {}

    def of(self, model: Any) -> Plan:
        """Return what is left of a model."""
        if id(model) not in self._known:
            self._known[id(model)] = Plan(model, self)
        return self._known[id(model)]

    def takes_apart(self, operation: Any) -> bool:
        """Whether an operation is a nested model that is built anew from its own layers."""
        return graph_of(operation) is not None and id(operation) not in self.whole


class Plan:
    """The graph of one model with the bypasses thought in: which calls are left, and on what.

    All tensors are the original's, until `built` says what they are in the new model.
    """

    def __init__(self, model: Any, plans: Plans) -> None:
        graph: Any = graph_of(model)
        self.graph = graph
        self._plans = plans
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
            if id(node.operation) in plans.removed:
                kept = self._choose(node)
            elif graph_of(node.operation) is not None:
                kept = plans.of(node.operation).returned_argument(node)
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
        return spec(self.now(tensor)) != spec(tensor)

    def returned_argument(self, call: Any) -> Any | None:
        """Return which argument of a call of this model comes out again, nothing being left."""
        if len(self.graph.outputs) == 1:
            left = self.stand_in(self.graph.outputs[0])
            arguments = first_argument(call.operation, call.arguments.args, call.arguments.kwargs)
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
                f"can't replace; {VARIANT}"
            )
        different = list({id(self.stand_in(t)): t for t in _main_inputs(call)}.values())
        if len(different) == 1:
            return different[0]
        fitting = [t for t in different if t.shape == outs[0].shape]
        if len(fitting) == 1:
            return fitting[0]
        merged = (
            f"'{layer.name}' ({type(layer).__name__}) merges "
            f"{quoted(self.name_of(self.stand_in(t)) for t in different)}"
        )
        if not fitting:
            raise SurgeryError(
                f"{merged}, and none of them has the shape of its output, {outs[0].shape}, to "
                f"replace it; {VARIANT}"
            )
        which = quoted(self.name_of(self.stand_in(t)) for t in fitting)
        standing = self._standing_between(different)
        said = quoted(standing[:_SHOWN]) + f", ... ({len(standing)} in all)" * (
            len(standing) > _SHOWN
        )
        raise SurgeryError(
            f"{merged}; which should go on, of those with the shape of its output, {which}? Leave "
            f"out the layers of the other branch, with or without '{layer.name}', or {VARIANT}"
            + f"; on the way between them still stand {said}: for a group with these, list the names, or "
            "write a pattern that matches all" * bool(standing)
        )

    def _standing_between(self, tensors: Sequence[Any]) -> list[str]:
        """Return the layers that are left on a way, some of which is left out, from one tensor to another."""
        here = [self.stand_in(t) for t in tensors]
        for tensor, end in zip(tensors, here, strict=True):
            seen = {id(one) for one in here if one is not end}
            found, todo = dict[str, None](), [end] if end is not tensor else []
            while todo:
                if id(one := self.stand_in(todo.pop(0))) in seen:
                    continue
                seen.add(id(one))
                node = self.maker[id(one)]
                if node.is_input:  # a way of its own
                    found.clear()
                    break
                found[self._plans.first_name[id(node.operation)]] = None
                todo += node.input_tensors
            if found:
                return [*found][::-1]
        return []

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
                if tensor is None and self._plans.takes_apart(layer):
                    inner = self._plans.of(layer)
                    return inner.culprit(inner.graph.outputs)
            elif spec(kept) != spec(tensor):
                name = self._plans.first_name[id(layer)]
                return f"'{name}' ({type(layer).__name__}, {in_words(kept, tensor)})"
            else:
                tensor = kept
        return None


def _main_inputs(call: Any) -> list[Any]:
    """Return the tensors that a call transforms, without states, masks and what it looks up."""
    import keras

    layer, args, kwargs = call.operation, call.arguments.args, call.arguments.kwargs
    one = [keras.layers.RNN, keras.layers.Bidirectional, keras.layers.MultiHeadAttention]
    if isinstance(layer, (*one, keras.layers.GroupQueryAttention)):
        found = first_argument(layer, args, kwargs)
    else:
        main = {n: v for n, v in kwargs.items() if n != "mask" and not n.endswith("_mask")}
        found = keras.tree.flatten((args, main))
    return [t for t in found if isinstance(t, keras.KerasTensor)] or list(call.input_tensors)


def first_argument(layer: Any, args: Any, kwargs: Any) -> list[Any]:
    """Return the tensors in the first argument of a call, which may be given by name."""
    import keras

    name = next(iter(inspect.signature(layer.call).parameters))
    return list(keras.tree.flatten(args[0] if args else kwargs.get(name)))
