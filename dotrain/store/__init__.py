"""The run directory and its journal: the only writer of run state."""

from dotrain.store.journal import Journal, Record, newer, read_journal, written_by
from dotrain.store.lock import Holder, Lock, read_holder
from dotrain.store.replay import RunState, code_of, is_simulated, replay, replay_each
from dotrain.store.restore import Restored, restore
from dotrain.store.run_dir import RunDir, replace_file

__all__ = [
    "Holder",
    "Journal",
    "Lock",
    "Record",
    "Restored",
    "RunDir",
    "RunState",
    "code_of",
    "is_simulated",
    "newer",
    "read_holder",
    "read_journal",
    "replace_file",
    "replay",
    "replay_each",
    "restore",
    "written_by",
]
