"""Which checkpoints are kept, which are freed and when; and that this is known, not guessed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain import Searchspace, experiment
from dotrain.config import load_config
from dotrain.core.arm import ArmRun
from dotrain.core.events import Event, Freed, Resumed
from dotrain.core.front import Metrics
from dotrain.core.instructions import Finish, Launch
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.observer import Observer
from dotrain.core.policy import AbstractOptimizer, Direction
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.median import MedianStop
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.grid import GridSearch
from dotrain.optimizers.random import RandomSearch
from dotrain.report.notebook import to_html
from dotrain.report.page.document import make_document
from dotrain.report.page.writing import write_page
from dotrain.report.reading import read_run
from dotrain.report.result import result_lines
from dotrain.report.status import read_status
from dotrain.report.story import read_trial
from dotrain.report.trial_text import trial_lines
from dotrain.results import ranked
from dotrain.results.text import bytes_text
from dotrain.runs.definition import Experiment
from dotrain.runs.freeing import Choice, Freeing, FrontChoice, to_free
from dotrain.runs.session import run
from dotrain.store import RunDir, read_journal, replay
from dotrain.store.checkpoints import checkpoints_in, clear, discard_all
from dotrain.store.kept import Kept
from dotrain.testing import simulate
from dotrain.testing.contracts import example_curve, example_space
from dotrain.training.checkpoint import Checkpoint
from tests.conftest import Project
from tests.core.test_front import searches

# ---- the decision ----

values = st.sampled_from([None, 0.0, 1.0, 2.0])


@st.composite
def ended(draw: st.DrawFn) -> list[Trial]:
    """Trials that have a checkpoint and are over; of a search, or of a study."""
    kinds: list[list[str | None]] = [[None], ["baseline", "layer:a"], ["layer:a"]]
    arms = draw(st.sampled_from(kinds))
    trials = []
    for number, value in enumerate(draw(st.lists(values, max_size=8))):
        arm = draw(st.sampled_from(arms))
        run = None if arm is None else ArmRun(arm, number)
        trial = Trial({}, trial_id=f"t{number:04d}", number=number, arm=run)
        trial.state = TrialState.FAILED if value is None else TrialState.FINISHED
        trial.final_metric = value
        trials.append(trial)
    return trials


@given(trials=ended(), direction=st.sampled_from(["max", "min"]), seed=st.integers(0, 9))
def test_all_but_the_best_are_freed_in_whatever_order_they_are_given(
    trials: list[Trial], direction: Direction, seed: int
) -> None:
    candidates = [t for t in trials if t.arm is None or t.arm.name == "baseline"]
    best = ranked(candidates, direction)[:1]
    shuffled = Random(seed).sample(trials, len(trials))
    freed = to_free(shuffled, Choice(direction))
    # Without a best trial there is nothing to keep, so nothing is thrown away either.
    expected = [t.trial_id for t in trials if t not in best] if best else []
    assert sorted(t.trial_id for t in freed) == expected


@given(trials=ended(), direction=st.sampled_from(["max", "min"]))
def test_what_is_freed_early_would_have_been_freed_at_the_end(
    trials: list[Trial], direction: Direction
) -> None:
    choice = Choice(direction)
    for count, trial in enumerate(trials, start=1):
        freed = choice.add(trial)
        assert choice.kept not in freed
        assert {id(t) for t in freed} <= {id(t) for t in to_free(trials, Choice(direction))}
        assert (choice.kept is None) == (
            not to_free(trials[:count], Choice(direction))
        ) or count == 1


@given(searches(), st.integers(0, 9))
def test_only_what_is_dominated_is_freed_in_whatever_order_trials_end(
    search: tuple[Metrics, list[Trial]], seed: int
) -> None:
    metrics, trials = search
    front = metrics.front(trials)
    shuffled = Random(seed).sample(trials, len(trials))
    freed = to_free(shuffled, FrontChoice(metrics))
    expected = [trial.trial_id for trial in trials if trial not in front] if front else []
    assert sorted(trial.trial_id for trial in freed) == expected
    choice = FrontChoice(metrics)
    for trial in shuffled:
        assert not set(choice.add(trial)) & set(front)


OPTIMIZERS: dict[str, Any] = {
    "random": RandomSearch,
    "grid": lambda: GridSearch(points=2),
    "asha": lambda: ASHA(resource_max=9),
    "asha2": lambda: ASHA(resource_max=4, reduction_factor=2),
}


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(OPTIMIZERS)),
    direction=st.sampled_from(["max", "min"]),
    seed=st.integers(0, 1000),
    failing=st.sampled_from([0.0, 0.3]),
    losing=st.sampled_from([0.0, 0.3]),
    diverging=st.sampled_from([0.0, 0.3]),
    without=st.sampled_from([0, 3]),
)
def test_a_trial_that_may_go_on_keeps_its_checkpoint_and_the_best_always(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    direction: Direction,
    seed: int,
    failing: float,
    losing: float,
    diverging: float,
    without: int,
) -> None:
    """`best` over a whole search, event by event; some trials have no checkpoint."""
    make, space = OPTIMIZERS[name], example_space()
    faults: dict[str, Any] = {"failing": failing, "losing": losing, "diverging": diverging}
    limits = Limits(max_failures=1000)
    # A promoted trial may become worse, so that one which was second is the best at the end.
    run = simulate(
        make(), MedianStop(), space=space, num_trials=14, direction=direction, seed=seed,
        limits=limits, curve=lambda p, step, s: example_curve(p, step, s) * (-1) ** (step % 3),
        **faults,
    )  # fmt: skip
    optimizer: AbstractOptimizer = make()
    optimizer.setup(space, 14, direction, seed)
    optimizer.initialize()
    rule = MedianStop()
    rule.initialize()
    scheduler = Scheduler(optimizer, rule, direction=direction, seed=seed, limits=limits)
    run_dir = RunDir(tmp_path_factory.mktemp("run"))
    held = []
    for trial in run.scheduler.book.trials.values():
        if not without or trial.number % without:
            held.append(trial.trial_id)
            with Checkpoint(run_dir.checkpoint(trial.trial_id)).save(step=1):
                pass
    trials = scheduler.book.trials
    freeing = Freeing(Kept(run_dir), "best", scheduler, lambda: Choice(direction))
    gone: set[str] = set()

    def free(freed: Freed | None, time_s: float) -> None:
        if freed is not None:
            assert scheduler.handle(freed, time_s) == []
            freeing.carry_out(freed)
            assert not gone & set(freed.sizes), "freed twice"
            gone.update(freed.sizes)

    for time_s, event, expected in run.log:
        instructions = scheduler.handle(event, time_s)
        assert instructions == expected, "asking has changed a decision"
        launched = {i.trial_id for i in instructions if isinstance(i, Launch)}
        assert not launched & gone
        if scheduler.status is None:
            free(freeing.after(event, instructions), time_s)
    assert all(t.state.ended or t.state is TrialState.NEW for t in trials.values())
    best = next(
        (t.trial_id for t in ranked(trials.values(), direction) if t.trial_id in held), None
    )
    assert best not in gone
    free(freeing.at_end(), time_s)
    left = [trial_id for trial_id in held if checkpoints_in(run_dir.checkpoint(trial_id))]
    assert left == ([best] if best else held)
    # Whoever goes on with it finds nothing more to free.
    scheduler.handle(Resumed(vars(limits), 14), time_s)
    again = Freeing(Kept(run_dir), "best", scheduler, lambda: Choice(direction))
    assert (again.at_start(), again.at_end()) == (None, None)


# ---- what is deleted ----


def test_only_checkpoints_are_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    with Checkpoint(folder).save(step=1) as directory:
        (directory / "weights").write_text("1")
    (folder / ".partial-0badcafe").mkdir()
    (folder / "mine.txt").write_text("a user's")
    (folder / "step-by-step").mkdir()
    discard_all(folder)
    assert checkpoints_in(folder) == []
    clear(folder)
    assert sorted(os.listdir(folder)) == ["mine.txt", "step-by-step"]
    discard_all(folder)
    clear(folder)


def test_a_file_called_checkpoint_is_the_users(tmp_path: Path) -> None:
    """TensorFlow writes one of that name."""
    file = tmp_path / "checkpoint"
    file.write_text("model_checkpoint_path: ...")
    assert checkpoints_in(file) == []
    discard_all(file)
    clear(file)
    assert file.exists()


def test_with_all_every_checkpoint_stays(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, keeps_all=True)
    for step in (1, 2, 2, 7):
        with checkpoint.save(step=step):
            pass
    names = ["step-000000001", "step-000000002", "step-000000002.1", "step-000000007"]
    assert sorted(os.listdir(tmp_path)) == names
    assert checkpoint.step == 7
    assert checkpoint.latest == tmp_path / names[-1]


# ---- runs ----

LADDER = """
def train(x, checkpoint, reporter, budget=2, trial_dir=None):
    (trial_dir / "mine.txt").write_text("a user's")
    for step in range(checkpoint.step, budget):
        with checkpoint.save(step=step + 1) as folder:
            (folder / "weights").write_bytes(b"w" * 1000)
        reporter.broadcast(x * (step + 1), step)
    return x * budget
