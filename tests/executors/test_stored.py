"""`storage: URL`: the trials' files are there and nowhere else, and every command finds them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain import experiment
from dotrain.errors import ResourcesUnavailable, UsageError
from dotrain.executors import stored as stored_here
from dotrain.report.artifacts import read_artifacts
from dotrain.report.copying import copy_artifacts
from dotrain.report.page.document import make_document
from dotrain.report.reading import read_run
from dotrain.report.story import read_trial
from dotrain.runs.result import Result
from dotrain.store import RunDir, read_journal
from dotrain.store.kept import Kept
from dotrain.store.manifest import keys_of
from dotrain.store.storage import Storage
from tests.conftest import ROOT, Project, said
from tests.store.cut import Cut

TRAIN = """
    import os, signal

    def train(n, checkpoint, trial_dir, reporter):
        print("trial", n, "from", checkpoint.step)
        for step in range(checkpoint.step, 3):
            with checkpoint.save(step=step + 1) as folder:
                (folder / "weights").write_text(f"{n} after {step}")
                (folder / "empty").mkdir()
            reporter.broadcast(n, step)
        (trial_dir / "sub").mkdir(exist_ok=True)
        (trial_dir / "sub" / "model.bin").write_bytes(bytes([n]) * 100)
        return n
"""
SEARCH: dict[str, Any] = {
    "space": {"n": {"type": "categorical", "values": [0, 1]}},
    "optimizer": {"name": "grid"},
}
ONE: dict[str, Any] = {**SEARCH, "space": {"n": {"type": "categorical", "values": [0]}}}
INLINE, LOCAL = {"kind": "inline"}, {"kind": "local", "workers": 2}
CANARY = "canary-of-a-key-0123456789"


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket, and what its library needs to find it."""
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "an-id",
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    if not files.exists("bucket"):
        files.mkdir("bucket")
    return "s3://bucket/of/dotrain"


SLOW_PLACES = [pytest.param(name, marks=pytest.mark.slow) for name in ("file address", "s3 local")]
#: Where trials run that have processes of their own.
KINDS = ["local", pytest.param("address", marks=pytest.mark.slow)]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """A URL, and where trials run whose files are kept there."""
    protocol, kind = request.param.split()
    urls: dict[str, Callable[[], str]] = {
        "memory": lambda: "memory://of/dotrain",
        "file": lambda: f"file://{tmp_path}/store",
        "s3": lambda: str(request.getfixturevalue("s3")),
    }
    cluster = {"inline": INLINE, "local": LOCAL, "address": {"kind": "address"}}[kind]
    if kind == "address":
        cluster = {**cluster, "address": request.getfixturevalue("dask_address")}
    return urls[protocol](), cluster


def kept_of(result: Result) -> Kept:
    return Kept(RunDir(result.run_dir))


def files(result: Result, to: Path, *without: str) -> dict[str, bytes]:
    copy_artifacts(read_artifacts(result.run_dir), to)
    found = (path for path in (to / "trials").rglob("*") if path.is_file())
    return {
        # What a process has imported decides which generators it keeps the states of.
        str(path.relative_to(to)): b"" if path.name == ".random-state.json" else path.read_bytes()
        for path in found
        if not any(name in path.name for name in ("tfevents", *without))
    }


def check_nothing_else_is_there(result: Result) -> None:
    kept = kept_of(result)
    named = {key for manifest in kept.manifests().values() for key in keys_of(manifest)}
    assert set(kept.storage().list_keys()) == named


