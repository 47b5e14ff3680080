"""The scheduler under random orders of everything that can happen, against a plain model of it."""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dotrain.core import instructions
from dotrain.core.book import TrialBook
from dotrain.core.events import (
    Diverged,
    Event,
    Failed,
    Finished,
    Freed,
    Interrupted,
    Lost,
    Noted,
    Reported,
    Resumed,
    SlotsChanged,
    Started,
    StopAsked,
    Stopped,
    TimePassed,
    TrialEvent,
    to_record,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.policy import WAIT, AbstractEarlyStop, AbstractOptimizer, Promotion
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial
from dotrain.space import Searchspace
from dotrain.store import replay
from dotrain.store.journal import to_json
from dotrain.store.restore import restore
from tests.core.model import Known, Model, said

BROKEN = Failure(FailureKind.EXCEPTION, "ValueError: no")
OTHER = Failure(FailureKind.SETUP, "OSError: no device")
NOT_THE_HOSTS = Failure(FailureKind.BAD_RESULT, "returned nothing")


class AnyOptimizer(AbstractOptimizer):
    """Suggests anything that it may: new trials, promotions, to wait, or nothing more."""

    def __init__(self, seed: int, asked: deque[Any], *, waits: float = 0.2) -> None:
        self.draw, self.asked, self.waits = Random(seed), asked, waits
        self.slots = 0
        self.out: set[str] = set()
        #: Whose end it knows: several may have ended before it is told of the first.
        self.told: set[str] = set()
        self.new = 0

    def initialize(self) -> None:
        pass

    def get_suggestion(self, trial: Trial | None = None) -> Any:
        if trial is not None:
            self.out.discard(trial.trial_id)
            self.told.add(trial.trial_id)
            self.new -= trial.attempt == 1
        answer = self._answer()
        self.asked.append(("ask", trial and trial.trial_id, answer))
        return answer

    def _answer(self) -> Any:
        dice = self.draw.random()
        done = [i for i, t in self.trials.items() if t.state == "finished" and i in self.told]
        nothing_runs = all(t.state.ended for t in self.trials.values()) and not self.out
        if dice < self.waits and (not nothing_runs or self.slots == 0):
            return WAIT
        if dice < self.waits + 0.3 and done:
            promoted = self.draw.choice(done)
            self.out.add(promoted)
            self.told.remove(promoted)
            return Promotion(promoted, self.draw.choice([2, 3, 5]))
        if dice > 0.98:
            return None
        self.new += 1
        return self.create_trial({"x": dice}, self.draw.choice([None, 1, 2, 3]))


class AnyRule(AbstractEarlyStop):
    """Stops any trials, silent and ended ones among them, in every form that an answer may have."""

    def __init__(self, seed: int, asked: deque[Any]) -> None:
        self.draw, self.asked = Random(seed), asked
        self.known: list[str] = ["t9999"]

    def on_report(self, trial: Trial, step: int, value: float) -> None:
        self.asked.append(("report", trial.trial_id, step, value, None))

    def on_replaced(self, trial: Trial, step: int, value: float) -> None:
        self.asked.append(("replaced", trial.trial_id, step, value, None))

    def on_end(self, trial: Trial) -> None:
        self.asked.append(("end", trial.trial_id, str(trial.state), None))

    def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
        names = [f"t{self.draw.randrange(6):04d}" for _ in range(self.draw.choice([0, 0, 1, 2]))]
        names += [name for name in to_check if self.draw.random() < 0.3]
        names = list(dict.fromkeys(names))
        finalized = tuple(trial.trial_id for trial in finalized_trials)
        self.asked.append(("check", tuple(to_check), finalized, direction, names))
        if self.draw.random() < 0.3:
            return dict.fromkeys(names, "so it is")
        if all(name in to_check for name in names):
            return list(to_check.values())[: len(names)]
        return names


class SchedulerMachine(RuleBasedStateMachine):
    """What the scheduler says and knows is what the model says, after every event."""

    @initialize(
        seed=st.integers(0, 1000),
        slots=st.integers(0, 5),
        per_trial=st.sampled_from([1, 1, 2, 3]),
        retries=st.integers(0, 2),
        max_failures=st.sampled_from([1, 2, 6]),
        timeout=st.sampled_from([None, 5.0]),
        trial_time=st.sampled_from([None, 4.0, 7.0]),
        max_time=st.sampled_from([None, 40.0]),
        enough=st.sampled_from([None, None, 2.0, 3.0]),
        no_better_for=st.sampled_from([None, None, 2, 4]),
        waits=st.sampled_from([0.0, 0.2, 0.6]),
        hosts=st.sampled_from(["", "", "a", "ab", "abc", "abc"]),
        data=st.data(),
    )
    def begin(
        self,
        seed: int,
        slots: int,
        per_trial: int,
        retries: int,
        max_failures: int,
        timeout: float | None,
        trial_time: float | None,
        max_time: float | None,
        enough: float | None,
        no_better_for: int | None,
        waits: float,
        hosts: str,
        data: st.DataObject,
    ) -> None:
        self.hosts = hosts
        self.time_s = 0.0
        self.seed, self.waits, self.per_trial = seed, waits, per_trial
        self.limits = Limits(
            timeout, trial_time, max_time, retries, max_failures, enough, no_better_for
        )
        self.model = Model(self.limits, 9, per_trial, "code 1")
        self.scheduler, self.optimizer = self.make(self.model.asked)
        self.records: list[dict[str, Any]] = []
        self.note(
            {
                "type": "Run",
                "version": 3,
                "seed": 3,
                "code": {"digest": "code 1"},
                "limits": vars(self.limits),
            }
        )
        self.past: list[Event] = []
        self.change(data, slots)

    def make(self, asked: deque[Any]) -> tuple[Scheduler, AnyOptimizer]:
        optimizer = AnyOptimizer(self.seed, asked, waits=self.waits)
        optimizer.setup(Searchspace(), 9, "max", 3)
        optimizer.initialize()
        scheduler = Scheduler(
            optimizer,
            AnyRule(self.seed, asked),
            seed=3,
            limits=self.limits,
            slots_per_trial=self.per_trial,
            code="code 1",
        )
        return scheduler, optimizer

    def note(self, record: dict[str, Any]) -> None:
        full = {"n": len(self.records), "t": self.time_s, **record}
        self.records.append(json.loads(to_json(full)))

    def take(self, event: Event) -> None:
        self.past.append(event)
        if isinstance(event, SlotsChanged | Resumed):
            self.optimizer.slots = getattr(event, "slots", 0)
        over = self.scheduler.status is not None and not isinstance(event, Resumed | Freed)
        out = self.scheduler.handle(event, self.time_s)
        expected, news = self.model.handle(event, self.time_s)
        assert [said(instruction) for instruction in out] == expected
        assert self.scheduler.took_in == news
        assert all(instruction.reason for instruction in out)
        if not over:  # a driver doesn't write what comes after the end
            self.note(to_record(event))
        for instruction in out:
            self.note(instructions.to_record(instruction))
        self.compare(self.scheduler.book)
        assert (self.scheduler.status, self.scheduler.slots) == (
            self.model.status,
            self.model.slots,
        )
        self.scheduler.validate()
        self.look_at_deadlines()

    def compare(self, book: TrialBook) -> None:
        for trial_id, trial in book.trials.items():
            self.model.trials[trial_id].same_as(trial)
        # A journal doesn't know of trials that were never launched.
        unknown = [k.state for i, k in self.model.trials.items() if i not in book.trials]
        assert set(unknown) <= ({"new"} if book is not self.scheduler.book else set())
        assert [trial.trial_id for trial in book.finalized] == self.model.finalized
        assert book.codes == self.model.codes
        assert book.hosts.aside == self.model.hosts.aside

    def look_at_deadlines(self) -> None:
        if self.scheduler.status is not None:
            return
        limits, due = self.model.limits, []
        if limits.max_time_s is not None:
            due.append(limits.max_time_s)
        if limits.trial_timeout_s is not None:
            started = [k.started_s for k in self.model.active if k.started_s is not None]
            due += [time_s + limits.trial_timeout_s for time_s in started]
        soft = [self.model.soft_due_s(known) for known in self.model.active]
        due += [due_s for due_s in soft if due_s is not None]
        found = self.scheduler.next_deadline()
        assert found is None or found > self.time_s, "a deadline has passed"
        assert not due or (found is not None and found <= min(due)), "a deadline is missed"
        trials_have_any = limits.trial_timeout_s or limits.max_trial_time_s
        assert found is None or trials_have_any or found == limits.max_time_s

    def pick(self, data: st.DataObject, *states: str) -> Known | None:
        known = [k for k in self.model.trials.values() if k.state in states]
        return data.draw(st.sampled_from(known)) if known else None

    def twice(self, data: st.DataObject, event: Event) -> None:
        """Take an event in, perhaps once more at once."""
        self.take(event)
        if data.draw(st.integers(0, 4)) == 0:
            self.take(event)

    @rule(data=st.data(), resume=st.integers(0, 3))
    def start(self, data: st.DataObject, resume: int) -> None:
        known = self.pick(data, "launched")
        if known:
            hosts = None
            if self.hosts:
                each = st.sampled_from(self.hosts)
                hosts = data.draw(st.tuples(*[each] * known.slots))
            self.twice(data, Started(known.trial_id, known.attempt, "w", resume, hosts))

    @rule(data=st.data(), value=st.integers(-3, 3), kept=st.sampled_from([None, None, True]))
    def report(self, data: st.DataObject, value: int, kept: bool | None) -> None:
        known = self.pick(data, "running", "stopping")
        if known:
            least = known.resume_step if known.attempt_step is None else known.attempt_step + 1
            step = data.draw(st.sampled_from([least, least, least + 1, 0, 1, 2]))
            metrics = data.draw(st.sampled_from([None, {"loss": float(value)}]))
            name = (known.trial_id, known.attempt)
            self.twice(data, Reported(*name, step, float(value), metrics, kept))

    @rule(data=st.data(), value=st.integers(-3, 3))
    def replace(self, data: st.DataObject, value: int) -> None:
        known = self.pick(data, "running", "stopping")
        if known and known.attempt_step is not None:
            name = (known.trial_id, known.attempt, known.attempt_step)
            times = known.repeats + data.draw(st.integers(0, 2)) or 1
            self.twice(data, Reported(*name, float(value), replaces=times))

    @rule(
        data=st.data(),
        value=st.integers(-3, 3),
        metrics=st.sampled_from([None, {"f1": 0.5}]),
        said=st.sampled_from([(None, None), (None, None), ("last", None), (None, "another")]),
    )
    def finish(
        self, data: st.DataObject, value: int, metrics: Any, said: tuple[str | None, str | None]
    ) -> None:
        known = self.pick(data, "running", "stopping")
        if known:
            host = known.hosts[0] if known.hosts else None
            name = (known.trial_id, known.attempt)
            self.twice(data, Finished(*name, float(value), metrics, *said, host=host))

    @rule(data=st.data())
    def stopped(self, data: st.DataObject) -> None:
        known = self.pick(data, "stopping", "stopping", "running")
        if known:
            host = known.hosts[0] if known.hosts else None
            self.twice(data, Stopped(known.trial_id, known.attempt, host=host))

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        known = self.pick(data, "launched", "running", "stopping")
        if known:
            failure = data.draw(st.sampled_from([BROKEN, BROKEN, OTHER, NOT_THE_HOSTS]))
            host = self.host_of(data, known)
            self.twice(data, Failed(known.trial_id, known.attempt, failure, host=host))

    @rule(data=st.data())
    def diverge(self, data: st.DataObject) -> None:
        known = self.pick(data, "running", "stopping")
        if known:
            host = self.host_of(data, known)
            what = "reported nan at step 1"
            self.twice(data, Diverged(known.trial_id, known.attempt, what, host=host))

    @rule(data=st.data(), mark=st.sampled_from([Mark.RECOUNTED, Mark.OVER_BUDGET, Mark.NOT_LOADED]))
    def tell(self, data: st.DataObject, mark: Mark) -> None:
        known = self.pick(data, "running", "stopping")
        if known:
            self.take(Noted(known.trial_id, known.attempt, mark.value, "so it is"))

    @rule(data=st.data(), why=st.sampled_from(["", "too slow"]))
    def ask_to_stop(self, data: st.DataObject, why: str) -> None:
        known = self.pick(data, "launched", "running", "stopping")
        if known:
            self.twice(data, StopAsked(known.trial_id, known.attempt, "me@here", why))

    @rule(data=st.data(), died=st.sampled_from([None, "process", "worker"]))
    def lose(self, data: st.DataObject, died: str | None) -> None:
        known = self.pick(data, "launched", "running", "stopping")
        if known:
            host = self.host_of(data, known)
            lost = Lost(known.trial_id, known.attempt, "its worker died", died, host=host)
            self.twice(data, lost)

    @rule(data=st.data(), slots=st.integers(0, 7))
    def slots(self, data: st.DataObject, slots: int) -> None:
        self.change(data, slots)

    def change(self, data: st.DataObject, slots: int) -> None:
        if not self.hosts:
            return self.take(SlotsChanged(slots))
        where = data.draw(st.lists(st.sampled_from(self.hosts), min_size=slots, max_size=slots))
        self.take(SlotsChanged(slots, hosts={name: where.count(name) for name in self.hosts}))

    def host_of(self, data: st.DataObject, known: Known) -> str | None:
        """Return where one of the ranks is, which somebody always knows if anybody does."""
        return data.draw(st.sampled_from(known.hosts or self.hosts)) if self.hosts else None

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 5.0]))
    def time(self, seconds: float) -> None:
        self.time_s += seconds
        self.take(TimePassed())

    @rule(seconds=st.sampled_from([0.25, 1.0]))
    def meanwhile(self, seconds: float) -> None:
        """The next event comes later; a deadline that passes before is met with it."""
        self.time_s += seconds

    @rule(data=st.data(), size=st.integers(0, 9))
    def free(self, data: st.DataObject, size: int) -> None:
        known = self.pick(data, "finished", "stopped", "diverged", "failed")
        if known:
            self.take(Freed("best", {known.trial_id: size}))

    @precondition(lambda self: len(self.past) > 20)
    @rule(seldom=st.integers(0, 3))
    def interrupt(self, seldom: int) -> None:
        if not seldom:
            self.take(Interrupted("Ctrl-C"))

    @precondition(lambda self: self.model.status is not None or len(self.past) > 30)
    @rule(
        more=st.sampled_from([None, 9, 12]),
        per_trial=st.integers(1, 2),
        code=st.sampled_from([None, "code 1", "code 2"]),
        timeout=st.sampled_from([None, 5.0]),
        trial_time=st.sampled_from([None, 4.0, 7.0]),
        max_failures=st.sampled_from([2, 6]),
        enough=st.sampled_from([None, 2.0, 3.0]),
        no_better_for=st.sampled_from([None, 2, 4]),
        seldom=st.integers(0, 3),
    )
    def resume(
        self,
        more: int | None,
        per_trial: int,
        code: str | None,
        timeout: float | None,
        trial_time: float | None,
        max_failures: int,
        enough: float | None,
        no_better_for: int | None,
        seldom: int,
    ) -> None:
        if seldom and self.model.status is None:
            return
        limits = vars(Limits(timeout, trial_time, None, 1, max_failures, enough, no_better_for))
        self.take(Resumed(limits, more, per_trial, code))

    @precondition(lambda self: len(self.past) > 3)
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        """What arrived before arrives again, unless it would be news of a live attempt."""
        event = data.draw(st.sampled_from(self.past))
        known = self.model.trials.get(getattr(event, "trial_id", ""))
        live = known is not None and known.active and known.attempt == getattr(event, "attempt", 0)
        if isinstance(event, TrialEvent) and not live:
            self.take(event)

    def teardown(self) -> None:
        """Readers of the journal know the same, and whoever goes on with it."""
        if not hasattr(self, "scheduler"):
            return
        state = replay(self.records)
        self.compare(state.book)
        assert (state.status, state.slots) == (self.model.status, self.model.slots)
        assert state.time_s == self.records[-1]["t"]
        again, optimizer = self.make(deque())

        def told() -> Any:
            for record in self.records[1:]:
                if record["type"] in ("SlotsChanged", "Resumed"):
                    optimizer.slots = record.get("slots", 0)
                yield record

        restored = restore(again, told())
        assert (restored.time_s, restored.unwritten) == (state.time_s, [])
        self.compare(again.book)
        again.validate()


SchedulerMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=60, deadline=None
)
TestSchedulerMachine = SchedulerMachine.TestCase