"""
SPACE = {"x": {"type": "float", "range": [0.1, 1.0]}}


def sections(optimizer: Any = None, num_trials: int = 6, **more: Any) -> dict[str, Any]:
    optimizer = optimizer or {"name": "random"}
    return {
        "search": {"space": SPACE, "optimizer": optimizer, "num_trials": num_trials},
        "cluster": {"kind": "inline"},
        **more,
    }


ASHA3 = {"name": "asha", "resource_max": 3}


def held(run_dir: Path) -> dict[str, list[int]]:
    """The steps of the checkpoints of each trial that has any."""
    found = {
        folder.name: [saved.step for saved in checkpoints_in(folder / "checkpoint")]
        for folder in sorted((run_dir / "trials").iterdir())
    }
    return {name: steps for name, steps in found.items() if steps}


def records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    return [r for r in read_journal(run_dir / "journal.jsonl") if r["type"] == kind]


def test_when_a_run_has_finished_the_best_trials_checkpoint_is_left(project: Project) -> None:
    result = project.run(LADDER, **sections())
    best = result.best
    assert best is not None
    name = best["trial_id"]
    assert held(result.run_dir) == {name: [2]}
    assert best["checkpoint"] == str(result.run_dir / "trials" / name / "checkpoint/step-000000002")
    kinds = [record["type"] for record in read_journal(result.run_dir / "journal.jsonl")]
    assert kinds[-2:] == ["Finish", "Freed"]
    freed_bytes = result.summary["checkpoints"]["freed_bytes"]
    assert freed_bytes > 5000
    told = {"freed": 5, "freed_bytes": freed_bytes, "kept": name}
    assert result.summary["checkpoints"] == told
    line = f"freed {bytes_text(freed_bytes)}: checkpoints of 5 trials (checkpoints.keep: auto); kept that of {name}"
    assert result.found.checkpoints.lines == [line]
    for trial in result.trials:
        folder = result.run_dir / "trials" / trial.trial_id
        assert (folder / "reports.jsonl").is_file()
        assert (folder / "mine.txt").is_file()
    # Whoever reads the journal knows the same.
    assert read_run(result.run_dir).result.to_json() == result.summary
    status = read_status(result.run_dir)
    assert status.to_json()["checkpoints"] == told
    assert line in status.to_json()["notes"]
    other = next(t.trial_id for t in result.trials if t.trial_id != name)
    found = read_trial(result.run_dir, other)
    assert (found["checkpoint"], found["freed"]) == (None, "auto")
    assert "checkpoint  freed (checkpoints.keep: auto)" in trial_lines(found)
    what = found["story"][-1]["what"]
    assert re.fullmatch(r"its checkpoint was freed: \d+(\.\d)? kB \(checkpoints.keep: auto\)", what)
    kept = read_trial(result.run_dir, name)
    assert (kept["checkpoint"], kept["freed"]) == (best["checkpoint"], None)
    page = make_document(read_run(result.run_dir), "now")
    assert page.checkpoint == f"trials/{name}/checkpoint/step-000000002"
    assert page.freed == [line]
    html = write_page(result.run_dir, None).read_text()
    assert f"<code>{page.checkpoint}</code> in the run directory" in html
    assert line in html
    assert line in to_html(result.found)
    assert line in result_lines(result.found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keep", "steps"), [("last", {f"t000{n}": [2] for n in range(3)}), ("best", None)]
)
def test_what_is_kept_can_be_said(project: Project, keep: str, steps: Any) -> None:
    result = project.run(LADDER, **sections(num_trials=3, checkpoints={"keep": keep}))
    assert held(result.run_dir) == (steps or {result.summary["best"]["trial_id"]: [2]})
    assert bool(records(result.run_dir, "Freed")) == (keep == "best")


def test_all_keeps_every_checkpoint_of_every_trial(project: Project) -> None:
    result = project.run(LADDER, **sections(ASHA3, 3, checkpoints={"keep": "all"}))
    assert sorted(held(result.run_dir).values()) == [[1], [1], [1, 2, 3]]
    assert result.summary["promotions"]["from_checkpoint"] == 1


def test_best_frees_on_the_way_what_can_not_be_the_best(project: Project) -> None:
    """Random search promotes nobody: each trial that is beaten is freed at once."""
    result = project.run(LADDER, **sections(checkpoints={"keep": "best"}))
    kinds = [record["type"] for record in read_journal(result.run_dir / "journal.jsonl")]
    assert kinds.count("Freed") == 5
    assert "Freed" in kinds[: kinds.index("Finish")]
    most = 0
    for record in read_journal(result.run_dir / "journal.jsonl"):
        most += record["type"] == "Finished"
        most -= len(record.get("sizes", ()))
        assert most <= 2


def test_a_slow_disk_holds_up_no_trial(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting takes as long as the run: it goes on, and no half checkpoint is to be seen."""
    has_ended, seen = threading.Event(), []

    def slow(directory: Path) -> None:
        seen.append(has_ended.wait(60))
        clear(directory)

    class Watcher(Observer):
        def on_event(self, event: Event, instructions: Any, time_s: float) -> None:
            if any(isinstance(one, Finish) for one in instructions):
                trials = project.path.glob("runs/*/*/trials")
                left.update(held(next(trials).parent))
                has_ended.set()

    left: dict[str, list[int]] = {}
    monkeypatch.setattr("dotrain.store.checkpoints.clear", slow)
    project.write("user.py", LADDER)
    config = project.config(
        **sections(checkpoints={"keep": "best"}, cluster={"kind": "local", "workers": 1})
    )
    result = run(Experiment.of(load_config(config)), project.path / "runs", Watcher())
    assert result.status == "finished"
    assert seen
    assert all(seen)
    assert len(left) <= 2
    assert len(held(result.run_dir)) == 1
    assert not [*result.run_dir.glob("trials/*/checkpoint/.partial-*")]


