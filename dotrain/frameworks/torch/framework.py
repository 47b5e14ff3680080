"""PyTorch, as the rest of dotrain sees it."""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from typing import Any, ClassVar, final

from dotrain.frameworks.base import Batching
from dotrain.frameworks.torch.again import refuse_to_start_again
from dotrain.frameworks.torch.models import TorchModels
from dotrain.frameworks.torch.shares import SHARES


@final
class Torch(TorchModels):
    """PyTorch."""

    # The first optimizer of a process imports the second one, which takes longer than all the rest.
    packages: ClassVar[tuple[str, ...]] = ("torch", "torch._dynamo")
    distributions: ClassVar[tuple[str, ...]] = (
        *("torch", "lightning", "pytorch-lightning"),
        *("transformers", "accelerate", "skorch"),
    )
    requirement: ClassVar[str] = "dotrain[torch]"

    def set_threads(self, count: int, code: str) -> None:
        """Limit the pool of operations, which may be done once in a process and before its use."""
        import torch

        if "set_num_interop_threads" not in code:
            with contextlib.suppress(RuntimeError):  # a module that was imported has done it
                torch.set_num_interop_threads(count)

    def reset(self) -> None:
        """Forget the batches of earlier trials; refuse trainers that start their script again."""
        refuse_to_start_again()
        SHARES.clear()

    def seed(self, seed: int) -> None:
        """Seed the generators of all devices."""
        import torch

        accelerator = getattr(torch, "accelerator", None)  # since 2.6
        if accelerator is not None and accelerator.current_accelerator() is None:
            # This build knows the processor alone; to note down the seed for all others takes 5 ms.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def random_state(self) -> Any:
        """Return the states of the processor's generator, and of those of CUDA's devices that are in use."""
        import torch

        states = [torch.get_rng_state()]
        if torch.cuda.is_initialized():
            states += torch.cuda.get_rng_state_all()
        return [b64encode(state.numpy().tobytes()).decode() for state in states]

    def set_random_state(self, state: Any) -> None:
        """Set the states of the processor's generator, and of as many of CUDA's devices as there are."""
        import torch

        own, *others = (torch.tensor(list(b64decode(each)), dtype=torch.uint8) for each in state)
        torch.set_rng_state(own)
        count = torch.cuda.device_count() if others else 0
        for device, other in enumerate(others[:count]):
            torch.cuda.set_rng_state(other, device)

    def takes_data(self, data: Any) -> bool:
        """Take data sets, loaders, arrays and tensors."""
        from dotrain.frameworks.torch import data as own

        return own.takes(data)

    def batching(self, data: Any) -> Batching:
        """Return what a loader has been made with."""
        from dotrain.frameworks.torch import data as own

        return own.batching(data)

    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        """Return a `DataLoader`."""
        from dotrain.frameworks.torch import data as own

        return own.batches_of(data, size, seed, epoch)

    def scope(self) -> Any:
        """Return what the strategies give, for one process."""
        from dotrain.frameworks.torch.scope import Scope

        return Scope()

    def number(self, value: Any) -> float | None:
        """Take tensors of one number, with a gradient or without; not of a truth or a complex number."""
        import torch

        # One of a functional transform, or of no storage, has no number yet.
        if not isinstance(value, torch.Tensor) or value.shape not in ((), (1,)):
            return None
        if value.dtype == torch.bool or value.is_complex() or value.is_meta:
            return None
        return float(value.detach().item())
