"""A run of a model on an example, watched: which layer is called on what, and what is done between."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from dotrain.frameworks.torch.surgery.names import is_scripted
from dotrain.frameworks.torch.surgery.stand_in import stand_in_class
from dotrain.frameworks.torch.surgery.words import called, shape_text

#: Functions that work element by element and let a dimension of 1 stand for any.
_ELEMENTWISE = frozenset(
    {"add", "sub", "rsub", "mul", "div", "true_divide", "floor_divide", "pow", "maximum", "minimum"}
    | {"where", "lerp", "addcmul", "addcdiv"}
)
#: Those in which it is worth a word that two of their tensors have become one.
_MERGES = frozenset({*_ELEMENTWISE, "cat", "concat", "concatenate", "stack"})


@dataclass(frozen=True)
class Example:
    """What a model is called on.

    Attributes:
        args: Arguments by position.
        kwargs: Arguments by name.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def rolled(self) -> Example | None:
        """Return it with its last row first, or None if its tensors haven't equally many rows."""
        import torch

        tensors = [*self.args, *self.kwargs.values()]
        if not all(isinstance(t, torch.Tensor) and t.dim() for t in tensors):
            return None
        if len({len(t) for t in tensors}) != 1 or len(tensors[0]) < 2:
            return None
        rolled = {key: value.roll(1, 0) for key, value in self.kwargs.items()}
        return Example(tuple(value.roll(1, 0) for value in self.args), rolled)


@dataclass
class Merge:
    """A function that puts tensors together.

    Attributes:
        name: Of the function.
        where: The module whose code calls it.
        shapes: Of its tensors.
        distinct: How many different tensors these are.
    """

    name: str
    where: str
    shapes: tuple[tuple[int, ...], ...]
    distinct: int

    def stretched(self) -> set[int]:
        """Return the dimensions, from the last one, in which its tensors differ."""
        if self.name not in _ELEMENTWISE:
            return set()
        rank = max(map(len, self.shapes))
        padded = [(1,) * (rank - len(shape)) + shape for shape in self.shapes]
        return {
            rank - at for at, sizes in enumerate(zip(*padded, strict=True)) if len({*sizes}) > 1
        }


@dataclass
class Run:
    """What a run has shown.

    Attributes:
        output: Of the model.
        calls: Of each module by name: the first tensor that it got, by shape, in each call.
        kept: Of the modules that were to be kept: (arguments, arguments by name, output) of each call.
        merges: By module, its call and their number in that: the functions that put tensors together.
        strangers: Modules that were called and are none of the model's.
        stack: Where it was when it broke, the innermost last.
        function: The function that broke, with what shapes; or ``""``.
    """

    output: Any = None
    calls: dict[str, list[tuple[int, ...] | None]] = field(default_factory=dict)
    kept: dict[str, list[tuple[Any, Any, Any]]] = field(default_factory=dict)
    merges: dict[tuple[str, int, int], Merge] = field(default_factory=dict)
    strangers: list[Any] = field(default_factory=list)
    stack: list[tuple[str, Any]] = field(default_factory=list)
    function: str = ""

    def place(self) -> str:
        """Return where it broke, in words."""
        where = called(*self.stack[-1]) if self.stack else "the model"
        return f"{where}, in {self.function}" if self.function else where


