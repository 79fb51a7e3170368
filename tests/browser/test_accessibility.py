"""axe-core (WCAG and its best practices) finds nothing on any page or dialog of the board, in each theme, language and width.

The pages are those of the app in this process; Chromium gets them under a made-up address. The pages inside Airflow are in test_board.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Browser, Page, Route
from psycopg.types.json import Jsonb

from skill_batch.board.application import create_app
from skill_batch.board.rendering import HEADERS
from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import OPERATE_INVOICES, OPERATE_NOTIFICATIONS
from local_stack.stand_ins import Arrived
from local_stack.stand_ins.page import listing
from tests.board.conftest import Board, board
from tests.board.crawler import pages
from tests.conftest import Database
from tests.worlds.billing_rows import customer, run_billing
from tests.worlds.board_messages import ADDRESS as ADDRESS_OF_A
from tests.worlds.board_messages import close_channel, message, open_resumption, suppress
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
# Of many pages of a route, the first ones are enough, and one dialog of each action: the others differ in their texts only.
MOST_PAGES = 3
# These answer with a file or with another address.
NO_PAGES = {
    "/static/{name}",
    "/help/{page:path}",
    "/{path:path}",
    "/executions/{execution_id}",
    "/accounting/{month}/{name}",
}
NO_PAGES |= {"/documents.csv", "/invoices/{invoice_id}/file", "/invoices/{invoice_id}/page/{sheet}.png"}
ROUTES = [route for route in create_app().routes if isinstance(route, APIRoute) and "GET" in route.methods]
FAILED_RUN = "manual__failed"


@pytest.fixture(scope="module")
def axe() -> str:
    assert _PACKAGE is not None
    assert _PACKAGE.origin is not None
    return (Path(_PACKAGE.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def night(
    board: Board,
    database: Database,
    host: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Board:
    """Failures, a run that goes on, an operation, incidents, alerts, messages and an invoice, with a row in each section of a
    tenant's page.
    """
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"file://{tmp_path}")
    customer(host, "D", tenant_name="D 商事")
    run_billing(database, store=ObjectStore(tmp_path))
    everything_of(host, "A", "marker")
    suppress(host)
    open_resumption(host)
    close_channel(host, "A", "slack", "トークンが失効しました")
    message(host, "undecided")
    run(
        host,
        TENANT_BILLING,
        failed={"A": ("NO_PRICE", "価格がありません"), "B": ("NO_PRICE", "別の理由")},
        succeeded=("C",),
        run_id=FAILED_RUN,
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
    if page.evaluate(
        "[...document.querySelectorAll('.top *')].some(each => each.scrollWidth > each.clientWidth + 1)"
    ):
        problems.append("the head is cut")
    return problems


def _route(path: str) -> str:
    return next(route.path for route in ROUTES if route.path_regex.match(path.partition("?")[0]))


def _pages(board: Board, cookies: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Pages and dialogs of each route that links lead to, and those that follow the press of a button."""
    kinds = Counter[str]()
    # No link leads to the results of a search.
    for path, text in pages(board, "/", "/search?q=CODE", cookies=cookies):
        is_dialog = path.startswith("/operations/")
        kind = path.partition("?")[0] if is_dialog else _route(path)
        kinds[kind] += 1
        if kinds[kind] <= (1 if is_dialog else MOST_PAGES):
            yield path, text
    of_run = f"{TENANT_BILLING.dag_id}/{FAILED_RUN}"
    again = f"/runs/{OPERATE_INVOICES.dag_id}/{FAILED_RUN}/again"
    for path in (again, f"/runs/{of_run}/clear?task=open_run", f"/follow/{of_run}", "/no-such-page"):
        yield path, board.get(path, cookies=cookies).text
    headers = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
    for path, fields in (
        (f"/runs/{of_run}/note", {"text": "x" * 2_000}),
        ("/messages/to", {"address": ADDRESS_OF_A}),
    ):
        yield path, board.request("POST", path, data=fields, headers=headers, cookies=cookies).text


@pytest.mark.timeout(900)
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
        with (
            night.living_run(TENANT_BILLING.dag_id, FAILED_RUN),
            night.living_run(OPERATE_INVOICES.dag_id, FAILED_RUN),
        ):
            night.end_run(TENANT_BILLING.dag_id, FAILED_RUN)
            shown = dict(_pages(night, cookies))
        return found | {path: ("text/html; charset=utf-8", text) for path, text in shown.items()}

    # Playwright has an event loop in this thread.
    with ThreadPoolExecutor(1) as executor:
        answers = executor.submit(load).result()
    assert {_route(path) for path in answers} | NO_PAGES >= {route.path for route in ROUTES}
    start, end = (answers["/"][1].index(mark) for mark in ('<main id="content"', "<footer"))
    before, after = answers["/"][1][:start], answers["/"][1][end:]

    def fulfil(route: Route) -> None:
        kind, text = answers.get(
            route.request.url.removeprefix(f"{ADDRESS}/skill-batch-board"), ("text/plain", "")
        )
        if kind.startswith("text/html") and "<html" not in text and "hx-request" not in route.request.headers:
            shown = f"<h1>—</h1><h2>—</h2>{text}"
            if 'id="dialog-title"' in text:
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
