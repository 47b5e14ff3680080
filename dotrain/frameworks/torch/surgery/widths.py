"""Layers that can be built for another width of what they get: which, and how."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class CannotRebuild(Exception):
    """A layer can't be built for what it gets."""


@dataclass(frozen=True)
class Kind:
    """How a class of layers is built anew.

    Attributes:
        has: Returns the width that a layer was built for.
        gets: Returns the width of what it is called on.
        make: Returns a new layer of another width, by the old one and the width.
    """

    has: Callable[[Any], Any]
    gets: Callable[[Any, Any], Any]
    make: Callable[[Any, Any], Any]


def _channels(x: Any) -> int:
    return int(x.shape[1]) if x.dim() > 1 else int(x.shape[0])


def _before(spatial: int) -> Callable[[Any, Any], int]:
    """The channels of images, of a batch or alone, come before so many dimensions."""

    def gets(module: Any, x: Any) -> int:
        if x.dim() not in (spatial + 1, spatial + 2):
            raise CannotRebuild(f"it takes {spatial + 2} dimensions, and gets {tuple(x.shape)}")
        return int(x.shape[-spatial - 1])

    return gets


def _last(module: Any, x: Any) -> int:
    return int(getattr(x, "data", x).shape[-1])  # of a packed sequence, its data


def _linear(module: Any, width: int) -> Any:
    import torch

    return torch.nn.Linear(width, module.out_features, bias=module.bias is not None)


def _conv(module: Any, width: int) -> Any:
    import torch

    groups, out = module.groups, module.out_channels
    if groups > 1 and groups == module.in_channels == out:
        groups = out = width  # by channel: as many come out as go in
    elif width % groups:
        raise CannotRebuild(f"its {groups} groups can't share {width} channels")
    plain = type(module).__name__
    more = {"output_padding": module.output_padding} if "Transpose" in plain else {}
    make = getattr(torch.nn, next(c.__name__ for c in type(module).__mro__ if _is_torchs(c)))
    return make(
        *(width, out, module.kernel_size),
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        groups=groups,
        bias=module.bias is not None,
        padding_mode=module.padding_mode,
        **more,
    )


def _batch_norm(module: Any, width: int) -> Any:
    plain = next(c for c in type(module).__mro__ if _is_torchs(c))
    return plain(width, module.eps, module.momentum, module.affine, module.track_running_stats)


def _group_norm(module: Any, width: int) -> Any:
    import torch

    if width % module.num_groups:
        raise CannotRebuild(f"its {module.num_groups} groups can't share {width} channels")
    return torch.nn.GroupNorm(module.num_groups, width, module.eps, module.affine)


def _trailing(module: Any, x: Any) -> tuple[int, ...]:
    count = len(module.normalized_shape)
    if x.dim() < count:
        raise CannotRebuild(f"it takes {count} dimensions at least, and gets {tuple(x.shape)}")
    return tuple(x.shape[-count:])


def _layer_norm(module: Any, shape: tuple[int, ...]) -> Any:
    plain = next(c for c in type(module).__mro__ if _is_torchs(c))
    more = {"bias": module.bias is not None} if hasattr(module, "bias") else {}
    return plain(shape, eps=module.eps, elementwise_affine=module.elementwise_affine, **more)


def _prelu(module: Any, width: int) -> Any:
    import torch

    return torch.nn.PReLU(width)


def _recurrent(module: Any, width: int) -> Any:
    plain = next(c for c in type(module).__mro__ if _is_torchs(c))
    more = {"nonlinearity": module.nonlinearity} if plain.__name__ == "RNN" else {}
    if getattr(module, "proj_size", 0):
        more["proj_size"] = module.proj_size
    return plain(
        *(width, module.hidden_size, module.num_layers),
        bias=module.bias,
        batch_first=module.batch_first,
        dropout=module.dropout,
        bidirectional=module.bidirectional,
        **more,
    )


