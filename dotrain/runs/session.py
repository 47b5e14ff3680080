"""Running an experiment: a new run, or one that stopped, to its end and into its directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dotrain.config.writing import to_yaml
from dotrain.core.events import Resumed
from dotrain.core.instructions import RunStatus
from dotrain.core.limits import Limits
from dotrain.core.observer import Observer, RunView
from dotrain.core.policy import policy_error
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial
from dotrain.errors import ClusterGone, DiskFull, DotrainError, PolicyError, UsageError
from dotrain.executors.base import AbstractExecutor, refuse_too_few
from dotrain.results import result_of
from dotrain.results.resuming import resume_command
from dotrain.runs.definition import Experiment
from dotrain.runs.driver import Driver
from dotrain.runs.header import make_header
from dotrain.runs.result import Demands, Result
from dotrain.store import (
    NEEDS,
    VERSION,
    Journal,
    Lock,
    Record,
    RunDir,
    code_of,
    code_that_goes_on,
    counts_from_one,
    is_simulated,
    marks_of,
    needs_newer,
    newer,
    read_journal,
    restore,
    written_by,
)
from dotrain.versions import own_version


def run(
    experiment: Experiment, runs_dir: Path, observer: Observer, demands: Demands | None = None
) -> Result:
    """Run an experiment to its end and write its run directory.

    Args:
        experiment: What to run.
        runs_dir: Where run directories go.
        observer: Shows progress.
        demands: What the result has to meet, and where else it is written.

    Returns:
        The result, however the run ended; what is recorded is in the run directory.

    Raises:
        UsageError: If the run directory can't be made.
        ResourcesUnavailable: If the workers can't be had; nothing has run then.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    run_dir = RunDir.create(runs_dir, experiment.name)
    with Lock(run_dir.lock), _writing(run_dir, experiment.config):
        run_dir.write_config(to_yaml(dict(experiment.config)))
        if experiment.functions.code.archive:
            run_dir.write_code(experiment.functions.code.archive)
        return _Run(experiment, run_dir, demands or Demands()).begin(observer)


