"""What a worker says of the place that it is in, and what follows from it for its trials' files.

Asked once, when a slot is opened: a disk, a version or a package that isn't there is told then, with the
worker's name, and not by every trial that fails of it.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import final

from dotrain.executors.dealing import NO_WISH, Offer, Wish
from dotrain.executors.environment import this_offer
from dotrain.executors.gpus import NotTold
from dotrain.executors.machine import NOTHING, VISIBLE, Needs
from dotrain.store.run_dir import SEEN
from dotrain.store.storage import Place, Storage, StorageError
from dotrain.training.program import Program, load_strategy
from dotrain.usercode.imports import is_there
from dotrain.versions import own_version


class Way(Enum):
    """How the files of a worker's trials come to where the driver keeps them."""

    SHARED = "shared disk"
    CARRIED = "through dotrain"
    STORED = "storage"


@final
@dataclass(frozen=True)
class Question:
    """What a worker is asked.

    Attributes:
        run_dir: Where the driver has its run directory.
        token: The name of a file there.
        text: What it holds.
        packages: Those that the user's code can't do without, and the driver has.
        path: Folders that it imports from besides.
        storage: Where the trials' files are kept, if not in the run directory.
        wish: What the run wants of it.
    """

    run_dir: str
    token: str
    text: str
    packages: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    storage: Place | None = None
    wish: Wish = NO_WISH


@final
@dataclass(frozen=True)
class Site:
    """What a worker answers.

    Attributes:
        host: The machine's name.
        dotrain: Its version; None where it is unknown.
        python: Its version, without the last part.
        sees: Whether the run directory is the driver's.
        cant_write: Why nothing can be written there, or ``""``.
        missing: The packages that aren't there.
        temp: Its folder for temporary files.
        cant_keep: Why nothing can be written there, or ``""``.
        stores: Whether files go to a storage.
        cant_store: Why nothing can be written there, or ``""``.
        store_may_come: Whether that may be otherwise later.
        offer: What the worker has, if that was asked.
        cant_count: Why it can't tell that now, or ``""``.
    """

    host: str
    dotrain: str | None
    python: str
    sees: bool
    cant_write: str = ""
    missing: tuple[str, ...] = ()
    temp: str = ""
    cant_keep: str = ""
    stores: bool = False
    cant_store: str = ""
    store_may_come: bool = False
    offer: Offer | None = None
    cant_count: str = ""


@final
@dataclass(frozen=True)
class Refusal:
    """Why a worker isn't used, and what to do.

    Attributes:
        why: In words.
        passes: Whether it is asked again.
    """

    why: str
    passes: bool = False


# ---- asked at home ----


@contextmanager
def question(program: Program, wish: Wish) -> Iterator[Question]:
    """Yield what workers are asked; the file that they are to find lies there until the end.

    Args:
        program: What attempts run.
        wish: What the run wants of them.

    Raises:
        OSError: If it can't be written.
    """
    run_dir, functions = Path(program.run_dir), program.functions
    token, text = f"{SEEN}{secrets.token_hex(8)}", secrets.token_hex(16)
    # Of the others, one that isn't here either is the function's own affair: it may ask for it and do without.
    perhaps = (name for name in functions.needed if is_there(name, functions.path))
    of_strategy = load_strategy(program).packages if program.strategy else ()
    packages = tuple(dict.fromkeys([*of_strategy, *functions.certain, *perhaps]))
    (run_dir / token).write_text(text)
    try:
        yield Question(
            str(run_dir),
            token,
            text,
            packages,
            functions.path,
            program.storage,
            wish,
        )
    finally:
        (run_dir / token).unlink(missing_ok=True)


def here() -> Site:
    """Return what the driver says of its own place."""
    return Site(socket.gethostname(), _own_version(), _python(), sees=True)


