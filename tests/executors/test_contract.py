"""What every executor promises, on every executor."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from dotrain.core.trial import Trial
from dotrain.store import read_journal, replay
from tests.conftest import Project, make_cluster

SEARCH: dict[str, Any] = {
    "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
    "num_trials": 4,
}


def test_every_report_arrives_in_order(project: Project, cluster: dict[str, Any]) -> None:
    result = project.run(
        """
        def train(x, reporter):
            for step in range(500):
                reporter.broadcast({"score": step * x, "extra": step}, step=3 * step)
            return x
        """,
        search=SEARCH,
        cluster=cluster,
    )
    assert result.status == "finished"
    for trial in result.trials:
        x = trial.params["x"]
        assert trial.step_history == [3 * step for step in range(500)]
        assert trial.metric_history == [step * x for step in range(500)]
    assert result.summary["steps"] == 4 * 500


def test_a_result_depends_on_the_seed_and_not_on_the_place(
    project: Project, cluster: dict[str, Any]
) -> None:
    source = """
        import random
        import numpy

        def train(x, seed, reporter):
            values = [random.random(), float(numpy.random.rand())]
            print(seed, values)
            return {"score": sum(values), "seed": seed}
        """
    here, there = (
        [
            trial.final_metric
            for trial in project.run(source, search=SEARCH, cluster=place, seed=7).trials
        ]
        for place in ({"kind": "inline"}, cluster)
    )
    assert len(set(here)) == 4
    assert there == here


def test_a_stop_is_raised_at_the_report_and_cleans_up(
    project: Project, cluster: dict[str, Any]
) -> None:
    project.write(
        "rules.py",
        """
        from dotrain import AbstractEarlyStop

        class AtStepTwo(AbstractEarlyStop):
            def earlystop_check(to_check, finalized_trials, direction):
                return {i: "enough" for i, t in to_check.items() if t.last_step == 2}
        """,
    )
    result = project.run(
        """
        import itertools, time

        def train(x, reporter, trial_dir):
            try:
                for step in itertools.count():
                    try:
                        reporter.broadcast(x, step)
                        time.sleep(0.001)
                    except Exception:
                        print("swallowed")
            finally:
                (trial_dir / "cleaned").touch()
        """,
        search={**SEARCH, "early_stop": {"name": "rules:AtStepTwo"}},
        cluster=cluster,
    )
    assert result.summary["trials"] == {
        "total": 4,
        "finished": 0,
        "stopped": 4,
        "diverged": 0,
        "failed": 0,
    }
    for trial in result.trials:
        assert trial.last_step is not None
        assert trial.last_step >= 2
        assert (result.run_dir / "trials" / trial.trial_id / "cleaned").exists()
        assert "enough" in trial.story[-2].what
        assert "swallowed" not in project.log(result, trial.trial_id)


BAD_FUNCTIONS = {
    "raises": ("raise ValueError('no such thing')", "exception", "ValueError: no such thing"),
    "exits": ("import sys; sys.exit(3)", "exception", "SystemExit: 3"),
    "none": ("return None", "bad result", "returned None; expected a number"),
    "text": ("return 'good'", "bad result", "returned 'good' (str); expected a number"),
    "boolean": ("return True", "bad result", "returned True (bool)"),
    "no metric": ("return {'loss': 1}", "bad result", "a dict without 'score'; it holds loss"),
    "array": ("import numpy; return numpy.ones(3)", "bad result", "(ndarray)"),
    "bad report": ("reporter.broadcast('high')", "bad report", "step 0: reported 'high' (str)"),
    "step back": (
        "reporter.broadcast(1, 5); reporter.broadcast(1, 4)",
        "bad report",
        "step 4 was reported after step 5; steps must not go back",
    ),
    "negative step": ("reporter.broadcast(1, -1)", "bad report", "< 2**53, got -1"),
    "huge step": ("reporter.broadcast(1, 2**70)", "bad report", "whole number >= 0 and < 2**53"),
    "own base": (
        "raise type('Mine', (BaseException,), {})('x')",
        "exception",
        "Mine: x",
    ),
    "cancelled": (
        "import asyncio; raise asyncio.CancelledError()",
        "exception",
        "CancelledError: (no message)",
    ),
    "own interrupt": ("raise KeyboardInterrupt", "exception", "KeyboardInterrupt: (no message)"),
    "surrogate": ("raise ValueError('a\\ud800b')", "exception", "ValueError: a\\ud800b"),
    "long": ("raise ValueError('long ' * 9999)", "exception", "long long"),
    "str raises": (
        "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()",
        "exception",
        "Mute: (its __str__ raises ZeroDivisionError)",
    ),
    "folder gone": (
        "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d); raise OSError('x')",
        "exception",
        "OSError: x",
    ),
    "huge number": ("return 10**400", "bad result", "(int); expected a number"),
    "repr raises": (
        "return type('Mute', (), {'__repr__': lambda self: 1 / 0})()",
        "bad result",
        "something whose repr raises ZeroDivisionError (Mute)",
    ),
    "recursion": ("f = lambda: f(); f()", "exception", "RecursionError"),
    "half step": ("reporter.broadcast(1, 0.5)", "bad report", "< 2**53, got 0.5"),
}


DIVERGING = {
    "returns nan": ("return float('nan')", "returned nan"),
    "returns inf": ("return {'score': float('-inf')}", "returned -inf"),
    "reports nan": ("reporter.broadcast(float('nan'))", "reported nan at step 0"),
    "goes on": ("report_twice(reporter)", "reported inf at step 3"),
}


def test_a_trial_that_diverges_ends_there_and_the_search_goes_on(
    project: Project, cluster: dict[str, Any]
) -> None:
    branches = "".join(
        f"            if case == {name!r}:\n                {code}\n"
        for name, (code, _) in DIVERGING.items()
    )
    result = project.run(
        f"""
        def report_twice(reporter):
            try:
                reporter.broadcast(float("inf"), 3)
            except BaseException:
                print("swallowed")  # it has diverged all the same
            return 1.0

        def train(case, reporter):
{branches}
            return 0.5
        """,
        search={
            "space": {"case": {"type": "categorical", "values": [*DIVERGING, "good"]}},
            "optimizer": {"name": "grid"},
        },
        cluster=cluster,
        limits={"max_failures": 100},
    )
    assert result.status == "finished"
    assert result.best is not None
    assert result.best["params"] == {"case": "good"}
    for trial in result.trials:
        name = trial.params["case"]
        if name != "good":
            assert (trial.state, trial.divergence) == ("diverged", DIVERGING[name][1])
            assert trial.error is None
            assert "--- diverged: " in project.log(result, trial.trial_id)


def test_a_bad_function_fails_its_trial_with_the_users_line_and_the_search_goes_on(
    project: Project, cluster: dict[str, Any]
) -> None:
    branches = "".join(
        f"            if case == {name!r}:\n                {code}\n"
        for name, (code, _, _) in BAD_FUNCTIONS.items()
    )
    result = project.run(
        f"""
        def train(case, reporter):
            print("this is", case)
{branches}
            return 0.5
        """,
        search={
            "space": {"case": {"type": "categorical", "values": [*BAD_FUNCTIONS, "good"]}},
            "optimizer": {"name": "grid"},
        },
        cluster=cluster,
        limits={"max_failures": 100},
    )
    source = (project.path / "user.py").read_text().splitlines()
    assert result.status == "finished"
    assert result.best is not None
    assert result.best["params"] == {"case": "good"}
    assert result.summary["trials"]["failed"] == len(BAD_FUNCTIONS)
    for trial in result.trials:
        name = trial.params["case"]
        log = project.log(result, trial.trial_id)
        assert f"this is {name}" in log
        if name == "good":
            continue
        code, kind, message = BAD_FUNCTIONS[name]
        error = trial.error
        assert error is not None
        assert error.kind == kind, name
        assert message in error.message
        assert "\n" not in error.message
        if name != "long":
            assert message in log
        assert "user.py:" in error.location
        if kind != "bad result":
            line = int(error.location.split(":")[1].split()[0])
            assert code in source[line - 1]


def test_a_train_module_that_cannot_be_imported_fails_with_the_users_line(
    project: Project, cluster: dict[str, Any]
) -> None:
    result = project.run(
        """
        from json import no_such_name

        def train(x):
            return x
        """,
        search=SEARCH,
        cluster=cluster,
    )
    assert result.best is None
    (group,) = result.summary["failures"]
    assert group["count"] == 4
    assert "cannot import name 'no_such_name'" in group["message"]
    assert "user.py:2" in group["location"]


def test_all_trials_failing_ends_the_run(project: Project, cluster: dict[str, Any]) -> None:
    result = project.run(
        "def train(x): return x / 0",
        search={**SEARCH, "num_trials": 50},
        cluster=cluster,
        limits={"max_failures": 5},
    )
    assert result.status == "failed"
    assert 5 <= result.summary["trials"]["failed"] <= 6
    (group,) = result.summary["failures"]
    assert "ZeroDivisionError" in group["message"]


def test_promoted_trials_go_on_from_their_checkpoints(
    project: Project, cluster: dict[str, Any]
) -> None:
    result = project.run(
        """
        def train(x, checkpoint, reporter, budget):
            done = []
            if checkpoint.latest:
                done = (checkpoint.latest / "steps").read_text().split()
            for step in range(checkpoint.step, budget):
                done.append(str(step))
                with checkpoint.save(step=step + 1) as directory:
                    (directory / "steps").write_text(" ".join(done))
                reporter.broadcast(x, step)
            print("did", *done)
            return x
        """,
        search={
            **SEARCH,
            "num_trials": 9,
            "optimizer": {"name": "asha", "resource_max": 9, "reduction_factor": 3},
        },
        cluster=cluster,
    )
    top = [trial for trial in result.trials if trial.budget == 9]
    assert top
    for trial in top:
        assert "did 0 1 2 3 4 5 6 7 8" in project.log(result, trial.trial_id)
        assert trial.step_history == list(range(9))
    promotions = result.summary["promotions"]
    assert promotions["from_checkpoint"] == promotions["total"]
    assert promotions["steps_saved"] == sum(t.steps_saved for t in result.trials) > 0


def test_without_checkpoints_a_promoted_trial_begins_again(
    project: Project, cluster: dict[str, Any]
) -> None:
    result = project.run(
        """
        def train(x, reporter, budget):
            for step in range(budget):
                reporter.broadcast(x, step)
            return x
        """,
        search={**SEARCH, "optimizer": {"name": "asha", "resource_max": 3}, "num_trials": 6},
        cluster=cluster,
    )
    promotions = result.summary["promotions"]
    assert promotions["total"] >= 2
    assert (promotions["from_checkpoint"], promotions["steps_saved"]) == (0, 0)
    assert all(t.step_history == [0, 1, 2] for t in result.trials if t.budget == 3)


def test_the_journal_alone_tells_the_same_story(project: Project, cluster: dict[str, Any]) -> None:
    result = project.run(
        """
        def train(x, reporter, budget):
            for step in range(budget):
                reporter.broadcast({"score": x, "other": 1}, step)
            if x > 0.9:
                raise RuntimeError("too much")
            return x
        """,
        search={
            **SEARCH,
            "num_trials": 12,
            "optimizer": {"name": "asha", "resource_max": 9},
            "early_stop": {"name": "median", "min_trials": 2},
        },
        cluster=cluster,
        limits={"max_failures": 100},
    )
    state = replay(read_journal(result.run_dir / "journal.jsonl"))
    state.book.validate()
    assert state.status == result.status
    assert [_facts(t) for t in state.book.trials.values()] == [_facts(t) for t in result.trials]
    assert json.loads((result.run_dir / "result.json").read_text()) == result.summary


def _facts(trial: Trial) -> dict[str, Any]:
    return {
        name: getattr(trial, name)
        for name in trial.__slots__
        # Times are rounded in the journal.
        if name not in ("story", "busy_s", "started_s")
    } | {"story": [(line.state, line.what) for line in trial.story]}


STRANGE = {
    "forks": """
        import os
        child = os.fork()
        if child:
            os.waitpid(child, 0)
    """,
    "closes stdout": """
        import sys
        print("before")
        sys.stdout.close()
    """,
    "threads": """
        import threading
        def report():
            for _ in range(50):
                reporter.broadcast(x)
        threads = [threading.Thread(target=report) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    """,
    "leaves a thread": """
        import threading, time
        def late():
            while True:
                time.sleep(0.01)
                reporter.broadcast(x)
        threading.Thread(target=late, daemon=True).start()
    """,
    "changes the folder": """
        import os, tempfile
        assert not os.path.exists("elsewhere")
        os.chdir(tempfile.mkdtemp())
        open("elsewhere", "w").close()
    """,
    "logs": """
        import logging
        logger = logging.getLogger("mine")
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler())
        logger.warning("a warning of trial %s", x)
    """,
    "floods": """
        for _ in range(20000):
            print("x" * 50)
    """,
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", sorted(STRANGE))
def test_a_strange_function_harms_neither_the_search_nor_the_journal(
    project: Project, cluster: dict[str, Any], name: str
) -> None:
    body = textwrap.indent(textwrap.dedent(STRANGE[name]), "    ")
    result = project.run(
        f"def train(x, reporter):\n{body}\n    return x\n",
        search=SEARCH,
        cluster=cluster,
        limits={"trial_timeout_s": 60},
    )
    assert result.summary["trials"] == {
        "total": 4,
        "finished": 4,
        "stopped": 0,
        "diverged": 0,
        "failed": 0,
    }
    state = replay(read_journal(result.run_dir / "journal.jsonl"))
    assert state.status == "finished"
    if name == "threads":
        assert all(t.step_history == list(range(200)) for t in result.trials)
    if name == "logs":
        for trial in result.trials:
            log = project.log(result, trial.trial_id)
            assert f"a warning of trial {trial.params['x']}" in log
            assert "Logging error" not in log


@pytest.mark.parametrize("kind", ["local", "address"])
def test_random_numbers_over_seconds_do_not_depend_on_the_place(
    project: Project, kind: str, request: pytest.FixtureRequest
) -> None:
    """Dask's own thread must not draw from the generators that a trial uses."""
    source = """
        import random, time

        def train(seconds):
            total = 0.0
            end = time.monotonic() + seconds
            draws = 0
            while time.monotonic() < end or draws < 2000:
                if draws < 2000:
                    total += random.random()
                    draws += 1
                time.sleep(0.001 if seconds else 0)
            return total
        """
    here = project.run(source, cluster={"kind": "inline"}, hparams={"seconds": 0})
    there = project.run(source, cluster=make_cluster(kind, request), hparams={"seconds": 3})
    assert there.best is not None
    assert here.best is not None
    assert there.best["value"] == here.best["value"]


