"""The user's files as they travel: in a zip archive, with a digest of each."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dotrain.errors import UsageError

#: The mode, where an archive has it, of a file that may be executed.
_SCRIPT = 0o100755 << 16


@dataclass(frozen=True)
class Code:
    """The user's files, as a zip archive, with a digest of each.

    Attributes:
        archive: The zip.
        digests: SHA-256 by absolute path on the driver's machine.
        places: Where the user knows each from, by the name in the archive: that path, or where it lay
            when a run kept it.
        kept_in: Where files that a run has kept were unpacked on the driver's machine, or ``""``.
    """

    archive: bytes = b""
    digests: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    kept_in: str = ""

    @classmethod
    def of(
        cls,
        files: Mapping[Path, str],
        texts: Mapping[str, str] | None = None,
        data: Mapping[str, Path] | None = None,
        homes: Mapping[str, str] | None = None,
        kept_in: str = "",
    ) -> Code:
        """Read the files.

        Args:
            files: Maps each to its name in the archive.
            texts: Code that stands in no file, such as a notebook's, by a name for the archive.
            data: Files that go with the code, by name in the archive; one may have several.
            homes: Where the user knows files from, by name, if that isn't where they are read.
            kept_in: As of the attribute.
        """
        contents = {name: text.encode("utf-8", "replace") for name, text in (texts or {}).items()}
        digests: dict[str, str] = {}
        places: dict[str, str] = {}
        executed: list[str] = []
        beside = ((path, name) for name, path in (data or {}).items())
        for path, name in (*files.items(), *beside):
            try:
                contents[name] = path.read_bytes()
            except OSError as error:
                raise UsageError(f"{path} can't be read: {error.strerror}") from None
            digests[str(path)] = _sha256(contents[name])
            executed += [name] if os.access(path, os.X_OK) else []
            places.setdefault(name, str(path))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in sorted(contents.items()):
                # A fixed date makes equal code give equal bytes; data may be large, so the fast way.
                info = zipfile.ZipInfo(name)
                info.external_attr = _SCRIPT if name in executed else 0
                archive.writestr(info, content, zipfile.ZIP_DEFLATED, 1)
        return cls(buffer.getvalue(), digests, {**places, **(homes or {})}, kept_in)

    @cached_property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each file, by its name in the archive."""
        return digests_in(self.archive)

    @cached_property
    def source(self) -> str:
        """All of it that is Python, one file after the other."""
        if not self.archive:
            return ""
        with zipfile.ZipFile(io.BytesIO(self.archive)) as opened:
            files = [opened.read(name) for name in opened.namelist() if name.endswith(".py")]
        return b"\n".join(files).decode("utf-8", "replace")

    @property
    def digest(self) -> str | None:
        """What tells this code from any other; None where there is none to tell."""
        return digest_of(self.files)

    def is_here(self) -> bool:
        """Whether this machine sees the very files that the driver read."""
        try:
            return all(_sha256(Path(p).read_bytes()) == d for p, d in self.digests.items())
        except OSError:
            return False


def unpack(archive: bytes, inside: Path, prefix: str = "code-") -> Path:
    """Unpack an archive into a new folder.

    Args:
        archive: The zip.
        inside: Where it is made; a path without links.
        prefix: How its name begins.

    Raises:
        zipfile.BadZipFile: If it is damaged.
        OSError: If there is no room for it.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=inside))
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            opened.extractall(folder)
            for info in opened.infolist():
                if info.external_attr == _SCRIPT:
                    os.chmod(folder / info.filename, stat.S_IMODE(_SCRIPT >> 16))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def is_whole(folder: Path, files: Mapping[str, str]) -> bool:
    """Whether a folder holds these very files, whatever else it holds.

    Args:
        folder: Where they were unpacked.
        files: The SHA-256 of each, by name.
    """
    try:
        return all(_sha256((folder / name).read_bytes()) == d for name, d in files.items())
    except OSError:
        return False


def digests_in(archive: bytes) -> dict[str, str]:
    """Return the SHA-256 of each file in a zip archive, by name; of no archive, nothing."""
    if not archive:
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return {name: _sha256(opened.read(name)) for name in opened.namelist()}
    except zipfile.BadZipFile:
        return {"code.zip (damaged)": _sha256(archive)}


def digest_of(files: Mapping[str, str]) -> str | None:
    """Return what tells these files from any others; None if there are none.

    Args:
        files: The SHA-256 of each, by name.
    """
    if not files:
        return None
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return _sha256(lines.encode())[:16]


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of files that differ, each with how.

    Args:
        before: The SHA-256 of each that ran, by name.
        now: The same of each that would run now.
    """
    names = sorted({*before, *now})
    how = {
        name: "gone" if name not in now else "new" if name not in before else "changed"
        for name in names
        if before.get(name) != now.get(name)
    }
    return [f"{name}: {what}" for name, what in how.items()]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
