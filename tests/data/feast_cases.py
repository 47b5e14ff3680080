"""Questions to a Feast repository, all answered in one process: importing Feast takes seconds.

In a folder are ``questions.json``, and then ``answers.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

from dotrain.data.feast_asking import ROWS
from dotrain.data.feast_process.__main__ import answer, told
from dotrain.data.feast_process.describing import Question
from dotrain.data.source import BadData


def main(folder: Path) -> None:
    """Answer each question as the process of a source does, its rows as lists."""
    answers = {}
    for name, asked in json.loads((folder / "questions.json").read_text()).items():
        own = folder / name
        own.mkdir()
        try:
            found = answer(Question(**asked), own)
        except BadData as error:
            found = {"refused": str(error), "key": error.key}
        except (Exception, SystemExit) as error:
            found = {"refused": told(error, Path(asked["repo"])), "key": ["feast", "repo"]}
        if (own / ROWS).exists():
            import pyarrow as pa

            table = pa.ipc.open_file(pa.memory_map(str(own / ROWS))).read_all()
            found["rows"] = table.to_pydict()
            found["types"] = {field.name: str(field.type) for field in table.schema}
        answers[name] = found
    (folder / "answers.json").write_text(json.dumps(answers, default=str))
