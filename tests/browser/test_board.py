"""The board in Chromium, inside Airflow's UI, for an operator, an accountant and a reader."""

from __future__ import annotations

import re
from datetime import datetime

import psycopg
import pytest
from playwright.sync_api import FrameLocator, Page, expect

from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_USAGE,
)
from tests.browser.conftest import RUN_MS, Site
from tests.worlds import host_rows
from tests.worlds.night_rows import run

CODES = ("T001", "T002", "T003")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.exclusive,
    pytest.mark.tenants(*CODES, tenant_name="会社 {}", subscription_plan="BASIC"),
]

USAGE = "batch_018_01_tenant_usage"

# Pages that show something without further rows.
PATHS = ("/", "/tenants", "/invoices", "/messages", "/findings")


@pytest.fixture
def reports(host: psycopg.Connection) -> None:
    """A report of each tenant in October."""
    for code in CODES:
        host_rows.report(host, code, datetime(2026, 10, 31, 3, 0))


def _board(page: Page, site: Site) -> FrameLocator:
    """Open the board by Airflow's navigation."""
    page.goto(site.url)
    page.get_by_role("link", name="バッチ運用ボード").click()
    return page.frame_locator("iframe")


@pytest.mark.usefixtures("reports")
def test_a_failed_tenant_is_read_cleared_and_turns_green(site: Site, host: psycopg.Connection) -> None:
    mend = host_rows.break_settings_of(host, "T002")
    api = site.api
    api.dag_id = USAGE
    run_id = api.trigger(business_date="2026-10-31")
    assert api.wait(run_id) == "failed"

    with site.signed_in("operator") as page:
        board = _board(page, site)
        failure = board.locator("article.card")
        expect(failure).to_contain_text("BATCH-018-01")
        expect(failure).to_contain_text("T002")
        expect(failure).to_contain_text("1 / 3 件が失敗")
        expect(failure).not_to_contain_text("T001")
        site.picture(page, "night-with-a-failed-tenant", full=False)

        # The others see who works on it.
        failure.get_by_role("button", name="対応中にする").click()
        board.get_by_role("dialog").get_by_label("対応の内容").fill("設定を直します")
        board.get_by_role("dialog").get_by_role("button", name="保存").click()
        expect(board.locator("article.card.known .handled")).to_contain_text(
            "対応中 operator: 設定を直します"
        )

        host.execute(mend)
        failure.get_by_role("button", name="失敗した分だけ再実行").click()
        dialog = board.get_by_role("dialog")
        expect(dialog).to_contain_text("aggregate_usage")
        expect(dialog).to_contain_text("もう一度処理する対象（1 件）: T002")
        expect(dialog).not_to_contain_text("T003")
        site.picture(page, "clear-dialog", full=False)
        dialog.get_by_role("button", name="再実行する").click()
        expect(dialog).to_contain_text("実行の様子")
        expect(dialog.locator(".badge.good")).to_be_visible(timeout=RUN_MS)
        site.picture(page, "clear-followed", full=False)
        dialog.get_by_role("button", name="閉じる").click()
        expect(board.get_by_text("失敗したままのバッチはありません")).to_be_visible()
    assert api.state(run_id) == "success"

    with site.signed_in("reader") as page:
        board = _board(page, site)
        board.locator("p.gone a").first.click()
        expect(board.locator("h1")).to_contain_text("BATCH-018-01")
        # A link to Airflow's own page leaves the frame, not the UI.
        board.get_by_role("link", name="グリッドとログ").click()
        page.wait_for_url(re.compile(rf"/airflow/dags/{USAGE}/runs/"))
        expect(page.get_by_text("aggregate_usage").first).to_be_visible(timeout=30_000)


