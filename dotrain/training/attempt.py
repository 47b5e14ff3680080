"""One attempt of one trial: call the user's function, and say how that went."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotrain.ablation.components import Variant
from dotrain.core.events import (
    Diverged,
    Failed,
    Finished,
    Reported,
    Started,
    Stopped,
    TrialEvent,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Launch
from dotrain.core.marks import Mark
from dotrain.errors import Interrupt
from dotrain.store import RunDir
from dotrain.store.run_dir import CHECKPOINT, REPORTS
from dotrain.temporary import Kind, OwnFolder
from dotrain.training.arguments import Hparams, bind
from dotrain.training.channel import Channel
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.doubts import not_loaded, unlike
from dotrain.training.errors import BadSetup, EarlyStop
from dotrain.training.evaluated import with_names
from dotrain.training.failure import describe_bad_result, describe_failure, disk_is_full
from dotrain.training.generators import DataGenerator, ModelGenerator, Sources
from dotrain.training.numbers import split_metrics
from dotrain.training.output import flush
from dotrain.training.place import Place
from dotrain.training.program import LoadedProgram, Program
from dotrain.training.report_log import ReportLog
from dotrain.training.reporter import Reporter
from dotrain.training.seeding import seed_everything
from dotrain.training.use import Use


def run_attempt(
    loaded: LoadedProgram | Failure,
    launch: Launch,
    channel: Channel,
    *,
    worker: str,
    place: Place,
    capture: Callable[[Path], AbstractContextManager[None]],
    log: Path | None = None,
) -> TrialEvent:
    """Run one attempt to its end; whatever the user's function does, it ends in an event.

    Args:
        loaded: The user's functions, or why they can't be loaded.
        launch: Which trial, with which hyperparameters.
        channel: Where events go, and where a stop comes from.
        worker: Name of this worker, for people.
        place: Where it runs among the ranks of the trial.
        capture: Leads what is printed inside to a file.
        log: That file, in the trial's own folder; by default in the run directory.

    Returns:
        `Finished`, `Stopped` or `Failed`; `Started` and the reports have gone to the channel.

    Raises:
        Interrupt: If a person broke it off in this very process.
    """
    if isinstance(loaded, Failure):
        return Failed(launch.trial_id, launch.attempt, loaded)
    folder = _current_folder()
    try:
        if log is None:
            log = RunDir(Path(loaded.program.run_dir)).trial_log(launch.folder, place.seat.rank)
        log.parent.mkdir(parents=True, exist_ok=True)
        title = f"--- {launch.trial_id}, attempt {launch.attempt}: {launch.reason}"
        _note(log, title, f"--- {launch.varied}")
        with capture(log), _folder(log.parent, place) as trial_dir:
            event = _call(loaded, launch, channel, trial_dir, worker, place)
        flush(sys.stdout, sys.stderr)
        _note(log, _last_line(event))
    except Interrupt:
        raise
    except BaseException as error:  # the disk is full, say
        event = Failed(launch.trial_id, launch.attempt, _failure_of(error, loaded.program.run_dir))
    finally:
        channel.closed = True
        if folder is not None:
            with contextlib.suppress(OSError):
                os.chdir(folder)
    return event


@contextmanager
def _folder(trial_dir: Path, place: Place) -> Iterator[Path]:
    """Yield the folder to write files to: the trial's own for the chief, else one that passes.

    All ranks see the checkpoint that the attempt goes on from; what the others save is the same
    as what the chief saves, and goes away.
    """
    if place.is_chief:
        yield trial_dir
        return
    with OwnFolder(Kind.RANK) as own_folder:
        files = own_folder.path / trial_dir.name
        files.mkdir()
        latest = Checkpoint(trial_dir / CHECKPOINT).latest
        if latest is not None:
            own = files / CHECKPOINT
            own.mkdir()
            (own / latest.name).symlink_to(latest.absolute(), target_is_directory=True)
        yield files


def _call(
    loaded: LoadedProgram,
    launch: Launch,
    channel: Channel,
    trial_dir: Path,
    worker: str,
    place: Place,
) -> TrialEvent:
    trial_id, attempt = launch.trial_id, launch.attempt
    metric = loaded.program.metric
    reporter: Reporter | None = None

    def restored() -> None:
        place.strategy.go_apart()
        use.sources.is_restored = True

    try:
        checkpoint = Checkpoint(
            trial_dir / CHECKPOINT,
            keeps_all=loaded.program.keeps_all,
            keep_step=launch.keep_step,
            seed=launch.seed,
            on_restored=restored,
        )
        reporter = Reporter(
            *(trial_id, attempt, metric, channel, place.agreement, launch.budget),
            *(loaded.program.direction, loaded.program.further_metrics),
        )
        arguments, use = _given(loaded, launch, reporter, checkpoint, trial_dir, place)
        resume_step = use.sources.resume_step
        seed_everything(use.sources.attempt_seed)
        kept = ReportLog(trial_dir / REPORTS, launch.begins_at if launch.known_step >= 0 else 0)
        if "checkpoint" in arguments:
            reporter.log_file = kept if place.is_chief else None
        place.agreement.begin(resume_step)
        earlier = [r.value for r in kept.between(-1, resume_step)] if resume_step else []
        reporter.go_on_from(checkpoint, resume_step, earlier)
        channel.send(Started(trial_id, attempt, worker, resume_step))
        for report in kept.between(launch.known_step, resume_step) if resume_step else ():
            channel.send(Reported(trial_id, attempt, *report, kept=True))
        returned = loaded.train(**arguments)
        if reporter.held is not None:
            raise reporter.held
        if reporter.divergence:
            return Diverged(trial_id, attempt, reporter.divergence)
        lends = launch.keep_step >= 0 and place.is_chief
        if lends and (wrong := _cant_lend(launch, checkpoint, resume_step)):
            raise BadSetup(wrong)
        if launch.arm and (wrong := use.missed()):
            raise BadSetup(f"arm {launch.arm.name}: {wrong}")
        place.strategy.check_use()
        taken, is_own = None, returned is not None
        if not is_own:
            returned, taken = _from_reports(loaded.program, reporter)
        if doubt := not_loaded(reporter, checkpoint, resume_step):
            reporter.note(Mark.NOT_LOADED, doubt)
        returned = with_names(returned, (use.sources.built, reporter.trained))
        numbers = split_metrics(returned, metric, "returned", loaded.program.further_metrics)
    except Interrupt:
        raise
    except EarlyStop:
        if reporter is not None and reporter.divergence:
            return Diverged(trial_id, attempt, reporter.divergence)
        if reporter and (doubt := not_loaded(reporter, checkpoint, resume_step)):
            reporter.note(Mark.NOT_LOADED, doubt)
        return Stopped(trial_id, attempt)
    except BaseException as error:
        if reporter is not None and reporter.divergence:
            return Diverged(trial_id, attempt, reporter.divergence)
        failure = _failure_of(error, loaded.program.run_dir)
        if place.seat.ranks > 1 and place.strategy.peer_is_gone(error):
            failure = replace(failure, kind=FailureKind.PEER)
        return Failed(trial_id, attempt, failure)
    finally:
        if os.getpid() != channel.pid:
            # A child that the function has forked came back; the attempt is its parent's.
            os._exit(0)
    if numbers.divergence:
        return Diverged(trial_id, attempt, f"returned {numbers.divergence}")
    if numbers.wrong:
        return Failed(trial_id, attempt, describe_bad_result(numbers.wrong, loaded.train))
    differs = unlike(numbers.value, reporter) if is_own else None
    return Finished(trial_id, attempt, numbers.value, numbers.others, taken, differs)


def _cant_lend(launch: Launch, checkpoint: Checkpoint, resume_step: int) -> str:
    """Return why others can't go on from what an attempt has come to, where they are to; ``""`` if they can.

    Names and numbers aren't told: many trials that fail alike are told of once.
    """
    if (launch.begins_from or resume_step) and not checkpoint.was_loaded:
        return "it was to go on from a checkpoint and never looked at it; go on from checkpoint.latest, of checkpoint.step steps"
    if not checkpoint.found_step():
        return (
            "it has saved no checkpoint, from which others are to begin; save one before it returns"
        )
    if launch.budget is not None and not checkpoint.has_step_up_to(int(launch.budget)):
        return (
            "its checkpoint is of more steps than its budget, and others are to begin from it; save it with the steps that "
            "budget counts"
        )
    return ""


def _from_reports(program: Program, reporter: Reporter) -> tuple[float | None, str | None]:
    """Return the value of a function that returned nothing, and which report it is, if unasked."""
    own = reporter.best if program.value == "best" else reporter.last
    return own, None if own is None or program.value else "last"


def _failure_of(error: BaseException, run_dir: str) -> Failure:
    failure = describe_failure(error)
    if disk_is_full(error, run_dir):
        return replace(failure, kind=FailureKind.DISK_FULL)
    return failure


def _given(
    loaded: LoadedProgram,
    launch: Launch,
    reporter: Reporter,
    checkpoint: Checkpoint,
    trial_dir: Path,
    place: Place,
) -> tuple[dict[str, Any], Use]:
    """Return the arguments of the train function's call, and what watches over their use."""
    study, arm = loaded.program.study, launch.arm
    left_out = study.left_out(arm.name) if study and arm else []
    variant = study.variant(arm.name) if study and arm else Variant()
    # What the function changes of a list is nobody else's.
    hparams = deepcopy({**loaded.program.hparams, **launch.params, **variant.hparams})
    asked: set[str] = set()
    common: dict[str, Any] = {
        "hparams": Hparams(hparams, asked) if variant.hparams else dict(hparams),
        "seed": launch.seed,
        "trial_dir": trial_dir,
    }
    if launch.budget is not None:
        common["budget"] = launch.budget
    sources = Sources(
        *(loaded, common, hparams, launch.seed, variant),
        *(place.strategy.shard, asked, place.strategy.packages),
        distribute=place.strategy.model,
        ranks=place.seat.ranks,
        splits=place.strategy.splits,
    )
    model_gen, data_gen = ModelGenerator(sources), DataGenerator(sources)
    available = {
        **common,
        "reporter": reporter,
        "checkpoint": checkpoint,
        "model_gen": model_gen,
        "model_function": model_gen,
        "data_gen": data_gen,
        "dataset_function": data_gen,
        "dist_strategy": place.strategy.open,
    }
    bound = bind(loaded.train, available, hparams)
    asked |= bound.hparams
    if "checkpoint" in bound.kwargs:
        sources.resume_step = checkpoint.found_step()
    # The chief's result is the trial's.
    watched = left_out if place.is_chief else ()
    return bound.kwargs, Use(sources, model_gen, data_gen, watched)


def _current_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _note(log: Path, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    with open(log, "ab") as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _last_line(event: TrialEvent) -> str:
    match event:
        case Finished():
            return f"--- finished: {event.value:.6g}"
        case Stopped():
            return "--- stopped early"
        case Diverged():
            return f"--- diverged: {event.what}"
        case Failed(failure=failure):
            return f"{failure.traceback}--- failed: {failure.message}"
    return ""