def test_a_single_run_keeps_its_own(project: Project) -> None:
    function = LADDER.replace("x, checkpoint, reporter", "checkpoint, reporter, x=1")
    result = project.run(function, cluster={"kind": "inline"})
    assert held(result.run_dir) == {"t0000": [2]}
    assert "checkpoints" not in result.summary
    assert not records(result.run_dir, "Freed")


@pytest.mark.usefixtures("rehearsed_here")
def test_of_a_study_the_best_run_of_the_baseline_is_kept(project: Project) -> None:
    project.write(
        "user.py",
        """
        def train(checkpoint, reporter, seed, bonus=0.0):
            with checkpoint.save(step=1):
                pass
            return bonus + seed % 1000 / 1000
        """,
    )
    config = project.config(
        ablation={"components": {"bonus": {"bonus": 9.0}}, "seeds": 3}, cluster={"kind": "inline"}
    )
    result = experiment.ablate(config, runs_dir=project.path / "runs", quiet=True)
    baseline = [t for t in result.trials if t.arm is not None and t.arm.name == "baseline"]
    best = max(baseline, key=lambda trial: trial.final_metric or 0.0)
    assert held(result.run_dir) == {best.trial_id: [1]}
    assert result.summary["checkpoints"]["freed"] == 5
    assert result.summary["checkpoints"]["kept"] == best.trial_id


