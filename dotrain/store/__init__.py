"""The run directory and its journal: the only writer of run state."""

from dotrain.store.code import archived_code, code_that_goes_on, unpacked
from dotrain.store.journal import (
    NEEDS,
    VERSION,
    Contents,
    Journal,
    Record,
    Sync,
    needs_newer,
    newer,
    read_contents,
    read_journal,
    written_by,
)
from dotrain.store.lock import Holder, Lock, read_holder
from dotrain.store.place import check_place
from dotrain.store.replay import (
    RunState,
    code_of,
    counts_from_one,
    is_simulated,
    marks_of,
    replay,
    replay_each,
)
from dotrain.store.restore import Restored, restore
from dotrain.store.run_dir import RunDir, replace_file

__all__ = [
    "NEEDS",
    "VERSION",
    "Contents",
    "Holder",
    "Journal",
    "Lock",
    "Record",
    "Restored",
    "RunDir",
    "RunState",
    "Sync",
    "archived_code",
    "check_place",
    "code_of",
    "code_that_goes_on",
    "counts_from_one",
    "is_simulated",
    "marks_of",
    "needs_newer",
    "newer",
    "read_contents",
    "read_holder",
    "read_journal",
    "replace_file",
    "replay",
    "replay_each",
    "restore",
    "unpacked",
    "written_by",
]
