"""Groups of ranks: all or none, one voice, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from dotrain.errors import ResourcesUnavailable
from dotrain.runs.result import Result
from dotrain.store import read_journal
from tests.conftest import Project, make_cluster
from tests.distribution.conftest import STRATEGY

PAIR = {"strategy": "ranks:Ranks", "workers": 2}
SEARCH: dict[str, Any] = {
    "space": {"n": {"type": "categorical", "values": [0, 1, 2, 3]}},
    "optimizer": {"name": "grid"},
}


def descendants() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True)}


@pytest.fixture(params=["local", "address"])
def workers(request: pytest.FixtureRequest) -> dict[str, Any]:
    return make_cluster(request.param, request)


def logs(result: Result, trial_id: str) -> dict[str, str]:
    folder = result.run_dir / "trials" / trial_id
    return {file.name: file.read_text() for file in folder.glob("*.log")}


def test_one_function_on_two_ranks_speaks_with_one_voice(
    ranks: Project, workers: dict[str, Any]
) -> None:
    result = ranks.run(
        """
        import os

        def train(n, dist_strategy, reporter, trial_dir, checkpoint):
            with dist_strategy() as seat:
                print("rank", seat.rank, "of", seat.ranks, "in process", os.getpid())
            (trial_dir / "model.txt").write_text(f"of rank {seat.rank}")
            for step in range(3):
                with checkpoint.save(step=step + 1) as folder:
                    (folder / "who").write_text(str(seat.rank))
                reporter.broadcast(n + step if seat.rank == 0 else -1, step)
            return n if seat.rank == 0 else -1
        """,
        search=SEARCH,
        distribution=PAIR,
        cluster=workers,
        checkpoints={"keep": "last"},
    )
    assert result.summary["trials"] == {
        "total": 4,
        "finished": 4,
        "stopped": 0,
        "diverged": 0,
        "failed": 0,
    }
    pids = set()
    for n, trial in enumerate(result.trials):
        assert trial.final_metric == n
        assert trial.metric_history == [n, n + 1, n + 2]
        said = logs(result, trial.trial_id)
        assert set(said) == {"output.log", "output-rank1.log"}
        for name, rank in (("output.log", 0), ("output-rank1.log", 1)):
            found = re.search(rf"rank {rank} of 2 in process (\d+)", said[name])
            assert found, said[name]
            pids.add(int(found[1]))
        folder = result.run_dir / "trials" / trial.trial_id
        assert (folder / "model.txt").read_text() == "of rank 0"
        (kept,) = (folder / "checkpoint").iterdir()
        assert (kept / "who").read_text() == "0"
        assert len((folder / "reports.jsonl").read_text().split("\n")) == 4
    assert len(pids) == 8, "a rank is a fresh process"


def test_a_strategy_is_handed_the_models_that_are_made(ranks: Project) -> None:
    handed = """
class Handed(Ranks):
    def model(self, model):
        return [model, self.seat.rank]
