"""The optimizer that `auto` has chosen: kept in the journal, and never chosen anew when the run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dotrain.optimizers.auto import NAME
from dotrain.runs.definition import Experiment
from dotrain.runs.finding import find_run
from dotrain.store import RunDir, read_journal


def told_of_choice(experiment: Experiment) -> dict[str, Any]:
    """Return what the journal's header says of it: what was asked for, and why what its config has was chosen."""
    if experiment.choice is None:
        return {}
    asked = {"name": NAME, **experiment.settings.optimizer.options}
    return {"chosen": {"asked": asked, "why": experiment.choice.why}}


def chosen_before(optimizer: Any, resume: Any, runs_dir: Path) -> Any:
    """Return the optimizer that a call means: of a run that goes on, what was chosen when it began.

    Args:
        optimizer: What the call says.
        resume: The run, None for a new one.
        runs_dir: Where it is looked for by name.
    """
    asked = {"name": optimizer} if isinstance(optimizer, str) else optimizer
    if resume is None or not isinstance(asked, dict) or asked.get("name") != NAME:
        return optimizer
    journal = RunDir(find_run(resume, runs_dir, quiet=True)).journal
    header = next(iter(read_journal(journal)), {})
    # Asked for otherwise, it is chosen anew, and refused if something else comes of it.
    if header.get("chosen", {}).get("asked") != asked:
        return optimizer
    return header["config"]["search"]["optimizer"]