@pytest.mark.parametrize(
    "place", ["memory inline", "file local", "file address", "s3 local"], indirect=True
)
def test_the_same_files_are_there_as_in_a_run_directory(
    project: Project, place: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    url, cluster = place
    search = {**SEARCH, "repeats": 2}
    sections: dict[str, Any] = {"search": search, "checkpoints": {"keep": "last"}}
    # Worse than another, a trial might end without its second repeat, whichever is faster.
    alike = TRAIN.replace("return n", "return 1")
    far = project.run(alike, cluster=cluster, storage=url, **sections)
    near = project.run(cluster=INLINE, **sections)
    assert far.summary["trials"]["finished"] == 2
    found = files(far, tmp_path / "far")
    assert found == files(near, tmp_path / "near")
    for folder in ("t0001", "t0001-2"):
        assert found[f"trials/{folder}/sub/model.bin"] == b"\1" * 100
        assert found[f"trials/{folder}/checkpoint/step-000000003/weights"] == b"1 after 2"
    check_nothing_else_is_there(far)
    here = {path.name for path in (far.run_dir / "trials").rglob("*") if path.is_file()}
    assert {name for name in here if "tfevents" not in name} == {"output.log"}
    (line,) = said(far)
    assert line.startswith(f"files: storage: {url}/")
    for path in far.run_dir.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("place", ["memory inline", "file local", *SLOW_PLACES], indirect=True)
def test_promotions_go_on_from_what_is_kept_and_all_but_the_best_is_freed(
    project: Project, place: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    url, cluster = place
    result = project.run(
        """
        def train(x, budget, checkpoint, reporter):
            for step in range(checkpoint.step, int(budget)):
                with checkpoint.save(step=step + 1) as folder:
                    (folder / "weights").write_text(f"{x} after {step}")
                reporter.broadcast(x, step)
            return x
        """,
        cluster=cluster,
        storage=url,
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
    assert all((record["resume_step"] > 0) == (record["attempt"] > 1) for record in started), (
        "no step is trained twice"
    )
    best = result.best
    assert best is not None
    found = result.summary["best"]["checkpoint"]
    assert found.startswith(f"{url}/")
    assert found.endswith("/checkpoint/step-000000004")
    assert read_trial(result.run_dir, best["trial_id"])["checkpoint"] == found
    assert make_document(read_run(result.run_dir), "now").checkpoint == found
    assert result.summary["checkpoints"]["freed"] == 7
    weights = [key for key in kept_of(result).storage().list_keys() if "weights" in key]
    assert [f"{Kept(RunDir(result.run_dir)).place.top}/{key}" for key in weights] == [  # type: ignore[union-attr]
        f"{found}/weights"
    ]
    check_nothing_else_is_there(result)


@pytest.mark.parametrize("kind", ["local", "address"])
def test_an_attempt_that_is_killed_goes_on_from_what_is_kept(
    project: Project, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    cluster = LOCAL
    if kind == "address":
        cluster = {"kind": "address", "address": request.getfixturevalue("dask_address")}
    result = project.run(
        TRAIN.replace(
            "reporter.broadcast(n, step)",
            "reporter.broadcast(n, step)\n"
            "            if step == 1 and checkpoint.step == 2 and not (trial_dir / 'been').exists():\n"
            "                (trial_dir / 'been').touch()\n"
            "                os.kill(os.getpid(), signal.SIGKILL)",
        ),
        cluster=cluster,
        storage=f"file://{tmp_path}/store",
        search=SEARCH,
    )
    assert result.summary["trials"]["finished"] == 2
    for trial in result.trials:
        assert (trial.attempt, trial.losses) == (2, 1)
        assert trial.step_history == [0, 1, 2]
        log = project.log(result, trial.trial_id)
        assert log.index(" from 0\n") < log.index(" from 2\n")


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_end_of_a_run_breaks_off_is_kept_and_goes_on(
    project: Project, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    cluster: dict[str, Any] = LOCAL
    if kind == "address":
        cluster = {"kind": "address", "address": request.getfixturevalue("dask_address")}
    result = project.run(
        """
        import itertools, os, signal, time

        def train(n, driver, checkpoint, reporter):
            print("from", checkpoint.step, flush=True)
            if checkpoint.step:
                return n
            with checkpoint.save(step=1) as folder:
                (folder / "weights").write_bytes(b"w" * 20_000_000)
            os.kill(driver, signal.SIGINT)
            for step in itertools.count():
                reporter.broadcast(n, step)
                time.sleep(0.01)
        """,
        cluster=cluster,
        search=ONE,
        storage=f"file://{tmp_path}/store",
        hparams={"driver": os.getpid()},
    )
    assert result.status == "interrupted"
    assert kept_of(result).checkpoint_bytes("t0000") > 20_000_000
    shutil.move(result.run_dir, tmp_path / "moved")
    again = experiment.resume(tmp_path / "moved", quiet=True)
    assert again.status == "finished"
    assert "from 1\n" in (again.run_dir / "trials" / "t0000" / "output.log").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_kept_and_a_log_is_home_while_the_trial_runs(
    project: Project, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    cluster: dict[str, Any] = LOCAL
    if kind == "address":
        cluster = {"kind": "address", "address": request.getfixturevalue("dask_address")}
    result = project.run(
        f"""
        import json, pathlib, time

        RUNS = pathlib.Path({str(project.path / "runs")!r})

        def found(pattern, holds):
            while not any(holds(file.read_text()) for file in RUNS.glob("*/*/" + pattern)):
                time.sleep(0.01)

        def train(n, checkpoint):
            print("beginning", flush=True)
            found("trials/t0000/output.log", lambda text: "beginning" in text)
            for step in 1, 2:
                with checkpoint.save(step=step) as folder:
                    (folder / "weights").write_text("w")
                name = f"checkpoint/step-{{step:09d}}"
                files = [f"{{name}}/.random-state.json", f"{{name}}/weights"]
                found("storage/t0000.json", lambda text: sorted(json.loads(text)["files"]) == files)
            return 1.0
        """,
        cluster=cluster,
        search=ONE,
        storage=f"file://{tmp_path}/store",
        limits={"trial_timeout_s": 60},
    )
    assert result.summary["trials"]["finished"] == 1
    check_nothing_else_is_there(result)


def test_a_storage_that_does_not_answer_for_a_moment_costs_nothing_but_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cut.clear()
    put = Storage.put
    left = [3]

    def fail(*arguments: Any) -> Any:
        left[0] -= 1
        if 0 <= left[0] < 2:
            raise stored_here.StorageError("cut:// isn't there: nobody answers", passes=True)
        return put(*arguments)

    monkeypatch.setattr(Storage, "put", fail)
    result = project.run(TRAIN, cluster=INLINE, storage="cut://bucket", search=SEARCH)
    assert result.summary["trials"]["finished"] == 2
    assert all(trial.attempt == 1 for trial in result.trials)
    _, line = said(result)
    assert line == "storage: cut:// isn't there: nobody answers; trying again for up to 300 s"


@pytest.mark.parametrize("cluster", [INLINE, LOCAL], ids=["inline", "local"])
def test_a_storage_that_stays_away_loses_the_attempt_and_says_why(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cluster: dict[str, Any],
) -> None:
    def fail(*_: Any) -> Any:
        raise stored_here.StorageError("it isn't there", passes=True)

    monkeypatch.setattr(Storage, "put", fail)
    monkeypatch.setattr(stored_here, "PATIENCE_S", 0.1)
    store = f"file://{tmp_path}/store"
    limits = {"retries": 1}
    result = project.run(TRAIN, cluster=cluster, storage=store, search=ONE, limits=limits)
    (trial,) = result.trials
    assert (str(trial.state), trial.losses) == ("failed", 2)
    assert trial.error is not None
    assert "storage: it isn't there" in trial.error.message
    assert "from 0" in project.log(result)


@pytest.mark.parametrize("kind", ["inline", "local", "address"])
def test_the_log_of_a_function_that_cant_be_imported_is_home(
    project: Project, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    cluster: dict[str, Any] = {"inline": INLINE, "local": LOCAL}.get(kind) or {
        "kind": "address",
        "address": request.getfixturevalue("dask_address"),
    }
    result = project.run(
        "raise OSError('no such device')\ndef train(n): pass\n",
        cluster=cluster,
        storage=f"file://{tmp_path}/store",
        search=ONE,
    )
    (group,) = result.summary["failures"]
    assert Path(group["log"]).is_file(), "messages name it"


def test_a_storage_that_cant_be_had_is_told_at_the_start(project: Project) -> None:
    with pytest.raises(ResourcesUnavailable, match="can't be written: FileNotFoundError") as caught:
        project.run("def train(): return 1.0", cluster=INLINE, storage="file:///proc/nowhere")
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith("storage: file:///proc/nowhere/config-")


def test_a_bucket_that_isnt_there_is_told_at_the_start(project: Project, s3: str) -> None:
    with pytest.raises(
        ResourcesUnavailable, match="FileNotFoundError: The specified bucket does not"
    ):
        project.run("def train(): return 1.0", cluster=INLINE, storage="s3://no-such-bucket/x")


def test_a_worker_that_cant_use_the_storage_is_named_and_isnt_used(
    project: Project, dask_address: str
) -> None:
    cluster = {"kind": "address", "address": dask_address, "connect_timeout_s": 3}
    with pytest.raises(
        ResourcesUnavailable
    ) as caught:  # below the driver's own folder of this name
        project.run(
            "def train(): return 1.0",
            cluster=cluster,
            storage=f"file:///proc/self/cwd/{project.path.name}-store",
        )
    shutil.rmtree(Path(f"{project.path.name}-store"), ignore_errors=True)
    assert re.search(
        r"worker tcp://\S+ on \S+ isn't used: storage: .*something else", str(caught.value)
    )


def test_unfinished_uploads_are_aborted_at_the_next_start(project: Project, s3: str) -> None:
    import s3fs

    result = project.run(
        TRAIN + "\n", cluster=INLINE, storage=s3, search=ONE, limits={"max_time_s": 0.001}
    )
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    place = kept_of(result).place
    assert place is not None
    begun = []
    for top in (f"of/dotrain/{place.folder}", "of/dotrain/another"):
        asked = {"Bucket": "bucket", "Key": f"{top}/t0000/x/weights"}
        begun.append(files.call_s3("create_multipart_upload", **asked)["UploadId"])
        files.pipe_file(f"bucket/{top}/t0000/rubbish", b"of a worker that has died")
    experiment.resume(result.run_dir, ["limits.max_time_s=null"], quiet=True)
    listed = files.call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads", [])
    assert [one["UploadId"] for one in listed] == begun[1:]
    assert not files.exists(f"bucket/of/dotrain/{place.folder}/t0000/rubbish")
    assert files.exists("bucket/of/dotrain/another/t0000/rubbish")


@pytest.mark.slow
def test_a_large_checkpoint_goes_and_comes_through_little_memory(s3: str, tmp_path: Path) -> None:
    code = """
        import os, re, sys
        from pathlib import Path
        from dotrain.store.exchange import Exchange
        from dotrain.store.folder import Folder
        from dotrain.store.storage import Place, Storage

        def most(): return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])

        top = Path(sys.argv[1])
        storage = Storage(Place("s3://bucket/large", "run"))
        one, other = (Exchange("t0000", Folder(top / n, top / f"{n}-new"), storage) for n in "ab")
        for megabytes in (1, 150):
            file = top / "a" / "checkpoint" / "step-000000001" / "weights"
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "wb") as target:
                for _ in range(megabytes):
                    target.write(os.urandom(1_000_000))
            other.fetch(one.send(running=False).manifest)
            print(most(), (top / "b" / "checkpoint/step-000000001/weights").stat().st_size)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (small, one), (large, most) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert (one, most) == (1_000_000, 150_000_000)
    assert (large - small) * 1024 < 64_000_000


def test_a_finished_run_is_judged_and_extended(project: Project, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sections: dict[str, Any] = {"cluster": INLINE, "storage": f"file://{store}"}
    search = {"space": {"n": {"type": "int", "range": [0, 9]}}, "num_trials": 2}
    result = project.run(TRAIN, search=search, **sections)
    store.rename(tmp_path / "away")
    judged = experiment.resume(result.run_dir, quiet=True)
    assert judged.status == "finished"
    with pytest.raises(UsageError, match="has no files of this run; if they lie elsewhere now"):
        experiment.resume(result.run_dir, ["search.num_trials=3"], quiet=True)
    moved = [f"storage=file://{tmp_path}/away", "search.num_trials=3"]
    assert experiment.resume(result.run_dir, moved, quiet=True).summary["trials"]["finished"] == 3
    place = kept_of(result).place
    assert place is not None
    assert place.url == f"file://{tmp_path}/away"
    again = experiment.resume(result.run_dir, ["search.num_trials=4"], quiet=True)
    assert again.summary["trials"]["finished"] == 4, "it is remembered"


def test_files_stay_on_the_side_where_they_are(project: Project, tmp_path: Path) -> None:
    result = project.run(TRAIN, search=ONE, cluster=INLINE, limits={"max_time_s": 0.001})
    store = f"file://{tmp_path}/store"
    with pytest.raises(UsageError, match=f"storage: was absent, is now '{store}'; files stay on"):
        experiment.resume(result.run_dir, [f"storage={store}"], quiet=True)


def test_a_journal_that_names_no_secret_and_a_header_that_names_the_place(
    project: Project, s3: str
) -> None:
    result = project.run(TRAIN, cluster=INLINE, storage=s3, search=ONE)
    records = list(read_journal(result.run_dir / "journal.jsonl"))
    assert records[0]["config"]["storage"] == s3
    assert "an-id" not in json.dumps(records)


def test_a_call_from_python_keeps_files_too(tmp_path: Path) -> None:
    def train(checkpoint: Any) -> float:
        with checkpoint.save(step=1) as folder:
            (folder / "weights").write_text("w")
        return 1.0

    result = experiment.lagom(
        train, storage=f"file://{tmp_path}/store", cluster=INLINE, runs_dir=tmp_path, quiet=True
    )
    assert result.summary["best"]["checkpoint"].startswith(f"file://{tmp_path}/store/")
    (weights,) = (tmp_path / "store").rglob("weights")
    assert weights.read_text() == "w"
