"""What two models have in common: weights, by the names of their layers; whether they compute the same."""

from __future__ import annotations

import types
from typing import Any

from dotrain.ablation.layers import SurgeryError


def is_lazy(module: Any) -> bool:
    """Whether a module itself has parameters or buffers that have no shape yet."""
    import torch

    own = (*module._parameters.values(), *module._buffers.values())
    return any(torch.nn.parameter.is_lazy(tensor) for tensor in own if tensor is not None)


def parameters(model: Any) -> int | None:
    """Return how many parameters a model has, shared ones once; None if one has no shape yet."""
    if any(is_lazy(module) for module in model.modules()):
        return None
    return sum(int(parameter.numel()) for parameter in model.parameters())


def inherit_weights(original: Any, model: Any) -> None:
    """Give the layers of `model` the parameters and buffers of the original's of the same names and shapes.

    Args:
        original: A module.
        model: Any other; it is changed. A layer that differs in one shape keeps all of its own.

    Raises:
        SurgeryError: If one of them has no weights yet.
    """
    import torch

    for name, module in (*original.named_modules(), *model.named_modules()):
        if is_lazy(module):
            raise SurgeryError(
                f"'{name}' ({type(module).__name__}) has no weights yet, as it takes its width from the "
                "first batch; run the model once on an example before the function returns it"
            )
    donors = dict(original.named_modules())
    with torch.no_grad():
        for name, module in model.named_modules():
            if name not in donors:
                continue
            mine, theirs = _own(module), _own(donors[name])
            shapes = [{key: value.shape for key, value in own.items()} for own in (mine, theirs)]
            if shapes[0] == shapes[1]:
                for key, value in mine.items():
                    value.copy_(theirs[key])


def _own(module: Any) -> dict[str, Any]:
    own = {**module._parameters, **module._buffers}
    return {key: value for key, value in own.items() if value is not None}


def same_graph(one: Any, other: Any) -> bool:
    """Whether two models are known to compute the same, but for their weights.

    They are if they are made of the same classes with the same attributes: code that is alike but
    written twice isn't known to be.
    """
    mine, theirs = dict(one.named_modules()), dict(other.named_modules())
    return mine.keys() == theirs.keys() and all(
        _same_module(module, theirs[name]) for name, module in mine.items()
    )


def _same_module(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    shapes = [{key: value.shape for key, value in _own(m).items()} for m in (one, other)]
    attributes = [_attributes(m) for m in (one, other)]
    return (
        shapes[0] == shapes[1]
        and attributes[0].keys() == attributes[1].keys()
        and all(_same(value, attributes[1][key]) for key, value in attributes[0].items())
    )


#: Kept by every module, and made anew with it.
_EVERY_MODULES = frozenset(
    {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
    | {"_flat_weights", "_flat_weight_refs"}
)


def _attributes(module: Any) -> dict[str, Any]:
    own = vars(module)
    return {key: own[key] for key in own if key not in _EVERY_MODULES and "hook" not in key}


def _same(one: Any, other: Any) -> bool:
    import torch

    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.nn.Module):
        return repr(one) == repr(other)  # one that isn't registered, or it is looked at anyway
    if isinstance(one, torch.Tensor):
        return bool(torch.equal(one, other))
    if isinstance(one, types.FunctionType):
        cells = [[cell.cell_contents for cell in f.__closure__ or ()] for f in (one, other)]
        return one.__code__ is other.__code__ and _same(cells[0], cells[1])
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    try:
        return bool(one == other)
    except Exception:
        return False
