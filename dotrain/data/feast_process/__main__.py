"""The process that asks a Feast repository, and joins by it; ``python -P -m dotrain.data.feast_process FOLDER``.

Feast imports all modules of the repository, and on-demand views are pickles: no other process of dotrain's does that.
In the folder are the question, ``question.json``, and what it answers: ``answer.json``, and ``rows.arrow``.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dotrain.data.feast_asking import ANSWER, QUESTION, ROWS, stamps_of
from dotrain.data.feast_process.describing import (
    Question,
    answer_of,
    read_asked,
    with_source_types,
)
from dotrain.data.feast_process.entities import header_of, read_entities
from dotrain.data.feast_process.repo import (
    SETTINGS,
    Settings,
    local_file,
    read_settings,
    registry_bytes,
)
from dotrain.data.source import BadData

_PR_SET_PDEATHSIG: Final = 1


def answer(question: Question, folder: Path) -> dict[str, Any]:
    """Answer a question.

    Raises:
        BadData: If what is asked for can't be had.
    """
    repo = Path(question.repo)
    settings = read_settings(repo)
    if question.join:
        return _joined(question, settings, folder)
    header = header_of(question.source)
    lies = question.source.files
    read = [repo / SETTINGS, *([] if lies.is_remote else [Path(file.path) for file in lies.all])]
    if settings.registry is None or header is None:
        return {"columns": None, "read": stamps_of(read)}
    read.append(settings.registry)
    stamps = stamps_of(read)
    asked = read_asked(question, registry_bytes(settings, repo), settings, header)
    stamps |= stamps_of(filter(None, (local_file(view, repo) for view in asked.views.values())))
    return {**answer_of(with_source_types(asked, repo), header, settings), "read": stamps}


def _joined(question: Question, settings: Settings, folder: Path) -> dict[str, Any]:
    """Write the rows too; what keeps them from being joined is told besides."""
    from dotrain.data.feast_process.join import join
    from dotrain.data.feast_process.store import Store

    repo = Path(question.repo)
    store = Store(repo, settings, folder, question.apply)
    entities = read_entities(question.source)
    header = {field.name: str(field.type) for field in entities.schema}
    asked = read_asked(question, store.registry, settings, header)
    asked = with_source_types(asked, repo)
    answer = answer_of(asked, header, settings)
    try:
        join(store.feast, asked, entities, question, folder / ROWS)
    except BadData as error:
        answer |= {"refused": str(error), "key": error.key}
    except Exception as error:
        answer |= {"refused": told(error, repo), "key": ["feast", "repo"]}
    return answer


def told(error: BaseException, repo: Path) -> str:
    """Return what went wrong in Feast or in the user's code, and the user's line, if it was there."""
    # Of values in feature_store.yaml, which may be secrets, pydantic tells what isn't as it should be.
    said = re.sub(r"input_value=.*?, (?=input_type=)", "", str(error), flags=re.DOTALL)
    what = f"{type(error).__name__}: {said}".strip().rstrip(":")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(repo):
            return f"{frame.filename}:{frame.lineno}: {what}"
        # Of the functions of on-demand views the registry has the text, which Feast runs.
        if frame.filename == "<string>":
            place = _place_of(frame.name, frame.lineno or 1, repo)
            return f"{place}: {what}, in the function of an on-demand view"
    return what


def _place_of(function: str, line: int, repo: Path) -> str:
    """Return where a line of a function stands, if only one of the repository has its name."""
    found = []
    for file in sorted(repo.rglob("*.py")):
        with contextlib.suppress(OSError, ValueError, SyntaxError):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name == function:
                    found.append(f"{file}:{node.lineno + line - 1}")
    return found[0] if len(found) == 1 else f"{function}, line {line}"


def main(arguments: Sequence[str]) -> None:
    """Answer the question in a folder."""
    folder = Path(arguments[0])
    question = Question(**json.loads((folder / QUESTION).read_text(encoding="utf-8")))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != question.parent:
            return
    try:
        found: dict[str, Any] = answer(question, folder)
    except BadData as error:
        found = {"error": str(error), "key": list(error.key)}
    except (Exception, SystemExit) as error:
        found = {"error": told(error, Path(question.repo)), "key": ["feast", "repo"]}
    new = folder / f"{ANSWER}.new"
    new.write_text(json.dumps(found), encoding="utf-8")
    new.replace(folder / ANSWER)
    # Nothing that Feast or the user's code has started holds up the one who waits.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
