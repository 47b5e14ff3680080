"""From the document to one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dotrain.report.page.charts import CONFIG
from dotrain.report.page.document import Document
from dotrain.report.page.text import count, listed, number, plain, script_json
from dotrain.report.text import duration
from dotrain.results.text import params_text

#: Hands the libraries' one function to the page's own script; Vega and Vega-Lite come with it.
_EXPORT = "window.vegaEmbed = vegaEmbed;"


def render(document: Document) -> str:
    """Return the page.

    Nothing in it may run but its own two scripts, and nothing may be loaded: the content security
    policy names the scripts by their digests, so that a text of the user's that got past the
    escaping would still be dead.
    """
    assets = files(__package__) / "assets"
    scripts = [assets.joinpath("page.js").read_text(encoding="utf-8")]
    if document.charts:
        scripts.insert(0, _libraries())
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        count=count,
        duration=duration,
        json=lambda value: script_json(value),
        listed=lambda words: listed(list(words)),
        number=number,
        params=params_text,
        percent=lambda share: f"{share:.0%}",
        plain=plain,
    )
    template = environment.from_string(
        assets.joinpath("page.html.jinja").read_text(encoding="utf-8")
    )
    return template.render(
        doc=document,
        css=Markup(assets.joinpath("page.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
        charts=Markup(script_json(_charts(document))),
    )


def _charts(document: Document) -> dict[str, Any]:
    return {"config": CONFIG, "datasets": document.data, "charts": document.charts}


@cache
def _libraries() -> str:
    """Return Vega, Vega-Lite and Vega-Embed in one script, as the wheel of vl-convert holds them."""
    from vl_convert import javascript_bundle

    script: str = javascript_bundle(_EXPORT)
    assert "</script" not in script.lower(), "the libraries would end their own script element"
    return script


def _policy(scripts: list[str]) -> str:
    """Return the content security policy."""
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        # Vega compiles its expressions, which come from our specs alone.
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
