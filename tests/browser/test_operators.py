"""What operators do on the board without SQL: stop a tenant's messages, find the slow batch, explain an amount, go on after a pause."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import psycopg
import pytest
from playwright.sync_api import FrameLocator, expect

from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.execution.schedule import firings_before
from include.skillreport.core.operation_catalog import APPROVE_RESUMPTION
from tests.browser.conftest import Site
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.billing_rows import customer, run_billing
from tests.worlds.outbox_rows import slack, statuses, waiting

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
        board.locator("main input[name=q]").fill("ｔ001")
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


@pytest.mark.parametrize("scheduled", [True])
def test_after_two_weeks_of_pause_a_person_sends_what_waits(site: Site, host: psycopg.Connection) -> None:
    (tick,) = firings_before(SCHEDULED_NOTIFICATIONS.cron, datetime.now(UTC), 1)
    due = (tick - timedelta(hours=1)).astimezone(UTC).replace(tzinfo=None)
    host_rows.tenant(host, "T001")
    slack(host, "T001", site.services)
    waiting(host, "T001", "SLACK", recipient_address="C1", message_body="長い停止のあと", scheduled_at=due)
    host.execute(
        "INSERT INTO batch.started_tick (batch_id, ticked_at, run_id) VALUES (%s, %s, 'before')",
        [SCHEDULED_NOTIFICATIONS.id, tick - timedelta(days=14)],
    )
    replace(site.api, dag_id=APPROVE_RESUMPTION.dag_id).unpause()
    # Un-pausing starts the missed run at once.
    replace(site.api, dag_id=SCHEDULED_NOTIFICATIONS.dag_id).rest()
    assert statuses(host) == {("slack", "pending"): 1}

    with site.signed_in("operator") as page:
        page.goto(f"{site.url}/skill-batch-board/")
        waits = page.get_by_text("再開の承認: BATCH-019-01 の通知 1 件を、まだ送っていません。")
        expect(waits).to_be_visible()
        site.picture(page, "after-a-pause", full=False)
        page.get_by_role("link", name="承認の画面を開く").first.click()
        page.wait_for_url(re.compile(f"/dags/{APPROVE_RESUMPTION.dag_id}/runs/.*/required_actions"))
        run_id = unquote(page.url.split("/runs/")[1].split("/")[0])
        send = page.get_by_role("button", name="すべて送る")
        expect(send).to_be_visible(timeout=60_000)
        site.picture(page, "resumption", full=False)
        send.click()
        assert replace(site.api, dag_id=APPROVE_RESUMPTION.dag_id).wait(run_id) == "success"
        page.goto(f"{site.url}/skill-batch-board/")
        expect(waits).to_have_count(0)
    assert host.execute("SELECT answered_by FROM batch.approval_item").fetchall() == [("operator",)]
    assert host.execute("SELECT deferred_for, status FROM batch.outbox").fetchall() == [(None, "pending")]


@pytest.mark.usefixtures("backup")
def test_a_tenant_is_restored_into_a_new_database_and_compared(
    site: Site, host: psycopg.Connection, database: Database
) -> None:
    target = f"{database.name}_restored"
    try:
        with site.signed_in("operator") as page:
            page.goto(site.url)
            page.get_by_role("link", name="バッチ運用ボード").click()
            board = page.frame_locator("iframe")
            click(board, "^異常・連携・バックアップ$")
            click(board, "新しいデータベースへ復元", role="button")
            # A value that is typed before the proposal is there is lost.
            named = board.locator("#dialog-content input[name=target]")
            expect(named).to_have_value(re.compile("^restored_"))
            named.fill(target)
            expect(named).to_have_value(target)
            board.locator("textarea[name=tenants]").fill("T001")
            board.locator("input[name=reason]").fill("変更前の名前を調べるため")
            site.picture(page, "restore-dialog", full=False)
            click(board, "実行する", role="button")
            # The dialog shows the backup and what was typed before it runs.
            expect(board.locator("dialog")).to_contain_text("もう一度「実行する」")
            click(board, "実行する", role="button")
            expect(board.locator("dialog .badge.good")).to_be_visible(timeout=180_000)
            click(board, "実行のページ")
            expect(board.locator("main")).to_contain_text("取得時と一致")
            # The other row is the backup's own of the tenant.
            expect(board.locator("main")).to_contain_text("現在と異なる 2 行")
            expect(board.get_by_role("link", name=target)).to_have_count(0)
            site.picture(page, "restored")
        assert host.execute("SELECT FROM pg_database WHERE datname = %s", [target]).rowcount == 1
    finally:
        host.execute(f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
