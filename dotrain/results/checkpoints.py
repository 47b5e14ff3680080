"""What has become of the checkpoints of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, final

from dotrain.ablation.study import BASELINE
from dotrain.core.policy import Direction, sign_of
from dotrain.core.trial import Trial
from dotrain.results.text import bytes_text, count_text
from dotrain.store import RunDir
from dotrain.store.kept import Kept


def is_candidate(trial: Trial) -> bool:
    """Whether a trial's checkpoint may be the one that is kept when a run has finished.

    In a study that is the best run of the baseline: the model as it is.
    """
    return trial.arm is None or trial.arm.name == BASELINE


def freed_text(size: int, keep: str) -> str:
    """Return what the story of a trial says of its checkpoint."""
    return f"its checkpoint was freed: {bytes_text(size)} (checkpoints.keep: {keep})"


def checkpoint_of(trial: Trial, run_dir: Path, direction: Direction) -> str | None:
    """Return the path or URL of a trial's newest checkpoint, or None if there is none.

    Args:
        trial: The trial; of several repeats that which has the best value is meant, if it has one.
        run_dir: The run directory.
        direction: ``max`` or ``min``.
    """
    return newest_of(trial, Kept(RunDir(run_dir)), direction)


def newest_of(trial: Trial, kept: Kept, direction: Direction = "max") -> str | None:
    """Return the same, of a run whose files are known."""
    if trial.freed:  # what is left of it, if anything is, goes when the run goes on
        return None
    folders = trial.folders
    if trial.repeated is not None:
        values, sign = trial.repeated.values, sign_of(direction)
        order = sorted(range(len(values)), key=lambda i: (-sign * values[i], i))
        folders = list(dict.fromkeys([*(folders[i] for i in order), *folders]))
    found = (kept.newest_checkpoint(folder) for folder in folders)
    return next((one for one in found if one is not None), None)


@final
@dataclass(frozen=True)
class Checkpoints:
    """Which checkpoints were freed.

    Attributes:
        freed: Of how many trials.
        freed_bytes: How much that was.
        keep: What the config says about that: ``auto`` or ``best``; ``""`` if none was freed.
        kept: The best trial that has one, if any was freed; for a study of its baseline, and of a front all of it that
            have one.
        is_front: Whether these are of a front.
        is_best: Whether that is the best there is.
        begun_again: How many trials began again at step 0, for theirs had been freed.
        told: The bytes that are told of to people, by trial: of one driver, or of the whole run.
    """

    freed: int
    freed_bytes: int
    keep: str
    kept: tuple[str, ...]
    is_front: bool
    is_best: bool
    begun_again: int
    told: Mapping[str, int]

    @classmethod
    def of(
        cls,
        trials: Iterable[Trial],
        ranked: Iterable[Trial],
        run_dir: Path,
        freed_now: Mapping[str, int] | None = None,
        *,
        are_all_kept: bool = False,
    ) -> Checkpoints:
        """Find out.

        Args:
            trials: All trials.
            ranked: Those of which one's checkpoint is kept, the best first.
            run_dir: The run directory.
            freed_now: What one driver has freed, in bytes by trial, if people are told of that alone.
            are_all_kept: Whether `ranked` is a front, of which all are kept.
        """
        trials = list(trials)
        freed = [trial for trial in trials if trial.freed]
        files, ranked = Kept(RunDir(run_dir)), list(ranked) if freed else []
        held = (trial for trial in ranked if newest_of(trial, files) is not None)
        kept = [trial.trial_id for trial in (held if are_all_kept else islice(held, 1))]
        is_best = are_all_kept or kept == [trial.trial_id for trial in ranked[:1]]
        return cls(
            freed=len(freed),
            freed_bytes=sum(trial.freed_bytes for trial in freed),
            keep=freed[-1].freed if freed else "",
            kept=tuple(kept),
            is_front=are_all_kept,
            is_best=is_best,
            begun_again=sum(trial.begun_again > 0 for trial in trials),
            told={t.trial_id: t.freed_bytes for t in freed} if freed_now is None else freed_now,
        )

    @property
    def lines(self) -> list[str]:
        """What must be said of it, a line each, for people."""
        lines = []
        if self.begun_again:
            went = "1 trial went" if self.begun_again == 1 else f"{self.begun_again} trials went"
            had = "its checkpoint had" if self.begun_again == 1 else "their checkpoints had"
            lines.append(f"{went} on from step 0: {had} been freed when the run finished")
        if self.told:
            what = "the checkpoint of" if len(self.told) == 1 else "checkpoints of"
            kept = f"; kept that of {self.kept[0]}" if self.kept else ""
            if self.kept and self.is_front:
                kept = f"; kept those of the front ({count_text(len(self.kept), 'trial')})"
            if self.kept and not self.is_best:
                kept += ", the best that still has one"
            lines.append(
                f"freed {bytes_text(sum(self.told.values()))}: {what} "
                f"{count_text(len(self.told), 'trial')} "
                f"(checkpoints.keep: {self.keep}){kept}"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return what a result holds."""
        kept = list(self.kept) if self.is_front else next(iter(self.kept), None)
        return {"freed": self.freed, "freed_bytes": self.freed_bytes, "kept": kept}
