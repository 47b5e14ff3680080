"""What takes the place of a layer that was left out: it gives back what it gets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.torch.surgery.words import VARIANT, quoted, shape_text


@dataclass(frozen=True)
class Passes:
    """What of a call is given back.

    Attributes:
        position: Of the argument.
        name: Of the argument, or ``""`` if it has none.
        fields: How many values the layer gave as a tuple, the first of which is replaced; 0 for one
            value that was no tuple.
    """

    position: int
    name: str = ""
    fields: int = 0

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the argument of a call."""
        return kwargs[self.name] if self.name in kwargs else args[self.position]


class Passage:
    """Whether anybody came by; one for all copies of a model in a process."""

    def __init__(self) -> None:
        self.called = False
        #: Whether a copy may have gone to another process.
        self.left = False

    def __deepcopy__(self, memo: Any) -> Passage:
        return self

    def __getstate__(self) -> dict[str, bool]:
        self.left = True
        return {"called": False, "left": True}


class Gone:
    """What a layer that was left out gave besides its first value: whoever uses it is refused."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name

    def refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Say what to do.

        Raises:
            SurgeryError: Always.
        """
        name = self.__dict__["name"]
        raise SurgeryError(
            f"'{name}' was left out, and the code that follows uses what it gave besides its first "
            f"value (a state, say), which nothing can stand in for; {VARIANT}"
        )

    __getitem__ = __iter__ = __len__ = __bool__ = __call__ = __add__ = __radd__ = refuse
    __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __float__ = refuse

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)
        return self.refuse()

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        next(arg for arg in args if isinstance(arg, Gone)).refuse()


class Shell:
    """The numbers, words and switches of a module that is no more, for code that looks at them.

    Its parameters are gone: with them, code could do what the module did.
    """

    def __init__(self, module: Any, name: str) -> None:
        self._name = name
        self._kind = type(module).__name__
        self._known = {key: value for key, value in vars(module).items() if _is_plain(value)}
        self._inside = {key: Shell(part, f"{name}.{key}") for key, part in module.named_children()}

    def add(self, attribute: str, value: Any) -> None:
        """Let it have one more attribute."""
        self._known[attribute] = value

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        for known in (self._known, self._inside):
            if attribute in known:
                return known[attribute]
        raise AttributeError(
            f"'{self._name}' ({self._kind}) was left out of the model in this arm, so that it has no "
            f"'{attribute}'"
        )


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)


@functools.cache
def stand_in_class() -> type[Any]:
    """Return the class `LeftOut`, a module."""
    import torch

    class LeftOut(torch.nn.Module):  # type: ignore[misc]
        """A layer that was left out: gives back one of its arguments, and has no parameters."""

        def __init__(self, shell: Shell, passes: Passes) -> None:
            super().__init__()
            self.passes = passes
            self.passage = Passage()
            self.shell = shell

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            """Give back what it gets."""
            if not self.passage.called:
                self.passage.called = True
            value = self.passes.of(args, kwargs)
            if isinstance(value, torch.Tensor):
                # A new tensor, as the layer's was: the code that follows may change it in place.
                value = value.clone()
            if not self.passes.fields:
                return value
            return (value, *[Gone(self.shell._name) for _ in range(self.passes.fields - 1)])

        def __getattr__(self, attribute: str) -> Any:
            try:
                return super().__getattr__(attribute)
            except AttributeError:
                shell = vars(self).get("shell")
                if shell is None:
                    raise
                return getattr(shell, attribute)

        def extra_repr(self) -> str:
            """Say what was left out."""
            return f"{self.shell._kind}"

    LeftOut.__qualname__ = "LeftOut"
    return LeftOut


def __getattr__(name: str) -> Any:
    # A pickled model is loaded by this name.
    if name == "LeftOut":
        return stand_in_class()
    raise AttributeError(name)


