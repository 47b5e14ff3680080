"""Whether a model may be operated on, and whether what came of it is right."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any

from dotrain.ablation.layers import Change, SurgeryError
from dotrain.frameworks.torch.nested import tensors
from dotrain.frameworks.torch.surgery.alike import is_lazy
from dotrain.frameworks.torch.surgery.names import is_scripted
from dotrain.frameworks.torch.surgery.runs import Broken, Example, Run, run
from dotrain.frameworks.torch.surgery.words import (
    ARGUMENT,
    EXAMPLE,
    GROUP,
    called,
    quoted,
    reason,
    shape_text,
)

#: Modules around a model, by which trainings run it on several devices.
_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")


def refuse_unfit(model: Any, asked: Sequence[str]) -> None:
    """Refuse a model that can't be copied, watched and rebuilt.

    Args:
        model: The model.
        asked: Names of layers to leave out.

    Raises:
        SurgeryError: If it is such a model, or one of the layers has hooks.
    """
    kind = type(model).__name__
    if is_scripted(model):
        raise SurgeryError(
            f"the model is compiled TorchScript ({kind}), in which nothing can be bypassed; return the "
            "module that it was made of, and compile what model_gen.create() gives"
        )
    for name, module in model.named_modules():
        is_compiled = hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None)
        if is_compiled is not None and is_compiled is not False:
            raise SurgeryError(
                f"{called(name, module)} is compiled by torch.compile, in which nothing can be bypassed; "
                "compile what model_gen.create() gives instead"
            )
        if type(module).__name__ in _WRAPPERS and type(module).__module__.startswith("torch."):
            raise SurgeryError(
                f"{called(name, module)} wraps the model for several devices; return the plain module, "
                "and wrap what model_gen.create() gives"
            )
        if is_lazy(module):
            raise SurgeryError(
                f"{called(name, module)} has no weights yet, as it takes its width from the first batch; "
                "run the model once on an example before the model function returns it"
            )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise SurgeryError(
            "the model's weights are on the device 'meta', and have no values yet; make it on another "
            "one, or move what model_gen.create() gives there"
        )
    for name in asked:
        if is_scripted(model.get_submodule(name)):
            raise SurgeryError(
                f"{called(name, model.get_submodule(name))} is compiled TorchScript, for which nothing can "
                f"stand in; compile what model_gen.create() gives, or {ARGUMENT}"
            )
        for inner, module in model.get_submodule(name).named_modules():
            own = [
                hook
                for hooks in (module._forward_hooks, module._forward_pre_hooks)
                for hook in hooks.values()
                if not type(hook).__module__.startswith("torch.nn.utils")
            ]
            if own:
                place = f"{name}.{inner}" if inner else name
                raise SurgeryError(
                    f"{called(place, module)} has hooks of yours, which would go with it; register them "
                    "after model_gen.create()"
                )


def copied(model: Any) -> Any:
    """Return a copy of a model, with weights, hooks and state of its own.

    Raises:
        SurgeryError: If it has something that can't be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise SurgeryError(
            f"the model can't be copied: {reason(error)}; keep no tensors that were computed in its "
            f"attributes (use the weight_norm of torch.nn.utils.parametrizations), or {ARGUMENT}"
        ) from error


def check_outputs(before: Any, after: Any, what: str) -> None:
    """Refuse a model whose output has another form, shape or kind of number."""
    if _form(before) != _form(after):
        raise SurgeryError(
            f"leaving out {what} changes the model's output ({shape_text(before)} -> "
            f"{shape_text(after)}); {GROUP}"
        )


def _form(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.is_floating_point()
    if isinstance(value, dict):
        return type(value).__name__, [(key, _form(part)) for key, part in value.items()]
    if isinstance(value, tuple | list):
        return type(value).__name__, [_form(part) for part in value]
    return type(value).__name__


def alike(one: Any, other: Any) -> bool:
    """Whether two outputs are the same, but for how they were rounded."""
    import torch

    return _form(one) == _form(other) and all(
        torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-4, equal_nan=True)
        for a, b in zip(tensors(one), tensors(other), strict=True)
    )


def gradients(model: Any, output: Any) -> frozenset[str] | None:
    """Return which parameters an output depends on, by name; None if that can't be told."""
    import torch

    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    floats = [t for t in tensors(output) if t.requires_grad]
    if not named or not floats:
        return None
    try:
        found = torch.autograd.grad(
            [t.sum() for t in floats], [p for _, p in named], allow_unused=True
        )
    except Exception:
        return None
    pairs = zip(named, found, strict=True)
    return frozenset(name for (name, _), gradient in pairs if gradient is not None)