@pytest.mark.parametrize("how", ["failed", "interrupted", "time_limit"])
def test_of_a_run_that_has_not_finished_nothing_is_freed(project: Project, how: str) -> None:
    function = LADDER
    limits: dict[str, Any] = {}
    if how == "failed":
        function = function.replace("    return", "    if x: raise ValueError(x)\n    return")
        limits = {"max_failures": 3}
    elif how == "interrupted":
        interrupt = "    import signal\n    if trial_dir.name == 't0002': signal.raise_signal(2)\n"
        function = function.replace("    return", f"{interrupt}    return")
    else:
        limits = {"max_time_s": 0.001}
    result = project.run(function, **sections(limits=limits))
    assert result.status == how
    assert how == "time_limit" or len(held(result.run_dir)) == 3
    assert not records(result.run_dir, "Freed")


def test_without_a_best_trial_nothing_is_freed(project: Project) -> None:
    function = LADDER.replace("    return", "    raise ValueError\n    return")
    result = project.run(function, **sections(num_trials=2))
    assert result.status == "finished"
    assert held(result.run_dir) == {"t0000": [2], "t0001": [2]}


def test_a_run_that_is_extended_says_which_trials_begin_again(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    first = project.run(LADDER, **sections(ASHA3, 3))
    assert held(first.run_dir) == {first.summary["best"]["trial_id"]: [3]}
    capsys.readouterr()
    again = experiment.resume(first.run_dir, ["search.num_trials=12"])
    said = capsys.readouterr().err
    assert "note: the checkpoints of 2 trials were freed when the run finished" in said
    assert "those that are promoted go on from step 0" in said
    promotions = again.summary["promotions"]
    begun = [trial for trial in again.trials if trial.begun_again]
    assert begun, "no trial that was freed has been promoted; take another seed"
    assert promotions["begun_again"] == len(begun)
    assert promotions["from_checkpoint"] + len(begun) == promotions["total"]
    for trial in again.trials:
        # What was done again counts as done again, and no step stands twice in a curve.
        assert trial.step_history == list(range(int(trial.budget or 0)))
        assert trial.steps_run == len(trial.step_history) + trial.begun_again
        assert trial.steps_saved == (0 if trial.begun_again else trial.promotions)
        assert Mark.RECOUNTED not in trial.notes
        assert (Mark.CONTINUED in trial.notes) == bool(trial.continued)
    count = "1 trial" if len(begun) == 1 else f"{len(begun)} trials"
    assert again.found.checkpoints.lines[0].startswith(f"{count} went on from step 0: ")
    state = replay(read_journal(again.run_dir / "journal.jsonl"))
    assert state.passed_over.total() == 0
    assert [t.begun_again for t in state.book.trials.values()] == [
        t.begun_again for t in again.trials
    ]
    # Only the best is left, once more.
    assert list(held(again.run_dir)) == [again.summary["best"]["trial_id"]]
    # What is told at the end is what this driver freed, and not what the one before did.
    own = records(first.run_dir, "Freed")[-1]["sizes"]
    size, count = bytes_text(sum(own.values())), f"{len(own)} trials"
    assert again.found.checkpoints.lines[-1].startswith(f"freed {size}: checkpoints of {count} ")
    whole = again.summary["checkpoints"]
    assert whole["freed"] == 11 > len(own)
    notes = read_status(first.run_dir).to_json()["notes"]
    assert any("checkpoints of 11 trials" in note for note in notes)
    capsys.readouterr()
    judged = experiment.resume(first.run_dir)
    assert "freed" not in capsys.readouterr().err
    assert not any(line.startswith("freed") for line in judged.found.checkpoints.lines)
    assert judged.summary == {**again.summary, "elapsed_s": judged.summary["elapsed_s"]}


def test_a_trial_that_begins_again_loses_the_marks_of_what_was_freed(project: Project) -> None:
    optimizer = {"name": "asha", "resource_max": 4, "reduction_factor": 2}
    first = project.run(LADDER, **sections(optimizer, 4))
    freed = {t.trial_id for t in first.trials if t.freed and Mark.CONTINUED in t.notes}
    assert freed
    again = experiment.resume(first.run_dir, ["search.num_trials=16"], quiet=True)
    begun = [t for t in again.trials if t.begun_again and t.trial_id in freed]
    assert begun
    for trial in begun:
        assert (Mark.CONTINUED in trial.notes) == (trial.attempt > 3), trial.story


def test_a_call_from_python_says_what_is_kept_too(tmp_path: Path) -> None:
    def train(n, checkpoint):  # type: ignore[no-untyped-def]
        with checkpoint.save(step=1):
            pass
        return n

    def call(keep: str, **options: Any) -> Any:
        space = Searchspace(n=("INTEGER", [1, 3]))
        return experiment.lagom(
            train, space, num_trials=3, checkpoints={"keep": keep}, cluster={"kind": "inline"},
            runs_dir=tmp_path, quiet=True, **options,
        )  # fmt: skip

    first = call("all")
    assert len(held(first.run_dir)) == 3
    call("auto", resume=first.run_dir)
    assert list(held(first.run_dir)) == [first.best["trial_id"]]


def test_what_is_kept_may_change_when_a_run_goes_on(project: Project) -> None:
    first = project.run(LADDER, **sections(checkpoints={"keep": "last"}))
    assert len(held(first.run_dir)) == 6
    again = experiment.resume(first.run_dir, ["checkpoints.keep=best"], quiet=True)
    assert list(held(again.run_dir)) == [again.summary["best"]["trial_id"]]


def test_what_was_not_needed_any_more_is_freed_as_soon_as_a_run_goes_on(project: Project) -> None:
    once = "    import signal\n    if trial_dir.name == 't0003' and not checkpoint.step: "
    function = LADDER.replace("    for step in", f"{once}signal.raise_signal(2)\n    for step in")
    first = project.run(function, **sections(checkpoints={"keep": "last"}))
    assert (first.status, len(held(first.run_dir))) == ("interrupted", 3)
    (project.path / "user.py").write_text(LADDER)
    experiment.resume(first.run_dir, ["checkpoints.keep=best"], code="current", quiet=True)
    kinds = [record["type"] for record in read_journal(first.run_dir / "journal.jsonl")]
    assert kinds[kinds.index("Resumed") + 1] == "Freed"
    (sizes, *_) = (record["sizes"] for record in records(first.run_dir, "Freed"))
    assert len(sizes) == 2


def test_a_run_of_an_earlier_version_keeps_all_its_checkpoints(project: Project) -> None:
    first = project.run(LADDER, **sections(checkpoints={"keep": "last"}))
    copy = _without_the_key(first.run_dir)
    experiment.resume(copy, quiet=True)
    assert len(held(copy)) == 6
    experiment.resume(copy, ["checkpoints.keep=auto"], quiet=True)
    assert len(held(copy)) == 1


def _without_the_key(run_dir: Path) -> Path:
    """Return a copy as dotrain wrote it before there was `checkpoints`."""
    from dotrain.store import Journal

    copy = run_dir.with_name("earlier")
    shutil.copytree(run_dir, copy)
    header, *rest = read_journal(copy / "journal.jsonl")
    del header["keep"], header["config"]["checkpoints"]
    (copy / "journal.jsonl").unlink()
    journal = Journal(copy / "journal.jsonl")
    for record in (header, *rest):
        journal.append({k: v for k, v in record.items() if k not in ("n", "t")}, record["t"])
    journal.close()
    config = copy / "config.yaml"
    text = config.read_text()
    assert "checkpoints:\n  keep: last\n" in text
    config.write_text(text.replace("checkpoints:\n  keep: last\n", ""))
    return copy


class Killed(BaseException):
    """The process is gone at this very moment."""


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Let the process die before the so-manieth step of freeing: a rename, a removal."""
    left = {"steps": 10**9, "done": 0}

    def counted(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            left["done"] += 1
            if left["done"] > left["steps"]:
                raise Killed
            return function(*arguments, **options)

        return call

    from dotrain.store import checkpoints

    for name in ("discard", "sweep"):
        monkeypatch.setattr(checkpoints, name, counted(getattr(checkpoints, name)))
    return left


def test_a_driver_that_dies_while_it_frees_leaves_whole_checkpoints_or_none(
    project: Project, killing: dict[str, int]
) -> None:
    first = project.run(LADDER, **sections(ASHA3, 3, checkpoints={"keep": "last"}))
    assert killing["done"] == 0
    keep = ["checkpoints.keep=auto"]
    whole = first.run_dir.with_name("whole")
    shutil.copytree(first.run_dir, whole)
    experiment.resume(whole, keep, quiet=True)
    steps, expected = killing["done"], held(whole)
    assert steps == 4
    for count in range(steps):
        copy = first.run_dir.with_name(f"killed-{count}")
        shutil.copytree(first.run_dir, copy)
        killing.update(steps=count, done=0)
        with pytest.raises(Killed):
            experiment.resume(copy, keep, quiet=True)
        killing.update(steps=10**9)
        assert [r["type"] for r in read_journal(copy / "journal.jsonl")][-2:] == ["Finish", "Freed"]
        for name in held(copy):
            latest = Checkpoint(copy / "trials" / name / "checkpoint").latest
            assert latest is not None
            assert len((latest / "weights").read_bytes()) == 1000
        # It counts as freed, whatever is still there.
        freed = {t.trial_id for t in read_run(copy).trials if t.freed}
        assert len(freed) == 2
        assert read_trial(copy, min(freed))["checkpoint"] is None
        # Extended at once, nobody goes on from what should be gone.
        grown = copy.with_name(f"grown-{count}")
        shutil.copytree(copy, grown)
        more = experiment.resume(grown, [*keep, "search.num_trials=9"], quiet=True)
        assert more.summary["promotions"]["begun_again"] == sum(
            t.promotions for t in more.trials if t.trial_id in freed
        )
        # Whoever takes it up again, as it is, finishes what was begun.
        experiment.resume(copy, keep, quiet=True)
        assert held(copy) == expected
        assert not [*copy.glob("trials/*/checkpoint/.partial-*")]


def test_a_run_killed_while_it_frees_goes_on(project: Project) -> None:
    project.write(
        "user.py",
        LADDER
        + """
import os, shutil, signal
from pathlib import Path

def deadly(path, **options):
    if (Path(path).parents[3] / "journal.jsonl").read_text().count('"Freed"'):
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, **options)

