"""Which layers of a model are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dotrain.ablation.layers import SurgeryError, name_hint
from dotrain.frameworks.keras.surgery.names import layer_names
from dotrain.frameworks.keras.surgery.no_op import no_op_reason
from dotrain.frameworks.keras.surgery.words import quoted


def resolve(names: Sequence[str], places: Sequence[tuple[str, Any]], model: Any) -> dict[int, str]:
    """Return the layers that are asked for, by id, with their qualified names.

    Args:
        names: What is asked for: qualified names, or plain where only one layer has that name.
        places: Every operation of the model, from `walk`.
        model: The model.

    Raises:
        SurgeryError: If a name is unknown or ambiguous, or leaving the layers out changes nothing.
    """
    import keras

    if not names:
        raise SurgeryError("no layer to leave out was named")
    found = {}
    whys = {}
    for asked in names:
        name, layer = _find(asked, places, model)
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


def _find(name: str, places: Sequence[tuple[str, Any]], model: Any) -> tuple[str, Any]:
    exact = next((place for place in places if place[0] == name), None)
    if exact is not None:
        return exact
    ending = [place for place in places if place[0].endswith(f"/{name}")]
    if len({id(layer) for _, layer in ending}) > 1:
        several = quoted(place for place, _ in ending)
        raise SurgeryError(f"several layers are called '{name}': {several}; which one?")
    if not ending:
        # The names of operations such as the one behind x + y are known, but not proposed.
        raise SurgeryError(f"the model has no layer '{name}'{name_hint(name, layer_names(model))}")
    return ending[0]
