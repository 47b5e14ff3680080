"""What a run has come to, whatever it was for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from dotrain.core.book import TrialBook
from dotrain.core.instructions import RunStatus
from dotrain.core.policy import Direction
from dotrain.core.trial import Trial
from dotrain.results.cases import Case, Verdict, gate_case
from dotrain.results.checkpoints import Checkpoints
from dotrain.results.failures import FailureGroup, failure_groups
from dotrain.results.gates import Gate, GateOutcome, judge
from dotrain.results.hosts import HostRecord, hosts_of
from dotrain.results.marks import Caveats
from dotrain.results.paths import Paths
from dotrain.results.resuming import resume_command
from dotrain.results.trials import Counts, trial_rows
from dotrain.space import Domain, Searchspace


@dataclass(frozen=True)
class RunResult(ABC):
    """What a run has come to, as far as it has got.

    Attributes:
        header: The journal's header: name, metric, direction, seed, config.
        trials: All trials that were launched, in the order of sampling.
        status: How the run stands, or has ended.
        elapsed_s: How long it took, in seconds.
        run_dir: The run directory.
        error: What ended the run against the user's will, or ``""``.
        ended_early: Why it has finished before all was tried, or ``""``.
        demanded: The gates that it is to meet.
        freed_now: The bytes of checkpoints that the driver has freed whose end this is, by trial; None
            of a run as a whole.
    """

    header: Mapping[str, Any] = field(repr=False)
    trials: Sequence[Trial] = field(repr=False)
    status: RunStatus
    elapsed_s: float
    run_dir: Path
    error: str = ""
    demanded: Sequence[Gate] = ()
    freed_now: Mapping[str, int] | None = field(default=None, repr=False)
    ended_early: str = ""

    #: What is called to begin such a run.
    command: ClassVar[Literal["run", "ablate"]]
    #: Where the metric's own value stands in the JSON.
    main_path: ClassVar[str]
    #: The libraries that its statistics take, and what pip calls them.
    libraries: ClassVar[Mapping[str, str]] = {}

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.header["name"])

    @property
    def metric(self) -> str:
        """The metric's name; of several, the main one's."""
        return str(self.header["metric"])

    @property
    def direction(self) -> Direction:
        """``max`` or ``min``; of several metrics, of the main one."""
        direction: Direction = self.header["direction"]
        return direction

    @property
    def metrics(self) -> Mapping[str, Direction]:
        """The direction of each metric by its name, the main one first."""
        metrics: Mapping[str, Direction] = self.header.get("metrics") or {
            self.metric: self.direction
        }
        return metrics

    @property
    def hparams(self) -> Mapping[str, Any]:
        """What was the same in every trial."""
        return self.header.get("config", {}).get("hparams") or {}

    @property
    def steps(self) -> int:
        """Values that were reported."""
        return sum(trial.steps_run for trial in self.trials)

    @property
    def resume(self) -> str | None:
        """What goes on with the run; None if it has finished or is still running."""
        return resume_command(self.run_dir, self.header) if self.status.goes_on else None

    @cached_property
    def counts(self) -> Counts:
        """What became of the trials."""
        return Counts.of(self.trials)

    @cached_property
    def caveats(self) -> Caveats:
        """What must be known of the values."""
        return Caveats.of(self.header, self.trials)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """What has become of the checkpoints."""
        return Checkpoints.of(self.trials, self.candidates, self.run_dir, self.freed_now)

    @cached_property
    def _failures(self) -> list[FailureGroup]:
        return failure_groups(self.trials, self.run_dir)

    @cached_property
    def hosts(self) -> list[HostRecord]:
        """What became of attempts on each host, where there are several."""
        return hosts_of(self.trials)

    @property
    def failures(self) -> list[FailureGroup]:
        """The trials that failed, in groups, the largest first."""
        return [group for group in self._failures if group.size]

    @property
    def tried_elsewhere(self) -> list[FailureGroup]:
        """Failures of attempts that no trial ended by: all were tried on another host."""
        return [group for group in self._failures if not group.size]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A flat row for each trial, all with the same columns."""
        return trial_rows(self.trials, self.metrics)

    @property
    @abstractmethod
    def kind(self) -> str:
        """What the run was: ``search``, ``run`` or ``ablation``."""

    @property
    @abstractmethod
    def best(self) -> Trial | None:
        """The best trial; a study has none, and neither has a search by several metrics."""

    @property
    @abstractmethod
    def candidates(self) -> Sequence[Trial]:
        """The trials one of whose checkpoints is kept when a run has finished, the best first; of a front all are."""

    @property
    @abstractmethod
    def is_usable(self) -> bool:
        """Whether the run has given what it was for."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """What was found, in a few words."""

    @abstractmethod
    def stands_out(self, trial: Trial) -> bool:
        """Whether it is the trial, or one of those, that the others are seen against."""

    @classmethod
    @abstractmethod
    def domains(cls, header: Mapping[str, Any]) -> dict[str, Domain]:
        """Return what may vary between trials, by name, as far as the journal's header says."""

    @classmethod
    @abstractmethod
    def example(
        cls, header: Mapping[str, Any], space: Searchspace, book: TrialBook
    ) -> Mapping[str, Any]:
        """Fill an empty book with trials such as the run will have; return their header."""

    @abstractmethod
    def so_far(self) -> dict[str, Any]:
        """Return what ``status`` tells; no statistics are made."""

    @cached_property
    @abstractmethod
    def _unjudged(self) -> dict[str, Any]:
        """What ``result.json`` holds, but for gates."""

    @abstractmethod
    def _own_cases(self) -> list[Case]:
        """Return the test cases of what the run was about."""

    @cached_property
    def gates(self) -> tuple[GateOutcome, ...]:
        """How each gate came out."""
        return judge(self.demanded, self.paths)

    def to_json(self) -> dict[str, Any]:
        """Return what ``result.json`` holds and ``--json`` prints."""
        gates = [asdict(outcome) for outcome in self.gates]
        return {**self._unjudged, **({"gates": gates} if gates else {})}

    @property
    def paths(self) -> Paths:
        """The numbers that gates may be about."""
        return Paths(self._unjudged, {self.metric: self.main_path})

    def cases(self) -> list[Case]:
        """Return the run as test cases, for systems that know nothing else."""
        cases = [*self._own_cases(), *map(gate_case, self.gates)]
        if self.error or self.status.was_broken_off:
            why = self.error.split("\n")[0] or f"the run ended as {self.status}"
            cases.append(Case("run", "run", verdict=Verdict("error", why, self.status, self.error)))
        return cases

    def _told(
        self, first: Mapping[str, Any], counted: Mapping[str, Any], then: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what is told of every run, and something else before, among and after it."""
        failures = [group.to_json() for group in self.failures]
        elsewhere = [group.to_json() for group in self.tried_elsewhere]
        checkpoints = self.checkpoints
        return {
            "run_dir": str(self.run_dir),
            "name": self.name,
            "status": str(self.status),
            **({"ended_early": self.ended_early} if self.ended_early else {}),
            "metric": self.metric,
            "direction": self.direction,
            **first,
            "trials": self.counts.to_json(),
            **counted,
            "elapsed_s": self.elapsed_s,
            "resume": self.resume,
            **self.caveats.to_json(),
            **then,
            **({"checkpoints": checkpoints.to_json()} if checkpoints.freed else {}),
            **({"failures": failures} if failures else {}),
            **({"tried_elsewhere": elsewhere} if elsewhere else {}),
            **({"hosts": [one.to_json() for one in self.hosts]} if self.hosts else {}),
            **({"error": self.error} if self.error else {}),
        }

    @property
    def _setting(self) -> dict[str, Any]:
        return {"hparams": self.hparams} if self.hparams else {}