if os.environ.get("DIES"):
    real, shutil.rmtree = shutil.rmtree, deadly
""",
    )
    project.config(**sections(num_trials=4))
    killed = project.cli("run", "config.yaml", "-q", env={**os.environ, "DIES": "1"})
    assert killed.returncode == -signal.SIGKILL
    (run_dir,) = (project.path / "runs").glob("*/*")
    assert [*run_dir.glob("trials/*/checkpoint/.partial-*")]
    # They are none any more from the moment that they count as freed; removing them takes longer.
    assert len(held(run_dir)) == 1
    done = project.cli("resume", str(run_dir), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(held(run_dir)) == [result["best"]["trial_id"]]
    assert not [*run_dir.glob("trials/*/checkpoint/.partial-*")]
    assert result["checkpoints"]["freed"] == 3


def test_what_can_not_be_deleted_is_said_and_stays_whole(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dotrain.store import checkpoints

    def refused(checkpoint: Path) -> None:
        raise PermissionError(13, "Permission denied", str(checkpoint))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "discard", refused)
        result = project.run(LADDER, **sections(num_trials=3))
    said = capsys.readouterr().err
    assert "warning: can't delete 2 checkpoints (checkpoints.keep: auto), the first " in said
    assert "step-000000002: Permission denied" in said
    assert result.status == "finished"
    assert len(held(result.run_dir)) == 3
    experiment.resume(result.run_dir, quiet=True)
    assert len(held(result.run_dir)) == 1
