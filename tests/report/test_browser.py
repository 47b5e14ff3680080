"""The page of a run in a real browser: Debian's chromium, headless."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dotrain.report.page.document import make_document
from dotrain.report.page.writing import write_page
from dotrain.report.reading import read_run
from tests.report import runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Set where a missing browser is a mistake: then these tests fail instead of being skipped.
REQUIRED = os.environ.get("DOTRAIN_REQUIRE_BROWSER") == "1"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None and not REQUIRED, reason="needs chromium: apt-get install chromium"
    ),
]

KINDS: dict[str, Callable[[Path], Path]] = {
    "search": runs.search,
    "ablation": runs.ablation,
    "group": runs.group,
    "front": runs.front,
    "crashed": runs.crashed,
    "hostile": runs.hostile,
    "never launched": runs.never_launched,
    "big": runs.big,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for this module; its event loop must be gone before other tests begin."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "DOTRAIN_REQUIRE_BROWSER is set and there is no chromium"
    with sync_playwright() as playwright:
        # A container's user is often root, for whom chromium has no sandbox.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the run directory and the page of a kind, once."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = KINDS[kind](tmp_path_factory.mktemp(kind.replace(" ", "-")))
            write_page(made[kind])
        return made[kind]

    return make


@contextmanager
def opened(
    browser: Any, path: Path, width: int = 1280, at: str = "", **options: Any
) -> Iterator[Any]:
    """Open the page of a run; whatever it complains of or asks the network for is an error."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    page = context.new_page()
    # Only pytest's own limit ends a wait: a busy machine is no fault.
    page.set_default_timeout(0)
    url = (path / "report.html").as_uri()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (complaints.append("dialog"), dialog.dismiss()))

    def intercept(route: Any) -> None:
        if route.request.url == url:
            route.continue_()
        else:
            complaints.append(f"request: {route.request.url}")
            route.abort()

    context.route("**/*", intercept)
    page.goto(url + at)
    if options.get("java_script_enabled", True):
        page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    context.close()
    assert complaints == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_shows_the_numbers_and_draws_every_chart(
    browser: Any, pages: Callable[[str], Path], kind: str
) -> None:
    path = pages(kind)
    document = make_document(read_run(path), "now")
    summary = json.loads(json.dumps(document.run.result.to_json()))
    with opened(browser, path) as page:
        shown = page.eval_on_selector_all(
            "data[data-path]", "found => found.map(e => [e.dataset.path, e.value])"
        )
        numbers = {place: json.loads(value) for place, value in shown}
        assert numbers["trials/total"] == summary["trials"]["total"]
        assert numbers["elapsed_s"] == summary["elapsed_s"]
        if summary.get("best"):
            assert numbers["best/value"] == summary["best"]["value"]
            assert f"{summary['best']['value']:.6g}" in page.inner_text(".figures")
        for index, component in enumerate(summary.get("components", ())):
            assert numbers[f"components/{index}/delta"] == component["delta"]
            assert numbers[f"components/{index}/p_holm"] == component["p_holm"]
        assert page.inner_text("#verdict") == document.verdict.sentence
        charts = page.query_selector_all("[data-chart]")
        assert {c.get_attribute("data-chart") for c in charts} == set(document.charts)
        for chart in charts:
            assert chart.get_attribute("data-drawn") == "yes"
            box = chart.query_selector("svg").bounding_box()
            assert box["width"] > 150
            assert box["height"] > 100
        rows = page.query_selector_all("#all-trials tbody tr")
        assert len(rows) == len(document.table.rows)


