"""A model of all ranks, whose gradients are those of one process with the same global batch.

PyTorch's own `DistributedDataParallel` takes the mean of the ranks' gradients, each as much as the other. A rank has n_i
of a batch's n rows, and a loss that is a mean over these; so what it sends is to be weighted by n_i R / n:

- while all ranks have equally many rows, nothing is done that PyTorch doesn't do;
- else each parameter's gradient is multiplied when it arrives, before it is added to what is there, so that
  accumulated gradients, with `no_sync` or without, are those of one process too. The gradient of a rank
  with no rows, where it may be NaN, is replaced by zero;
- batch normalization takes its moments from all ranks' rows (`norms`);
- no rows go through the model as another rank's row (`empty`).

This imports PyTorch.
"""

from __future__ import annotations

import inspect
import weakref
from typing import Any, final

import torch
from torch.nn.parallel import DistributedDataParallel

from dotrain.frameworks.torch.empty import emptied, filled, has_no_rows
from dotrain.frameworks.torch.nested import tensors
from dotrain.frameworks.torch.norms import Pass, is_over_all, over_all_ranks
from dotrain.frameworks.torch.shares import SHARES, Share
from dotrain.training.errors import BadSetup

_PREFIX = "module."
#: The argument's name, since 2.13 and before.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel.__init__).parameters
)


@final
class Distributed(DistributedDataParallel):  # type: ignore[misc]
    """The model of a rank."""

    def __init__(
        self, model: Any, *, exact: bool, sums: bool, device: Any, find_unused_parameters: bool
    ) -> None:
        """Wrap a model, whose weights become those of rank 0.

        Args:
            model: On its device.
            exact: Whether to compute what one process would.
            sums: Whether losses are sums over rows, not means.
            device: This rank's.
            find_unused_parameters: As of `DistributedDataParallel`.
        """
        self_pass = _Passes()
        if exact:
            over_all_ranks(model, self_pass.now)
        alike = {id(b) for m in model.modules() if is_over_all(m) for b in m.buffers(recurse=False)}
        super().__init__(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            # Those of batch normalizations are alike by themselves.
            **{_SYNC_BUFFERS: any(id(buffer) not in alike for buffer in model.buffers())},
            find_unused_parameters=find_unused_parameters,
        )
        # Past the registry of modules, and of what is pickled.
        object.__setattr__(self, "_passes", self_pass)
        self._exact, self._sums = exact, sums
        self.was_trained = False
        self.register_load_state_dict_pre_hook(_with_prefix)
        model.register_forward_pre_hook(_past_the_wrapper)

    # What a batch is worth changes from step to step: nothing to be compiled into a graph.
    @torch.compiler.disable(recursive=False)  # type: ignore[untyped-decorator, unused-ignore]
    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the model with this rank's rows."""
        outer = DistributedDataParallel._active_ddp_module
        if outer is not None and outer is not self and not isinstance(outer, Distributed):
            raise BadSetup(
                "this model is wrapped twice, by the strategy and by whoever trains it: call model_gen.create() "
                "outside of `with dist_strategy():` for a trainer that wraps its model itself"
            )
        share = SHARES.now()
        is_training = torch.is_grad_enabled()
        if is_training:
            self.was_trained = True
            SHARES.trained = share
            self._weigh(share, (inputs, kwargs))
        passes = self._passes
        passes.is_filled = has_no_rows((inputs, kwargs))
        if not passes.is_filled:
            output = super().forward(*inputs, **kwargs)
        else:
            inputs, kwargs = filled((inputs, kwargs), SHARES.spare)
            output = emptied(super().forward(*inputs, **kwargs))
        if is_training and self.training:
            passes.watch(output)
        return output

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the plain model's, which loads on one process."""
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Load the plain model's, or one that plain `DistributedDataParallel` has saved."""
        own = self.module.state_dict(keep_vars=True)
        if state_dict and not any(name in own for name in state_dict):
            state_dict = {name.removeprefix(_PREFIX): value for name, value in state_dict.items()}
        return self.module.load_state_dict(state_dict, *args, **kwargs)

    def _weigh(self, share: Share | None, given: Any) -> None:
        if share is None:
            if self._exact:
                raise BadSetup(
                    "the model is trained on rows that are not from data_gen.batch(), so nobody knows whether "
                    "every rank has others: take them from there, or from `strategy.batches(data)`; if you have split them "
                    "yourself, equally, set distribution.exact: false"
                )
            return
        weight = float(share.ranks if share.rows else 0) if self._sums else share.weight
        if share.total % share.ranks and self._exact and not _may_have(given, share.rows):
            raise BadSetup(
                f"the model was called with other rows than those of the batch that was taken last, which has {share.rows} "
                f"of {share.total} rows for this rank: call it for each batch, as a whole, before the next one is taken; where no argument has "
                "an axis of rows, choose a batch_size that the workers share equally, or set distribution.exact: false"
            )
        self._passes.weigh(weight, self.module, self.training and self._exact)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            module = self.__dict__.get("_modules", {}).get("module")
            if module is None or not hasattr(module, name):
                raise
            raise AttributeError(
                f"'{name}' is an attribute of the plain model: strategy.unwrap(model).{name} works on one process and "
                "in a group; a pass whose gradients are to count for all ranks goes through model(...) itself"
            ) from None


