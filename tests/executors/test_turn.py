"""Of two attempts on one disk the later one has the trial's files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dotrain.executors.dask import turn
from dotrain.executors.dask.turn import HANDOVER_S, LOOK_S, Turn, Turns
from dotrain.store import RunDir


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def test_whoever_follows_one_that_is_done_needn_t_wait(run_dir: RunDir) -> None:
    first, second = (Turn(run_dir, "t0000", token) for token in ("first", "second"))
    assert first.take() == 0.0
    assert not first.is_over()
    first.leave()
    assert not list(run_dir.path.iterdir())
    assert second.take() == 0.0


def test_whoever_follows_one_of_which_nobody_knows_waits_until_that_has_looked(
    run_dir: RunDir,
) -> None:
    zombie, heir = (Turn(run_dir, "t0000", token) for token in ("zombie", "heir"))
    zombie.take()
    assert heir.take() == HANDOVER_S > 2 * LOOK_S
    assert zombie.is_over()
    zombie.leave()
    assert not heir.is_over(), "only one's own turn is left"
    assert heir.take() == 0.0, "it is its own already"
    heir.leave()
    assert zombie.is_over()


def test_trials_have_turns_of_their_own(run_dir: RunDir) -> None:
    one, other = Turn(run_dir, "t0000", "a"), Turn(run_dir, "t0001", "b")
    assert (one.take(), other.take()) == (0.0, 0.0)
    assert not one.is_over()
    assert not other.is_over()


def test_where_nothing_can_be_written_that_is_an_error(run_dir: RunDir) -> None:
    with pytest.raises(OSError, match="No such file"):
        Turn(RunDir(run_dir.path / "gone"), "t0000", "a").take()


def test_on_a_worker_an_attempt_whose_turn_is_over_is_ended(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "LOOK_S", 0.0)
    monkeypatch.setattr(turn, "HANDOVER_S", 0.0)

    async def both() -> None:
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        here, there = Turns(run_dir, over.set_result), Turns(run_dir, pytest.fail)
        assert await here.take("t0000", "cut off")
        assert await there.take("t0000", "elsewhere")
        assert await over == "cut off"
        here.leave()
        assert run_dir.turn("t0000").read_text() == "elsewhere"
        there.leave()
        assert not list(run_dir.path.iterdir())

    asyncio.run(both())


def test_what_is_given_up_while_it_waits_doesn_t_begin_and_leaves_nothing(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "HANDOVER_S", 0.01)

    async def give_up() -> None:
        Turn(run_dir, "t0000", "the one before").take()
        turns = Turns(run_dir, pytest.fail)
        waiting = asyncio.create_task(turns.take("t0000", "a"))
        await asyncio.sleep(0)
        assert not turns.give_up("b")
        assert turns.give_up("a")
        assert not await waiting
        assert not list(run_dir.path.iterdir())
        assert await turns.take("t0000", "b"), "the next one is none the worse for it"

    asyncio.run(give_up())


def test_where_nobody_can_say_whose_turn_it_is_the_attempt_begins_and_finds_out(
    run_dir: RunDir,
) -> None:
    async def take() -> None:
        turns = Turns(RunDir(run_dir.path / "gone"), pytest.fail)
        assert await turns.take("t0000", "a")
        assert not turns.give_up("a"), "it doesn't wait any more"
        turns.leave()

    asyncio.run(take())