def test_every_line_point_and_mark_is_drawn(browser: Any, pages: Callable[[str], Path]) -> None:
    path = pages("search")
    document = make_document(read_run(path), "now")
    with opened(browser, path) as page:
        lines = page.query_selector_all("#chart-curves .mark-line path[d]")
        assert len(lines) == document.curves.trials
        marks = page.query_selector_all("#chart-curves .mark-symbol.role-mark path[d]")
        assert len(marks) == len(document.curves.data["marks"])
        assert document.slices is not None
        points = page.query_selector_all("#chart-slice-0 .mark-symbol.role-mark path[d]")
        assert len(points) == document.slices.trials
    path = pages("ablation")
    with opened(browser, path) as page:
        points = page.query_selector_all("#chart-forest .mark-symbol.role-mark path[d]")
        assert len(points) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_does_not_scroll_sideways(
    browser: Any, pages: Callable[[str], Path], kind: str
) -> None:
    with opened(browser, pages(kind), width=360) as page:
        page.eval_on_selector_all("details", "found => found.forEach(e => e.open = true)")
        width = "document.documentElement.scrollWidth"
        assert page.evaluate(width) <= 360


def test_hovering_tells_why(browser: Any, pages: Callable[[str], Path]) -> None:
    with opened(browser, pages("search")) as page:
        # The last one drawn lies on top.
        last = page.query_selector_all("#chart-curves .mark-symbol.role-mark path[d]")[-1]
        last.scroll_into_view_if_needed()
        last.hover(force=True)
        page.wait_for_selector("#vg-tooltip-element.visible")
        told = page.inner_text("#vg-tooltip-element")
        assert "why" in told
        assert "parameters" in told


def test_a_tooltip_holds_a_hostile_value_as_text(
    browser: Any, pages: Callable[[str], Path]
) -> None:
    with opened(browser, pages("hostile")) as page:
        for point in page.query_selector_all("#chart-slice-1 .mark-symbol.role-mark path[d]"):
            point.scroll_into_view_if_needed()
            point.hover(force=True)
            page.wait_for_selector("#vg-tooltip-element.visible")
            if runs.HOSTILE in page.inner_text("#vg-tooltip-element"):
                break
        else:
            raise AssertionError("no tooltip has the hostile value")
        assert page.query_selector("#vg-tooltip-element img") is None


def test_colours_follow_the_reader_and_the_paper(
    browser: Any, pages: Callable[[str], Path]
) -> None:
    with opened(browser, pages("search"), color_scheme="light") as page:
        colours = """() => [
            getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector("#chart-curves .mark-line path")).stroke,
            getComputedStyle(document.querySelector("#chart-curves .role-axis text")).fill,
        ]"""
        light = page.evaluate(colours)
        page.emulate_media(color_scheme="dark")
        dark = page.evaluate(colours)
        assert all(before != after for before, after in zip(light, dark, strict=True))
        page.emulate_media(color_scheme="dark", media="print")
        assert page.evaluate(colours)[0] == "rgb(255, 255, 255)"


def test_the_table_is_sorted_and_filtered_by_keyboard(
    browser: Any, pages: Callable[[str], Path]
) -> None:
    path = pages("search")
    summary = read_run(path).result.to_json()
    with opened(browser, path) as page:
        page.focus("#all-trials th:nth-child(3) button")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        heading = page.query_selector("#all-trials th:nth-child(3)")
        assert heading.get_attribute("aria-sort") == "descending"
        first = page.query_selector("#all-trials tbody tr")
        assert first.get_attribute("id") == summary["best"]["trial_id"]
        values = page.eval_on_selector_all(
            "#all-trials tbody td:nth-child(3)", "found => found.map(e => e.dataset.v)"
        )
        known = [float(value) for value in values if value is not None]
        assert known == sorted(known, reverse=True)
        # What has no value comes last.
        assert values[len(known) :] == [None] * (len(values) - len(known))
        page.focus("#state")
        page.select_option("#state", "stopped")
        shown = page.query_selector_all("#all-trials tbody tr:not([hidden])")
        assert len(shown) == summary["trials"]["stopped"]
        assert page.inner_text("#shown").startswith(f"{len(shown)} of ")


def test_the_keyboard_reaches_what_there_is_and_shows_where_it_is(
    browser: Any, pages: Callable[[str], Path]
) -> None:
    with opened(browser, pages("search")) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            tag, outline = page.evaluate(
                "(e => [e.tagName, getComputedStyle(e).outlineStyle])(document.activeElement)"
            )
            reached.add(tag)
            assert tag == "BODY" or outline != "none"
        assert {"A", "SUMMARY", "BUTTON", "SELECT", "DIV"} <= reached