class _Passes:
    """What the passes through one model are worth."""

    def __init__(self) -> None:
        self.weight = 1.0
        self.is_filled = False
        self._hooks: dict[int, Any] = {}
        self._last: weakref.ref[_Watched] | None = None

    def now(self) -> Pass:
        """Return what batch normalization must know."""
        return Pass(self.weight, self.is_filled)

    def weigh(self, weight: float, model: Any, strict: bool) -> None:
        """Let the gradients of the pass that begins have a weight."""
        if weight != self.weight:
            last = self._last() if self._last else None
            if strict and last is not None and not last.went_back:
                raise BadSetup(
                    "two batches of which ranks have different parts go into one backward pass: call `backward` for each, "
                    "gradients add up"
                )
            for hook in self._hooks.values():
                hook.remove()
            self._hooks.clear()
            self.weight = weight
        if weight == 1.0:
            return
        for parameter in model.parameters():
            if parameter.requires_grad and id(parameter) not in self._hooks:
                self._hooks[id(parameter)] = parameter.register_hook(_Times(weight))

    def watch(self, output: Any) -> None:
        """Notice when a pass goes back."""
        for tensor in tensors(output):
            if tensor.grad_fn is not None:
                watched = _Watched()
                tensor.grad_fn.register_prehook(watched)
                self._last = weakref.ref(watched)
                return


class _Watched:
    """Lives as long as what a pass has left for its way back."""

    went_back = False

    def __call__(self, gradients: Any) -> None:
        self.went_back = True


class _Times:
    def __init__(self, weight: float) -> None:
        self._weight = weight

    def __call__(self, gradient: Any) -> Any:
        return gradient * self._weight if self._weight else torch.zeros_like(gradient)


def _may_have(given: Any, rows: int) -> bool:
    """Whether arguments may be of so many rows: they are, along any axis, or a multiple of them."""
    shapes = [tuple(one.shape) for one in tensors(given) if one.ndim]
    if not shapes:
        return True
    return any(rows in shape or (rows and shape[0] % rows == 0) for shape in shapes)


def _past_the_wrapper(module: Any, given: Any) -> None:
    if (
        torch.is_grad_enabled()
        and module.training
        and DistributedDataParallel._active_ddp_module is None
    ):
        raise BadSetup(
            "a training pass goes through the plain model, and its gradients would stay on this rank: "
            "call the one that `model_gen.create()` or `strategy.wrap` has returned"
        )


def _with_prefix(module: Any, state: Any, prefix: str, *others: Any) -> None:
    """Take names as they are on one process, where a model holds this one."""
    wrapped = prefix + _PREFIX
    for name in module.module.state_dict(keep_vars=True):
        if prefix + name in state and wrapped + name not in state:
            state[wrapped + name] = state.pop(prefix + name)
