"""Make run directories of every kind, and write down what this dotrain says of them.

    PYTHONPATH=WHERE_THAT_DOTRAIN_LIES python tests/samples/make.py OUT_DIR

Runs with whatever dotrain is importable: check out the version whose samples are wanted. Everything
happens in a neutral folder, so that what is kept holds no name of the machine it was made on.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reading import AFTER, TOLD, came_to, command, go_on, placed, python, rewrite_header, told

CODE = Path(__file__).with_name("code")
PLACE = Path("/tmp/dotrain-samples")
#: What of a run directory is kept; not its logs, its lock, nor pictures.
KEPT = ("config.yaml", "code.zip", "journal.jsonl", "result.json")
KEPT_OF_TRIALS = ("checkpoint/*/*", "reports.jsonl")

INLINE = {"set": ["cluster={kind: inline}"]}


def main() -> None:
    """Make all samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="where the samples go, a folder for each")
    out = parser.parse_args().out.absolute()
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(CODE, PLACE)
    try:
        keep(out, run("random"), INLINE)
        asha = killed_and_interrupted("asha")
        keep(out, asha, INLINE)
        keep(out, without_the_last_report(asha), INLINE, "behind")
        keep(out, run("ablation", "ablate", END_THE_DRIVER="t0013 1 SIGKILL"), {"set": []})
        keep(out, run("group"), {"set": []})
        keep(out, from_python("lagom"), {"script": "script.py"})
        keep(out, cut_in_the_middle(run("simulated")), {"set": []})
    finally:
        shutil.rmtree(PLACE)


def run(name: str, verb: str = "run", **environment: str) -> Path:
    """Run a config; return the run directory."""
    done = command(verb, f"{name}.yaml", "--quiet", cwd=PLACE, **environment)
    assert bool(done.returncode) == bool(environment), done.stderr
    (run_dir,) = (PLACE / "runs" / name).iterdir()
    return run_dir


def killed_and_interrupted(name: str) -> Path:
    """Kill the driver, resume, and interrupt it."""
    run_dir = run(name, END_THE_DRIVER="t0001 1 SIGKILL")
    done = command("resume", str(run_dir), "--quiet", cwd=PLACE, END_THE_DRIVER="t0008 2 SIGINT")
    assert done.returncode == 130, done.stderr
    return run_dir


def from_python(name: str) -> Path:
    """Interrupt a script that calls `lagom`."""
    done = python("script.py", cwd=PLACE, END_THE_DRIVER="t0004 2 SIGINT")
    assert done.returncode, done.stderr
    (run_dir,) = (PLACE / "runs" / name).iterdir()
    return run_dir


def cut_in_the_middle(run_dir: Path) -> Path:
    """Cut off half of a journal, in the middle of a record, as if the driver had been killed."""
    journal = run_dir / "journal.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) // 2])
    (run_dir / "result.json").unlink()
    return run_dir


def without_the_last_report(run_dir: Path) -> Path:
    """Cut a journal off before its last report, as if its driver had died with it on its way."""
    journal = run_dir / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"Reported"' in line)
    journal.write_bytes(b"".join(lines[:last]))
    (run_dir / "result.json").unlink()
    return run_dir


def keep(out: Path, run_dir: Path, how: Mapping[str, Any], name: str = "") -> None:
    """Keep a run directory, what is said of it, and what it comes to when it goes on."""
    sample = out / (name or run_dir.parent.name)
    shutil.rmtree(sample, ignore_errors=True)
    sample.mkdir(parents=True)
    trials = [file for glob in KEPT_OF_TRIALS for file in run_dir.glob(f"trials/*/{glob}")]
    for file in [*(run_dir / name for name in KEPT), *trials]:
        if file.exists():
            kept = sample / file.relative_to(run_dir)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
    _take_out_the_machine(sample)
    with tempfile.TemporaryDirectory() as folder:
        copy = placed(sample, Path(folder))
        _write(sample / TOLD, told(copy))
        done = go_on(copy, how)
        assert done.returncode == 0, done.stderr
        _write(sample / AFTER, {"how": how, **came_to(copy)})


def _take_out_the_machine(sample: Path) -> None:
    journal = sample / "journal.jsonl"
    header = json.loads(journal.read_bytes().splitlines()[0])
    rewrite_header(journal, environment={**header["environment"], "platform": "Linux"})
    result = sample / "result.json"
    if result.exists():
        result.write_text(re.sub(r"/runs/[^\"/]+/[^\"/]+", r"/runs/a-run", result.read_text()))


def _write(file: Path, found: Any) -> None:
    # A line for each row, so that a change is seen in a diff.
    text = json.dumps(found)
    text = re.sub(r'(\{"(?:type|trial|trial_id|count|name)": )', r"\n\1", text)
    text = re.sub(r'("(?:show|status|summary|steps)": [\[{])', r"\n\1", text)
    assert json.loads(text) == found
    file.write_text(text + "\n")


if __name__ == "__main__":
    main()