def check_effect(
    outputs: Sequence[tuple[Any, Any]],
    used_before: frozenset[str] | None,
    used_after: frozenset[str] | None,
    asked: Sequence[str],
    left_out: Sequence[str],
) -> None:
    """Refuse a surgery that has changed nothing, or has left other layers without effect.

    Args:
        outputs: In each mode the original's and the new model's, with the same random numbers.
        used_before: The parameters that the original's depends on.
        used_after: Those that the new model's depends on.
        asked: The layers that were to be left out.
        left_out: Those that were bypassed for it.

    Raises:
        SurgeryError: If it is such a one.
    """
    import torch

    what = quoted(asked)
    inside = tuple(f"{name}." for name in left_out)
    trained = [name for name in used_before or () if name.startswith(inside)]
    pairs = [
        pair
        for before, after in outputs
        for pair in zip(tensors(before), tensors(after), strict=True)
    ]
    if not trained and pairs and all(torch.equal(one, other) for one, other in pairs):
        raise SurgeryError(
            f"leaving out {what} would change nothing: with the same random numbers the model computes the "
            f"same without it; if it is the rows tried that show no difference, {EXAMPLE}"
        )
    if used_before is None:
        return
    if used_after is None:
        raise SurgeryError(f"leaving out {what} leaves nothing that could be trained; {GROUP}")
    idle = sorted(
        {_owner(name) for name in used_before - used_after if not name.startswith(inside)}
    )
    if idle:
        more = f" and {len(idle) - 5} more" if len(idle) > 5 else ""
        raise SurgeryError(
            f"leaving out {what} leaves {quoted(idle[:5])}{more} without effect: nothing uses what comes of "
            "it; leave that out, too, as a group"
        )


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0] or parameter


def merged(before: Run, after: Run, what: str) -> Iterator[Change]:
    """Yield the functions whose tensors have become one and the same.

    Raises:
        SurgeryError: If one stretches a dimension of 1 that the original doesn't.
    """
    for key, now in after.merges.items():
        was = before.merges.get(key)
        if was is None or was.name != now.name:
            continue
        where = f"'{now.where}'" if now.where else "forward()"
        if now.stretched() - was.stretched():
            shapes = " and ".join(str(shape) for shape in now.shapes)
            raise SurgeryError(
                f"leaving out {what} lets {now.name} in {where} stretch one of its tensors over the "
                f"other, {shapes}; {GROUP}"
            )
        if now.distinct < was.distinct:
            yield Change(
                "inputs",
                now.where or "forward",
                f"{was.distinct} tensors in {now.name}",
                "one and the same" if now.distinct == 1 else f"{now.distinct}",
            )


def check_rows(
    example: Example, what: str, before: tuple[Any, Any], after: tuple[Any, Any]
) -> None:
    """Refuse a model that mixes rows which the original keeps apart, as by a fixed ``view``.

    Args:
        example: What both were called on.
        what: What was left out.
        before: A copy of the original, and its output in the mode of evaluation.
        after: A copy of the new model, and its output.

    Raises:
        SurgeryError: If it does.
    """
    rolled = example.rolled()
    if rolled is None:
        return
    count = len(next(iter((*rolled.args, *rolled.kwargs.values()))))

    def keeps_apart(one: Any, output: Any) -> bool:
        seed()
        try:
            again = run(one, rolled, training=False).output
        except Broken:
            return False
        # A loss, say, is of all rows.
        pairs = [
            (first.roll(1, 0), second)
            for first, second in zip(tensors(output), tensors(again), strict=False)
            if hasattr(first, "dim") and first.dim() > 0 and len(first) == count
        ]
        return bool(pairs) and alike([one for one, _ in pairs], [other for _, other in pairs])

    if keeps_apart(*before) and not keeps_apart(*after):
        raise SurgeryError(
            f"leaving out {what} lets rows of a batch mix: code between the layers gives a fixed shape "
            f"(as x.view(-1, 400)); write x.flatten(1) there, or {ARGUMENT}"
        )


def seed() -> None:
    """Let what is drawn in runs be the same in each."""
    import torch

    random.seed(0)
    torch.manual_seed(0)