def put_in_place(module: Any, name: str, passes: Passes) -> None:
    """Let a module itself become the stand-in, so that whoever has a reference to it calls that.

    Args:
        module: The module, of a copy of the model.
        name: Its qualified name.
        passes: What of a call is given back.

    Raises:
        SurgeryError: If it is of a class that can't.
    """
    shell, training = Shell(module, name), module.training
    try:
        module.__class__ = stand_in_class()
    except TypeError as error:
        raise SurgeryError(
            f"'{name}' is compiled ({shell._kind}), and nothing can take its place; compile the model "
            "after model_gen.create()"
        ) from error
    vars(module).clear()
    module.__init__(shell, passes)
    module.training = training


def passes_of(
    name: str, module: Any, signature: tuple[str, ...], calls: list[tuple[Any, Any, Any]]
) -> Passes:
    """Return which argument stands in for what a module gives, in all its calls.

    Args:
        name: The module's qualified name.
        module: The module.
        signature: The names of its forward's arguments by position; fewer if it takes ``*args``.
        calls: Arguments by position, those by name, and what came of them.

    Raises:
        SurgeryError: If there is none, or several would do.
    """
    found = {_passes(name, module, signature, *call) for call in calls}
    if len(found) > 1:
        raise SurgeryError(
            f"'{name}' is called in several ways, in which different arguments would stand in for "
            f"what it gives; {VARIANT}"
        )
    return found.pop()


#: Classes of PyTorch's own whose first argument is what they work on, and which give its shape.
_FIRST = ("MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer")
_FIRST_TOO = ("TransformerEncoder", "TransformerDecoder")


def _passes(
    name: str, module: Any, signature: tuple[str, ...], args: Any, kwargs: Any, output: Any
) -> Passes:
    import torch

    is_tuple = type(output) in (tuple, list) and len(output) > 0
    first = output[0] if is_tuple else output
    who = f"'{name}' ({type(module).__name__})"
    if not _is_value(first):
        raise SurgeryError(
            f"{who} gives a {type(first).__name__}, which none of its arguments can stand in for; "
            f"leave out the layers inside of it, or {VARIANT}"
        )
    places: list[tuple[int, str, Any]] = []
    for position, value in enumerate(args):
        places.append((position, signature[position] if position < len(signature) else "", value))
    for key, value in kwargs.items():
        places.append((signature.index(key) if key in signature else len(args), key, value))
    if is_tuple and type(output) is list:
        raise SurgeryError(
            f"{who} gives a list of {len(output)} values, which none of its arguments can stand in "
            f"for; leave out the layers inside of it, or {VARIANT}"
        )
    fits = [place for place in places if _is_value(place[2]) and type(place[2]) is type(first)]
    if not fits and isinstance(first, torch.Tensor):
        fits = [place for place in places if isinstance(place[2], torch.Tensor)]
    if not fits:
        raise SurgeryError(
            f"{who} gets no tensor that could stand in for what it gives, {shape_text(output)}; "
            f"{VARIANT}"
        )
    if isinstance(first, torch.Tensor):
        kind = [p for p in fits if p[2].is_floating_point() == first.is_floating_point()]
        if not kind:
            dtypes = f"{fits[0][2].dtype} into {first.dtype}".replace("torch.", "")
            raise SurgeryError(
                f"{who} makes {dtypes}, which the layers that follow can't do without; leave out one "
                f"of those, or {VARIANT}"
            )
        fits = kind
    if len({id(value) for _, _, value in fits}) > 1 and not (
        type(module).__module__.startswith("torch.")
        and type(module).__name__ in (*_FIRST, *_FIRST_TOO)
    ):
        alike = [p for p in fits if shape_text(p[2]) == shape_text(first)]
        if len({id(value) for _, _, value in alike}) != 1:
            what = quoted(key or f"argument {place}" for place, key, _ in alike or fits)
            why = "several of them have" if alike else "none of them has"
            raise SurgeryError(
                f"{who} puts several tensors together ({what}), and {why} the shape of what it gives, "
                f"{shape_text(first)}: which one should pass? Leave out the layers of one branch "
                f"instead, or {VARIANT}"
            )
        fits = alike
    position, key, _ = fits[0]
    return Passes(position, key, len(output) if is_tuple else 0)


def _is_value(value: Any) -> bool:
    """Whether it is something that may pass: a tensor, or a packed sequence."""
    import torch

    return isinstance(value, torch.Tensor | torch.nn.utils.rnn.PackedSequence)
