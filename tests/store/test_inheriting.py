"""Copies of checkpoints for trials that begin from them: whole or absent, and the right ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dotrain.store import RunDir
from dotrain.store import inheriting as module
from dotrain.store.claim import take_storage
from dotrain.store.exchange import Exchange
from dotrain.store.folder import Folder
from dotrain.store.inheriting import NothingToInherit, NotWanted, inherit
from dotrain.store.kept import Kept
from dotrain.store.manifest import keys_of
from dotrain.training.checkpoint import Checkpoint


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    path = tmp_path / "run" / "2026"
    path.mkdir(parents=True)
    return RunDir(path)


def save(run_dir: RunDir, step: int, keep_step: int = 0) -> None:
    with Checkpoint(run_dir.checkpoint("t0000"), keep_step=keep_step).save(step) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").write_text(f"after {step}")


def copied(run_dir: RunDir, step: int = 10, kept: Kept | None = None) -> Path:
    inherit(run_dir, kept or Kept(run_dir), "t0001", "t0000", step, lambda: True)
    latest = Checkpoint(run_dir.checkpoint("t0001")).latest
    assert latest is not None
    return latest


def test_a_copy_is_whole_and_its_own(run_dir: RunDir) -> None:
    save(run_dir, 10)
    found = copied(run_dir)
    assert found.name == "step-000000010"
    weights = found / "sub" / "weights"
    assert weights.read_text() == "after 10"
    weights.write_text("changed")
    assert copied_from(run_dir).read_text() == "after 10"
    assert os.listdir(run_dir.checkpoint("t0001")) == ["step-000000010"]


def copied_from(run_dir: RunDir) -> Path:
    latest = Checkpoint(run_dir.checkpoint("t0000")).latest
    assert latest is not None
    return latest / "sub" / "weights"


def test_the_checkpoint_of_the_budget_stays_while_its_trial_saves_newer_ones(
    run_dir: RunDir,
) -> None:
    save(run_dir, 10)
    for step in range(11, 16):
        save(run_dir, step, keep_step=10)
    assert sorted(os.listdir(run_dir.checkpoint("t0000"))) == ["step-000000010", "step-000000015"]
    assert copied(run_dir, 10).name == "step-000000010"
    save(run_dir, 21, keep_step=20)
    assert sorted(os.listdir(run_dir.checkpoint("t0000"))) == ["step-000000015", "step-000000021"]


def test_of_a_step_that_was_saved_again_the_newest_is_taken(run_dir: RunDir) -> None:
    save(run_dir, 10)
    save(run_dir, 10)
    assert copied(run_dir).name == "step-000000010.1"


def test_where_there_is_none_that_is_said(run_dir: RunDir) -> None:
    with pytest.raises(NothingToInherit, match="has no checkpoint any more"):
        copied(run_dir)
    save(run_dir, 11)
    with pytest.raises(NothingToInherit, match="only newer ones"):
        copied(run_dir)


def test_what_is_broken_off_is_none_and_is_made_again(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run_dir, 10)
    with pytest.raises(NotWanted):
        inherit(run_dir, Kept(run_dir), "t0001", "t0000", 10, lambda: False)
    assert os.listdir(run_dir.checkpoint("t0001")) == []
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "rmtree", lambda *_, **__: None)  # as if killed
        with pytest.raises(NotWanted):
            inherit(run_dir, Kept(run_dir), "t0001", "t0000", 10, lambda: False)
    (left,) = os.listdir(run_dir.checkpoint("t0001"))
    assert left.startswith(".partial-")
    assert Checkpoint(run_dir.checkpoint("t0001")).latest is None
    copied(run_dir)
    assert os.listdir(run_dir.checkpoint("t0001")) == ["step-000000010"]


def test_one_that_goes_while_it_is_copied_is_looked_for_again(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run_dir, 9)
    copy = module.shutil.copy2

    def copy_late(source: str, target: Path) -> None:
        monkeypatch.setattr(module.shutil, "copy2", copy)
        save(run_dir, 10)
        copy(source, target)

    monkeypatch.setattr(module.shutil, "copy2", copy_late)
    assert copied(run_dir).name == "step-000000010"


def test_a_link_is_copied_as_what_it_leads_to(run_dir: RunDir, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("far")
    with Checkpoint(run_dir.checkpoint("t0000")).save(10) as folder:
        (folder / "link").symlink_to(tmp_path / "elsewhere")
    link = copied(run_dir) / "link"
    assert not link.is_symlink()
    assert link.read_text() == "far"


def test_in_a_storage_objects_are_its_own(run_dir: RunDir, tmp_path: Path) -> None:
    storage = take_storage(run_dir, f"file://{tmp_path}/store", goes_on=False)
    kept = Kept(run_dir, storage)
    with pytest.raises(NothingToInherit):
        inherit(run_dir, kept, "t0001", "t0000", 10, lambda: True)
    save(run_dir, 10)
    save(run_dir, 12, keep_step=10)
    folder = Folder(run_dir.trial_dir("t0000"), tmp_path / "staging")
    sent = Exchange("t0000", folder, storage).send(running=False)
    kept.write_manifest("t0000", sent.manifest)
    inherit(run_dir, kept, "t0001", "t0000", 10, lambda: True)
    first, second = kept.manifest("t0000"), kept.manifest("t0001")
    assert sorted(second) == [
        "checkpoint",
        *(
            f"checkpoint/step-000000010{below}"
            for below in ("", "/.random-state.json", "/sub", "/sub/weights")
        ),
    ]
    assert keys_of(first).isdisjoint(keys_of(second))
    kept.free_checkpoints("t0000")
    kept.remove_unneeded(wait=True)
    Exchange("t0001", Folder(tmp_path / "there", tmp_path / "s2"), storage).fetch(second)
    there = tmp_path / "there" / "checkpoint" / "step-000000010" / "sub" / "weights"
    assert there.read_text() == "after 10"
    kept.write_manifest("t0000", first)
    with pytest.raises(NotWanted):
        inherit(run_dir, kept, "t0002", "t0000", 10, lambda: False)
    assert kept.manifest("t0002") == {}
