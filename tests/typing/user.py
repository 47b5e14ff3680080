"""What a user writes with annotations; mypy checks it with the package (``files`` in pyproject)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, assert_type

import dotrain
from dotrain import (
    WAIT,
    AblationStudy,
    AbstractAblator,
    AbstractEarlyStop,
    AbstractExecutor,
    AbstractFramework,
    AbstractOptimizer,
    AbstractStrategy,
    Arm,
    Categorical,
    Checkpoint,
    Component,
    DataGenerator,
    Direction,
    Discrete,
    DotrainError,
    EarlyStop,
    Features,
    Float,
    Int,
    ModelGenerator,
    Observer,
    Plan,
    PortTaken,
    Promotion,
    Reporter,
    Result,
    Rung,
    RunView,
    Searchspace,
    Seat,
    Suggestion,
    Trial,
    TrialState,
    experiment,
)
from dotrain.abc import Event, Instruction, Post, Reported, SlotsChanged
from dotrain.callbacks import KerasEpochEnd, LightningCheckpoint, LightningReport, SklearnSteps


def model(units: int, features: Features) -> list[int]:
    return [units] * ("age" in features)


def data(features: Features, split: str) -> list[str]:
    return features.select(["age", split])


def train(
    units: int,
    hparams: Mapping[str, Any],
    model_gen: ModelGenerator,
    data_gen: DataGenerator,
    reporter: Reporter,
    checkpoint: Checkpoint,
    dist_strategy: Callable[[], AbstractContextManager[Seat]],
) -> float:
    with dist_strategy() as seat:
        assert_type(seat.rank, int)
        model_gen.create()
        data_gen.load(split="validation")
        try:
            for step in range(checkpoint.step, units):
                reporter.broadcast({"score": 0.5}, step=step)
                with checkpoint.save(step=step + 1) as folder:
                    (folder / "weights").write_text(str(hparams["units"]))
        except EarlyStop:
            pass
    return reporter.best or 0.0


class Once(AbstractOptimizer):
    def __init__(self, *, step: float = 0.1) -> None:
        self.step = step

    def plan(self) -> Plan | None:
        return Plan(1, 2, rungs=(Rung(1, 1), Rung(3, 1)))

    def initialize(self) -> None:
        self.left = 1

    def get_suggestion(self, trial: Trial | None = None) -> Suggestion:
        if trial is not None and trial.state is TrialState.FINISHED:
            return Promotion(trial.trial_id, 3.0, "it has ended")
        if not self.left:
            return WAIT if trial is None else None
        self.left -= 1
        params = self.draw_untried()
        return None if params is None else self.create_trial(params)


class Stalled(AbstractEarlyStop):
    def earlystop_check(
        self,
        to_check: Mapping[str, Trial],
        finalized_trials: Sequence[Trial],
        direction: Direction,
    ) -> Collection[Trial | str]:
        best = max if direction == "max" else min
        return [
            one for one in to_check.values() if best(one.metric_history) != one.metric_history[-1]
        ]


class Launched(AbstractStrategy):
    def begin(self, seat: Seat) -> None:
        if not seat.addresses:
            raise PortTaken("none")
        self.seat = seat

    def open(self) -> AbstractContextManager[Seat]:
        return nullcontext(self.seat)


class First(AbstractAblator):
    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        return [Arm(one.name, (one.name,)) for one in components[:1]]


class Nowhere(AbstractExecutor):
    def slots(self, per_trial: int) -> int:
        return per_trial

    def start(self, program: Any, post: Post) -> None:
        post(SlotsChanged(1))

    def carry_out(self, instruction: Instruction) -> None: ...

    def pump(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...


class Toy(AbstractFramework):
    packages = ("toyframe",)

    def seed(self, seed: int) -> None: ...


class Counts(Observer):
    def start(self, run: RunView) -> None:
        self.best: dict[str, float] = {}
        assert_type(run.trials, Mapping[str, Trial])
        (run.run_dir / "name").write_text(run.header["name"])

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        if isinstance(event, Reported):
            self.best[event.trial_id] = event.value


def main() -> Result:
    space = Searchspace(
        lr=Float(range=(1e-4, 1e-1), scale="log"),
        units=Int(range=(1, 9)),
        batch=Discrete(values=(16, 32)),
        kind=Categorical(values=("a", "b")),
    )
    study = AblationStudy(seeds=3)
    study.features.include("age")
    try:
        result = experiment.lagom(
            train,
            space,
            Once(step=0.2),
            early_stop=Stalled(),
            num_trials=1,
            observers=[Counts(), "tensorboard"],
        )
    except DotrainError:
        result = experiment.lagom(train, ablation=study, model=model, data=data)
    assert_type(result.trials, Sequence[Trial])
    return result


def slip() -> object:
    return dotrain.lagom  # type: ignore[attr-defined]


def by_callbacks(reporter: Reporter, checkpoint: Checkpoint) -> list[object]:
    keep = LightningCheckpoint(checkpoint)
    assert_type(keep.path, str | None)
    steps = SklearnSteps(object(), 4.0, reporter, checkpoint)
    assert_type(list(steps), list[int])
    return [keep, LightningReport(reporter, "val_loss"), KerasEpochEnd(reporter)]
