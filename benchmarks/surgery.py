"""Leaves layers out of the networks of torchvision: none may crash, do nothing, or be wrong.

    make surgery

In an environment of its own: torchvision goes with builds of PyTorch that dotrain's tests don't use. Ten
layers of each network are drawn by a seed, and left out alone. What comes of it must train a step, and where no layer was built
anew, compute what the original does with a hook that gives back what the layer gets. The original must stay as
it was, and each refusal must say what to do.
"""

from __future__ import annotations

import argparse
import collections
import copy
import importlib
import itertools
import random
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.torch.surgery import layer_names, without_layers

#: By the module of torchvision; the numbers are the sides of an image, with frames before them.
NETS: dict[str, dict[tuple[int, ...], str]] = {
    "models": {
        (
            64,
            64,
        ): "resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 mobilenet_v2 mobilenet_v3_small "
        "mobilenet_v3_large mnasnet0_5 shufflenet_v2_x0_5 efficientnet_b0 efficientnet_v2_s regnet_x_400mf "
        "regnet_y_400mf convnext_tiny swin_t swin_v2_t vit_b_16 vgg11_bn squeezenet1_1",
        (224, 224): "alexnet",
        (96, 96): "googlenet",
        (299, 299): "inception_v3",
    },
    "models.segmentation": {
        (64, 64): "fcn_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large"
    },
    "models.video": {(8, 32, 32): "r3d_18 mc3_18 r2plus1d_18", (16, 64, 64): "swin3d_t"},
}
#: What a refusal ends in.
WAY_OUT = re.compile(
    r"write a variant|components:|leave out|leave that out|example_input_array|name the layers|after model_gen|which one\?"
)


def nets(chosen: list[str]) -> Iterator[tuple[str, Callable[[], Any], Any]]:
    """Yield names, functions that make the networks, and what they run on."""
    for place, sizes in NETS.items():
        module = importlib.import_module(f"torchvision.{place}")
        for size, names in sizes.items():
            for name in names.split():
                if not chosen or name in chosen:
                    yield name, _maker(module, name), torch.rand(3, 3, *size)


def _maker(module: Any, name: str) -> Callable[[], Any]:
    more: dict[str, Any] = {"num_classes": 7}
    if "fcn" in name or "deeplab" in name or "lraspp" in name:
        more["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        more["init_weights"] = True
    if name == "vit_b_16":
        more["image_size"] = 64
    return lambda: getattr(module, name)(weights=None, **more)


def check(model: Any, x: Any, name: str) -> tuple[str, str]:
    """Leave a layer out, and return what came of it, and words."""
    try:
        surgery = without_layers(model, [name], lambda: (x, torch.zeros(len(x))))
    except SurgeryError as error:
        return ("refused" if WAY_OUT.search(str(error)) else "NO WAY OUT"), str(error)
    except Exception as error:
        return "CRASHED", f"{type(error).__name__}: {error}"
    rebuilt = [change for change in surgery.changes if change.kind == "kernel shape"]
    return _look_at(model, surgery.model, x, name, bool(rebuilt)), f"params {surgery.params:+}"


def _look_at(model: Any, new: Any, x: Any, name: str, rebuilt: bool) -> str:
    try:
        copied = copy.deepcopy(new).train()
        total = sum(t.sum() for t in tensors(copied(x)))
        total.backward()
    except Exception as error:
        return f"CRASHED later: {type(error).__name__}: {error}"
    if not any(p.grad is not None for p in copied.parameters()):
        return "UNTRAINED"
    if rebuilt:
        return "rebuilt"
    by_hand, seen = _bypassed(model, name)
    outputs = [_eval(one, x) for one in (copy.deepcopy(new), by_hand)]
    if not seen:
        return "bypassed, unchecked"  # a list of layers, which is never called itself
    same = all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(*outputs, strict=True))
    return "bypassed" if same else "WRONG"


def _bypassed(model: Any, name: str) -> tuple[Any, list[bool]]:
    """Return a copy with hooks by which a layer gives back what it gets, and whether they are called."""
    copied, kept, seen = copy.deepcopy(model), [], []

    def keep(module: Any, args: Any) -> Any:
        seen.append(True)
        at = next(at for at, arg in enumerate(args) if isinstance(arg, torch.Tensor))
        kept.append(args[at].clone())
        return (*args[:at], args[at].clone(), *args[at + 1 :])

    def give_back(module: Any, args: Any, output: Any) -> Any:
        return (kept.pop(), *output[1:]) if isinstance(output, tuple) else kept.pop()

    copied.get_submodule(name).register_forward_pre_hook(keep)
    copied.get_submodule(name).register_forward_hook(give_back)
    return copied, seen


def _eval(model: Any, x: Any) -> Any:
    torch.manual_seed(0)
    return list(tensors(model.eval()(x)))


def tensors(value: Any) -> Iterator[Any]:
    """Yield the tensors of an output."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(tensors, value.values()))
    elif isinstance(value, tuple | list):
        yield from itertools.chain.from_iterable(map(tensors, value))


def main() -> int:
    """Try all, print a line for each network and what is wrong; return 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", help="names of networks; all by default")
    parser.add_argument("--layers", type=int, default=10, help="drawn of each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="tell of every layer")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    total: collections.Counter[str] = collections.Counter()
    count = 0
    for name, make, x in nets(given.nets):
        torch.manual_seed(given.seed)
        model, began = make(), time.perf_counter()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        known = layer_names(model)
        drawn = random.Random(f"{given.seed} {name}").sample(known, min(given.layers, len(known)))
        found: collections.Counter[str] = collections.Counter()
        for layer in drawn:
            outcome, words = check(model, x, layer)
            found[outcome.partition(":")[0]] += 1
            if given.verbose or outcome.partition(" ")[0].isupper():
                print(f"    {layer}: {outcome}: {words}")
        if not all(torch.equal(value, before[key]) for key, value in model.state_dict().items()):
            found["ORIGINAL CHANGED"] += 1
        total += found
        count += 1
        told = ", ".join(f"{number} {what}" for what, number in sorted(found.items()))
        print(
            f"{name:28} {len(known):4} layers: {told} ({time.perf_counter() - began:.1f} s)",
            flush=True,
        )
    told = ", ".join(f"{number} {what}" for what, number in sorted(total.items()))
    print(f"{count} networks, {total.total()} surgeries: {told}")
    return int(any(what[0].isupper() and what.split()[0].isupper() for what in total))


if __name__ == "__main__":
    sys.exit(main())
