"""A run's own part of the storage that ``storage: URL`` names: objects that are written once.

Whoever writes is a worker or the driver; what counts is what the driver's manifests name (`manifest.py`).
Credentials are found by each file system's own library, and nobody here knows them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

from dotrain.store.files import Stamp
from dotrain.store.manifest import Stored
from dotrain.store.storage_url import LOCAL

#: How much of a file is on its way at once, in bytes; services have a least size for parts.
_BLOCK_BYTES = 8 * 2**20
#: The most parts that an object may have, as services have it, and some in reserve.
_MOST_PARTS = 9_000
#: In the run's part: who drives it.
_CLAIMS = "driver"
#: What can't be otherwise when it is asked for once more.
_FINAL = (
    FileNotFoundError,
    PermissionError,
    NotImplementedError,
    ImportError,
    ValueError,
    TypeError,
)


class Place(NamedTuple):
    """Where the files of a run's trials are kept, as everybody is told.

    Attributes:
        url: As the config has it.
        folder: The run's own part below it.
        claim: What the driver has written there: who sees it, sees the storage.
    """

    url: str
    folder: str
    claim: str = ""

    @property
    def top(self) -> str:
        """The URL of the run's part."""
        return f"{self.url.rstrip('/')}/{self.folder}"

    def url_of(self, key: str) -> str:
        """Return the URL of an object, or of what is below a name."""
        return f"{self.top}/{key}"


