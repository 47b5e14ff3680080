"""Batch normalization over the rows of all ranks, on every kind of device.

As PyTorch's own `SyncBatchNorm`, which refuses CPUs; besides, ranks may have different numbers of
rows, or none. This imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from dotrain.training.errors import BadSetup


class Pass(NamedTuple):
    """What a layer must know of the pass that it is called in.

    Attributes:
        weight: What gradients of this rank's parameters will be multiplied by before they are
            summed over the ranks; None if its loss has been already.
        is_filled: Whether the rows are there for want of any.
    """

    weight: float | None = None
    is_filled: bool = False


def over_all_ranks(model: Any, current: Callable[[], Pass]) -> None:
    """Let the batch normalizations of a model take their moments from the rows of all ranks.

    They stay of their class, with their names and parameters; pickled they are plain ones.

    Args:
        model: A module.
        current: Tells of the pass that is made.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, _Everywhere):
            plain: Any = type(module)
            module.__class__ = _everywhere(plain)
            # Past the registry of modules.
            module.__dict__["_current"] = current


def is_over_all(module: Any) -> bool:
    """Whether a module's buffers are the same on all ranks by themselves."""
    return isinstance(module, _Everywhere)


class _Everywhere:
    """What is added to a class of batch normalization."""

    training: bool

    # It speaks with other ranks, and its weight changes from step to step.
    @torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
    def forward(self: Any, values: Any) -> Any:
        if not (self.training or self.running_mean is None):
            return super().forward(values)  # type: ignore[misc]
        self._check_input_dim(values)
        now = self._current()
        output, mean, variance, count = _Normalize.apply(
            values, self.weight, self.bias, now.weight, now.is_filled, self.eps
        )
        if self.training and self.track_running_stats and self.running_mean is not None:
            self._note(mean, variance, count)
        return output

    def _note(self: Any, mean: Any, variance: Any, count: float) -> None:
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = self.momentum
            if share is None:  # the mean of all
                share = 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
            unbiased = variance * (count / (count - 1.0))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        plain = type(self).__mro__[2]
        state = {name: value for name, value in self.__dict__.items() if name != "_current"}
        return object.__new__, (plain,), state

    def __deepcopy__(self: Any, memo: Any) -> Any:
        copy = object.__new__(type(self))
        memo[id(self)] = copy
        for name, value in self.__dict__.items():
            copy.__dict__[name] = value if name == "_current" else deepcopy(value, memo)
        return copy


@cache
def _everywhere(plain: Any) -> type[Any]:
    return type(plain.__name__, (_Everywhere, plain), {"__module__": plain.__module__})


class _Normalize(torch.autograd.Function):  # type: ignore[misc]
    """(x - mean) / std * weight + bias, of the moments over all ranks' rows.

    Each rank tells its count, its mean and its sum of squared distances from that, which are put together
    without taking differences of large numbers (Chan, Golub, LeVeque 1979).
    """

    @staticmethod
    def forward(
        ctx: Any, values: Any, scale: Any, shift: Any, weight: Any, is_filled: bool, eps: float
    ) -> Any:
        channels = values.shape[1]
        axes = [axis for axis in range(values.ndim) if axis != 1]
        shape = [1, channels, *[1] * (values.ndim - 2)]
        plain = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
        own = plain.new_zeros(2 * channels + 1)
        if not is_filled and plain.numel():
            mean = plain.mean(axes)
            own[:channels] = mean
            own[channels:-1] = (plain - mean.reshape(shape)).square().sum(axes)
            own[-1] = plain.numel() // channels
        everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, own)
        told = torch.stack(everyone)
        means, squares, counts = told[:, :channels], told[:, channels:-1], told[:, -1:]
        count = counts.sum()
        if float(count) <= 1:
            raise BadSetup(
                "batch normalization of one value per channel, over all workers: a batch needs more than one row"
            )
        mean = (means * counts).sum(0) / count
        variance = (squares + counts * (means - mean).square()).sum(0) / count
        inverse = (variance + eps).rsqrt()
        normal = (plain - mean.reshape(shape)) * inverse.reshape(shape)
        output = normal
        if scale is not None:
            output = normal * scale.reshape(shape) + shift.reshape(shape)
        ctx.save_for_backward(normal, inverse, scale)
        ctx.known = axes, shape, float(count), weight, is_filled, values.dtype
        ctx.mark_non_differentiable(mean, variance)
        return output.to(values.dtype), mean, variance, float(count)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, gradient: Any, *others: Any) -> Any:
        normal, inverse, scale = ctx.saved_tensors
        axes, shape, count, weight, is_filled, dtype = ctx.known
        gradient = gradient.to(normal.dtype)
        own_shift = gradient.sum(axes)
        own_scale = (gradient * normal).sum(axes)
        share = 1.0 if weight is None else weight
        counts = share != 0.0 and not is_filled
        # In the weighted units that all ranks share, and back into this rank's.
        told = torch.stack((own_shift, own_scale))
        told = told * share if counts else torch.zeros_like(told)
        dist.all_reduce(told)
        if counts:
            shift, slope = (told / (count * share)).unbind(0)
            own = gradient - shift.reshape(shape) - normal * slope.reshape(shape)
            factor = inverse if scale is None else inverse * scale
            own = own * factor.reshape(shape)
        else:
            own = torch.zeros_like(gradient)
        wanted = scale is not None
        return (
            own.to(dtype),
            own_scale.to(scale.dtype) if wanted else None,
            own_shift.to(scale.dtype) if wanted else None,
            *(None, None, None),
        )
