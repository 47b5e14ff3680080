"""What is decided about files that are kept in a storage, and who is believed; no run is needed."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dotrain.executors import stored as stored_here
from dotrain.executors.dask import admission
from dotrain.executors.dask.admission import Admission, Worker, ways_text
from dotrain.executors.dask.carrier import Pieces
from dotrain.executors.dask.scratch import Scratch
from dotrain.executors.dask.site import Refusal, Site, Way, decide
from dotrain.executors.dask.stored import ToStorage
from dotrain.executors.dealing import NO_WISH
from dotrain.executors.patience import Patience
from dotrain.store import RunDir
from dotrain.store.claim import take_storage
from dotrain.store.kept import Kept
from dotrain.store.storage import Place
from tests.store.cut import Cut


def test_a_worker_that_was_cut_off_changes_nothing_that_counts(tmp_path: Path) -> None:
    Cut.clear()
    run_dir = RunDir(tmp_path / "run" / "2026")
    run_dir.path.mkdir(parents=True)
    storage = take_storage(run_dir, "cut://bucket", goes_on=False)
    kept = Kept(run_dir, storage)
    scratches = [Scratch(storage), Scratch(storage)]

    def save(scratch: Scratch, step: int) -> None:
        folder = scratch.run_dir.checkpoint("t0000") / f"step-{step:09d}"
        folder.mkdir(parents=True)
        (folder / "weights").write_text(f"of step {step}")

    async def tell() -> None:
        async def ask(method: str, *arguments: Any) -> Any:
            return getattr(scratches[1], method)(*arguments)

        async def ask_cut_off(method: str, *arguments: Any) -> Any:
            answer = getattr(scratches[0], method)(*arguments)
            if method == "send":  # it arrives late: the trial has gone on elsewhere, and ended
                cut_off.drop()
                await other.hand_out("t0000", 0, lambda: True)
                save(scratches[1], 1)
                await other.bring_home()
            return answer

        more = (Pieces(), lambda what: None)
        cut_off = ToStorage(run_dir, kept, ask_cut_off, *more)
        other = ToStorage(run_dir, kept, ask, *more)
        await cut_off.hand_out("t0000", 0, lambda: True)
        save(scratches[0], 5)
        await cut_off.bring_home()

    asyncio.run(tell())
    newest = kept.newest_checkpoint("t0000")
    assert newest is not None
    assert newest.endswith("/checkpoint/step-000000001")
    assert len(storage.list_keys()) == 2
    assert kept.sweep() == 1
    for scratch in scratches:
        scratch.remove()


def test_what_is_removed_of_a_trial_is_nothing_that_it_goes_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = RunDir(tmp_path / "run" / "2026")
    run_dir.path.mkdir(parents=True)
    place = take_storage(run_dir, f"file://{tmp_path}/store", goes_on=False).place
    program: Any = SimpleNamespace(storage=place, run_dir=str(run_dir.path))
    here = stored_here.StoredHere(program, lambda what: None)

    def weights(trial_id: str) -> Path:
        return here.run_dir.checkpoint(trial_id) / "step-000000001" / "weights"

    for trial_id in ("t0000", "t0001"):
        here.hand_out(trial_id)
        weights(trial_id).parent.mkdir(parents=True)
        weights(trial_id).write_text(trial_id)
        if trial_id == "t0000":
            here.bring_home(trial_id)

    going_on = threading.Thread(target=here.hand_out, args=["t0000"])

    def remove(path: Path, **options: Any) -> None:
        if path.name == "t0000":
            going_on.start()
            going_on.join(0.2)  # it has got all meanwhile, if it can
        shutil.rmtree(path, **options)

    monkeypatch.setattr(stored_here, "shutil", SimpleNamespace(rmtree=remove))
    here.bring_home("t0001")  # files of one trial stay, those of the last
    going_on.join()
    assert weights("t0000").read_text() == "t0000"
    here.bring_home("t0000")
    newest = Kept(run_dir).newest_checkpoint("t0000")
    assert newest is not None
    assert newest.endswith("/checkpoint/step-000000001")
    here.close()


def test_patience_ends_and_grows_no_further_than_it_should() -> None:
    patience, now_s, delays = Patience(5.0, 60.0), 5.0, []
    while (delay_s := patience.next_delay_s(now_s)) is not None:
        delays.append(delay_s)
        now_s += delay_s
    assert now_s == 65.0
    assert delays[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(delays) == 10.0


def test_at_the_end_of_a_run_patience_ends_soon_however_often_that_is_said() -> None:
    patience, now_s, delays = Patience(5.0, 300.0), 5.0, []
    for _ in range(8):
        now_s += patience.next_delay_s(now_s) or 0.0
    ends_s = now_s + 10.0
    patience.hurry(now_s)
    while (delay_s := patience.next_delay_s(now_s)) is not None:
        delays.append(delay_s)
        now_s += delay_s
        patience.hurry(now_s)
    assert now_s == ends_s
    assert delays[:3] == [0.25, 0.5, 1.0]
    assert patience.bound_s == 10.0


def test_patience_that_ends_sooner_anyway_is_not_made_longer_by_haste() -> None:
    patience = Patience(0.0, 300.0)
    patience.hurry(298.0)
    assert patience.next_delay_s(300.0) is None


HERE = Site("home", "0.2.0", "3.11", sees=True)
STORES = replace(HERE, host="node7", stores=True)


def test_a_place_that_stores_shares_no_disk_and_says_where_files_go() -> None:
    assert decide(STORES, HERE) is Way.STORED
    assert decide(replace(STORES, sees=False), HERE) is Way.STORED
    for site, passes, what in (
        (replace(STORES, cant_store="no access"), False, "storage: no access; credentials"),
        (replace(STORES, cant_store="nobody answers", store_may_come=True), True, "nobody answers"),
        (replace(STORES, cant_keep="full", temp="/tmp"), False, "can't keep files in /tmp (full)"),
    ):
        found = decide(site, HERE)
        assert isinstance(found, Refusal)
        assert found.passes is passes
        assert what in found.why
    ways = [(Way.STORED, "a"), (Way.STORED, "b"), (Way.STORED, "a")]
    assert ways_text(ways, Place("s3://bucket", "run")) == (
        "files: storage: s3://bucket/run (a: 2 workers, b: 1 worker)"
    )


def test_a_worker_is_asked_again_while_the_storage_does_not_answer_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(admission, "here", lambda: HERE)
    monkeypatch.setattr(admission, "_AGAIN_S", 0.0)
    place = Place("s3://bucket", "run")
    program = SimpleNamespace(
        run_dir=str(tmp_path),
        functions=SimpleNamespace(needed=(), certain=(), path=()),
        storage=place,
        strategy=b"",
    )
    away = [
        replace(STORES, cant_store=f"nobody answers {index}", store_may_come=True)
        for index in range(2)
    ]
    answers = iter([*away, STORES])
    lines: list[str] = []

    async def answer(addresses: list[str], asked: object) -> dict[str, Any]:
        return dict.fromkeys(addresses, (next(answers), None))

    async def nobody(addresses: list[str]) -> dict[str, Exception]:
        return {}

    async def ask_all() -> list[Way | None]:
        asked_again: asyncio.Queue[Sequence[str]] = asyncio.Queue()
        wire: Any = SimpleNamespace(ask=answer, settle=nobody)
        letting: Any = Admission(wire, program, NO_WISH, lines.append, asked_again.put_nowait)  # type: ignore[arg-type]
        ways = []
        for _ in range(3):
            ways += (await letting.ask([Worker("tcp://w", "w")])).values()
            if ways[-1] is None:
                assert "nobody answers" in letting.passing["tcp://w"]
                assert await asked_again.get() == ["tcp://w"]
        assert not letting.refused
        assert not letting.passing
        return ways

    assert asyncio.run(ask_all()) == [None, None, Way.STORED]
    refused, used = lines
    assert "worker tcp://w on node7 isn't used: storage: nobody answers 0" in refused
    assert used == "files: storage: s3://bucket/run (node7: 1 worker)"


def test_a_place_is_joined_once() -> None:
    place = Place("s3://bucket/a/", "run")
    assert place.url_of("t0000/x") == "s3://bucket/a/run/t0000/x"
    assert place.top.endswith("/run")
