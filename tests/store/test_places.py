"""Where a config lay is found again, however a run directory was called, moved or copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.store.places import config_folders, told_in_header

NAMES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=4)


@given(NAMES, NAMES, NAMES, NAMES)
def test_what_moves_together_stays_where_it_is(
    before: list[str], after: list[str], folder: list[str], run: list[str]
) -> None:
    old, new = Path("/old", *before), Path("/new", *after)
    header = told_in_header(old.joinpath(*folder), old.joinpath("runs", *run))
    assert not header["config_dir"].startswith("/")
    places = config_folders(new.joinpath("runs", *run), header)
    # Where it lies now comes first, its old place last.
    assert places == [new.joinpath(*folder), old.joinpath(*folder)]
    assert config_folders(old.joinpath("runs", *run), header) == [old.joinpath(*folder)]


def test_headers_of_earlier_versions_name_a_folder_or_none(tmp_path: Path) -> None:
    assert config_folders(tmp_path, {"config_dir": "/some/where"}) == [Path("/some/where")]
    assert config_folders(tmp_path, {}) == [tmp_path]


def test_runs_behind_a_link_are_found_by_either_name(tmp_path: Path) -> None:
    project, scratch = tmp_path / "project", tmp_path / "far" / "away" / "scratch"
    run = scratch / "name" / "1"
    for folder in (project, run):
        folder.mkdir(parents=True)
    (project / "runs").symlink_to(scratch)
    header = told_in_header(project, project / "runs" / "name" / "1")
    assert config_folders(project / "runs" / "name" / "1", header)[0] == project
    assert project in config_folders(run, header)


def test_a_config_called_through_a_link_is_found_beside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shell does it: the working folder has no link in it, the config's path has."""
    project = tmp_path / "data" / "project"
    project.mkdir(parents=True)
    (tmp_path / "link").symlink_to(project)
    monkeypatch.chdir(project)
    header = told_in_header(tmp_path / "link", Path("runs") / "name" / "1")
    assert header["config_dir"] == os.path.join("..", "..", "..")