def test_best_is_the_best_value_ever_whatever_became_of_its_trial(
    project: Project, cluster: dict[str, Any]
) -> None:
    result = project.run(
        """
        def train(n, budget):
            if budget > 1:
                raise ValueError("too long")
            return n
        """,
        search={
            "space": {"n": {"type": "discrete", "values": [1, 2, 3]}},
            "optimizer": {"name": "asha", "resource_max": 3},
            "num_trials": 12,
        },
        cluster=cluster,
    )
    assert result.summary["trials"]["failed"] > 0
    assert result.best is not None
    assert result.best["value"] == max(t.params["n"] for t in result.trials)
    assert result.trials[int(result.best["trial_id"][1:])].state == "failed"


def test_a_checkpoint_that_is_saved_and_not_used_saves_no_steps(
    project: Project, cluster: dict[str, Any]
) -> None:
    result = project.run(
        """
        def train(x, checkpoint, reporter, budget):
            for step in range(budget):
                with checkpoint.save(step=step + 1):
                    pass
                reporter.broadcast(x, step)
            return x
        """,
        search={**SEARCH, "optimizer": {"name": "asha", "resource_max": 3}, "num_trials": 6},
        cluster=cluster,
    )
    promotions = result.summary["promotions"]
    assert (promotions["from_checkpoint"], promotions["steps_saved"]) == (0, 0)
    assert all(t.step_history == [0, 1, 2] for t in result.trials if t.budget == 3)


