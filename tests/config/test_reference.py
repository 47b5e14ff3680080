"""The page that describes the config is what the schema says."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from dotrain.config import reference
from dotrain.config.catalogue import catalogue
from dotrain.config.json_schema import config_schema
from dotrain.config.reference import make_tables, update
from tests.conftest import ROOT
from tests.folder import other_locale

PAGE = (ROOT / "docs" / "config.md").read_text()


def test_the_page_is_up_to_date() -> None:
    assert update(PAGE) == PAGE, "run `make reference`"


def test_every_table_stands_on_the_page_once() -> None:
    named = re.findall(r"<!-- table: (.+?) -->", PAGE)
    assert sorted(named) == sorted(make_tables())
    assert PAGE.count("<!-- end -->") == len(named)


def test_old_tables_are_replaced_and_other_text_is_kept() -> None:
    page = "before\n<!-- table: tls -->\nold\n<!-- end -->\nafter\n"
    new = update(page)
    assert new.startswith("before\n<!-- table: tls -->\n| key | type |")
    assert new.endswith("|\n<!-- end -->\nafter\n")
    assert "old" not in new
    with pytest.raises(KeyError):
        update(page.replace("tls", "nothing"))


def test_the_spaces_it_shows_are_sound() -> None:
    schema = Draft202012Validator(config_schema(catalogue()))
    for text in re.findall(r"```yaml\n(search:.*?)```", PAGE, re.DOTALL):
        search = yaml.safe_load(text)["search"]
        schema.validate({"train": "a:b", "metric": "m", "search": {**search, "num_trials": 1}})


def test_the_settings_it_shows_are_json() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert list(json.loads(text)) == ["yaml.schemas"]


def test_the_module_writes_the_pages_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [tmp_path / "one.md", tmp_path / "two.md"]
    for page in pages:
        page.write_text("ü\n<!-- table: tls -->\nold\n<!-- end -->\n", encoding="utf-8")
    other_locale(monkeypatch)
    monkeypatch.setattr("sys.argv", ["reference", *map(str, pages)])
    runpy.run_path(reference.__file__, run_name="__main__")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text == update(text)
        assert (text.startswith("ü\n"), "old" in text) == (True, False)
