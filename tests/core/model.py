"""The scheduler once more, as plainly as can be: what it must say and know after any event.

Nothing is clever here: lists are searched, sums are taken anew, and policies aren't asked but
quoted: `asked` holds what the scheduler has asked them, in order, with their answers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dotrain.core import events as e
from dotrain.core.instructions import Finish, Instruction, Kill, Launch, SetAside, Stop
from dotrain.core.marks import Mark
from dotrain.core.policy import WAIT, Promotion
from dotrain.core.trial import Trial
from tests.core.model_hosts import ModelHosts

Said = tuple[Any, ...]


def said(instruction: Instruction) -> Said:
    """Return an instruction without its reason."""
    match instruction:
        case Launch():
            i = instruction
            what = (i.trial_id, i.attempt, i.budget, i.slots, i.known_step, i.seed, i.avoid)
            return ("launch", *what)
        case SetAside():
            return ("set aside", instruction.host, instruction.back)
        case Stop():
            return ("stop", instruction.trial_id, instruction.attempt)
        case Kill():
            return ("kill", instruction.trial_id, instruction.attempt, instruction.timeout)
        case Finish():
            return ("finish", instruction.status, instruction.early)
    raise AssertionError(instruction)


@dataclass(eq=False)
class Known:
    """What must be known of one trial."""

    trial_id: str
    seed: int
    budget: float | None
    state: str = "new"
    attempt: int = 0
    slots: int = 1
    losses: int = 0
    promotions: int = 0
    continued: int = 0
    steps_saved: int = 0
    from_checkpoint: int = 0
    freed: str = ""
    freed_bytes: int = 0
    begun_again: int = 0
    promoting: bool = False
    counted: bool = False
    resume_step: int = 0
    attempt_step: int | None = None
    repeats: int = 0
    steps_run: int = 0
    reports: list[tuple[int, float]] = field(default_factory=list)
    results: list[tuple[float | None, float]] = field(default_factory=list)
    final_metric: float | None = None
    metrics: Any = None
    divergence: str = ""
    failed_with: str | None = None
    worker: str = ""
    hosts: tuple[str, ...] = ()
    host: str = ""
    failed_on: str = ""
    lost_on: str = ""
    tries: list[tuple[str, str | None]] = field(default_factory=list)
    launched_s: float = 0.0
    started_s: float | None = None
    spans: list[float] = field(default_factory=list)
    notes: set[Mark] = field(default_factory=set)
    states: list[tuple[float, str]] = field(default_factory=list)

    @property
    def avoids(self) -> str:
        return self.failed_on or self.lost_on

    @property
    def active(self) -> bool:
        return self.state in ("launched", "running", "stopping")

    def go(self, state: str, now: float) -> None:
        self.state = state
        self.states.append((now, state))
        if not self.active:
            self.hosts = ()
        if not self.active and self.started_s is not None:
            self.spans.append(now - self.started_s)
            self.started_s = None

    def same_as(self, trial: Trial) -> None:
        """Assert that a trial of the book is known so."""
        for name in [
            "trial_id",
            "seed",
            "budget",
            "state",
            "attempt",
            "slots",
            "losses",
            "promotions",
            "continued",
            "steps_saved",
            "from_checkpoint",
            "freed",
            "freed_bytes",
            "begun_again",
            "promoting",
            "counted",
            "resume_step",
            "attempt_step",
            "repeats",
            "steps_run",
            "results",
            "final_metric",
            "metrics",
            "divergence",
            "worker",
            "hosts",
            "host",
            "failed_on",
            "lost_on",
            "started_s",
        ]:
            assert getattr(trial, name) == getattr(self, name), (self.trial_id, name)
        assert list(zip(trial.step_history, trial.metric_history, strict=True)) == self.reports
        assert (trial.error and trial.error.kind) == self.failed_with
        assert [(host, e and e.kind) for host, e, _ in trial.tries] == self.tries
        assert trial.busy_s == sum(self.spans)
        assert trial.marks == [mark for mark in Mark if mark in self.notes]
        assert [(line.time_s, line.state) for line in trial.story] == self.states
        assert trial.last_step == (self.reports[-1][0] if self.reports else None)


class Model:
    """What must be known of a run."""

    def __init__(self, limits: Any, num_trials: int, slots_per_trial: int, code: str) -> None:
        self.limits, self.num_trials, self.per_trial = limits, num_trials, slots_per_trial
        self.codes = [code]
        self.trials: dict[str, Known] = {}
        self.finalized: list[str] = []
        self.queue: list[tuple[Known, float | None]] = []
        self.retries: list[Known] = []
        self.elsewhere: list[Known] = []
        self.hosts = ModelHosts()
        self.untold: list[Known] = []
        self.asked: deque[tuple[Any, ...]] = deque()
        self.slots, self.status, self.over = 0, None, False
        self.bad_in_a_row, self.diverged_at_first = 0, 0
        self.none_but_diverged = True
        self.best: float | None = None
        self.no_better, self.is_enough = 0, False
        self.unwanted: set[str] = set()
        self.out: list[Said] = []
        self.launched: list[Known] = []

    def handle(self, event: e.Event, now: float) -> tuple[list[Said], bool]:
        """Return what must be said, and whether the event is news."""
        self.out, news = [], True
        if isinstance(event, e.Resumed):
            self.resume(event, now)
        if isinstance(event, e.Freed):
            for name, size in event.sizes.items():
                self.trials[name].freed = event.keep
                self.trials[name].freed_bytes = size
        if self.status is not None:
            return [], True
        match event:
            case e.Interrupted():
                self.end("interrupted", now)
            case e.Resumed():
                self.fill(now)
            case e.SlotsChanged():
                self.slots = event.slots
                for name, count in (event.hosts or {}).items():
                    self.hosts.of(name).slots = count
                self.fill(now)
            case e.TrialEvent():
                news = self.trial_event(event, now)
        self.look_at_the_clock(now)
        assert not self.asked, f"policies were asked too much: {self.asked}"
        return self.out, news

    def quote(self, *question: Any) -> Any:
        """Return what a policy has answered; it must have been asked just that."""
        assert self.asked, f"nobody asked {question}"
        *had, answer = self.asked.popleft()
        assert tuple(had) == question
        return answer

    @property
    def active(self) -> list[Known]:
        """In the order in which they were launched."""
        last_first = dict.fromkeys(k for k in reversed(self.launched) if k.active)
        return list(last_first)[::-1]

    @property
    def free(self) -> int:
        return self.slots - sum(k.slots for k in self.trials.values() if k.active)

    # What happens to trials.

    def trial_event(self, event: e.TrialEvent, now: float) -> bool:
        known = self.trials.get(event.trial_id)
        if known is None or not known.active or known.attempt != event.attempt:
            return False
        if isinstance(event, e.AttemptEnd):
            known.host = event.host or known.host
        match event:
            case e.Started():
                if known.state != "launched":
                    return False
                self.start(known, event, now)
                if self.elsewhere:
                    self.fill(now)
            case e.Reported():
                return self.report(known, event, now)
            case e.StopAsked() if known.state == "running" and known.reports:
                self.stop(known, now)
            case e.StopAsked() if known.state != "stopping":
                self.unwanted.add(known.trial_id)
            case e.Noted():
                known.notes.add(Mark(event.mark))
            case e.Finished():
                known.results.append((known.budget, event.value))
                known.metrics = event.metrics or known.metrics
                if event.taken:
                    known.notes.add(Mark.GUESSED)
                known.notes.discard(Mark.OTHER_VALUE)
                if event.unlike:
                    known.notes.add(Mark.OTHER_VALUE)
                self.well(known)
                self.value(known, event.value, "finished", now)
                self.ended(known, now)
            case e.Stopped() if known.reports:
                self.well(known)
                self.value(known, known.reports[-1][1], "stopped", now)
                self.ended(known, now)
            case e.Stopped():
                self.fail(known, "bad result", now)
            case e.Diverged():
                self.well(known)
                if known.trial_id in self.finalized:
                    self.finalized.remove(known.trial_id)
                known.final_metric, known.divergence = None, event.what
                known.go("diverged", now)
                self.ended(known, now)
            case e.Failed() if self.goes_elsewhere(known, event, now):
                known.failed_on = event.host or ""
                known.tries.append((known.failed_on, event.failure.kind))
                known.go("waiting", now)
                self.elsewhere.append(known)
                self.fill(now)
            case e.Failed():
                self.fail(known, event.failure.kind, now)
            case e.Lost():
                known.losses += 1
                goes = self.dies_of_its_host(known, event, now)
                known.lost_on = (event.host or "") if goes else ""
                if known.state == "stopping":
                    self.lose(known, now)
                    self.ended(known, now)
                elif known.losses > self.limits.retries:
                    self.fail(known, "lost", now)
                else:
                    self.lose(known, now)
                    (self.elsewhere if known.avoids else self.retries).append(known)
                    self.fill(now)
        return True

    def start(self, known: Known, event: e.Started, now: float) -> None:
        known.go("running", now)
        known.worker, known.started_s = event.worker, now
        known.hosts = tuple(event.hosts or ())
        known.host = known.hosts[0] if known.hosts else ""
        first = event.resume_step + (1 if known.reports and known.reports[0][0] > 0 else 0)
        known.reports = [r for r in known.reports if r[0] < first]
        known.resume_step, known.attempt_step, known.repeats = event.resume_step, None, 0
        known.counted = known.promoting and event.resume_step > 0
        known.promoting = False
        if known.freed:
            known.freed, known.freed_bytes = "", 0
            if not event.resume_step:
                known.begun_again += 1
                known.from_checkpoint = 0
                known.notes -= {Mark.CONTINUED, Mark.RECOUNTED, Mark.NOT_LOADED}
        if event.resume_step:
            known.from_checkpoint += 1
            known.notes.add(Mark.CONTINUED)
        elif self.codes[-1] == self.codes[0]:
            known.notes.discard(Mark.OTHER_CODE)
        if known.counted:
            known.continued += 1
            known.steps_saved += event.resume_step

    def report(self, known: Known, event: e.Reported, now: float) -> bool:
        again = event.step == known.attempt_step and event.replaces
        if again and event.replaces <= known.repeats:
            return False
        anew = event.step < known.resume_step and not event.kept
        before = known.attempt_step
        if not (again or anew) and before is not None and event.step <= before:
            return False
        known.metrics = event.metrics or known.metrics
        known.repeats = event.replaces or 0
        if again:
            known.reports[-1] = (event.step, event.value)
            known.notes.add(Mark.REPLACED)
        else:
            known.attempt_step = event.step
            if anew and Mark.RECOUNTED not in known.notes:
                known.from_checkpoint -= 1
                if not known.from_checkpoint:
                    known.notes.discard(Mark.CONTINUED)
                if known.counted:
                    known.continued -= 1
                    known.steps_saved -= known.resume_step
                    known.counted = False
            if anew:
                known.resume_step = 0
            known.reports = [r for r in known.reports if r[0] < event.step]
            known.reports.append((event.step, event.value))
            known.steps_run += 1
        what = "replaced" if event.replaces else "report"
        self.quote(what, known.trial_id, event.step, event.value)
        if known.trial_id in self.unwanted:
            self.unwanted.discard(known.trial_id)
            self.stop(known, now)
        done = known.budget is not None and event.step >= known.budget - 1
        if not done and known.state == "running":
            finalized = tuple(self.finalized)
            for name in self.quote("check", (known.trial_id,), finalized, "max"):
                target = self.trials.get(name)
                if target is not None and target.state == "running" and target.reports:
                    self.stop(target, now)
        due_s = self.soft_due_s(known)
        if due_s is not None and due_s <= now:
            self.stop(known, now)
        return True

    def stop(self, known: Known, now: float) -> None:
        known.go("stopping", now)
        self.out.append(("stop", known.trial_id, known.attempt))

    def soft_due_s(self, known: Known) -> float | None:
        """When a trial is to be stopped for its time, if it can be."""
        limit_s = self.limits.max_trial_time_s
        if limit_s is None or known.state != "running" or not known.reports:
            return None
        assert known.started_s is not None
        if known.budget is not None and known.reports[-1][0] >= known.budget - 1:
            return None
        return known.started_s + max(0.0, limit_s - sum(known.spans))

    def value(self, known: Known, value: float, state: str, now: float) -> None:
        self.hosts.questions.pop(known.trial_id, None)
        if known.trial_id not in self.finalized:
            self.finalized.append(known.trial_id)
        known.final_metric = value
        known.go(state, now)

    def well(self, known: Known) -> None:
        if known.host:
            known.tries.append((known.host, None))
            before = set(self.hosts.aside)
            hosts = known.hosts or (known.host,)
            self.hosts.well(known.trial_id, hosts, known.slots)
            self.tell_of_hosts(before)

    def goes_elsewhere(self, known: Known, event: e.Failed, now: float) -> bool:
        if not event.host:
            return False
        failure, before = event.failure, set(self.hosts.aside)
        like = (failure.kind, failure.location, failure.message.split(":")[0])
        goes = self.hosts.fails(
            known.trial_id, event.host, like, now - known.launched_s, known.slots,
            last=known.failed_on != "" or known.state == "stopping",
        )  # fmt: skip
        self.tell_of_hosts(before)
        return goes

    def dies_of_its_host(self, known: Known, event: e.Lost, now: float) -> bool:
        if not event.host or event.died is None:
            return False
        before = set(self.hosts.aside)
        elsewhere = self.hosts.dies(
            known.trial_id, event.host, event.died, known.launched_s, now, known.slots
        )
        self.tell_of_hosts(before)
        return elsewhere

    def tell_of_hosts(self, before: set[str]) -> None:
        for name in sorted(before ^ self.hosts.aside):
            self.out.append(("set aside", name, name in before))

    def fail(self, known: Known, kind: str, now: float) -> None:
        known.failed_with = kind
        if known.results:
            known.notes.add(Mark.PROMOTION_FAILED)
        self.hosts.questions.pop(known.trial_id, None)
        if known.host:
            known.tries.append((known.host, kind))
        known.go("failed", now)
        self.ended(known, now)

    def lose(self, known: Known, now: float) -> None:
        if known.state == "stopping":
            self.value(known, known.reports[-1][1], "stopped", now)
        else:
            known.go("waiting", now)

    # What follows.

    def ended(self, known: Known, now: float) -> None:
        if known.state == "failed":
            self.bad_in_a_row += 1
        elif known.state != "diverged":
            self.bad_in_a_row = 0
        self.none_but_diverged &= known.state == "diverged"
        self.diverged_at_first += known.state == "diverged"
        self.count_end(known)
        self.unwanted.discard(known.trial_id)
        self.quote("end", known.trial_id, known.state)
        self.untold.append(known)
        enough = max(self.limits.max_failures, self.slots)
        if self.bad_in_a_row >= enough or (
            self.none_but_diverged and self.diverged_at_first >= enough
        ):
            self.end("failed", now)
        else:
            self.fill(now)

    def count_end(self, known: Known) -> None:
        if known.state == "failed":
            return
        values = [k.final_metric for k in self.trials.values() if k.final_metric is not None]
        before, self.best = self.best, max(values, default=None)
        better = self.best is not None and (before is None or self.best > before)
        self.no_better = 0 if better else self.no_better + 1
        self.is_enough |= self.judged()

    def judged(self) -> bool:
        target, most = self.limits.target, self.limits.no_better_for
        reached = target is not None and self.best is not None and self.best >= target
        return reached or (most is not None and self.no_better >= most)

    def free_but(self, avoided: set[str]) -> int:
        if not avoided:
            return self.free
        busy = [name for known in self.active for name in known.hosts]
        nobody_knows = sum(known.slots for known in self.active) - len(busy)
        left = sum(
            max(0, host.slots - busy.count(name))
            for name, host in self.hosts.hosts.items()
            if name not in avoided
        )
        return left - nobody_knows

    def avoided_by(self, known: Known) -> set[str]:
        others = self.hosts.shunned(self.per_trial) | {known.avoids}
        if self.hosts.slots_but(others) < self.per_trial:
            return self.hosts.shunned(self.per_trial)
        doubtful = others | self.hosts.failing()
        strict = self.hosts.questions.get(known.trial_id, {"strict": False})["strict"]
        busy = [name for one in self.active for name in one.hosts]
        room = sum(
            max(0, host.slots - busy.count(name))
            for name, host in self.hosts.hosts.items()
            if name not in doubtful
        )
        is_there = self.hosts.slots_but(doubtful) >= self.per_trial
        return doubtful if is_there and (strict or room >= self.per_trial) else others

    def closed(self) -> set[str]:
        closed = self.hosts.closed(self.per_trial)
        for known in self.elsewhere:
            there = {name for name, host in self.hosts.hosts.items() if host.slots}
            closed |= there - self.avoided_by(known)
        left = sum(h.slots for name, h in self.hosts.hosts.items() if name not in closed)
        if closed and not self.active and left < self.per_trial:
            return self.hosts.shunned(self.per_trial)
        return closed

    def fill(self, now: float) -> None:
        if self.is_enough:
            self.end("finished", now)
            return
        for known in list(self.elsewhere):
            avoid = self.avoided_by(known)
            if self.free_but(avoid) >= self.per_trial:
                self.elsewhere.remove(known)
                self.launch(known, known.budget, now, avoid)
        waits = False
        while not self.over:
            queued = self.per_trial * (len(self.queue) + len(self.retries))
            if self.untold:
                answer = self.quote("ask", self.untold.pop(0).trial_id)
            elif not waits and self.free_but(self.closed()) - queued >= self.per_trial:
                answer = self.quote("ask", None)
            else:
                break
            waits = answer is WAIT
            if answer is None:
                self.over = True
            elif isinstance(answer, Promotion):
                self.queue.append((self.trials[answer.trial_id], answer.budget))
            elif isinstance(answer, Trial) and len(self.trials) >= self.num_trials:
                self.over = True
            elif isinstance(answer, Trial):
                name = f"t{len(self.trials):04d}"
                assert (answer.trial_id, answer.number) == (name, len(self.trials))
                assert answer.seed is not None
                known = self.trials[name] = Known(name, answer.seed, answer.budget)
                self.queue.append((known, answer.budget))
        closed = self.closed()
        while (self.retries or self.queue) and self.free_but(closed) >= self.per_trial:
            again = (self.retries[0], self.retries.pop(0).budget) if self.retries else None
            self.launch(*(again or self.queue.pop(0)), now, closed)
        if self.over and not (self.active or self.queue or self.retries or self.elsewhere):
            self.end("finished", now)

    def launch(self, known: Known, budget: float | None, now: float, avoid: set[str]) -> None:
        known.host, known.lost_on, known.launched_s = "", "", now
        if known.state == "finished":
            known.failed_on = ""
            known.promotions += 1
            known.promoting = True
        known.attempt += 1
        known.budget, known.slots = budget, self.per_trial
        if self.codes[-1] != self.codes[0]:
            known.notes.add(Mark.OTHER_CODE)
        known.go("launched", now)
        self.launched.append(known)
        last = known.reports[-1][0] if known.reports else -1
        what = (known.trial_id, known.attempt, budget, known.slots, last, known.seed)
        self.out.append(("launch", *what, tuple(sorted(avoid))))

    def end(self, status: Any, now: float) -> None:
        for known in self.active:
            self.write_off(known, now)
            self.out.append(("kill", known.trial_id, known.attempt, False))
        self.status = status
        self.out.append(("finish", status, status == "finished" and self.is_enough))

    def write_off(self, known: Known, now: float) -> None:
        self.lose(known, now)
        if known.state == "stopped":
            self.count_end(known)
            self.quote("end", known.trial_id, "stopped")
            self.untold.append(known)

    def look_at_the_clock(self, now: float) -> None:
        limits = self.limits
        if self.status is None and limits.max_time_s is not None and now >= limits.max_time_s:
            self.end("time_limit", now)
        while self.status is None:
            started = [(k.started_s, k) for k in self.active if k.started_s is not None]
            due = [
                (begun_s + limits.trial_timeout_s, known.trial_id, True)
                for begun_s, known in started
                if limits.trial_timeout_s is not None
            ]
            due += [
                (due_s, known.trial_id, False)
                for _, known in started
                if (due_s := self.soft_due_s(known)) is not None
            ]
            if not due or min(due)[0] > now:
                return
            _, trial_id, is_hard = min(due)
            known = self.trials[trial_id]
            if is_hard:
                self.out.append(("kill", known.trial_id, known.attempt, True))
                self.fail(known, "timeout", now)
            else:
                self.stop(known, now)

    def resume(self, event: e.Resumed, now: float) -> None:
        was, self.limits = self.limits, type(self.limits)(**event.limits)
        if event.code:
            self.codes.append(event.code)
        for known in self.active:
            self.write_off(known, now)
        told = [(one.target, one.no_better_for) for one in (was, self.limits)]
        if told[0] != told[1]:
            self.is_enough = self.judged()
        waiting = [k for k in self.trials.values() if k.state == "waiting"]
        self.retries = [k for k in waiting if not k.avoids]
        self.elsewhere = [k for k in waiting if k.avoids]
        self.hosts = ModelHosts()
        self.bad_in_a_row, self.diverged_at_first = 0, 0
        self.slots, self.per_trial, self.status = 0, event.slots_per_trial, None
        if event.num_trials is not None and event.num_trials > self.num_trials:
            self.num_trials, self.over = event.num_trials, False
