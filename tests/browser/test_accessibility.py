"""axe-core (WCAG and its best practices) finds nothing on any page or dialog of the board, in each theme, language and width.

The pages are those of the app in this process; Chromium gets them under a made-up address. The pages inside Airflow are in test_board.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, Page, Route
from psycopg.types.json import Jsonb

from skill_batch.board.rendering import HEADERS
from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from local_stack.stand_ins import Arrived
from local_stack.stand_ins.page import listing
from tests.board.conftest import Board, board
from tests.board.crawler import pages
from tests.conftest import Database
from tests.worlds.billing_rows import customer, run_billing
from tests.worlds.night_rows import run
from tests.worlds.tenant_rows import everything_of

__all__ = ["board"]  # the fixture of the tests of pages

_PACKAGE = find_spec("axe_playwright_python")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.exclusive,
    pytest.mark.tenants("A", "B", "C", tenant_code="CODE-{}", tenant_name="会社 {}"),
]

ADDRESS = "http://board.example"
STATIC = ("board.css", "board.js", "htmx.min.js", "board.svg")
# Of many dialogs and runs, the first ones are enough: the others differ in their texts only.
MOST_PAGES = 60
KINDS = {"", "runs", "batches", "tenants", "invoices", "messages", "findings", "operations"}
KINDS |= {"documents", "receivables", "transfers", "contracts", "durations", "search"}


@pytest.fixture(scope="module")
def axe() -> str:
    assert _PACKAGE is not None
    assert _PACKAGE.origin is not None
    return (Path(_PACKAGE.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def night(board: Board, database: Database, host: psycopg.Connection) -> Board:
    """Failures, a run that goes on, an operation, incidents, alerts and an invoice, with a row in each section of a tenant's page."""
    customer(host, "D", tenant_name="D 商事")
    run_billing(database)
    everything_of(host, "A", "marker")
    run(
        host,
        TENANT_BILLING,
        failed={"A": ("NO_PRICE", "価格がありません"), "B": ("NO_PRICE", "別の理由")},
        succeeded=("C",),
    )
    run(host, TENANT_USAGE, hours_ago=0.2, minutes=None, succeeded=("A",), pending=("B",))
    run(host, OPERATE_NOTIFICATIONS, failed={"A": ("X", "送れません")}, triggered_by="operator")
    for night in range(6):
        run(host, TENANT_MONITORING, hours_ago=24 * night + 2, succeeded=("A", "B"))
    host.execute(
        """
        INSERT INTO batch.operator_alert (alert_key, channel, severity, message, last_error)
        VALUES (%s, 'slack', 'CRITICAL', %s, '届きません')
        """,
        [f"late:{TENANT_USAGE.dag_id}:x", Jsonb({"title": "バッチ制限時間超過", "lines": [], "kinds": []})],
    )
    return board


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds on the page: the rule and the first elements. A page that scrolls to the side is one more."""
    page.evaluate(axe)
    found: list[dict[str, Any]] = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    problems = [f"{each['id']}: {[node['html'][:160] for node in each['nodes'][:3]]}" for each in found]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        problems.append("wider than the window")
    return problems


@pytest.mark.parametrize(
    ("language", "settings"),
    [("ja", (("light", 1440), ("dark", 390))), ("en", (("dark", 1440), ("light", 390)))],
)
def test_axe_finds_nothing_on_any_page_of_the_board(
    night: Board, browser: Browser, axe: str, language: str, settings: tuple[tuple[str, int], ...]
) -> None:
    cookies = {"skill_batch_language": language}

    def load() -> dict[str, tuple[str, str]]:
        """The type and the text of each page, dialog and file by its path."""
        files = {f"/static/{name}": night.get(f"/static/{name}") for name in STATIC}
        found = {path: (file.headers["content-type"], file.text) for path, file in files.items()}
        # No link leads to the results of a search.
        shown = pages(night, "/", "/search?q=CODE", most=MOST_PAGES, cookies=cookies)
        return found | {path: ("text/html; charset=utf-8", text) for path, text in shown}

    # Playwright has an event loop in this thread.
    with ThreadPoolExecutor(1) as executor:
        answers = executor.submit(load).result()
    assert {path.split("/")[1].split("?")[0] for path in answers} >= KINDS
    start, end = (answers["/"][1].index(mark) for mark in ('<main id="content"', "<footer"))
    before, after = answers["/"][1][:start], answers["/"][1][end:]

    def fulfil(route: Route) -> None:
        kind, text = answers.get(
            route.request.url.removeprefix(f"{ADDRESS}/skill-batch-board"), ("text/plain", "")
        )
        if kind.startswith("text/html") and "<html" not in text:
            shown = f'<h1>—</h1><div role="dialog" aria-labelledby="dialog-title">{text}</div>'
            text = f'{before}<main id="content" tabindex="-1">{shown}</main>{after}'
        route.fulfill(headers={**HEADERS, "Content-Type": kind}, body=text)

    found: dict[str, tuple[str, str, int]] = {}
    for theme, width in settings:
        context = browser.new_context(viewport={"width": width, "height": 900})
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        context.route("**/*", fulfil)
        page = context.new_page()
        for path in answers:
            if not path.startswith("/static/"):
                page.goto(f"{ADDRESS}/skill-batch-board{path}")
                assert page.locator("html").get_attribute("data-theme") == theme
                found |= dict.fromkeys(violations(page, axe), (path, theme, width))
        context.close()
    assert not found, "\n".join(f"{place}: {problem}" for problem, place in found.items())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_the_demos_page_of_messages(browser: Browser, axe: str, theme: str) -> None:
    context = browser.new_context(color_scheme="dark" if theme == "dark" else "light")
    page = context.new_page()
    page.set_content(listing([Arrived("email", "a@customer.example", "本文", "件名")]))
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    problems = violations(page, axe)
    context.close()
    assert problems == []
    assert (back == "rgb(255, 255, 255)") == (theme == "light")