BROKEN_POLICIES = {
    "early-stop rule": """
        class Broken(AbstractEarlyStop):
            def earlystop_check(to_check, finalized_trials, direction):
                if any(trial.last_step == 2 for trial in to_check.values()):
                    1 / 0
        """,
    "optimizer": """
        class Broken(AbstractOptimizer):
            def initialize(self):
                self.asked = 0

            def get_suggestion(self, trial=None):
                self.asked += 1
                if self.asked == 4:
                    1 / 0
                return self.create_trial({"x": self.asked / 8})
        """,
}


@pytest.mark.parametrize("kind", BROKEN_POLICIES)
def test_a_policys_error_is_the_policys_and_the_run_goes_on_when_it_is_mended(
    project: Project, cluster: dict[str, Any], kind: str
) -> None:
    """Where a function runs on the driver's thread, the error must not come up through it."""
    project.write(
        "user.py",
        """
        def train(x, reporter):
            for step in range(5):
                try:
                    reporter.broadcast(x, step)
                except Exception:
                    print("swallowed")
            return x
        """,
    )
    source = textwrap.dedent(BROKEN_POLICIES[kind])
    header = "from dotrain import AbstractEarlyStop, AbstractOptimizer\n"
    project.write("mine.py", header + source)
    section = {"early-stop rule": "early_stop", "optimizer": "optimizer"}[kind]
    search = {**SEARCH, section: {"name": "mine:Broken"}}
    project.config(search=search, cluster=cluster, limits={"retries": 0})
    done = project.cli("run", "config.yaml", "--json")
    assert done.returncode == 1
    assert f"{kind} Broken raised ZeroDivisionError: division by zero" in done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == "failed"
    assert result["trials"]["failed"] == 0
    run_dir = Path(result["run_dir"])
    for log in run_dir.glob("trials/*/output.log"):
        assert "swallowed" not in log.read_text()
        assert "failed" not in log.read_text()

    project.write("mine.py", header + source.replace("1 / 0", "pass"))
    again = project.cli("resume", str(run_dir), "--json", "--code", "current")
    assert again.returncode == 0, again.stderr
    expected = {"total": 4, "finished": 4, "stopped": 0, "diverged": 0, "failed": 0}
    assert json.loads(again.stdout)["trials"] == expected
