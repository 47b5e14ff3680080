"""Writing the page of a run: what ``dotrain report`` does."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from dotrain.errors import UsageError
from dotrain.report.reading import read_run
from dotrain.store import replace_file

#: The libraries that make the page, and what pip calls them.
_NEEDED = {"jinja2": "jinja2", "vl_convert": "vl-convert-python"}


def write_page(path: Path, output: Path | None = None) -> Path:
    """Write one self-contained HTML file about a run: live, finished or crashed.

    Args:
        path: The run directory.
        output: The file; by default ``report.html`` in the run directory.

    Returns:
        The file.

    Raises:
        UsageError: If `path` is no run directory, the file can't be written, or a library is
            missing.
        JournalError: If the journal is damaged or newer than this dotrain.
    """
    _require(_NEEDED, "a report", "report")
    from dotrain.report.page.document import make_document
    from dotrain.report.page.render import render

    run = read_run(path)
    _require(run.result.libraries, "the report of an ablation study", "ablation")
    made_at = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    page = render(make_document(run, made_at))
    file = run.run_dir.report if output is None else output
    try:
        # Half a character, as a broken text of the user's may hold, is no reason to have no page.
        replace_file(file, page.encode(errors="replace"))
    except OSError as error:
        raise UsageError(f"can't write the report {file}: {error.strerror}") from None
    return file


def _require(modules: Mapping[str, str], what: str, extra: str) -> None:
    missing = [name for module, name in modules.items() if not importlib.util.find_spec(module)]
    if missing:
        raise UsageError(f"{what} needs {', '.join(missing)}: pip install 'dotrain[{extra}]'")
