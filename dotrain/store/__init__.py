"""The run directory and its journal: the only writer of run state."""

from dotrain.store.code import (
    RanLast,
    Unpacked,
    archived_code,
    code_that_goes_on,
    keeps_to_its_archive,
    ran_last,
    unpacked,
)
from dotrain.store.filesystem import check_place
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
from dotrain.store.places import config_folders, told_in_header
from dotrain.store.replay import (
    RunState,
    code_of,
    counts_from_one,
    has_finished,
    has_more,
    is_simulated,
    marks_of,
    replay,
    replay_each,
    take_record,
)
from dotrain.store.requests import Requests, StopRequest
from dotrain.store.restore import Restored, restore
from dotrain.store.run_dir import RunDir, replace_file

__all__ = [
    "NEEDS",
    "VERSION",
    "Contents",
    "Holder",
    "Journal",
    "Lock",
    "RanLast",
    "Record",
    "Requests",
    "Restored",
    "RunDir",
    "RunState",
    "StopRequest",
    "Sync",
    "Unpacked",
    "archived_code",
    "check_place",
    "code_of",
    "code_that_goes_on",
    "config_folders",
    "counts_from_one",
    "has_finished",
    "has_more",
    "is_simulated",
    "keeps_to_its_archive",
    "marks_of",
    "needs_newer",
    "newer",
    "ran_last",
    "read_contents",
    "read_holder",
    "read_journal",
    "replace_file",
    "replay",
    "replay_each",
    "restore",
    "take_record",
    "told_in_header",
    "unpacked",
    "written_by",
]