"""
    ranks.write("handing.py", STRATEGY + handed)
    result = ranks.run(
        """
        def model_fn(): return "a model"

        def train(model_gen, dist_strategy):
            with dist_strategy() as seat:
                assert model_gen.create() == ["a model", seat.rank]
            return 1
        """,
        model="user.py:model_fn",
        distribution={"strategy": "handing:Handed", "workers": 2},
        cluster={"kind": "local", "workers": 2},
    )
    assert result.best is not None, result.summary


def test_groups_of_more_than_half_the_workers_take_turns(ranks: Project) -> None:
    result = ranks.run(
        """
        def train(n, dist_strategy):
            dist_strategy()
            return n
        """,
        search=SEARCH,
        distribution=PAIR,
        cluster={"kind": "local", "workers": 3},
    )
    assert result.summary["trials"]["finished"] == 4
    held = peak = 0
    for record in read_journal(result.run_dir / "journal.jsonl"):
        held += record.get("slots", 0) if record["type"] == "Launch" else 0
        held -= 2 if record["type"] == "Finished" else 0
        peak = max(peak, held)
    assert peak == 2


def test_a_stop_ends_all_ranks_at_the_same_step(ranks: Project, workers: dict[str, Any]) -> None:
    ranks.write(
        "early.py",
        """
        from dotrain import AbstractEarlyStop

        class AtTwo(AbstractEarlyStop):
            def earlystop_check(self, to_check, finalized_trials, direction):
                return {i: "step 2" for i, t in to_check.items() if t.last_step >= 2 and i != "t0000"}
        """,
    )
    result = ranks.run(
        """
        def train(n, dist_strategy, reporter):
            dist_strategy()
            step = 0
            while n or step < 5:
                reporter.broadcast(n, step)
                print("past step", step)
                step += 1
            return n
        """,
        search={**SEARCH, "early_stop": {"name": "early:AtTwo"}},
        distribution=PAIR,
        cluster=workers,
    )
    assert result.summary["trials"] == {
        "total": 4,
        "finished": 1,
        "stopped": 3,
        "diverged": 0,
        "failed": 0,
    }
    for trial in result.trials[1:]:
        chief, other = (
            re.findall(r"past step \d+", text)
            for _, text in sorted(logs(result, trial.trial_id).items(), reverse=True)
        )
        assert chief == other
        assert all("stopped early" in text for text in logs(result, trial.trial_id).values())


def test_an_error_on_another_rank_fails_the_trial_with_its_line(
    ranks: Project, workers: dict[str, Any]
) -> None:
    result = ranks.run(
        """
        import threading

        def train(n, dist_strategy):
            if dist_strategy().seat.rank == 1 and n == 2:
                raise ValueError("not this one")
            if n == 2:
                threading.Event().wait()  # for the other rank, for ever
            return n
        """,
        search=SEARCH,
        distribution=PAIR,
        cluster=workers,
    )
    assert result.summary["trials"]["failed"] == 1
    error = result.trials[2].error
    assert error is not None
    assert error.message == "rank 1: ValueError: not this one"
    assert "raise ValueError" in error.source


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_is_noticed_and_the_trial_runs_again_whole(
    ranks: Project, workers: dict[str, Any], victim: int
) -> None:
    result = ranks.run(
        f"""
        import os, signal, threading

        def train(n, dist_strategy, reporter, checkpoint):
            rank = dist_strategy().seat.rank
            first = not checkpoint.step
            print("process", os.getpid())
            for step in range(checkpoint.step, 4):
                with checkpoint.save(step=step + 1):
                    pass
                reporter.broadcast(n, step)
                if n == 2 and step == 1 and first:
                    if rank == {victim}:
                        os.kill(os.getpid(), signal.SIGKILL)
                    threading.Event().wait()
            return n
        """,
        search=SEARCH,
        distribution=PAIR,
        cluster=workers,
        limits={"retries": 1},
    )
    assert result.summary["trials"]["finished"] == 4, result.summary
    trial = result.trials[2]
    assert (trial.attempt, trial.losses) == (2, 1)
    assert trial.step_history == [0, 1, 2, 3]
    cause = f"rank {victim}: its process was killed by SIGKILL"
    assert any(cause in line.what for line in trial.story), trial.story
    assert all(t.attempt == 1 for t in result.trials if t is not trial)
    for text in logs(result, "t0002").values():
        for pid in re.findall(r"process (\d+)", text):
            assert not psutil.pid_exists(int(pid))


def test_a_killed_keeper_takes_its_group_with_it_and_no_other(ranks: Project) -> None:
    before = descendants()
    result = ranks.run(
        """
        import os, signal, threading

        def train(n, dist_strategy, checkpoint, reporter):
            rank = dist_strategy().seat.rank
            first = not checkpoint.step
            with checkpoint.save(step=1):
                pass
            reporter.broadcast(n)
            if n == 1 and first:
                if rank == 1:
                    os.kill(os.getppid(), signal.SIGKILL)
                threading.Event().wait()
            return n
        """,
        search=SEARCH,
        distribution=PAIR,
        cluster={"kind": "local", "workers": 4},
    )
    assert result.summary["trials"]["finished"] == 4, result.summary
    assert [trial.losses for trial in result.trials] == [0, 1, 0, 0]
    assert any("its process was killed" in line.what for line in result.trials[1].story)
    assert descendants() == before


def test_ten_kills_in_a_row_leave_nothing(ranks: Project) -> None:
    before = descendants()
    result = ranks.run(
        """
        import os, signal, threading

        def train(dist_strategy, checkpoint, reporter):
            rank = dist_strategy().seat.rank
            for step in range(checkpoint.step, 10):
                with checkpoint.save(step=step + 1):
                    pass
                reporter.broadcast(step, step)
                if rank == step % 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()
            return 10
        """,
        distribution=PAIR,
        cluster={"kind": "local", "workers": 2},
        limits={"retries": 10},
    )
    (trial,) = result.trials
    assert result.summary["trials"]["finished"] == 1, trial.story
    assert trial.losses == 10
    assert trial.step_history == list(range(10))
    assert descendants() == before


def test_a_hung_group_is_ended_and_its_workers_go_on(
    ranks: Project, workers: dict[str, Any]
) -> None:
    result = ranks.run(
        """
        import os, time

        def train(n, dist_strategy):
            dist_strategy()
            print("process", os.getpid())
            while n == 1:
                time.sleep(0.01)
            return n
        """,
        search=SEARCH,
        distribution=PAIR,
        cluster=workers,
        limits={"trial_timeout_s": 5},
    )
    assert result.summary["trials"] == {
        "total": 4,
        "finished": 3,
        "stopped": 0,
        "diverged": 0,
        "failed": 1,
    }
    error = result.trials[1].error
    assert error is not None
    assert error.kind == "timeout"
    for text in logs(result, "t0001").values():
        (pid,) = re.findall(r"process (\d+)", text)
        assert not psutil.pid_exists(int(pid))


def test_a_taken_port_is_nobodys_failure(ranks: Project) -> None:
    marker = ranks.path / "tries"
    result = ranks.run(
        """
        def train(dist_strategy):
            dist_strategy()
            return 1
        """,
        distribution={**PAIR, "first_ports_are_taken": str(marker)},
        cluster={"kind": "local", "workers": 2},
    )
    (trial,) = result.trials
    assert (trial.final_metric, trial.attempt, trial.losses) == (1, 1, 0)
    assert len(set(marker.read_text().split())) == 3, "each start has new ports"


def test_modules_that_start_threads_are_imported_in_each_rank(ranks: Project) -> None:
    result = ranks.run(
        """
        import os, threading

        IMPORTED_BY = os.getpid()
        threading.Thread(target=threading.Event().wait, daemon=True).start()

        def train(dist_strategy):
            dist_strategy()
            assert IMPORTED_BY == os.getpid(), "a process with threads was forked"
            return 1
        """,
        distribution=PAIR,
        cluster={"kind": "local", "workers": 2},
    )
    assert result.best is not None, result.summary


@pytest.mark.parametrize(
    "cluster",
    [
        {"kind": "inline"},
        {"kind": "local", "workers": 2},
        {"kind": "simulated", "workers": 2},
        {"kind": "address", "address": "tcp://127.0.0.1:1", "workers": 2},
    ],
    ids=lambda cluster: cluster["kind"],
)
def test_more_workers_than_there_can_ever_be_are_refused_at_once(
    ranks: Project, cluster: dict[str, Any]
) -> None:
    ranks.write("user.py", "def train(dist_strategy): return 1\n")
    ranks.config(distribution={**PAIR, "workers": 3}, cluster=cluster)
    done = ranks.cli("run", "config.yaml")
    assert done.returncode == 3, done.stderr
    assert "one trial takes 3 workers (distribution.workers)" in done.stderr
    assert "Traceback" not in done.stderr


def test_fewer_workers_than_a_trial_takes_are_told_after_the_time_out(
    ranks: Project, dask_address: str
) -> None:
    cluster = {"kind": "address", "address": dask_address, "connect_timeout_s": 3}
    with pytest.raises(
        ResourcesUnavailable, match=r"takes 3 workers.*has 2 that got ready within 3 s"
    ):
        ranks.run(
            "def train(dist_strategy): return 1",
            distribution={**PAIR, "workers": 3},
            cluster=cluster,
        )


def test_a_function_that_ignores_the_strategy_is_refused_before_it_runs(ranks: Project) -> None:
    ranks.write("user.py", "def train(n=1): return n\n")
    ranks.config(distribution=PAIR)
    done = ranks.cli("run", "config.yaml")
    assert done.returncode == 2
    assert "doesn't ask for 'dist_strategy'" in done.stderr
    assert re.search(r"config.yaml:1:\d+: distribution: ", done.stderr)


def test_a_run_goes_on_with_another_number_of_workers(ranks: Project) -> None:
    ranks.write(
        "user.py",
        """
        from pathlib import Path

        def train(dist_strategy, checkpoint, reporter):
            seat = dist_strategy().seat
            print("of", seat.ranks, "from", checkpoint.step)
            for step in range(checkpoint.step, 4):
                with checkpoint.save(step=step + 1):
                    pass
                reporter.broadcast(step, step)
                if step == 1:
                    import os, signal
                    if seat.rank == 0 and seat.ranks == 2:
                        os.kill(int(Path("driver").read_text()), signal.SIGKILL)
                    while seat.ranks == 2:
                        pass
            return 4
        """,
    )
    ranks.config(distribution=PAIR, cluster={"kind": "local", "workers": 3})
    driver = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys; open('driver', 'w').write(str(os.getpid()));"
            "os.execv(sys.executable, [sys.executable, '-m', 'dotrain', 'run', 'config.yaml'])",
        ],
        cwd=ranks.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert driver.wait(60) == -signal.SIGKILL
    (run_dir,) = (ranks.path / "runs").glob("*/*")
    done = ranks.cli("resume", str(run_dir), "--set", "distribution.workers=3", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"]["value"] == 4
    said = (run_dir / "trials" / "t0000" / "output-rank2.log").read_text()
    assert "of 3 from 2" in said
    again = ranks.cli("status", str(run_dir))
    assert again.returncode == 0, again.stderr


def test_ctrl_c_leaves_no_process_of_a_group(ranks: Project, tmp_path: Path) -> None:
    ranks.write(
        "user.py",
        f"""
        import os
        from pathlib import Path

        def train(dist_strategy):
            seat = dist_strategy().seat
            Path({str(tmp_path)!r}, f"rank{{seat.rank}}").write_text(str(os.getpid()))
            if seat.rank == 0:
                while not Path({str(tmp_path)!r}, "rank1").exists():
                    pass
                os.kill(int(os.environ["DRIVER"]), 2)
            while True:
                pass
        """,
    )
    ranks.config(distribution=PAIR, cluster={"kind": "local", "workers": 2})
    code = (
        "import os, sys; os.environ['DRIVER'] = str(os.getpid());"
        "os.execv(sys.executable, [sys.executable, '-m', 'dotrain', 'run', 'config.yaml'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ranks.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 130, done.stderr
    assert "dotrain resume" in done.stdout
    for rank in (0, 1):
        assert not psutil.pid_exists(int((tmp_path / f"rank{rank}").read_text()))
