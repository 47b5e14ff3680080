"""Running an experiment: a new run, or one that stopped, to its end and into its directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dotrain.config.writing import to_yaml
from dotrain.core.asking import calling
from dotrain.core.events import Resumed
from dotrain.core.instructions import RunStatus
from dotrain.core.observer import Observer, RunView
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial
from dotrain.errors import ClusterGone, DiskFull, DotrainError, PolicyError
from dotrain.executors.base import AbstractExecutor, refuse_too_few
from dotrain.results import result_of
from dotrain.results.resuming import resume_command
from dotrain.runs.asking import make_asker
from dotrain.runs.changes import added_first, refuse_changes
from dotrain.runs.definition import Experiment
from dotrain.runs.driver import Driver
from dotrain.runs.freeing import Freeing, freeing_of
from dotrain.runs.header import make_header
from dotrain.runs.inheriting import Inheriting
from dotrain.runs.policies import make_scheduler
from dotrain.runs.result import Demands, Result
from dotrain.runs.spaces import keep_space, other_space, space_of
from dotrain.runs.stopped import StoppedRun
from dotrain.runs.storing import taken
from dotrain.runs.tables import with_same_table, with_table, withheld
from dotrain.runs.which_code import is_to_train
from dotrain.store import (
    NEEDS,
    VERSION,
    Contents,
    Journal,
    Lock,
    Record,
    Requests,
    Restored,
    RunDir,
    code_that_goes_on,
    restore,
)
from dotrain.store.kept import Kept
from dotrain.store.storage import StorageError
from dotrain.training.program import Program
from dotrain.usercode.archive import Code
from dotrain.versions import own_version

#: Of a file system that has no way to bring a file to its disk.
_NO_SYNC = (
    "its file system can't sync, so a power cut may take what has ended (journal.sync); choose another place "
    "(--runs-dir, in Python runs_dir), or say journal.sync: system"
)


def run(
    experiment: Experiment,
    runs_dir: Path,
    observer: Observer,
    demands: Demands | None = None,
    *,
    quiet: bool = False,
) -> Result:
    """Run an experiment to its end and write its run directory.

    Args:
        experiment: What to run.
        runs_dir: Where run directories go.
        observer: Shows progress.
        demands: What the result has to meet, and where else it is written.
        quiet: Don't warn.

    Returns:
        The result, however the run ended; what is recorded is in the run directory.

    Raises:
        UsageError: If the run directory can't be made.
        ResourcesUnavailable: If the workers can't be had; nothing has run then.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    experiment = with_table(experiment, runs_dir, quiet=quiet)
    run_dir = RunDir.create(runs_dir, experiment.name)
    with Lock(run_dir.lock), _writing(run_dir, experiment.config):
        run_dir.write_config(to_yaml(dict(experiment.config)))
        if experiment.functions.code.archive:
            run_dir.write_code(experiment.functions.code.archive)
        header = make_header(experiment, run_dir=run_dir.path)
        scheduler = make_scheduler(experiment, header)
        kept = Kept(run_dir, taken(run_dir, experiment.settings))
        freeing = freeing_of(experiment, kept, header, scheduler)
        start = _Start(scheduler, header, Contents([]), Restored(0.0, []), None, freeing, kept)
        return _Run(experiment, run_dir, demands, quiet).drive(start, observer)


