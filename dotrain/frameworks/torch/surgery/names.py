"""The layers of a model by name: those of ``named_modules()``, ``encoder.layers.0.linear1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dotrain.ablation.layers import SurgeryError, name_hint
from dotrain.frameworks.torch.surgery.stand_in import stand_in_class
from dotrain.frameworks.torch.surgery.words import quoted

#: They hold parameters and are called by nobody.
_HOLDERS = ("ParameterList", "ParameterDict")


def layer_names(model: Any) -> list[str]:
    """Return the qualified names of all layers that can be asked for, in the model's order.

    A layer that is found in several places has the name of its first place.

    Args:
        model: A module.
    """
    return list(layers_of(model))


def layers_of(model: Any) -> dict[str, Any]:
    """Return the layers of a model by their qualified names, in the model's order.

    What lies inside of compiled code, makes a parameter out of others, or stands in for a layer that was
    left out, is none.
    """
    found: dict[str, Any] = {}
    closed: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in closed)
        hidden = inside or name.rpartition(".")[2] == "parametrizations"
        if hidden or is_scripted(module):
            closed.append(name)
        is_layer = type(module).__name__ not in _HOLDERS and type(module) is not stand_in_class()
        if name and not hidden and is_layer:
            found[name] = module
    return found


def is_scripted(module: Any) -> bool:
    """Whether a module's code is TorchScript's, which nobody can look into."""
    import torch

    return isinstance(module, torch.jit.ScriptModule)


def resolve(names: Sequence[str], model: Any) -> list[str]:
    """Return the qualified names of what is asked for, each once, without what lies inside of another.

    Args:
        names: Qualified names, or the ends of ones that no other layer's name has.
        model: The model.

    Raises:
        SurgeryError: If a name is unknown or ambiguous.
    """
    if not names:
        raise SurgeryError("no layer to leave out was named")
    known = layers_of(model)
    found = dict.fromkeys(_find(name, known, model) for name in names)
    return [name for name in found if not any(name.startswith(f"{one}.") for one in found)]


def _find(name: str, known: dict[str, Any], model: Any) -> str:
    if name in known:
        return name
    for other, module in model.named_modules(remove_duplicate=False):
        if other == name:  # it is shared: the first of its names
            first = [place for place, one in known.items() if one is module]
            if first:
                return first[0]
    ending = [place for place in known if place.endswith(f".{name}")]
    if len(ending) > 1:
        several = quoted(ending[:6]) + (f" and {len(ending) - 6} more" if len(ending) > 6 else "")
        raise SurgeryError(f"several layers are called '{name}': {several}; which one?")
    if not ending:
        raise SurgeryError(f"the model has no layer '{name}'{name_hint(name, list(known), '.')}")
    return ending[0]
