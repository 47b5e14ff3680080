"""A storage in memory that may be cut off at any request, leaving half of what was written."""

from __future__ import annotations

from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class Cut(MemoryFileSystem):  # type: ignore[misc]
    """Counts requests, and raises at one of them."""

    protocol = "cut"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    #: How many requests are answered before one isn't, and what is raised then.
    left: ClassVar[float] = float("inf")
    error: ClassVar[BaseException] = OSError()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("cut://")))

    @classmethod
    def clear(cls) -> None:
        """Begin with nothing."""
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.left = float("inf")

    @classmethod
    def cut_after(cls, requests: int, error: BaseException) -> None:
        """Raise once, after so many requests."""
        cls.left, cls.error = requests, error

    def _ask(self) -> bool:
        Cut.left -= 1
        return Cut.left < 0

    def _die(self) -> None:
        Cut.left = float("inf")
        raise Cut.error

    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if self._ask():
            if mode == "wb":
                with super()._open(path, mode) as half:
                    half.write(b"ha")
            self._die()
        return super()._open(path, mode, *args, **kwargs)

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        if self._ask():
            self._die()
        return bytes(super().cat_file(path, *args, **kwargs))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        if self._ask():
            self._die()
        Cut.left += 1  # what follows is a part of the same request
        super().pipe_file(path, value, mode, **kwargs)

    def _rm(self, path: str) -> None:
        if self._ask():
            self._die()
        super()._rm(path)

    def find(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if self._ask():
            self._die()
        return super().find(path, *args, **kwargs)


fsspec.register_implementation("cut", Cut, clobber=True)