@pytest.mark.usefixtures("reports")
def test_a_dead_message_is_resent_and_arrives(site: Site, host: psycopg.Connection) -> None:
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, attempts, due_at, next_attempt_at,
            error_code, error_detail, created_by, finished_at, mirrored_status
        )
        VALUES (
            'message-1', 'T001', 'message-1', 'email', 'member@example.jp', 'お知らせ', '本文', 'dead', 3, now(), now(),
            'mailbox_full', '452 mailbox full', 'run', now(), 'dead'
        )
        """
    )
    with site.signed_in("reader") as page:
        board = _board(page, site)
        board.get_by_role("link", name="通知", exact=True).click()
        expect(board.get_by_text("452 mailbox full")).to_be_visible()
        expect(board.get_by_role("button", name="再送")).to_have_count(0)
        expect(board.get_by_text("m***@example.jp")).to_be_visible()

    with site.signed_in("operator") as page:
        board = _board(page, site)
        board.get_by_role("link", name="通知", exact=True).click()
        board.locator('input[value="message-1"]').check()
        board.get_by_role("button", name="再送").click()
        dialog = board.get_by_role("dialog")
        expect(dialog).to_contain_text("T001 メール 送信できず")
        # Without the reason, the browser names the field and starts nothing.
        dialog.get_by_role("button", name="実行する").click()
        expect(dialog.locator("input[name=reason]:invalid")).to_be_focused()
        dialog.locator("input[name=reason]").fill("メールボックスを空けてもらったため")
        dialog.get_by_role("button", name="実行する").click()
        expect(dialog.locator(".badge.good")).to_be_visible(timeout=RUN_MS)
        dialog.get_by_role("button", name="閉じる").click()
        expect(board.get_by_text("待っている通知も、届かなかった通知もありません。")).to_be_visible()
        site.picture(page, "messages", full=False)
    letters = [each for each in site.services.messages if each.channel == "email"]
    assert [letter.destination for letter in letters] == ["member@example.jp"]
    # The run names the user, in Airflow and in the execution log.
    row = host.execute(
        "SELECT triggered_by FROM batch.execution_log WHERE batch_id = 'OPERATE-NOTIFICATIONS'"
    ).fetchone()
    assert row == ("operator",)


@pytest.mark.usefixtures("reports")
def test_dark_english_narrow_and_by_keyboard(site: Site, host: psycopg.Connection) -> None:
    run(
        host,
        TENANT_BILLING,
        failed={"T001": ("NO_PRICE", "プラン GOLD の価格がありません")},
        succeeded=("T002",),
    )
    run(host, TENANT_USAGE, hours_ago=0.2, minutes=None, succeeded=("T001",), pending=("T002", "T003"))
    with site.signed_in("operator", theme="dark") as page:
        page.evaluate("localStorage.setItem('theme', 'dark')")
        board = _board(page, site)
        expect(board.locator("html")).to_have_attribute("data-theme", "dark")
        site.picture(page, "dark", full=False)

    with site.signed_in("operator", locale="en-US") as page:
        page.goto(f"{site.url}/skill-batch-board/")
        expect(page.locator("h1")).to_contain_text("Last night")
        page.get_by_role("button", name="日本語").click()
        expect(page.locator("h1")).to_contain_text("昨夜")
        # The choice stays.
        page.reload()
        expect(page.locator("h1")).to_contain_text("昨夜")
        page.get_by_role("button", name="English").click()
        expect(page.locator("h1")).to_contain_text("Last night")
        site.picture(page, "english")

    with site.signed_in("reader", width=400, height=800) as page:
        for path in PATHS:
            page.goto(f"{site.url}/skill-batch-board{path}")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 400, (path, width)
        page.goto(f"{site.url}/skill-batch-board/")
        site.picture(page, "narrow")

    with site.signed_in("operator") as page:
        page.goto(f"{site.url}/skill-batch-board/")
        page.keyboard.press("Tab")
        expect(page.locator("a.skip")).to_be_focused()
        page.keyboard.press("Enter")
        _tab_to(page, "直したあとに、失敗した分だけ再実行")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_hidden_tab_asks_nothing(site: Site) -> None:
    with site.signed_in("reader") as page:
        page.goto(f"{site.url}/skill-batch-board/")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.evaluate("document.getElementById('content').dataset.refresh = '1'")
        page.wait_for_event("request", timeout=10_000)
        page.evaluate(
            """
            Object.defineProperty(document, 'hidden', {get: () => true});
            document.dispatchEvent(new Event('visibilitychange'));
            """
        )
        page.wait_for_timeout(1_000)
        asked.clear()
        page.wait_for_timeout(4_000)
        assert asked == []


def test_a_page_that_cannot_refresh_stays_and_shows_its_age(site: Site) -> None:
    with site.signed_in("reader") as page:
        page.goto(f"{site.url}/skill-batch-board/")
        page.route("**/skill-batch-board/", lambda route: route.fulfill(status=503, body="down"))
        page.evaluate("document.getElementById('content').dataset.refresh = '1'")
        expect(page.locator("#stale")).to_contain_text("時点の表示です")
        expect(page.get_by_role("region", name="対応が必要なもの")).to_be_visible()
        page.unroute("**/skill-batch-board/")
        expect(page.locator("#stale")).to_be_hidden()
        expect(page.get_by_role("region", name="対応が必要なもの")).to_be_visible()


def _tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == name:
            return
    raise AssertionError(f"{name} is not reached by the keyboard")
