"""What operators do on the board without SQL: stop a tenant's messages, find the slow batch, explain an amount."""

from __future__ import annotations

import re

import psycopg
import pytest
from playwright.sync_api import FrameLocator, expect

from tests.batches.tenant_management.billing_rows import customer, run_billing
from tests.browser.conftest import Site
from tests.conftest import Database

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.exclusive, pytest.mark.tenants()]


def click(board: FrameLocator, name: str, *, role: str = "link") -> None:
    """Follow a link, or press a button."""
    board.get_by_role(role, name=re.compile(name)).first.click()  # type: ignore[arg-type]


def test_messages_stop_an_amount_is_explained_and_the_slow_batch_is_found(
    site: Site, host: psycopg.Connection, database: Database
) -> None:
    customer(host, "T001", tenant_name="青葉商事")
    run_billing(database)

    with site.signed_in("operator") as page:
        page.goto(site.url)
        page.get_by_role("link", name="バッチ運用ボード").click()
        board = page.frame_locator("iframe")
        click(board, "^テナント$")
        board.locator("input[name=q]").fill("ｔ001")
        click(board, "探す", role="button")
        click(board, "^T001$")
        click(board, "通知を止める", role="button")
        board.locator("input[name=reason]").fill("移行中のため")
        click(board, "実行する", role="button")
        expect(board.locator("dialog")).to_contain_text("成功", timeout=180_000)
        click(board, "閉じる", role="button")
        notice = board.locator("p.notice:not(#stale)")
        expect(notice).to_contain_text("移行中のため")
        expect(notice).to_contain_text("operator")
        site.picture(page, "stopped")
        rows = host.execute("SELECT tenant_id, entered_by FROM batch.message_stop").fetchall()
        assert rows == [("T001", "operator")]

        click(board, "^所要時間$")
        row = board.locator("tr", has_text="OPERATE-NOTIFICATIONS")
        row.get_by_role("link").last.click()
        expect(board.locator("main")).to_contain_text("時間のかかったタスク")

    with site.signed_in("administrator") as page:
        page.goto(site.url)
        page.get_by_role("link", name="バッチ運用ボード").click()
        board = page.frame_locator("iframe")
        click(board, "^テナント$")
        click(board, "^T001$")
        board.locator("section[aria-labelledby=invoices] a").first.click()
        board.get_by_text("日ごとの使用量からの計算").click()
        expect(board.locator("#calculation")).to_contain_text("2026-10-31")
        expect(board.locator("#calculation")).to_contain_text("端数処理前")
        site.picture(page, "calculation")