def resume(
    experiment: Experiment,
    stopped: StoppedRun,
    observer: Observer,
    demands: Demands | None = None,
    *,
    archived: bool | None = None,
    quiet: bool = False,
) -> Result:
    """Go on with a run that stopped, for whatever reason, to the same total.

    Args:
        experiment: What was run; its limits, what ends its search, its cluster, strategy and a larger
            `num_trials` may be new.
        stopped: The run, as `take_up` has it; its records are let go of when the run goes on.
        observer: Shows progress.
        demands: As of `run`.
        archived: Whether the run is told to keep to the code in its own directory; None says nothing.
        quiet: Say nothing of the driver before, nor of code that has changed.

    Returns:
        The result, as of `run`.

    Raises:
        UsageError: If something else than that has changed.
        PolicyError: If the policies don't decide as they did.
        ResourcesUnavailable: If the workers can't be had.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    run_dir, header, records = stopped.run_dir, stopped.header, stopped.contents.records
    with _writing(run_dir, experiment.config):
        run_dir.sweep()
        if stopped.died is not None and not quiet:
            sys.stderr.write(f"the driver before, {stopped.died}, has died; going on\n")
        other = other_space(header, records, experiment)
        space = None if other is None else other.new
        refuse_changes(run_dir.path, header, experiment, other_space=space is not None)
        first = added_first(run_dir.path, records, experiment)
        scheduler = make_scheduler(experiment, header, None if other is None else other.began_in)
        restored = restore(scheduler, islice(records, 1, None))
        # Whoever only judges what has finished runs no code.
        goes_on = is_to_train(stopped, experiment)
        if goes_on:
            experiment = with_same_table(experiment, run_dir, header, quiet=quiet)
        runs = experiment.functions.code if goes_on else Code()
        code = code_that_goes_on(run_dir, runs, records)
        if code.changes and not quiet:
            sys.stderr.write(f"note: {code.text}\n")
        resumed = Resumed(
            asdict(experiment.limits),
            experiment.num_trials,
            experiment.strategy.slots,
            code=runs.digest,
            began_with=code.began_with,
            dotrain=own_version(),
            version=VERSION,
            needs=NEEDS,
            archived=archived,
            try_first=first or None,
            space=space,
        )
        # Whoever only judges what has finished asks for no file.
        began_with = header["config"].get("storage")
        storage = taken(run_dir, experiment.settings, began_with) if goes_on else None
        kept = Kept(run_dir, storage)
        freeing = freeing_of(experiment, kept, header, scheduler)
        notes = freeing.note, keep_space(space, run_dir, experiment, scheduler.book)
        if goes_on and not quiet:
            sys.stderr.writelines(f"note: {note}\n" for note in notes if note)
        start = _Start(scheduler, header, stopped.contents, restored, resumed, freeing, kept)
        return _Run(experiment, run_dir, demands, quiet).drive(start, observer)


@contextmanager
def _writing(run_dir: RunDir, config: Mapping[str, Any]) -> Iterator[None]:
    """Explain what the operating system has against the run directory."""
    try:
        yield
    except OSError as error:
        place = error.filename or run_dir.path
        advice = "there is nothing to go on with"
        if run_dir.has_begun:
            command = resume_command(run_dir.path, {"config": config})
            advice = f"what the journal holds is safe, go on with: {command}"
        raise DotrainError(f"{place}: {error.strerror}; {advice}") from error


@dataclass(frozen=True)
class _Start:
    """Where a driver begins: where the run does, or where the driver before stopped.

    Attributes:
        scheduler: In the state that the journal leads to.
        header: The journal's; of a new run as it is written when the workers are there.
        contents: What the journal holds.
        restored: What else the journal says.
        resumed: What the scheduler is told first, None in a new run.
        freeing: Frees checkpoints that aren't needed any more.
        kept: Where the trials' files are.
    """

    scheduler: Scheduler
    header: Record
    contents: Contents
    restored: Restored
    resumed: Resumed | None
    freeing: Freeing
    kept: Kept


class _Run:
    """One driver's part of a run."""

    def __init__(
        self, experiment: Experiment, run_dir: RunDir, demands: Demands | None, quiet: bool
    ) -> None:
        self.experiment = experiment
        self.run_dir = run_dir
        self.demands = demands or Demands()
        self.quiet = quiet

    def drive(self, start: _Start, observer: Observer) -> Result:
        """Bring the run to its end, and write what is made of it."""
        header, records = start.header, start.contents.records
        with withheld(self.experiment), ExitStack() as finally_:
            given = self.run_dir.token, self.run_dir.path, start.kept.place
            program = self.experiment.program(*given, header["config"].get("hparams"))
            # A run that goes on may have nothing left to run.
            executor = self._executor(finally_, None if start.resumed else program)
            sync = self.experiment.sync
            journal = Journal(self.run_dir.journal, start.contents, sync=sync)
            finally_.callback(journal.close)
            if sync != "system" and not self.run_dir.sync() and not self.quiet:
                sys.stderr.write(f"warning: {self.run_dir.path}: {_NO_SYNC}\n")
            if start.resumed is None:
                header["started_at"] = executor.date().isoformat(timespec="seconds")
                records.append(journal.append_header(header))
                journal.commit()
            for instruction in start.restored.unwritten:
                records.append(journal.append_instruction(instruction, start.restored.time_s))
            view = RunView(
                start.scheduler, self.run_dir.path, records, resumed=start.resumed is not None
            )
            records.clear()  # there may be millions, and the view lets go of them
            observers = [observer, *self.experiment.observers]
            finally_.callback(start.freeing.close)
            start.freeing.finish()
            requests = Requests(self.run_dir)
            requests.clear()
            optimizer, seed = self.experiment.optimizer, self.experiment.seed
            space = space_of(start.resumed)
            asker = make_asker(optimizer, seed, executor, self.run_dir.logs, space)
            if asker is not None:
                finally_.callback(asker.close)
            inheriting = None
            if optimizer.lends_checkpoints and not self.experiment.simulated:
                inheriting = Inheriting(self.run_dir, start.kept, executor)
            parts = start.scheduler, executor, journal, view, observers, start.freeing
            driver = Driver(*parts, requests, asker, inheriting)
            return self._to_its_end(driver, start, program)

    def _executor(self, finally_: ExitStack, program: Program | None) -> AbstractExecutor:
        executor, per_trial = self.experiment.executor, self.experiment.strategy.slots
        refuse_too_few(executor, per_trial)
        finally_.callback(executor.close)
        executor.prepare(self.run_dir.logs, per_trial, program)
        return executor

    def _to_its_end(self, driver: Driver, start: _Start, program: Program) -> Result:
        header, scheduler = start.header, start.scheduler
        trials = scheduler.book.trials
        error: DotrainError | None = None
        try:
            status = driver.run(program, resumed=start.resumed, from_s=start.restored.time_s)
        except KeyboardInterrupt:
            self._conclude(header, scheduler, RunStatus.INTERRUPTED, driver, None)
            raise
        except DotrainError as failure:
            if not trials:
                raise
            is_away = isinstance(failure, ClusterGone | DiskFull)
            status = RunStatus.INTERRUPTED if is_away else RunStatus.FAILED
            error = failure
        if status is RunStatus.FINISHED:
            error = self._finalize(list(trials.values()))
        try:
            if status is RunStatus.FINISHED and error is None:
                error = self._free(driver, start.freeing)
            with suppress(StorageError):  # what is left goes when the run next goes on
                start.kept.tidy()
        finally:
            result = self._conclude(header, scheduler, status, driver, error)
        return result

    def _finalize(self, trials: list[Trial]) -> PolicyError | None:
        optimizer = self.experiment.optimizer
        try:
            with calling(optimizer):
                optimizer.finalize_experiment(trials)
        except PolicyError as error:
            return error
        return None

    def _free(self, driver: Driver, freeing: Freeing) -> DotrainError | None:
        try:
            driver.free(freeing.at_end())
            freeing.close()
        except DotrainError as error:
            return error
        return None

    def _conclude(
        self,
        header: Mapping[str, Any],
        scheduler: Scheduler,
        status: RunStatus,
        driver: Driver,
        error: DotrainError | None,
    ) -> Result:
        """Write all that is made of a run when it is over."""
        found = result_of(
            header,
            scheduler.book.trials.values(),
            status,
            driver.elapsed_s,
            self.run_dir.path,
            error="" if error is None else str(error),
            ended_early=scheduler.ended_early,
            gates=self.demands.gates,
            freed_now=driver.freed,
        )
        self.run_dir.write_result(found.to_json())
        for tell in self.demands.at_end:
            try:
                tell(found)
            except DotrainError as failure:
                error = error or failure
        return Result(found, error)
