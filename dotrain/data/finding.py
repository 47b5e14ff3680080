"""Which files a path, a pattern, a folder or a URL means."""

from __future__ import annotations

import glob
import os
import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final
from urllib.parse import unquote

from dotrain.data.source import BadData
from dotrain.data.text_files import SEPARATORS
from dotrain.temporary import Kind, OwnFolder

#: How files end that are read, and in which way.
FORMATS = {
    ".parquet": "parquet",
    ".feather": "ipc",
    ".arrow": "ipc",
    **dict.fromkeys(SEPARATORS, "text"),
}
_EXPECTED = ".csv, .tsv, .parquet, .feather or .arrow"
#: How files end that surely hold rows too, and aren't read: nobody would miss these.
_UNREAD = re.compile(
    rf".*(({'|'.join(map(re.escape, FORMATS))}|\.jsonl?)\.(gz|bz2|xz|zst|zip|lz4|br|snappy)"
    r"|\.(orc|avro|pq)(\.(gz|bz2|xz|zst|zip))?)"
)
#: What has a meaning in a pattern.
_MAGIC = re.compile(r"[*?\[]")
#: In a URL: before the host, a name with a password.
_PASSWORD = re.compile(r"//[^/@:]*:[^/@]+@")
_WEB = ("http://", "https://")
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
        pattern: A path, a pattern, or a URL that fsspec knows; a folder stands for all files in it.
        folder: Where it starts from, if it is neither absolute nor a URL; nothing in its name is a pattern.
    """

    pattern: str
    folder: str = ""

    @property
    def text(self) -> str:
        """The path or pattern; of a URL without what may be a secret."""
        if not self.is_remote:
            return os.path.join(self.folder, self.pattern)
        return re.sub(r"//[^/@]*@", "//", self.pattern).partition("?")[0]

    @property
    def is_remote(self) -> bool:
        """Whether it is a URL."""
        return "://" in self.pattern

    @property
    def format(self) -> str:
        """``text``, ``parquet`` or ``ipc``."""
        return FORMATS[_ending(self.all[0].path)]

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

    def here(self, file: File) -> Path:
        """Return where one of them is on this machine.

        A remote one is fetched once, so that all that is told of it is told of the same bytes.

        Raises:
            BadData: If it can't be fetched.
        """
        if not self.is_remote:
            return Path(file.path)
        if file.path not in self._fetched:
            local = self._folder.path / f"{len(self._fetched)}{_ending(file.path)}"
            try:
                self._filesystem[0].get_file(file.path, str(local))
            except Exception as error:  # whatever a file system of others raises
                raise self._unreadable(file.shown, error) from None
            self._fetched[file.path] = local
        return self._fetched[file.path]

    def forget(self) -> None:
        """Remove what was fetched."""
        self.__dict__.pop("_fetched", None)
        if folder := self.__dict__.pop("_folder", None):
            folder.remove()

    @cached_property
    def _fetched(self) -> dict[str, Path]:
        return {}

    @cached_property
    def _folder(self) -> OwnFolder:
        """Where remote files are fetched to; it is gone with the process at the latest."""
        folder = OwnFolder(Kind.TABLE)
        weakref.finalize(self, folder.remove)
        return folder

    def _local_files(self) -> list[File]:
        path = self.text
        if not _MAGIC.search(self.pattern) or os.path.exists(path):
            root = Path(path)
            if not root.is_dir():
                if root.suffix.lower() not in FORMATS:
                    raise BadData(f"{path}: expected a file that ends in {_EXPECTED}", "file")
                if not root.is_file():
                    raise BadData(f"no file {path}", "file")
                return [File(path, root.name, path)]
            names = _below(root)
        else:
            parts = Path(self.pattern).parts
            fixed = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
            root = Path(self.folder, *parts[:fixed])
            names = glob.glob(os.path.join(glob.escape(self.folder), self.pattern), recursive=True)
        # Without what means nothing in a path, such as ./, as the root is.
        names = [str(Path(name)) for name in names if os.path.isfile(name)]
        return self._readable(names, "" if root == Path() else str(root))

    def _remote_files(self) -> list[File]:
        fs, path = self._filesystem
        try:
            bare = _bare(path)
            if _MAGIC.search(bare):
                return self._readable(fs.glob(path), _MAGIC.split(path)[0].rpartition("/")[0])
            # The web tells no file from a folder, nor whether it is there, but by reading it.
            is_file = path.startswith(_WEB) and _ending(path) in FORMATS
            if not is_file and fs.isdir(path):
                return self._readable(fs.find(path), path.rstrip("/"))
            if not is_file and not fs.exists(path):
                raise BadData(f"no file {self.text}", "file")
        except BadData:
            raise
        except Exception as error:  # whatever a file system of others raises
            raise self._unreadable(self.text, error) from None
        return self._readable([path], bare.rpartition("/")[0])

    def _readable(self, names: Sequence[str], root: str) -> list[File]:
        files = []
        for name in sorted(names):
            below = _bare(name)[len(root) :].lstrip("/")
            parts = below.split("/")
            hidden = any(part.startswith((".", "_")) for part in parts)
            if hidden:
                continue
            if _ending(name) not in FORMATS:
                self._refuse_unread(name, below)
                continue
            pairs = [part.partition("=") for part in parts[:-1] if "=" in part]
            if len({key for key, *_ in pairs}) < len(pairs):
                raise BadData(f"{self.text}: {below} lies in two folders of one column", "file")
            values = tuple((key, None if v == _HIVE_MISSING else unquote(v)) for key, _, v in pairs)
            shown = f"{self.text}: {below}" if self.is_remote else name
            files.append(File(name, below, shown, values))
        if not files:
            raise BadData(f"{self.text}: no file that ends in {_EXPECTED}", "file")
        kinds = sorted({_ending(file.path) for file in files})
        if len({FORMATS[kind] for kind in kinds}) > 1:
            raise BadData(
                f"{self.text}: files of several kinds, {', '.join(kinds)}; name one", "file"
            )
        return files

    def _unreadable(self, shown: str, error: Exception) -> BadData:
        """Return what is told of an error, without what may be a secret."""
        said = f"{type(error).__name__}: {error}"
        if query := self.pattern.partition("?")[2]:
            said = said.replace(query, "...")
        return BadData(f"{shown} can't be read: {said}", "file")

    def _refuse_unread(self, name: str, below: str) -> None:
        """Refuse a file whose rows would be left out without a word."""
        if _UNREAD.fullmatch(_bare(name).lower()):
            raise BadData(
                f"{self.text}: {below} isn't read, and would be left out: unpack or convert it, or name the files to read "
                f"by a pattern, such as *.csv; they end in {_EXPECTED}",
                "file",
            )

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        import fsspec

        self.refuse_password()
        try:
            fs, path = fsspec.core.url_to_fs(self.pattern)
        except Exception as error:  # whatever a file system of others raises
            raise self._unreadable(self.text, error) from None
        return fs, str(path)


def _bare(name: str) -> str:
    """Return a path, of a URL of the web without its query, in which nothing is a pattern or a name."""
    return re.split(r"[?#]", name)[0] if name.startswith(_WEB) else name


def _ending(name: str) -> str:
    """Return how a file's name ends, in small letters."""
    return Path(_bare(name)).suffix.lower()


def _below(root: Path) -> list[str]:
    """Return all files in a folder and below, in linked folders too.

    Raises:
        BadData: If a folder can't be read, or is there twice.
    """

    def refuse(error: OSError) -> None:
        raise BadData(f"{error.filename} can't be read: {error.strerror}", "file")

    found: list[str] = []
    seen: dict[str, str] = {}
    for folder, below, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if first := seen.get(real):
            raise BadData(
                f"{folder} is the same folder as {first}: its rows would be there twice", "file"
            )
        seen[real] = folder
        below[:] = [name for name in below if not name.startswith((".", "_"))]
        found += [os.path.join(folder, name) for name in files]
    return found
