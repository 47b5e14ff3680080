"""Who else is on this machine: ports on its loopback interface are open to all of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

import psutil

#: Below it are accounts of the system's own services; above, those of containers and nobody's.
_FIRST_UID, _LAST_UID = 1000, 60000


def people(uids: Iterable[int], own: int) -> set[int]:
    """Return the user ids that are other people's.

    Args:
        uids: Of processes.
        own: This user's, who needn't be told of himself.
    """
    return {uid for uid in uids if uid != own and _FIRST_UID <= uid <= _LAST_UID}


def others_here() -> bool:
    """Whether other people have processes on this machine or are logged in, as far as it tells."""
    if not hasattr(os, "getuid"):
        return False
    own = os.getuid()
    seen = (process.info["uids"] for process in psutil.process_iter(["uids"]))
    if people((uids.real for uids in seen if uids), own):
        return True
    # Processes may be hidden from each other (hidepid).
    return bool(people(_uids_of({login.name for login in psutil.users()}), own))


def _uids_of(names: Iterable[str]) -> Iterator[int]:
    import pwd

    for name in names:
        with contextlib.suppress(KeyError):
            yield pwd.getpwnam(name).pw_uid
