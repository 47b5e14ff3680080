"""What a model can be called on, to see how its layers hang together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.torch.surgery.checks import copied
from dotrain.frameworks.torch.surgery.runs import Broken, Example, Run, run, signature_of
from dotrain.frameworks.torch.surgery.words import EXAMPLE, reason

#: So many rows are looked at: more than one, for what normalizes over a batch.
ROWS = 5


def find_example(model: Any, first_rows: Callable[[], Any] | None) -> Example:
    """Return something that a model runs on.

    That is its own `example_input_array` (Lightning's name for it: a tensor, a tuple of arguments, or a
    mapping of arguments by name), else the first rows of the study's data, else its `dummy_inputs` (as of
    Hugging Face's models), else, where its first layer tells how many numbers it takes, random ones.

    Args:
        model: The model.
        first_rows: Returns the first rows of the data: a batch; or None if there are no data.

    Raises:
        SurgeryError: If there is nothing, or the model doesn't run on it.
    """
    own = getattr(model, "example_input_array", None)
    if own is not None:
        example = _given(_for(model, own))
        wrong = _error_on(model, example)
        if wrong:
            raise SurgeryError(
                f"the model doesn't run on its own example_input_array: {wrong}; mend one of them"
            )
        return example
    errors: list[str] = []
    for example in _candidates(model, first_rows, errors):
        wrong = _error_on(model, example)
        if not wrong:
            return example
        errors.append(f"on the first rows of the data the model breaks: {wrong}")
    why = errors[0] if errors else "the study has no `data:` to call it on"
    raise SurgeryError(
        f"to leave layers out, the model must be run once, and {why.rstrip('.')}; {EXAMPLE}"
    )


def _candidates(
    model: Any, first_rows: Callable[[], Any] | None, errors: list[str]
) -> Iterator[Example]:
    if first_rows is not None:
        try:
            batch = _cut(_for(model, first_rows()))
        except SurgeryError as error:
            errors.append(str(error))
        else:
            yield from _readings(model, batch)
    dummy = getattr(model, "dummy_inputs", None)
    if dummy is not None:
        yield _given(_for(model, dummy))
    guess = _guess(model)
    if guess is not None:
        yield guess


def _error_on(model: Any, example: Example) -> str:
    try:
        run(copied(model), example, training=True)
    except Broken as broken:
        return _told(broken.run, broken.__cause__)
    return ""


def _told(found: Run, error: BaseException | None) -> str:
    return f"{reason(error or Broken(found))} (in {found.place()})"


def _given(value: Any) -> Example:
    if isinstance(value, Mapping):
        return Example(kwargs=dict(value))
    return Example(tuple(value) if isinstance(value, tuple | list) else (value,))


def _readings(model: Any, batch: Any) -> Iterator[Example]:
    """Yield how a model may be called on a batch: on its features, without its labels."""
    if isinstance(batch, Mapping):
        takes = signature_of(model)
        yield Example(kwargs={key: value for key, value in batch.items() if key in takes})
        for key in ("x", "image", "images", "input", "inputs", "features"):
            if key in batch:
                yield Example((batch[key],))
    elif isinstance(batch, tuple | list):
        if len(batch) > 2:
            yield Example(tuple(batch[:-1]))
        yield Example((batch[0],))
        if len(batch) == 2:
            yield Example(tuple(batch))
    yield Example((batch,))


def _guess(model: Any) -> Example | None:
    """Return random rows for a model whose first layer is a Linear."""
    import torch

    first = next((m for m in model.modules() if [*m.parameters(recurse=False)]), None)
    if not isinstance(first, torch.nn.Linear):
        return None
    return Example((_for(model, torch.randn(ROWS, first.in_features)),))


def _for(model: Any, value: Any) -> Any:
    """Return tensors for arrays, on the model's device; its dtype for numbers with a fraction."""
    import numpy as np
    import torch

    if isinstance(value, Mapping):
        return {key: _for(model, part) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return value
    if isinstance(value, tuple | list):
        return type(value)(_for(model, part) for part in value)
    if not isinstance(value, torch.Tensor):
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            return value
        value = torch.as_tensor(array.copy())
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    if like is None:
        return value
    dtype = like.dtype if value.is_floating_point() else None
    return value.to(device=like.device, dtype=dtype)


def _cut(batch: Any) -> Any:
    import torch

    if isinstance(batch, Mapping):
        return {key: _cut(part) for key, part in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(_cut(part) for part in batch)
    return batch[:ROWS] if isinstance(batch, torch.Tensor) and batch.dim() else batch
