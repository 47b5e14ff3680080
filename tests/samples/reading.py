"""What a run directory says of its run, as JSON, and how a kept one is placed and gone on with.

Shared by what makes the samples and by the tests; it uses the command line and the journal's
documented format only, so that it runs with the dotrain of any version.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

#: Told beside a sample, not part of its run directory.
TOLD, AFTER = "expected.json", "expected_after_resume.json"
#: What depends on the clock.
_TIMES = {"t", "seconds", "elapsed_s", "running_for_s", "seconds_per_step", "seconds_per_run"}


class Difference(NamedTuple):
    """Where what is said now isn't what was said; ``MISSING`` if nothing is said any more."""

    where: str
    expected: Any
    got: Any


MISSING = "(missing)"


def holds(
    expected: Any, got: Any, where: str = "", *, relative: float = 1e-12
) -> Iterator[Difference]:
    """Yield what of `expected` is not in `got`; keys may have been added to any mapping."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for key, value in expected.items():
            place = f"{where}.{key}" if where else key
            yield from holds(value, got.get(key, MISSING), place, relative=relative)
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for index, pair in enumerate(zip(expected, got, strict=True)):
            place = f"{where}.{index}" if where else str(index)
            yield from holds(*pair, place, relative=relative)
    elif isinstance(expected, float) and isinstance(got, float):
        # In their last bits, logarithms and statistics differ between machines.
        if not math.isclose(expected, got, rel_tol=relative):
            yield Difference(where, expected, got)
    elif type(expected) is not type(got) or expected != got:
        yield Difference(where, expected, got)


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own; what it prints is text."""
    return python("-m", "dotrain", *arguments, cwd=cwd, **environment)


def python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def said(*arguments: str) -> str:
    """Run the command line in this process; return what it prints."""
    from typer.testing import CliRunner

    from dotrain.cli import app

    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    return done.stdout


def told(run_dir: Path) -> dict[str, Any]:
    """Return what ``show``, ``status`` and ``result.json`` say of a run, its place taken out."""
    from dotrain.report.reading import read_run

    found = {
        "show": json.loads(said("show", str(run_dir), "--json")),
        "status": json.loads(said("status", str(run_dir), "--json")),
        "summary": json.loads(json.dumps(read_run(run_dir).result.to_json())),
    }
    return without_place(found, run_dir)


def without_place(found: Any, run_dir: Path | str) -> Any:
    """Return JSON in which ``RUN_DIR`` stands for the run directory."""
    if isinstance(found, dict):
        return {key: without_place(value, run_dir) for key, value in found.items()}
    if isinstance(found, list):
        return [without_place(value, run_dir) for value in found]
    return found.replace(str(run_dir), "RUN_DIR") if isinstance(found, str) else found


def records(run_dir: Path) -> list[dict[str, Any]]:
    """Return the journal's records; one that is torn is none."""
    from dotrain.store import read_journal

    return list(read_journal(run_dir / "journal.jsonl"))


def came_to(run_dir: Path) -> dict[str, Any]:
    """Return what a run has come to: every decision, every report, and what is told of it.

    Of a run in real time, without what depends on the clock.
    """
    journal = records(run_dir)
    timed = journal[0]["config"].get("cluster", {}).get("kind") == "simulated"
    kept = ("trial_id", "attempt", "params", "budget", "seed", "step", "value", "metrics", "status")
    steps = [
        {"type": r["type"], **{key: r[key] for key in kept if key in r}}
        for r in journal
        if r["type"] in ("Launch", "Stop", "Kill", "Reported", "Finished", "Finish")
    ]
    found = {"steps": steps, **told(run_dir)}
    return found if timed else _without_times(found)


def _without_times(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _without_times(value) for key, value in found.items() if key not in _TIMES}
    return [_without_times(value) for value in found] if isinstance(found, list) else found


def placed(sample: Path, folder: Path) -> Path:
    """Copy a kept run directory into a folder, its code beside it; return the copy.

    The code is what ran, from the sample's archive, and the header says that it lies there.
    """
    run_dir, code = folder / "run", folder / "code"
    shutil.copytree(sample, run_dir, ignore=shutil.ignore_patterns(TOLD, AFTER))
    with zipfile.ZipFile(sample / "code.zip") as archive:
        archive.extractall(code)
    rewrite_header(run_dir / "journal.jsonl", config_dir=str(code))
    return run_dir


def rewrite_header(journal: Path, **changes: Any) -> None:
    """Change keys of the journal's first record, and seal it again."""
    first, *rest = journal.read_bytes().splitlines(keepends=True)
    header = json.loads(first)
    del header["crc"]
    body = json.dumps({**header, **changes})
    sealed = f'{{"crc":"{zlib.crc32(body.encode()):08x}",{body[1:]}\n'
    journal.write_bytes(b"".join([sealed.encode(), *rest]))


def go_on(run_dir: Path, how: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """Resume a placed run.

    Args:
        run_dir: The copy that `placed` made.
        how: A ``script`` to call with the run directory, or what to ``set``.
    """
    code = run_dir.parent / "code"
    if "script" in how:
        return python(how["script"], str(run_dir), cwd=code)
    overrides = [part for text in how["set"] for part in ("--set", text)]
    return command("resume", str(run_dir), "--quiet", *overrides, cwd=code)
