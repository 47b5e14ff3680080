"""What a search has come to; a single run is a search of one trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, final

from dotrain.core.book import TrialBook
from dotrain.core.marks import Mark
from dotrain.core.policy import Direction, sign_of
from dotrain.core.trial import Trial
from dotrain.results.base import RunResult
from dotrain.results.cases import Case, trial_case
from dotrain.results.checkpoints import checkpoint_of
from dotrain.results.example import carry_out
from dotrain.results.lineage import lineage_of
from dotrain.results.text import count_text, number_text
from dotrain.space import Domain, Searchspace, SpaceError, as_domain
from dotrain.space.values import is_number


def ranked(trials: Iterable[Trial], direction: Direction) -> list[Trial]:
    """Return the trials that have a value and may win, the best first, ties in the order of sampling.

    A value counts whatever has become of the trial since: one that is being promoted, or that
    failed at its promotion, keeps what it had. What is infeasible, or has fewer repeats, has no rank.
    """
    sign = sign_of(direction)
    valued = [trial for trial in trials if trial.may_win]
    return sorted(valued, key=lambda t: (-sign * (t.final_metric or 0.0), t.number))


def best_trial(trials: Iterable[Trial], direction: Direction) -> Trial | None:
    """Return the first of `ranked`, or None."""
    return next(iter(ranked(trials, direction)), None)


def ahead_text(running: Iterable[Trial], best: float | None, direction: Direction) -> str | None:
    """Return the best report of trials that run, if no trial that has ended is as good.

    Args:
        running: The trials that run.
        best: The best value of those that have ended, or None.
        direction: ``max`` or ``min``.
    """
    sign = sign_of(direction)
    last = [(trial.metric_history[-1], trial) for trial in running if trial.metric_history]
    value, first = max(last, key=lambda pair: sign * pair[0], default=(0.0, None))
    if first is None or (best is not None and sign * value <= sign * best):
        return None
    return f"running {number_text(value)} ({first.trial_id}, step {first.last_step})"


class Promotions(NamedTuple):
    """Launches to a larger budget, how many of them found a checkpoint, and what steps that saved.

    `begun_again` says how many began again at step 0, for the checkpoint had been freed.
    """

    total: int
    from_checkpoint: int
    steps_saved: int
    begun_again: int


@dataclass(frozen=True)
class AbstractSearchResult(RunResult):
    """What a search has come to, by however many metrics."""

    command: ClassVar[Literal["run", "ablate"]] = "run"

    @property
    def kind(self) -> str:
        """``search``, or ``run`` if there was nothing to search."""
        search = self.header.get("config", {}).get("search") or {}
        return "search" if search.get("space") or len(self.trials) > 1 else "run"

    @cached_property
    def lineage(self) -> list[dict[str, Any]]:
        """The schedule of hyperparameters that led to the best trial; empty if it began by itself."""
        trials = {trial.trial_id: trial for trial in self.trials}
        return [one.to_json() for one in lineage_of(self.best, trials)] if self.best else []

    @property
    def promotions(self) -> Promotions | None:
        """What came of promotions, if there were any."""
        trials = self.trials
        total = sum(trial.promotions for trial in trials)
        continued = sum(trial.continued for trial in trials)
        saved, again = sum(t.steps_saved for t in trials), sum(t.begun_again for t in trials)
        return Promotions(total, continued, saved, again) if total else None

    @property
    def rungs(self) -> dict[float, int]:
        """How many trials have come to the end of each budget, the smallest first."""
        budgets = Counter(r.budget for t in self.trials for r in t.results if r.budget is not None)
        return {budget: budgets[budget] for budget in sorted(budgets)}

    @property
    def _no_result(self) -> str:
        """What was found where no trial may win."""
        total = count_text(self.counts.total, "trial")
        if any(Mark.INFEASIBLE in trial.notes for trial in self.trials):
            return f"no result that keeps search.constraints, from {total}"
        return f"no result from {total}"

    def so_far(self) -> dict[str, Any]:
        """Return what ``status`` tells: the same."""
        return self._unjudged

    def _told_of_search(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is told of every search, and what was found in it."""
        promotions, then = self.promotions, self._setting
        if promotions:
            rungs = [{"budget": budget, "trials": n} for budget, n in self.rungs.items()]
            then = {"promotions": promotions._asdict(), "rungs": rungs, **then}
        return self._told({"seed": self.header["seed"], **found}, {"steps": self.steps}, then)

    def _own_cases(self) -> list[Case]:
        _, *further = self.metrics
        return [trial_case(one, self.metric, self.run_dir, further) for one in self.trials]

    @classmethod
    def domains(cls, header: Mapping[str, Any]) -> dict[str, Domain]:
        """Return the hyperparameters' domains."""
        search = header.get("config", {}).get("search") or {}
        try:
            # A condition that is refused by now makes no difference to what a value may be.
            return {name: as_domain(spec) for name, spec in (search.get("space") or {}).items()}
        except (SpaceError, TypeError):
            return {}

    @classmethod
    def example(
        cls, header: Mapping[str, Any], space: Searchspace, book: TrialBook
    ) -> Mapping[str, Any]:
        """Fill a book: a trial that is promoted, and one that fails."""
        params = {name: _value_of(domain) for name, domain in space.domains.items()}
        metrics = dict.fromkeys(header.get("metrics") or (), 1.0)
        trial = Trial(params)
        carry_out(book, trial, 1.0, metrics)
        carry_out(book, trial, 1.0, metrics)
        carry_out(book, Trial(params), None)
        return header


@final
@dataclass(frozen=True)
class SearchResult(AbstractSearchResult):
    """What a search by one metric has come to, as far as it has got."""

    main_path: ClassVar[str] = "best.value"

    @cached_property
    def ranked(self) -> list[Trial]:
        """The trials that have a value and may win, the best first."""
        return ranked(self.trials, self.direction)

    @property
    def best(self) -> Trial | None:
        """The best trial, or None if none has a value."""
        return next(iter(self.ranked), None)

    @property
    def candidates(self) -> list[Trial]:
        """The trials that have a value."""
        return self.ranked

    @property
    def is_usable(self) -> bool:
        """Whether there is a best trial."""
        return self.best is not None

    @property
    def headline(self) -> str:
        """The best value and its trial."""
        if self.best is None:
            return self._no_result
        total = count_text(self.counts.total, "trial")
        of = f", the best of {total}" if self.counts.total > 1 else ""
        if self.best.repeated is not None:
            values = self.best.repeated.values
            low, high = number_text(min(values)), number_text(max(values))
            of = f", the mean of {count_text(len(values), 'repeat')} ({low} to {high}){of}"
        return (
            f"{self.metric} {number_text(self.best.final_metric or 0.0)} ({self.best.trial_id}){of}"
        )

    def stands_out(self, trial: Trial) -> bool:
        """Whether it is the best trial."""
        return trial is self.best

    @cached_property
    def _unjudged(self) -> dict[str, Any]:
        best = self.best
        told = best and {
            "trial_id": best.trial_id,
            "value": best.final_metric,
            "params": best.params,
            **({} if best.repeated is None else {"repeats": list(best.repeated.values)}),
            "marks": [str(mark) for mark in best.marks],
            "checkpoint": checkpoint_of(best, self.run_dir, self.direction),
            **({"lineage": self.lineage} if self.lineage else {}),
        }
        return self._told_of_search({"best": told})


def _value_of(domain: Any) -> Any:
    """Return a value of a domain, a number if it has one."""
    values = getattr(domain, "values", None) or [domain.from_unit(0.5)]
    return next((value for value in values if is_number(value)), values[0])
