"""TensorBoard: every trial's scalars, and the table of trials for its HParams plugin.

``tensorboard --logdir RUN_DIR`` shows a run for each trial: the values it reported under the
metric's name, what counts in the end under ``result/``, and other numbers beside them.
``--logdir runs`` shows the trials of all runs: which columns the table has, TensorBoard finds out from
the trials' rows, so that every run has its own.

Everything is made from the journal: a driver writes what is there when it begins, old files
replaced, and follows the run from there on. `write_all` does the same for a run that is over.
"""

from dotrain.report.tensorboard.files import Files
from dotrain.report.tensorboard.follower import End, Follower, Item, Restart, Scalars, Start
from dotrain.report.tensorboard.observer import TensorBoard
from dotrain.report.tensorboard.writer import write_all

__all__ = [
    "End",
    "Files",
    "Follower",
    "Item",
    "Restart",
    "Scalars",
    "Start",
    "TensorBoard",
    "write_all",
]