class StorageError(Exception):
    """The storage doesn't do what it was asked for.

    Attributes:
        passes: Whether it may do so later: nobody answers, say.
    """

    def __init__(self, message: str, *, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes


class Changed(Exception):
    """A file isn't any more what it was when it was looked at."""


# ---- what a config says ----


# ---- what is written and read ----


@final
class Storage:
    """The objects of one run; safe to use on several threads.

    Attributes:
        place: Where they are.
    """

    def __init__(self, place: Place) -> None:
        """Get ready; nothing is asked over a network.

        Raises:
            StorageError: If what its protocol needs isn't installed.
        """
        self.place = place
        protocol, _, path = place.top.partition("://")
        with self._asking("opened"):
            from fsspec.registry import get_filesystem_class

            cls = get_filesystem_class(protocol)
            options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
            self._has_folders = protocol in LOCAL
            if self._has_folders:
                options["auto_mkdir"] = True
            self._files = cls(**options)
            self._top = str(self._files._strip_protocol(place.top)).rstrip("/")
        self._bucket, _, self._below = path.partition("/")

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Say of everything that libraries raise what it was that couldn't be done."""
        try:
            yield
        except (StorageError, Changed):
            raise
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
            message = f"{self.place.top} can't be {what}: {said}"
            raise StorageError(message, passes=not isinstance(error, _FINAL)) from error

    def _path(self, key: str) -> str:
        return f"{self._top}/{key}"

    def put(self, key: str, file: Path, stamp: Stamp) -> Stored:
        """Write a file to a new object, whole.

        Args:
            key: Never used before.
            file: The file.
            stamp: What it was when it was looked at.

        Raises:
            Changed: If it isn't that any more; whatever is written is of no use then.
            StorageError: If it can't be written.
        """
        digest, size = hashlib.sha256(), 0
        block_bytes = max(_BLOCK_BYTES, stamp.size // _MOST_PARTS)
        try:
            source = open(file, "rb")  # noqa: SIM115
        except OSError as error:
            raise Changed(str(error)) from error
        with source, self._asking("written"):
            if stamp_of(source.fileno()) != stamp:
                raise Changed(str(file))
            with self._files.open(self._path(key), "wb", block_size=block_bytes) as target:
                while block := source.read(_BLOCK_BYTES):
                    digest.update(block)
                    size += len(block)
                    target.write(block)
            if stamp_of(source.fileno()) != stamp or size != stamp.size:
                raise Changed(str(file))
        return Stored(key, size, stamp.mode, digest.hexdigest())

    def get(self, stored: Stored, file: Path) -> None:
        """Read an object into a file; whoever asks compares its digest.

        Raises:
            StorageError: If it can't be read, or isn't there.
            OSError: If the file can't be written.
        """
        path = self._path(stored.key)
        with open(file, "wb") as target:
            # `get_file` of some file systems holds all of it in memory.
            for start in range(0, max(stored.size, 1), _BLOCK_BYTES):
                limits = {"start": start, "end": min(start + _BLOCK_BYTES, stored.size)}
                with self._asking("read"):
                    data = self._files.cat_file(path, **(limits if stored.size else {}))
                target.write(data)

    def copy(self, stored: Stored, key: str) -> Stored:
        """Copy an object to a new one; the storage does it itself, where it can.

        Args:
            stored: What is to be copied.
            key: Never used before.

        Raises:
            StorageError: If it can't be copied, or isn't there.
        """
        with self._asking("written"):
            self._files.cp_file(self._path(stored.key), self._path(key))
        return stored._replace(key=key)

    def other_than_written(self, stored: Stored) -> StorageError:
        """Return what is to be raised of an object with another digest."""
        url = self.place.url_of(stored.key)
        return StorageError(f"{url} holds something else than was written there")

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; what isn't there any more is no fault.

        Raises:
            StorageError: If they can't be removed.
        """
        keys = sorted(set(keys))
        with self._asking("changed"):
            for batch in _batches(keys):
                try:
                    self._files.rm([self._path(key) for key in batch])
                except FileNotFoundError:
                    for key in batch:
                        with contextlib.suppress(FileNotFoundError):
                            self._files.rm_file(self._path(key))
            if self._has_folders:
                self._drop_empty_folders(keys)

    def _drop_empty_folders(self, keys: Iterable[str]) -> None:
        """Where folders are more than a part of a key, leave none that nobody writes into any more."""
        for key in keys:
            parts = key.split("/")[:-1]
            # Not the trial's own: another may just be making one in it.
            for count in range(len(parts), 1, -1):
                with contextlib.suppress(OSError):  # something is in it
                    os.rmdir(self._path("/".join(parts[:count])))

    def list_keys(self) -> list[str]:
        """Return the keys of all trials' files.

        Raises:
            StorageError: If they can't be listed.
        """
        with self._asking("listed"):
            found = [str(path) for path in self._files.find(self._top)]
        start = len(self._top) + 1
        return [path[start:] for path in found if not path.startswith(f"{self._top}/{_CLAIMS}/")]

    def abort_uploads(self) -> int:
        """Abort what has been begun to be written and never ended; return how much that was.

        Where a service has no such thing, or no way to ask for it, there is nothing to do.
        """
        if not hasattr(self._files, "call_s3"):
            return 0
        count = 0
        asked = {"Bucket": self._bucket, "Prefix": f"{self._below}/"}
        with contextlib.suppress(Exception):  # it costs room at most, and services differ
            while asked:
                found = self._files.call_s3("list_multipart_uploads", **asked)
                for begun in found.get("Uploads", ()):
                    named = {key: begun[key] for key in ("Key", "UploadId")}
                    self._files.call_s3("abort_multipart_upload", Bucket=self._bucket, **named)
                    count += 1
                more = {name: found.get(f"Next{name}") for name in ("KeyMarker", "UploadIdMarker")}
                asked = {**asked, **more} if found.get("IsTruncated") else {}
        return count

    # ---- who drives ----

    def read_claims(self) -> set[str]:
        """Return the names that drivers have written there: one, or two if one has died between.

        Raises:
            StorageError: If they can't be read.
        """
        with self._asking("read"):
            found = [str(path) for path in self._files.find(self._path(_CLAIMS))]
        return {path.rpartition("/")[2] for path in found}

    def write_claim(self, name: str, before: Iterable[str]) -> None:
        """Say who drives from here on. A name is a key, so that half of it can't be there.

        Args:
            name: Never used before.
            before: Names that are there.

        Raises:
            StorageError: If it can't be written.
        """
        with self._asking("written"):
            self._files.pipe_file(self._path(f"{_CLAIMS}/{name}"), b"dotrain\n")
        self.remove(f"{_CLAIMS}/{one}" for one in before)

    def try_out(self, key: str) -> None:
        """Write something, and remove it: who can't is told before anything is trained.

        Raises:
            StorageError: If it can't be done, or the run isn't there.
        """
        if self.place.claim not in self.read_claims():
            raise StorageError(
                f"{self.place.top} isn't what the driver sees there, but something else of that name"
            )
        with self._asking("written"):
            self._files.pipe_file(self._path(key), b"")
        self.remove([key])


def stamp_of(descriptor: int) -> Stamp:
    """Return the stamp of an open file."""
    found = os.fstat(descriptor)
    return Stamp(found.st_size, found.st_mode & 0o7777, found.st_ctime_ns, found.st_ino)


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _batches(keys: list[str], at_once: int = 500) -> Iterator[list[str]]:
    for start in range(0, len(keys), at_once):
        yield keys[start : start + at_once]


def folder_name(text: str) -> str:
    """Return a name for a run's part that is fit for every storage."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)
