"""Workers that don't see the run directory: every file of a trial is where the docs say all the same.

Their run directory lies below ``/proc/self/cwd``, which is another folder in each process: the driver has
one there, a worker has none.
"""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.distribution.single import Single
from dotrain.errors import ResourcesUnavailable
from dotrain.executors.dask.admission import ways_text
from dotrain.executors.dask.carrier import Pieces, ThroughDotrain
from dotrain.executors.dask.scratch import Scratch
from dotrain.executors.dask.site import Refusal, Site, Way, decide, look_around, question
from dotrain.executors.dealing import NO_WISH
from dotrain.experiment import resume
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store import RunDir, read_journal
from dotrain.store.folder import Folder
from dotrain.training.program import Program
from dotrain.usercode.function import FunctionRef, Functions
from tests.conftest import Project, said
from tests.distribution.conftest import STRATEGY

OTHERS_FOLDER = Path("/proc/self/cwd/runs")
SEARCH: dict[str, Any] = {
    "space": {"n": {"type": "categorical", "values": [0, 1, 2, 3]}},
    "optimizer": {"name": "grid"},
}
TRAIN = """
    import os

    def train(n, checkpoint, trial_dir, reporter):
        print("trial", n)
        for step in range(checkpoint.step, 3):
            with checkpoint.save(step=step + 1) as folder:
                (folder / "weights").write_text(f"{n} after {step}")
                (folder / "empty").mkdir()
            reporter.broadcast(n, step)
        (trial_dir / "sub").mkdir(exist_ok=True)
        (trial_dir / "sub" / "model.bin").write_bytes(bytes([n]) * 100)
        return n
"""


