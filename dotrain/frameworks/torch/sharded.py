"""A model whose parameters, gradients and optimizer's state are split between the ranks.

PyTorch's `fully_shard`. Here the loss of a rank is weighted where its gradient enters the model, at its results: by n_i R / n
for n_i of a batch's n rows, since PyTorch takes the mean over the ranks. This imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from dotrain.errors import did_you_mean
from dotrain.frameworks.torch.empty import each, emptied, filled, has_no_rows
from dotrain.frameworks.torch.nested import tensors
from dotrain.frameworks.torch.norms import Pass, over_all_ranks
from dotrain.frameworks.torch.shares import SHARES
from dotrain.training.errors import BadSetup


class Sharding:
    """How one model is sharded, and what its passes are worth."""

    def __init__(self, *, exact: bool, sums: bool) -> None:
        self._exact, self._sums = exact, sums
        self._weight = 1.0
        self._is_filled = False
        self.was_trained = False
        self.gathers = False

    def now(self) -> Pass:
        """Return what batch normalization must know."""
        return Pass(None, self._is_filled)

    def before(self, model: Any, inputs: Any, kwargs: Any) -> Any:
        """Look which rows a pass is of, and fill what has none."""
        share = SHARES.now()
        if torch.is_grad_enabled():
            self.was_trained = True
            SHARES.trained = share
            if share is None and self._exact:
                raise BadSetup(
                    "the model is trained on rows that are not from data_gen.batch(), so nobody knows whether every rank has "
                    "others: take them from there, or from `strategy.batches(data)`; if you have split them yourself, "
                    "equally, set distribution.exact: false"
                )
        self._weight = 1.0
        if share is not None:
            all_of_it = float(share.ranks if share.rows else 0)
            self._weight = all_of_it if self._sums else share.weight
        self._is_filled = has_no_rows((inputs, kwargs))
        if not self._is_filled:
            return inputs, kwargs
        return filled(inputs, SHARES.spare), filled(kwargs, SHARES.spare)

    def after(self, model: Any, inputs: Any, kwargs: Any, output: Any) -> Any:
        """Weigh what will come back."""
        if self._is_filled:
            output = emptied(output)
        if not torch.is_grad_enabled() or self._weight == 1.0:
            return output
        if not any(tensor.requires_grad for tensor in tensors(output)):
            raise BadSetup(
                f"a {type(output).__name__} came out of the model, in which no tensor can be found to weigh; return a tensor, a "
                "tuple or a dict, or choose a batch_size, and a number of rows, that the workers share equally"
            )
        weight = self._weight
        return each(output, lambda one: _Weighed.apply(one, weight) if one.requires_grad else one)


class _Weighed(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, value: Any, weight: float) -> Any:
        ctx.weight = weight
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient * ctx.weight if ctx.weight else torch.zeros_like(gradient), None


def shard(model: Any, sharding: Sharding, *, exact: bool, units: Sequence[str], device: Any) -> Any:
    """Shard a model over all ranks, with the weights of rank 0.

    Args:
        model: On its device.
        sharding: Tells what its passes are worth.
        exact: Whether batch normalization takes its moments from all ranks' rows.
        units: Names of classes of modules that are gathered as one; none: the members of its lists and
            sequences of modules.
        device: This rank's.

    Raises:
        BadSetup: If there is no module of one of the classes.
    """
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor, 0)
    if exact:
        over_all_ranks(model, sharding.now)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in _units(model, units):
        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.register_forward_pre_hook(sharding.before, with_kwargs=True, prepend=True)
    model.register_forward_hook(sharding.after, with_kwargs=True)
    model.register_state_dict_pre_hook(_refuse_parts(sharding))
    model.register_load_state_dict_pre_hook(_split)
    return model


def _units(model: Any, names: Sequence[str]) -> list[Any]:
    found = {type(module).__name__ for module in model.modules()}
    for name in names:
        if name not in found:
            raise BadSetup(
                f"distribution.units: the model has no module of class '{name}'{did_you_mean(name, sorted(found))}"
            )
    chosen = []
    for module in model.modules():
        if names:
            chosen += [module] if type(module).__name__ in names and module is not model else []
        elif isinstance(module, torch.nn.ModuleList | torch.nn.Sequential):
            chosen += [one for one in module if next(one.parameters(), None) is not None]
    # The inner ones first.
    return list(dict.fromkeys(reversed(chosen)))


def _refuse_parts(sharding: Sharding) -> Any:
    def hook(module: Any, *others: Any) -> None:
        if not sharding.gathers:
            raise BadSetup(
                "model.state_dict() would be this rank's part of the model: save `strategy.full_state_dict(model, optimizer)`, "
                "which loads on any number of workers"
            )

    return hook


def _split(module: Any, state: Any, prefix: str, *others: Any) -> None:
    """Let each rank take its part of a whole state."""
    for name, own in (*module.named_parameters(), *module.named_buffers()):
        given = state.get(prefix + name)
        if isinstance(own, DTensor) and given is not None:
            state[prefix + name] = _part(given, own)


def _part(whole: Any, like: Any) -> Any:
    if isinstance(whole, DTensor):
        return whole
    moved = whole.to(like.device)
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)


def _whole(value: Any, keep: bool) -> Any:
    """Return state with whole tensors on the processor: of all ranks' parts, which all must ask for."""
    if isinstance(value, DTensor):
        full = value.full_tensor()
        return full.cpu() if keep else None
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone() if keep else None
    if isinstance(value, Mapping):
        return {name: _whole(one, keep) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one, keep) for one in value]
    return value


def full_state(model: Any, optimizer: Any, *, keep: bool) -> dict[str, Any]:
    """Return the whole state of a model, and of its optimizer, by plain names.

    Args:
        model: Sharded or not.
        optimizer: Or None.
        keep: Whether this rank gets it; others only help.
    """
    state = {"model": _whole(_model_state(model), keep)}
    if optimizer is not None:
        state["optimizer"] = _whole(optimizer.state_dict(), keep)
    return state if keep else {}


def _model_state(model: Any) -> Any:
    sharding = sharding_of(model)
    if sharding is None:
        return model.state_dict()
    sharding.gathers = True
    try:
        return model.state_dict()
    finally:
        sharding.gathers = False


def sharding_of(model: Any) -> Sharding | None:
    """Return how a model is sharded; None if it isn't."""
    for hook in getattr(model, "_forward_pre_hooks", {}).values():
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Sharding):
            return owner
    return None


def load_full_state(state: Mapping[str, Any], model: Any, optimizer: Any) -> None:
    """Let a model and an optimizer, sharded or not, go on from what `full_state` has returned."""
    model.load_state_dict(state["model"])
    if optimizer is None:
        return
    own = [one for group in optimizer.param_groups for one in group["params"]]
    saved = state["optimizer"]
    split = {
        number: {name: _like(value, own[number]) for name, value in values.items()}
        for number, values in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": split})


def _like(value: Any, parameter: Any) -> Any:
    is_of_it = isinstance(parameter, DTensor) and isinstance(value, torch.Tensor)
    return _part(value, parameter) if is_of_it and value.shape == parameter.shape else value