class Broken(Exception):
    """A run ended in an error, which is its cause.

    Attributes:
        run: The run, up to there.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


def run(
    model: Any,
    example: Example,
    *,
    training: bool,
    keep: frozenset[str] = frozenset(),
    before: Callable[[str, Any, Any], None] | None = None,
) -> Run:
    """Run a model, which is a copy: its state changes.

    Args:
        model: The model.
        example: What it is called on.
        training: Whether in the mode of training, with gradients.
        keep: Names of modules whose calls are kept with their tensors.
        before: Is told the name of a module, the module, and the first tensor that it gets, before it
            runs on that.

    Raises:
        Broken: If the model, or `before`, raises.
    """
    import torch

    watch = _Watch(model, keep, before)
    model.train(training)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.set_grad_enabled(training))
        stack.enter_context(watch.hooked())
        stack.enter_context(_functions_class()(watch))
        try:
            watch.found.output = model(*example.args, **example.kwargs)
        except Exception as error:
            raise Broken(watch.found) from error
    return watch.found


class _Watch:
    """Follows a run by hooks on every module."""

    def __init__(self, model: Any, keep: frozenset[str], before: Any) -> None:
        self.found = Run()
        self._model = model
        self._keep = keep
        self._before = before
        self._names = {id(module): name for name, module in model.named_modules()}
        #: How often each module of the stack has been called, and functions noted in this call.
        self._frames: list[list[int]] = []

    @contextmanager
    def hooked(self) -> Iterator[None]:
        from torch.nn.modules import module as global_hooks

        first = global_hooks.register_module_forward_pre_hook(self._strange)
        handles = [first]
        for part in self._model.modules():
            if is_scripted(part):
                continue
            handles.append(part.register_forward_pre_hook(self._enter, with_kwargs=True))
            handles.append(part.register_forward_hook(self._leave, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _strange(self, module: Any, args: Any) -> None:
        if id(module) not in self._names and module not in self.found.strangers:
            self.found.strangers.append(module)

    def _enter(self, module: Any, args: Any, kwargs: Any) -> None:
        import torch

        name = self._names[id(module)]
        self.found.stack.append((name, module))
        values = [*args, *kwargs.values()]
        kinds = torch.Tensor | torch.nn.utils.rnn.PackedSequence
        first = next((value for value in values if isinstance(value, kinds)), None)
        seen = self.found.calls.setdefault(name, [])
        self._frames.append([len(seen), 0])
        shape = getattr(first, "shape", None)
        seen.append(None if shape is None else tuple(shape))
        if self._before is not None and first is not None:
            self._before(name, module, first)

    def _leave(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        while self.found.stack and self.found.stack.pop()[1] is not module:
            self._frames.pop()
        if self._frames:
            self._frames.pop()
        name = self._names[id(module)]
        if name in self._keep:
            self.found.kept.setdefault(name, []).append((args, kwargs, output))
        if type(module) is stand_in_class():
            made = output[0] if isinstance(output, tuple) else output
            if hasattr(made, "shape"):
                made.stands_for = module.passes.of(args, kwargs)

    def noted(self, function: Any, args: Any, kwargs: Any) -> None:
        """Note a function that puts tensors together."""
        import torch

        name = plain_name(function)
        if name not in _MERGES or not self.found.stack:
            return
        parts = [*args, *kwargs.values()]
        flat = [p for part in parts for p in (part if isinstance(part, list | tuple) else [part])]
        tensors = [part for part in flat if isinstance(part, torch.Tensor) and part.dim()]
        if len(tensors) < 2:
            return
        where, frame = self.found.stack[-1][0], self._frames[-1]
        frame[1] += 1
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        distinct = len({id(_source(tensor)) for tensor in tensors})
        self.found.merges[where, frame[0], frame[1]] = Merge(name, where, shapes, distinct)

    def broke(self, function: Any, args: Any) -> None:
        """Note the function in which the run broke."""
        shapes = [shape_text(arg) for arg in args if hasattr(arg, "shape")]
        self.found.function = f"{plain_name(function)}({', '.join(shapes)})"


def _source(tensor: Any) -> Any:
    while hasattr(tensor, "stands_for"):
        tensor = tensor.stands_for
    return tensor


def plain_name(function: Any) -> str:
    """Return the name of a function of PyTorch's, the same for ``x + y``, ``x += y`` and ``add``."""
    name = str(getattr(function, "__name__", function)).strip("_")
    return name[1:] if name[:1] in ("i", "r") and name[1:] in _ELEMENTWISE else name


@functools.cache
def _functions_class() -> type[Any]:
    from torch.overrides import TorchFunctionMode

    class Functions(TorchFunctionMode):  # type: ignore[misc]
        """Sees each function of PyTorch's that the model's own code calls."""

        def __init__(self, watch: _Watch) -> None:
            super().__init__()
            self._watch = watch

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            try:
                self._watch.noted(function, args, kwargs)
                made = function(*args, **kwargs)
            except Exception:
                self._watch.broke(function, args)
                raise
            if args and made is args[0] and hasattr(made, "stands_for"):
                del made.stands_for  # it was changed in place
            return made

    return Functions


def signature_of(module: Any) -> tuple[str, ...]:
    """Return the names of the arguments of a module's forward by position, as far as they have some."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return ()
    names = []
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            break
        names.append(parameter.name)
    return tuple(names)