def decide(site: Site, here: Site, needs: Needs = NOTHING) -> Way | Refusal:
    """Return how the files of a worker's trials go, or why it can have none.

    Args:
        site: The worker's.
        here: The driver's.
        needs: What each rank is to have.
    """
    if (refusal := other_python(site.python, here)) is not None:
        return refusal
    if site.dotrain != here.dotrain:
        return Refusal(
            f"dotrain {site.dotrain or 'of no known version'} there, {here.dotrain} here; "
            "install the same version there"
        )
    if site.missing:
        names = ", ".join(f"'{name}'" for name in site.missing)
        what = "package" if len(site.missing) == 1 else "packages"
        return Refusal(f"no {what} {names} there; install what the code imports")
    if site.cant_keep:  # whichever way files go, its processes need that
        return Refusal(
            f"it can't keep files in {site.temp} ({site.cant_keep}); make room there, or let TMPDIR "
            "name another folder"
        )
    if site.cant_count:
        return Refusal(f"it can't tell which GPUs it has: {site.cant_count}", passes=True)
    if site.offer is not None and (lack := site.offer.lack(needs)):
        what = lack.partition(",")[0]
        return Refusal(
            f"every rank is to have {needs} (resources), and it has only {what}; start it with more "
            "(CUDA_VISIBLE_DEVICES, --nthreads, --memory-limit), or ask for less"
        )
    if site.stores:
        return _stored(site)
    return Way.SHARED if site.sees and not site.cant_write else Way.CARRIED


def _stored(site: Site) -> Way | Refusal:
    if site.cant_store:
        return Refusal(
            f"storage: {site.cant_store}; credentials, region and address are taken from the "
            "worker's own environment",
            passes=site.store_may_come,
        )
    return Way.STORED


def other_python(python: str, here: Site) -> Refusal | None:
    """Refuse a worker of another Python: neither byte code nor what is pickled goes over.

    Args:
        python: Its version.
        here: The driver's place.
    """
    minor = ".".join(python.split(".")[:2])
    if minor == here.python:
        return None
    return Refusal(
        f"Python {minor} there, {here.python} here; start its workers with {here.python}"
    )


def cant_load(error: str) -> Refusal:
    """Refuse a worker that doesn't know what it is asked.

    Args:
        error: What it said.
    """
    return Refusal(f"it can't load dotrain ({error}); install the same version there")


def host_name(address: str, said: str, known: dict[str, str]) -> str:
    """Return the name of a machine: what it calls itself, with its address if another one does so too.

    Args:
        address: The host of its workers' addresses, by which machines are told from each other.
        said: What it calls itself.
        known: The names so far, by address; a new one is added.
    """
    if address not in known:
        name = said or address
        known[address] = f"{name} ({address})" if name in known.values() else name
    return known[address]


def refusal_text(address: str, host: str, refusal: Refusal) -> str:
    """Return in a line that a worker isn't used, and why."""
    on = f" on {host}" if host else ""
    return f"worker {address}{on} isn't used: {refusal.why}"


# ---- answered there ----


def look_around(asked: Question, threads: int = 1, memory_bytes: int | None = None) -> Site:
    """Answer; nothing is imported for it, and what is written is removed again.

    Args:
        asked: The question.
        threads: That the worker was started with.
        memory_bytes: That it was started with; None is no limit.
    """
    try:
        sees = Path(asked.run_dir, asked.token).read_text() == asked.text
    except (OSError, ValueError):
        sees = False
    temp = _temp()
    offer, cant_count = _count(asked, threads, memory_bytes)
    trouble = None if asked.storage is None else _try_storage(asked.storage, asked.token)
    return Site(
        host=socket.gethostname(),
        dotrain=_own_version(),
        python=_python(),
        sees=sees,
        cant_write=_cant_write(asked.run_dir) if sees else "",
        missing=tuple(name for name in asked.packages if not is_there(name, asked.path)),
        temp=temp,
        cant_keep=_cant_write(temp),
        stores=asked.storage is not None,
        cant_store="" if trouble is None else str(trouble),
        store_may_come=trouble is not None and trouble.passes,
        offer=offer,
        cant_count=cant_count,
    )


def _count(asked: Question, threads: int, memory_bytes: int | None) -> tuple[Offer | None, str]:
    """Return what this worker has, if that is asked, or why it can't tell."""
    if not asked.wish.counts:
        return None, ""
    said = {} if asked.wish.visible is None else {VISIBLE: asked.wish.visible}
    try:
        return this_offer(asked.wish.needs, threads, memory_bytes, {**os.environ, **said}), ""
    except NotTold as error:
        return None, str(error)


def _try_storage(place: Place, token: str) -> StorageError | None:
    try:
        Storage(place).try_out(f"seen/{token}-{secrets.token_hex(4)}")
    except StorageError as error:
        return error
    return None


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _own_version() -> str | None:
    try:
        return own_version()
    except PackageNotFoundError:
        return None


def _temp() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # there is none in which anything can be written
        return os.environ.get("TMPDIR") or "/tmp"


def _cant_write(folder: str) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return str(error.strerror or error)
    return ""
