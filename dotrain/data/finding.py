"""Which files a path, a pattern, a folder or a URL means."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final
from urllib.parse import unquote

from dotrain.data.source import BadData
from dotrain.data.text_files import SEPARATORS

#: How files end that are read, and in which way.
FORMATS = {
    ".parquet": "parquet",
    ".feather": "ipc",
    ".arrow": "ipc",
    **dict.fromkeys(SEPARATORS, "text"),
}
_EXPECTED = ".csv, .tsv, .parquet, .feather or .arrow"
#: What has a meaning in a pattern.
_MAGIC = re.compile(r"[*?\[]")
#: In a URL: before the host, a name with a password.
_PASSWORD = re.compile(r"//[^/@:]*:[^/@]+@")
#: What Hive calls the folder of missing values.
_HIVE_MISSING = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        path: Where it is; of a URL without the protocol.
        name: Below the folder that the pattern names; journals have it so.
        shown: How messages name it.
        values: What its folders say of columns, as text; None is missing.
    """

    path: str
    name: str
    shown: str
    values: tuple[tuple[str, str | None], ...] = ()


@final
@dataclass(frozen=True)
class Files:
    """The files of a pattern, all of one format.

    Attributes:
        pattern: An absolute path, a pattern of such, or a URL that fsspec knows; a folder stands for all files in it.
    """

    pattern: str

    @property
    def text(self) -> str:
        """The path or pattern; of a URL without what may be a secret."""
        if not self.is_remote:
            return self.pattern
        return re.sub(r"//[^/@]*@", "//", self.pattern).partition("?")[0]

    @property
    def is_remote(self) -> bool:
        """Whether it is a URL."""
        return "://" in self.pattern

    @property
    def format(self) -> str:
        """``text``, ``parquet`` or ``ipc``."""
        return FORMATS[Path(self.all[0].path).suffix.lower()]

    @cached_property
    def all(self) -> list[File]:
        """The files, sorted by name.

        Raises:
            BadData: If there are none, or they don't go together.
        """
        found = self._remote_files() if self.is_remote else self._local_files()
        if len({frozenset(name for name, _ in file.values) for file in found}) > 1:
            raise BadData(f"{self.text}: not all files lie in folders of the same columns", "file")
        return found

    def refuse_password(self) -> None:
        """Refuse a URL that holds one.

        Raises:
            BadData: With what to do.
        """
        if self.is_remote and _PASSWORD.search(self.pattern):
            raise BadData(
                f"{self.text}: the URL holds a password, and each run keeps its config: leave it to the environment, "
                "or to fsspec's own configuration",
                "file",
            )

    @contextmanager
    def here(self, file: File) -> Iterator[Path]:
        """Give one of them as a file of this machine's."""
        if not self.is_remote:
            yield Path(file.path)
            return
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, Path(file.path).name)
            try:
                self._filesystem()[0].get_file(file.path, str(local))
            except Exception as error:  # whatever a file system of others raises
                message = f"{file.shown} can't be read: {type(error).__name__}: {error}"
                raise BadData(message, "file") from None
            yield local

    def _local_files(self) -> list[File]:
        path = self.pattern
        if not _MAGIC.search(path) or os.path.exists(path):
            root = Path(path)
            if not root.is_dir():
                if root.suffix.lower() not in FORMATS:
                    raise BadData(f"{path}: expected a file that ends in {_EXPECTED}", "file")
                if not root.is_file():
                    raise BadData(f"no file {path}", "file")
                return [File(path, root.name, path)]
            names = [str(one) for one in root.rglob("*")]
        else:
            parts = Path(path).parts
            fixed = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
            root = Path(*parts[:fixed])
            names = glob.glob(path, recursive=True)
        return self._readable([name for name in names if os.path.isfile(name)], str(root))

    def _remote_files(self) -> list[File]:
        fs, path = self._filesystem()
        try:
            if _MAGIC.search(path):
                return self._readable(fs.glob(path), _MAGIC.split(path)[0].rpartition("/")[0])
            if fs.isdir(path):
                return self._readable(fs.find(path), path.rstrip("/"))
            if not fs.exists(path):
                raise BadData(f"no file {self.text}", "file")
        except BadData:
            raise
        except Exception as error:  # whatever a file system of others raises
            raise BadData(
                f"{self.text} can't be read: {type(error).__name__}: {error}", "file"
            ) from None
        return self._readable([path], path.rpartition("/")[0])

    def _readable(self, names: Sequence[str], root: str) -> list[File]:
        files = []
        for name in sorted(names):
            below = name[len(root) :].lstrip("/")
            parts = below.split("/")
            hidden = any(part.startswith((".", "_")) for part in parts)
            if hidden or Path(name).suffix.lower() not in FORMATS:
                continue
            pairs = [part.partition("=") for part in parts[:-1] if "=" in part]
            values = tuple((key, None if v == _HIVE_MISSING else unquote(v)) for key, _, v in pairs)
            shown = f"{self.text}: {below}" if self.is_remote else name
            files.append(File(name, below, shown, values))
        if not files:
            raise BadData(f"{self.text}: no file that ends in {_EXPECTED}", "file")
        kinds = sorted({Path(file.path).suffix.lower() for file in files})
        if len({FORMATS[kind] for kind in kinds}) > 1:
            raise BadData(
                f"{self.text}: files of several kinds, {', '.join(kinds)}; name one", "file"
            )
        return files

    def _filesystem(self) -> tuple[Any, str]:
        import fsspec

        self.refuse_password()
        try:
            fs, path = fsspec.core.url_to_fs(self.pattern)
        except Exception as error:  # whatever a file system of others raises
            raise BadData(
                f"{self.text} can't be read: {type(error).__name__}: {error}", "file"
            ) from None
        return fs, str(path)