def resume(
    experiment: Experiment,
    run_dir: RunDir,
    observer: Observer,
    demands: Demands | None = None,
    *,
    quiet: bool = False,
) -> Result:
    """Go on with a run that stopped, for whatever reason, to the same total.

    Args:
        experiment: What was run; its limits, cluster, strategy and a larger `num_trials` may be new.
        run_dir: The run directory.
        observer: Shows progress.
        demands: As of `run`.
        quiet: Don't say that the driver before has died.

    Returns:
        The result, as of `run`.

    Raises:
        UsageError: If another driver drives the run, or something else than that has changed.
        JournalError: If the journal is damaged.
        PolicyError: If the policies don't decide as they did.
        ResourcesUnavailable: If the workers can't be had.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    with Lock(run_dir.lock) as lock, _writing(run_dir, experiment.config):
        if lock.recovered_from is not None and not quiet:
            sys.stderr.write(f"the driver before, {lock.recovered_from}, has died; going on\n")
        return _Run(experiment, run_dir, demands or Demands(), quiet=quiet).go_on(observer)


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


def refuse_newer(run_dir: RunDir, writer: Record) -> None:
    """Refuse to go on with a run that this version would go on with otherwise than it began.

    Args:
        run_dir: The run directory.
        writer: What `written_by` returned.

    Raises:
        UsageError: With the version to install.
    """
    if needs_newer(writer):
        raise UsageError(f"{run_dir.path} can't go on: {newer(writer)}")


class _Run:
    """One driver's part of a run."""

    def __init__(
        self, experiment: Experiment, run_dir: RunDir, demands: Demands, *, quiet: bool = False
    ) -> None:
        self.experiment = experiment
        self.run_dir = run_dir
        self.demands = demands
        self.quiet = quiet

    def begin(self, observer: Observer) -> Result:
        with ExitStack() as finally_:
            executor = self._executor(finally_)
            header = make_header(self.experiment, executor.date().isoformat(timespec="seconds"))
            scheduler = self._scheduler(header)
            journal = self._journal(finally_)
            view = RunView(scheduler, self.run_dir.path, [journal.append_header(header)])
            driver = Driver(
                scheduler, executor, journal, view, [observer, *self.experiment.observers]
            )
            return self._drive(driver, scheduler, header, None, 0.0)

    def go_on(self, observer: Observer) -> Result:
        records = list(read_journal(self.run_dir.journal))
        if not records or records[0]["type"] != "Run":
            raise UsageError(f"{self.run_dir.path}: the run never began; there is nothing to go on")
        header = records[0]
        refuse_newer(self.run_dir, written_by(records))
        self._refuse_changes(header)
        scheduler = self._scheduler(header)
        restored = restore(scheduler, records[1:])
        resumed = self._resumed(records)
        with ExitStack() as finally_:
            journal = self._journal(finally_)
            for instruction in restored.unwritten:
                records.append(journal.append_instruction(instruction, restored.time_s))
            executor = self._executor(finally_)
            view = RunView(scheduler, self.run_dir.path, records, resumed=True)
            del records
            driver = Driver(
                scheduler, executor, journal, view, [observer, *self.experiment.observers]
            )
            return self._drive(driver, scheduler, header, resumed, restored.time_s)

    def _resumed(self, records: Sequence[Record]) -> Resumed:
        """Say who goes on, with which settings and code; keep that code beside the first."""
        experiment = self.experiment
        code = code_that_goes_on(self.run_dir, experiment.functions.code, records)
        if code.changes and not self.quiet:
            sys.stderr.write(f"note: {code.text}\n")
        return Resumed(
            asdict(experiment.limits),
            experiment.num_trials,
            experiment.strategy.slots,
            code=experiment.functions.code.digest,
            began_with=code.began_with,
            dotrain=own_version(),
            version=VERSION,
            needs=NEEDS,
        )

    def _executor(self, finally_: ExitStack) -> AbstractExecutor:
        executor, per_trial = self.experiment.executor, self.experiment.strategy.slots
        refuse_too_few(executor, per_trial)
        finally_.callback(executor.close)
        executor.prepare(self.run_dir.logs, per_trial)
        return executor

    def _journal(self, finally_: ExitStack) -> Journal:
        journal = Journal(self.run_dir.journal)
        finally_.callback(journal.close)
        return journal

    def _scheduler(self, header: Mapping[str, Any]) -> Scheduler:
        """Return a scheduler as the run began with it."""
        experiment = self.experiment
        experiment.optimizer.num_trials = header["num_trials"]
        # Version 1 of the journal may hold configurations that were drawn twice.
        experiment.optimizer.tries_once = header.get("version", VERSION) > 1
        for policy in (experiment.optimizer, experiment.early_stop):
            try:
                policy.initialize()
            except Exception as error:
                raise policy_error(policy, error) from error
        return Scheduler(
            experiment.optimizer,
            experiment.early_stop,
            direction=experiment.direction,
            seed=experiment.seed,
            limits=Limits.of(header["limits"]),
            slots_per_trial=header.get("slots_per_trial", 1),
            code=code_of(header),
            marks=marks_of(header),
            counts_from_one=counts_from_one(header),
        )

    def _refuse_changes(self, header: Mapping[str, Any]) -> None:
        changes = list(changed(header["config"], self.experiment.config))
        if is_simulated(header) != self.experiment.simulated:
            was, now_ = ("simulated", "real")[:: 1 if is_simulated(header) else -1]
            changes.append(
                f"cluster.kind: the run is {was} and can't go on as a {now_} one: made-up values "
                "and trained ones don't go together"
            )
        before, now = header["num_trials"], self.experiment.num_trials
        if before is not None and (now is None or now < before):
            changes.append(f"search.num_trials: was {before}, is now {now}; it may only grow")
        if changes:
            lines = "\n  ".join(changes)
            raise UsageError(
                f"{self.run_dir.path} can't go on with other settings than it began with:\n"
                f"  {lines}\n"
                "only limits, cluster, distribution, observers, tensorboard and a larger "
                "search.num_trials may change; start a new run"
            )

    def _drive(
        self,
        driver: Driver,
        scheduler: Scheduler,
        header: Mapping[str, Any],
        resumed: Resumed | None,
        from_s: float,
    ) -> Result:
        trials = scheduler.book.trials
        error: DotrainError | None = None
        program = self.experiment.program(self.run_dir.token, self.run_dir.path)
        try:
            status = driver.run(program, resumed=resumed, from_s=from_s)
        except KeyboardInterrupt:
            self._conclude(header, scheduler, RunStatus.INTERRUPTED, driver.elapsed_s, None)
            raise
        except DotrainError as failure:
            if not trials:
                raise
            is_away = isinstance(failure, ClusterGone | DiskFull)
            status = RunStatus.INTERRUPTED if is_away else RunStatus.FAILED
            error = failure
        if status is RunStatus.FINISHED:
            error = self._finalize(list(trials.values()))
        return self._conclude(header, scheduler, status, driver.elapsed_s, error)

    def _finalize(self, trials: list[Trial]) -> PolicyError | None:
        optimizer = self.experiment.optimizer
        try:
            optimizer.finalize_experiment(trials)
        except Exception as error:
            return policy_error(optimizer, error)
        return None

    def _conclude(
        self,
        header: Mapping[str, Any],
        scheduler: Scheduler,
        status: RunStatus,
        elapsed_s: float,
        error: DotrainError | None,
    ) -> Result:
        """Write all that is made of a run when it is over."""
        found = result_of(
            header,
            scheduler.book.trials.values(),
            status,
            elapsed_s,
            self.run_dir.path,
            error="" if error is None else str(error),
            gates=self.demands.gates,
        )
        self.run_dir.write_result(found.to_json())
        for tell in self.demands.at_end:
            try:
                tell(found)
            except DotrainError as failure:
                error = error or failure
        return Result(found, error)


#: What may be changed when a run goes on.
_FREE = (
    ("limits",),
    ("cluster",),
    ("distribution",),
    ("observers",),
    ("tensorboard",),
    ("search", "num_trials"),
)


def changed(before: Any, now: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a line for each difference between two configs that a resumed run can't have."""
    if path in _FREE:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from changed(before.get(key), now.get(key), (*path, str(key)))
    elif before != now:
        yield f"{'.'.join(path)}: was {_shown(before)}, is now {_shown(now)}"


def _shown(value: Any) -> str:
    return "absent" if value is None else repr(value)