def _cell(module: Any, width: int) -> Any:
    plain = next(c for c in type(module).__mro__ if _is_torchs(c))
    more = {"nonlinearity": module.nonlinearity} if plain.__name__ == "RNNCell" else {}
    return plain(width, module.hidden_size, bias=module.bias, **more)


@functools.cache
def _kinds() -> dict[type[Any], Kind]:
    import torch

    nn = torch.nn
    by_channel = Kind(lambda m: m.num_features, lambda m, x: _channels(x), _batch_norm)
    found = {
        nn.Linear: Kind(lambda m: m.in_features, _last, _linear),
        nn.GroupNorm: Kind(lambda m: m.num_channels, lambda m, x: _channels(x), _group_norm),
        nn.LayerNorm: Kind(lambda m: tuple(m.normalized_shape), _trailing, _layer_norm),
        nn.PReLU: Kind(
            lambda m: m.num_parameters,
            lambda m, x: 1 if m.num_parameters == 1 else _channels(x),
            _prelu,
        ),
    }
    if hasattr(nn, "RMSNorm"):  # since 2.4
        found[nn.RMSNorm] = found[nn.LayerNorm]
    for count in (1, 2, 3):
        conv = Kind(lambda m: m.in_channels, _before(count), _conv)
        found[getattr(nn, f"Conv{count}d")] = conv
        found[getattr(nn, f"ConvTranspose{count}d")] = conv
        found[getattr(nn, f"BatchNorm{count}d")] = by_channel
        found[getattr(nn, f"InstanceNorm{count}d")] = Kind(
            lambda m: m.num_features, _before(count), _batch_norm
        )
    found[nn.SyncBatchNorm] = by_channel
    for name in ("RNN", "LSTM", "GRU"):
        found[getattr(nn, name)] = Kind(lambda m: m.input_size, _last, _recurrent)
        found[getattr(nn, f"{name}Cell")] = Kind(lambda m: m.input_size, _last, _cell)
    return found


def _is_torchs(cls: type[Any]) -> bool:
    return cls in _kinds()


def kind_of(module: Any) -> Kind | None:
    """Return how a layer is built anew, or None if nobody knows.

    A class that is derived from one of PyTorch's counts as that if it runs and starts as that does.
    """
    cls: Any = type(module)
    plain: Any = next((c for c in cls.__mro__ if _is_torchs(c)), None)
    if plain is None or cls.forward is not plain.forward:
        return None
    if getattr(cls, "reset_parameters", None) is not getattr(plain, "reset_parameters", None):
        return None
    return _kinds()[plain]


def needed(module: Any, x: Any) -> Any:
    """Return the width for which a layer must be built anew to take `x`; None if it fits.

    Raises:
        CannotRebuild: If what it gets has other dimensions than it takes.
    """
    kind = kind_of(module)
    if kind is None:
        return None
    width = kind.gets(module, x)
    return None if width == kind.has(module) else width


def rebuild(module: Any, width: Any) -> None:
    """Build a layer anew for another width, in its place, with fresh parameters.

    Args:
        module: The layer.
        width: From `needed`.

    Raises:
        CannotRebuild: If it can't be, or has parameters that aren't its own alone.
    """
    kind = kind_of(module)
    assert kind is not None
    like = next(module.parameters(recurse=False), None)
    fresh = kind.make(module, width)
    if like is not None:
        fresh = fresh.to(device=like.device, dtype=like.dtype)
    if module._parameters.keys() != fresh._parameters.keys():
        raise CannotRebuild(
            "its weights are made out of others (a weight or spectral norm), which aren't known"
        )
    own = [parameter for parameter in module._parameters.values() if parameter is not None]
    if not all(parameter.requires_grad for parameter in own):
        raise CannotRebuild("its weights are frozen, and fresh ones would stay as they were drawn")
    state = {key: value for key, value in vars(fresh).items() if key not in _hooks(fresh)}
    state["training"] = module.training
    vars(module).update(state)


def _hooks(module: Any) -> list[str]:
    return [key for key in vars(module) if "hook" in key or key == "_non_persistent_buffers_set"]