@pytest.fixture
def elsewhere(project: Project, dask_address: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose runs lie where no worker sees them."""
    monkeypatch.chdir(project.path)
    return project


def run_elsewhere(project: Project, address: str, function: str, **sections: Any) -> Result:
    project.write("user.py", function)
    sections.setdefault("search", SEARCH)
    sections.setdefault("checkpoints", {"keep": "last"})
    config = project.config(cluster={"kind": "address", "address": address}, **sections)
    return run(Experiment.of(load_config(config)), OTHERS_FOLDER, Observer())


def files(result: Result) -> dict[str, bytes]:
    trials = result.run_dir / "trials"
    return {
        str(path.relative_to(trials)): path.read_bytes() if path.is_file() else b"a folder"
        for path in trials.rglob("*")
        if "tfevents" not in path.name
    }


def test_the_same_files_come_home_as_there_are_on_a_shared_disk(
    elsewhere: Project, dask_address: str
) -> None:
    # Two workers may end a worse one first, and a tie is repeated: all have both repeats.
    search = {**SEARCH, "repeats": 2}
    function = TRAIN.replace("return n", "return 1")
    far = run_elsewhere(elsewhere, dask_address, function, search=search)
    near = elsewhere.run(
        search=search,
        checkpoints={"keep": "last"},
        cluster={"kind": "address", "address": dask_address},
    )
    assert far.summary["trials"]["finished"] == 4
    assert files(far) == files(near)
    for folder in ("t0002", "t0002-2"):
        assert files(far)[f"{folder}/sub/model.bin"] == b"\2" * 100
    (line,) = said(far)
    assert line == f"files: through dotrain ({os.uname().nodename}: 2 workers)"
    assert said(near) == ["files: shared disk (2 workers)"]
    assert sorted(os.listdir(far.run_dir)) == sorted(os.listdir(near.run_dir))


def test_a_log_and_a_checkpoint_are_home_while_the_trial_runs(
    elsewhere: Project, dask_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, news = elsewhere.path / "runs", elsewhere.path / "news"
    os.mkfifo(news)
    pipe = os.open(news, os.O_RDWR)

    def tells(method: Any) -> Any:
        def told(*arguments: Any) -> Any:
            done = method(*arguments)
            os.write(pipe, b".")
            return done

        return told

    for name in ("append", "commit"):  # what brings something home
        monkeypatch.setattr(Folder, name, tells(getattr(Folder, name)))
    result = run_elsewhere(
        elsewhere,
        dask_address,
        f"""
        import pathlib

        news = open({str(news)!r}, "rb", buffering=0)

        def found(pattern):
            while not (files := list(pathlib.Path({str(trials)!r}).glob("*/*/trials/t0000/" + pattern))):
                news.read(1)
            return files[0]

        def train(n, checkpoint):
            print("beginning", flush=True)
            while "beginning" not in found("output.log").read_text():
                news.read(1)
            with checkpoint.save(step=1) as folder:
                (folder / "weights").write_text("first")
            assert found("checkpoint/step-000000001/weights").read_text() == "first"
            with checkpoint.save(step=2) as folder:
                (folder / "weights").write_text("second")
            found("checkpoint/step-000000002")
            while "step-000000001" in [p.name for p in found("checkpoint").iterdir()]:
                news.read(1)
            return 1.0
        """,
        search={**SEARCH, "space": {"n": {"type": "categorical", "values": [0]}}},
        limits={"trial_timeout_s": 60},
    )
    os.close(pipe)
    assert result.summary["trials"]["finished"] == 1


def test_of_a_copy_that_broke_off_nothing_is_in_the_next_one(tmp_path: Path) -> None:
    home = RunDir(tmp_path / "run")

    async def bring(files: dict[str, int], *, breaks: bool) -> None:
        scratch = Scratch()

        async def ask(method: str, trial_id: str, *arguments: Any) -> Any:
            if breaks and method == "digests":
                raise OSError("the worker has gone")
            return getattr(scratch, method)(trial_id, *arguments)

        carrier = ThroughDotrain(home, ask, Pieces())
        await carrier.hand_out("t0000", 0, lambda: True)
        folder = scratch.run_dir.checkpoint("t0000") / "step-000000001"
        folder.mkdir(parents=True)
        for name, size in files.items():
            (folder / name).write_bytes(bytes(size))
        try:
            await carrier.bring_home()
        finally:
            scratch.remove()

    with pytest.raises(OSError, match="the worker has gone"):
        asyncio.run(bring({"weights": 20, "shard-2": 20}, breaks=True))
    asyncio.run(bring({"weights": 10}, breaks=False))
    (checkpoint,) = home.checkpoint("t0000").iterdir()
    assert {file.name: file.stat().st_size for file in checkpoint.iterdir()} == {"weights": 10}


def test_what_goes_on_elsewhere_goes_on_from_its_checkpoint_and_state(
    elsewhere: Project, dask_address: str
) -> None:
    result = run_elsewhere(
        elsewhere,
        dask_address,
        """
        import os, signal, time

        def train(n, checkpoint, reporter, trial_dir):
            state = trial_dir / "state"
            (trial_dir / "where").write_text(str(trial_dir))
            print("from", checkpoint.step, state.read_text() if state.exists() else "")
            (trial_dir / "temporary").touch()
            for step in range(checkpoint.step, 4):
                (trial_dir / "temporary").unlink(missing_ok=True)
                state.write_text(f"of {step}")
                with checkpoint.save(step=step + 1):
                    pass
                reporter.broadcast(n, step)
                if step == 1 and n < 2:
                    os.kill(os.getpid(), signal.SIGKILL)
            return n
        """,
    )
    assert result.summary["trials"]["finished"] == 4
    for trial in result.trials[:2]:
        assert (trial.attempt, trial.losses) == (2, 1)
        assert trial.step_history == [0, 1, 2, 3]
        log = elsewhere.log(result, trial.trial_id)
        assert "from 0 \n" in log
        assert "from 2 of 1\n" in log
        assert set(os.listdir(result.run_dir / "trials" / trial.trial_id)) >= {
            "state",
            "checkpoint",
        }
    assert not any("temporary" in name for name in files(result))


def test_a_promotion_goes_on_from_the_checkpoint_at_home(
    elsewhere: Project, dask_address: str
) -> None:
    result = run_elsewhere(
        elsewhere,
        dask_address,
        """
        def train(x, budget, checkpoint, reporter):
            for step in range(checkpoint.step, int(budget)):
                with checkpoint.save(step=step + 1):
                    pass
                reporter.broadcast(x, step)
            return x
        """,
        search={
            "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
            "optimizer": {
                "name": "asha",
                "resource_min": 1,
                "resource_max": 4,
                "reduction_factor": 2,
            },
            "num_trials": 8,
        },
    )
    assert result.status == "finished"
    started = [r for r in read_journal(result.run_dir / "journal.jsonl") if r["type"] == "Started"]
    assert {1, 2} <= {record["resume_step"] for record in started}
    assert all((record["resume_step"] > 0) == (record["attempt"] > 1) for record in started), (
        "no step is trained twice"
    )


def test_a_failed_trials_message_names_a_log_that_is_there(
    elsewhere: Project, dask_address: str
) -> None:
    result = run_elsewhere(
        elsewhere,
        dask_address,
        """
        import os

        def train(n):
            print("about to fail", flush=True)
            if n == 1:
                os._exit(3)
            raise OSError("no such device")
        """,
        limits={"retries": 0},
    )
    assert result.summary["trials"]["failed"] == 4
    for group in result.summary["failures"]:
        assert "about to fail" in Path(group["log"]).read_text()


def test_the_ranks_of_a_group_go_on_from_the_same_checkpoint(
    elsewhere: Project, dask_address: str
) -> None:
    elsewhere.write("ranks.py", STRATEGY)
    result = run_elsewhere(
        elsewhere,
        dask_address,
        """
        import os, signal

        def train(n, dist_strategy, checkpoint, trial_dir):
            with dist_strategy() as seat:
                print("rank", seat.rank, "from", checkpoint.step)
            for step in range(checkpoint.step, 2):
                with checkpoint.save(step=step + 1):
                    pass
                if step == 0 and seat.rank == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                if step == 0:
                    signal.pause()
            (trial_dir / "who").write_text(str(seat.rank))
            return n
        """,
        search={**SEARCH, "space": {"n": {"type": "categorical", "values": [7]}}},
        distribution={"strategy": "ranks:Ranks", "workers": 2},
    )
    (trial,) = result.trials
    assert (trial.final_metric, trial.attempt) == (7, 2)
    assert files(result)["t0000/who"] == b"0"
    for rank, name in enumerate(("output.log", "output-rank1.log")):
        log = files(result)[f"t0000/{name}"].decode()
        assert log.index(f"rank {rank} from 0\n") < log.index(f"rank {rank} from 1\n")


def test_what_the_end_of_a_run_breaks_off_is_home_and_goes_on(
    elsewhere: Project, dask_address: str
) -> None:
    result = run_elsewhere(
        elsewhere,
        dask_address,
        """
        import itertools, os, time

        def train(n, checkpoint, reporter):
            print("from", checkpoint.step, flush=True)
            if checkpoint.step or n > 1:
                return n
            with checkpoint.save(step=1) as folder:
                (folder / "weights").write_bytes(os.urandom(10_000_000))
            for step in itertools.count():
                reporter.broadcast(n, step)
                time.sleep(0.01)
        """,
        limits={"max_time_s": 3.0},
    )
    assert result.status == "time_limit"
    begun = [t.trial_id for t in result.trials if t.attempt]
    assert len(begun) == 2
    for trial_id in begun:
        weights = result.run_dir / "trials" / trial_id / "checkpoint/step-000000001/weights"
        assert weights.stat().st_size == 10_000_000
    # Here the run directory is seen.
    again = resume(result.run_dir, ["limits.max_time_s=null", "cluster={kind: local}"], quiet=True)
    assert again.status == "finished"
    assert "from 1\n" in elsewhere.log(again, begun[0])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_run_directory_that_takes_nothing_ends_the_run_and_it_goes_on(
    elsewhere: Project, dask_address: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(folder: Folder, pieces: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", refuse)
        result = run_elsewhere(elsewhere, dask_address, TRAIN)
    assert result.status == ("interrupted" if number == errno.ENOSPC else "failed")
    assert os.strerror(number) in str(result.error)
    assert str(result.run_dir) in str(result.error)
    assert not any(trial.state.ended for trial in result.trials)
    again = resume(result.run_dir.resolve(), quiet=True)
    assert again.status == "finished"
    assert again.summary["trials"]["finished"] == 4


def test_what_cant_come_home_is_named(elsewhere: Project, dask_address: str) -> None:
    result = run_elsewhere(
        elsewhere,
        dask_address,
        """
        def train(n, trial_dir):
            (trial_dir / "data").symlink_to("/usr")
            return 1.0
        """,
        search={**SEARCH, "space": {"n": {"type": "categorical", "values": [0]}}},
    )
    assert result.status == "finished"
    assert next(line for line in said(result) if "not brought home" in line).endswith(
        ": data (leads out of the trial's folder)"
    )


def test_a_worker_without_a_package_that_the_code_needs_is_not_used(
    project: Project, dask_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "only_the_driver_has_it.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    project.write("user.py", "import only_the_driver_has_it\ndef train(): return 1.0\n")
    with pytest.raises(ResourcesUnavailable) as caught:
        project.run(
            cluster={"kind": "address", "address": dask_address, "connect_timeout_s": 3},
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    for line in lines[1:]:
        assert line.startswith("worker tcp://127.0.0.1:")
        assert f"on {os.uname().nodename} isn't used: " in line
        assert "no package 'only_the_driver_has_it' there; install" in line


def test_workers_are_asked_for_what_the_driver_lacks_if_no_trial_can_do_without(
    tmp_path: Path,
) -> None:
    functions = Functions(
        FunctionRef("train"), needed=("json", "nowhere", "perhaps"), certain=("json", "nowhere")
    )

    class Needing(Single):  # type: ignore[misc]
        packages = ("a_framework",)

    strategy = cloudpickle.dumps(Needing())
    program = Program("token", functions, "score", {}, str(tmp_path), strategy=strategy)
    with question(program, NO_WISH) as asked:
        assert asked.packages == ("a_framework", "json", "nowhere")
        assert look_around(asked).missing == ("a_framework", "nowhere")


HERE = Site("home", "0.2.0", "3.11", sees=True)
THERE = replace(HERE, host="node7", temp="/tmp")


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (THERE, Way.SHARED),
        (
            replace(THERE, cant_keep="No space left on device"),
            "in /tmp (No space left on device); make",
        ),
        (replace(THERE, sees=False), Way.CARRIED),
        (replace(THERE, cant_write="Read-only file system"), Way.CARRIED),
        (replace(THERE, python="3.12"), "Python 3.12 there, 3.11 here"),
        (replace(THERE, dotrain="0.1.0"), "dotrain 0.1.0 there, 0.2.0 here; install the same"),
        (replace(THERE, dotrain=None), "dotrain of no known version there"),
        (replace(THERE, missing=("xgboost",)), "no package 'xgboost' there"),
        (replace(THERE, missing=("a", "b")), "no packages 'a', 'b' there"),
        (
            replace(THERE, sees=False, cant_keep="Permission denied"),
            "it can't keep files in /tmp (Permission denied); make room there, or let TMPDIR",
        ),
    ],
    ids=str,
)
def test_a_place_has_one_answer(site: Site, expected: Way | str) -> None:
    found = decide(site, HERE)
    if isinstance(expected, Way):
        assert found is expected
    else:
        assert isinstance(found, Refusal)
        assert expected in found.why


def test_the_line_says_which_way_files_go_and_for_whom() -> None:
    ways = [(Way.SHARED, ""), (Way.CARRIED, "b"), (Way.SHARED, ""), *[(Way.CARRIED, "a")] * 4]
    assert ways_text(ways) == (
        "files: shared disk (2 workers); through dotrain (a: 4 workers, b: 1 worker)"
    )