def test_without_scripts_the_text_and_the_tables_are_there(
    browser: Any, pages: Callable[[str], Path]
) -> None:
    path = pages("search")
    document = make_document(read_run(path), "now")
    with opened(browser, path, java_script_enabled=False) as page:
        assert page.text_content("#verdict") == document.verdict.sentence
        notes = page.locator(".needs-script")
        assert notes.count() == len(document.charts)
        assert "drawn by JavaScript" in notes.first.text_content()
        assert page.locator("#all-trials tbody tr").count() == len(document.table.rows)
        assert not page.locator("[data-copy]").first.is_visible()
        assert not page.locator(".filter").is_visible()


def test_copying_and_following_a_link(browser: Any, pages: Callable[[str], Path]) -> None:
    path = pages("search")
    document = make_document(read_run(path), "now")
    assert document.best is not None
    options = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, path, **options) as page:
        page.click("#best ~ details summary")
        page.click("[data-copy=best-yaml]")
        page.wait_for_function(
            "document.querySelector('[data-copy=best-yaml]').textContent != 'Copy'"
        )
        assert page.evaluate("navigator.clipboard.readText()") == document.best.yaml
        page.select_option("#state", "stopped")
        page.click("#best ~ p a")
        assert document.run.result.best is not None
        page.wait_for_function("!document.querySelector('tr:target').hidden")
        assert (
            page.query_selector("tr:target").get_attribute("id")
            == document.run.result.best.trial_id
        )


def is_seen(page: Any, trial_id: str) -> None:
    """Check that the row of a trial is the target, in view, and that nothing covers it."""
    page.wait_for_function(f"document.querySelector('tr:target')?.id === '{trial_id}'")
    page.wait_for_function("!document.querySelector('tr:target').hidden")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found = page.evaluate(
        """() => {
            const row = document.querySelector("tr:target");
            const box = row.getBoundingClientRect();
            const head = document.querySelector("#all-trials thead th").getBoundingClientRect();
            const at = (y) => document.elementFromPoint(box.left + 8, y)?.closest("tr")?.id;
            const other = [...row.parentNode.rows].find((each) => each !== row);
            const look = (each) => [
                getComputedStyle(each).outlineStyle, getComputedStyle(each).backgroundColor];
            return {
                top: box.top, bottom: box.bottom, header: head.bottom, height: innerHeight,
                ends: [at(box.top + 2), at(box.bottom - 2)],
                looks: [look(row), look(other)],
            };
        }"""
    )
    assert found["ends"] == [trial_id, trial_id], found
    assert max(0, found["header"]) <= found["top"] + 1, found
    assert found["bottom"] <= found["height"], found
    highlighted, plain = found["looks"]
    assert highlighted[0] == "solid"
    assert plain[0] == "none"
    assert highlighted[1] != plain[1]


@pytest.mark.parametrize("width", [1280, 360])
def test_a_link_to_a_trial_shows_its_row_below_the_header(
    browser: Any, pages: Callable[[str], Path], width: int
) -> None:
    path = pages("search")
    with opened(browser, path, width=width) as page:
        links = page.query_selector_all("main a[href^='#t0']")
        assert len(links) > 2
        for link in links:
            link.click()
            is_seen(page, link.get_attribute("href")[1:])
        page.click("#all-trials th:nth-child(3) button")
        for trial in read_run(path).trials[::7]:
            page.evaluate(f"location.hash = '#{trial.trial_id}'")
            is_seen(page, trial.trial_id)
        # Once more, where it is already, and then hidden by the filter.
        link = page.query_selector("#best ~ p a")
        leader = link.get_attribute("href")[1:]
        for state in ("", "stopped"):
            link.click()
            is_seen(page, leader)
            page.select_option("#state", state)
        link.click()
        is_seen(page, leader)


def test_a_page_that_is_opened_at_a_trial_shows_its_row(
    browser: Any, pages: Callable[[str], Path]
) -> None:
    with opened(browser, pages("search"), at="#t0030") as page:
        is_seen(page, "t0030")
