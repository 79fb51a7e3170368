"""The tasks of a day as a new user does them: from the first page to the end, with few clicks and without the documentation."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import psycopg
import pyrage  # type: ignore[import-untyped]
import pytest
from playwright.sync_api import Locator, Page, expect

from include.skillreport.approvals import APPROVE
from include.skillreport.billing.receivables.transfer import Transfer
from include.skillreport.core.catalog import EXTERNAL_SYNC, TENANT_USAGE
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import APPROVE_OFFBOARDING
from include.skillreport.schema.deploy import upgrade
from local_stack.stand_ins import StandInDirectory
from tests.browser.conftest import RUN_MS, Site
from tests.conftest import PASSWORDS, Database
from tests.dags.running_airflow import answer_request, open_request
from tests.worlds import billing_rows, directory_rows, host_rows, outbox_rows
from tests.worlds.board_messages import message
from tests.worlds.night_rows import run
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.exclusive]

MOST_CLICKS = 6


@dataclass
class Task:
    """A task on the board, from its first page. It counts the clicks, also those of several persons."""

    site: Site
    most: int = MOST_CLICKS
    clicks: int = 0

    def begin(self, page: Page) -> None:
        """Open the first page."""
        page.goto(f"{self.site.url}/skill-batch-board/")

    def click(self, what: Locator) -> None:
        """One click. Typing does not count."""
        self._count()
        what.click()

    def find(self, page: Page, text: str) -> None:
        """Search from any page; Enter counts as a click."""
        page.keyboard.press("/")
        expect(page.locator("#find")).to_be_focused()
        page.keyboard.type(text)
        self._count()
        page.keyboard.press("Enter")

    def press(self, page: Page, name: str) -> None:
        """Click the first button with this text."""
        self.click(page.get_by_role("button", name=name, exact=True).first)

    def confirm(self, page: Page, name: str = "実行する") -> None:
        """Press the button of the open dialog, and wait for the success of its run."""
        dialog = page.get_by_role("dialog")
        self.click(dialog.get_by_role("button", name=name))
        expect(dialog).to_contain_text("実行の様子")
        expect(dialog.locator(".badge.good")).to_be_visible(timeout=RUN_MS)

    def _count(self) -> None:
        self.clicks += 1
        assert self.clicks <= self.most


@pytest.mark.tenants("T001", "T002", tenant_name="会社 {}")
def test_a_token_that_expired_is_named_and_the_tenant_runs_again(
    site: Site, host: psycopg.Connection
) -> None:
    site.services.show_directory("slack", "xoxb-new", StandInDirectory([[directory_rows.member(1)]]))
    directory_rows.employees(host, [1], "T001")
    outbox_rows.integration(
        host,
        "T001",
        "slack",
        auth={"bot_token": "expired"},
        connection={"base_url": site.services.slack_base_url},
    )
    api = replace(site.api, dag_id=EXTERNAL_SYNC.dag_id)
    run_id = api.trigger()
    assert api.wait(run_id) == "failed"

    task = Task(site)
    with site.signed_in("operator") as page:
        task.begin(page)
        task.click(page.locator("article.card").get_by_role("link", name="T001").first)
        strip = page.locator(".strip")
        expect(strip).to_contain_text("bot_token を更新してください")
        site.picture(page, "task-token", full=False)
        host.execute(
            """UPDATE "SYS_IntegrationConfig" SET auth_config = %s""", [json.dumps({"bot_token": "xoxb-new"})]
        )
        task.press(page, "直したあとに、失敗した分だけ再実行")
        task.confirm(page, "再実行する")
        task.press(page, "閉じる")
        expect(strip).to_have_count(0)
    assert api.state(run_id) == "success"


@pytest.mark.tenants("T001", "T002", tenant_name="会社 {}")
def test_a_mail_is_found_messages_are_stopped_and_a_figure_is_traced(
    site: Site, host: psycopg.Connection
) -> None:
    message(host, "message-1", tenant_id="T001", destination="hanako@kaisha.example")
    yesterday = datetime.now(JAPAN).date() - timedelta(days=1)
    closed_by = run(host, TENANT_USAGE, succeeded=("T001", "T002"))
    month, day = yesterday.replace(day=1), yesterday.day
    billing_rows.close_month(host, "T001", month, first=day, last=day, active_users=9_000)
    host.execute("UPDATE batch.usage_day SET closed_by = %s", [closed_by])

    with site.signed_in("operator") as page:
        # A customer says that the mail has not arrived.
        task = Task(site)
        task.begin(page)
        task.click(page.get_by_role("link", name="通知", exact=True))
        page.get_by_label("メールアドレス（完全一致）").fill("Hanako@kaisha.example")
        task.press(page, "探す")
        task.click(page.locator("#found a[href*=message-1]"))
        expect(page.locator("ol.way")).to_contain_text("送信できず")
        expect(page.locator("main")).to_contain_text("mailbox_unavailable")
        assert "kaisha" not in page.url
        site.picture(page, "task-mail", full=False)

        # A figure is too high.
        task = Task(site)
        task.begin(page)
        task.find(page, "T001")
        expect(page.locator("#usage + .charts")).to_contain_text("9,000 人")
        task.click(page.locator(".charts circle").first)
        expect(page.locator("main")).to_contain_text(closed_by)
        expect(page.locator("h1")).to_contain_text("BATCH-018-01")

        # A tenant wants no messages for now.
        task = Task(site)
        task.begin(page)
        task.find(page, "T001")
        task.press(page, "通知を止める")
        page.get_by_role("dialog").locator("[name=reason]").fill("移行中のため")
        task.confirm(page)
        task.press(page, "閉じる")
        expect(page.locator("p.notice:not(#stale)")).to_contain_text("移行中のため")
    rows = host.execute("SELECT tenant_id, entered_by FROM batch.message_stop").fetchall()
    assert rows == [("T001", "operator")]


@pytest.mark.tenants
@pytest.mark.parametrize("own_billing", [{"operation_limit": 0}])
def test_one_wrong_line_is_credited_by_two_persons(
    site: Site, host: psycopg.Connection, database: Database
) -> None:
    billing_rows.customer(host, "T001", tenant_name="青葉商事")
    billing_rows.run_billing(database)

    task = Task(site)
    with site.signed_in("accountant") as page:
        task.begin(page)
        task.find(page, "INV-2026-10-001")
        task.press(page, "一部の返還")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("返す金額（税抜）か、数量")
        dialog.locator("[name='credit_lines=1']").fill("1500")
        dialog.locator("[name=reason]").fill("単価の誤り")
        site.picture(page, "task-line", full=False)
        task.confirm(page)
    with site.signed_in("controller") as page:
        task.begin(page)
        task.click(page.get_by_role("link", name="返還 1 件"))
        task.press(page, "承認")
        expect(page.get_by_role("dialog")).to_contain_text("-1,650 JPY")
        task.confirm(page)
    found = host.execute(
        "SELECT total::int, status, entered_by FROM batch.invoice WHERE kind = 'credit'"
    ).fetchall()
    assert found == [(-1_650, "finalized", "accountant")]


@pytest.mark.tenants
def test_a_bank_file_arrives_and_a_new_payer_is_confirmed(
    site: Site, host: psycopg.Connection, database: Database
) -> None:
    billing_rows.customer(host, "T001", tenant_name="青葉商事")
    billing_rows.run_billing(database)
    content = zengin_file([Transfer(OWN_ACCOUNT, date(2026, 11, 27), Decimal(11_000), "ｶ)ｱｵﾊﾞ")])

    task = Task(site)
    with site.signed_in("accountant") as page:
        task.begin(page)
        task.find(page, "入金消込")
        # The file is chosen in a window of the browser.
        task.clicks += 1
        page.locator("input[type=file]").set_input_files(
            {"name": "振込入金.txt", "mimeType": "text/plain", "buffer": content}
        )
        site.picture(page, "task-upload", full=False)
        task.press(page, "アップロードして取り込む")
        expect(page.get_by_role("dialog").locator(".badge.good")).to_be_visible(timeout=RUN_MS)
        task.press(page, "閉じる")
        expect(page.get_by_text("初めての振込名義です").first).to_be_visible()
        site.picture(page, "task-transfer", full=False)
        task.press(page, "この請求書で確定")
        task.confirm(page)
    assert host.execute("SELECT open_amount::int FROM batch.invoice").fetchall() == [(0,)]


@pytest.mark.usefixtures("backup")
@pytest.mark.tenants
def test_changed_rows_are_compared_and_restored(site: Site, host: psycopg.Connection) -> None:
    task = Task(site)
    with site.signed_in("operator") as page:
        task.begin(page)
        task.find(page, "T001")
        task.press(page, "バックアップと比較")
        task.confirm(page)
        task.click(page.get_by_role("link", name="実行のページ"))
        expect(page.locator("main")).to_contain_text("full_name")
        assert "変更後" not in page.content()
        site.picture(page, "task-restore")
        task.press(page, "この復元を現在の行に反映")
        page.get_by_role("dialog").locator("[name=reason]").fill("誤って変えたため")
        task.confirm(page)
    assert host.execute('SELECT full_name FROM "MST_Employee"').fetchall() == [(None,)]


@pytest.mark.usefixtures("backup_connection")
def test_a_tenant_leaves_by_two_persons(site: Site, host: psycopg.Connection, database: Database) -> None:
    upgrade(database.dsn, passwords=PASSWORDS, with_deletion=True)
    host_rows.tenant(host, "T001", status="INACTIVE")
    host_rows.user(host, "T001", "u1")

    # Its friction is meant.
    task = Task(site, most=20)
    with site.signed_in("leaver") as page:
        task.begin(page)
        task.find(page, "T001")
        task.press(page, "退会の開始")
        dialog = page.get_by_role("dialog")
        dialog.locator("[name=reason]").fill("契約終了のため")
        task.confirm(page)
        task.press(page, "閉じる")
        task.press(page, "退会の書き出し")
        dialog.locator("[name=age_key]").fill(str(pyrage.x25519.Identity.generate().to_public()))
        task.confirm(page)
        task.press(page, "閉じる")
        section = page.locator("section[aria-labelledby=leaving]")
        expect(section).to_contain_text("customer.zip.age")
        expect(section).to_contain_text("まで待ちます")
        expect(section.get_by_role("button", name="削除の承認を依頼")).to_have_count(0)
        site.picture(page, "task-leaving", full=False)
        # The 90 days are over.
        host.execute("UPDATE batch.offboarding SET waits_until = current_date")
        page.reload()
        task.press(page, "削除の承認を依頼")
        task.confirm(page)
        task.press(page, "閉じる")
        expect(section).to_contain_text("ほかの人が Airflow の「要対応項目」で答えます")
    approval = replace(site.api, dag_id=APPROVE_OFFBOARDING.dag_id)
    (asked,) = approval.call("GET", f"/api/v2/dags/{approval.dag_id}/dagRuns")["dag_runs"]
    open_request(approval, asked["dag_run_id"])
    answer_request(approval, asked["dag_run_id"], APPROVE)
    assert approval.wait(asked["dag_run_id"]) == "success"
    with site.signed_in("leaver") as page:
        page.goto(f"{site.url}/skill-batch-board/tenants/T001")
        expect(page.locator("main")).to_contain_text("削除済み")
        expect(page.locator("main")).to_contain_text("administrator")
        site.picture(page, "task-left")
    assert host.execute('SELECT count(*) FROM "MST_UserAuth"').fetchone() == (0,)
