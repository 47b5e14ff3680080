"""The run directory and its journal: the only writer of run state."""

from dotrain.store.journal import Journal, Record, read_journal
from dotrain.store.replay import RunState, replay
from dotrain.store.run_dir import RunDir

__all__ = ["Journal", "Record", "RunDir", "RunState", "read_journal", "replay"]
