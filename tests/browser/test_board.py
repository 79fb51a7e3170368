"""The board in Chromium, inside Airflow's UI, for an operator, an accountant and a reader."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from playwright.sync_api import FrameLocator, Page, expect

from include.skillreport.billing.receivables.transfer import Transfer
from include.skillreport.core.catalog import TENANT_BILLING, TENANT_USAGE
from include.skillreport.operations.operate_contracts.form import SetProfile
from tests import host_rows
from tests.batches.tenant_management.billing_rows import customer, invoices, jump, run_billing
from tests.billing.zengin_files import OWN_ACCOUNT, zengin_file
from tests.board.night_rows import run
from tests.browser.conftest import Site
from tests.conftest import Database

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
        failure = board.locator("article.failure")
        expect(failure).to_contain_text("BATCH-018-01")
        expect(failure).to_contain_text("T002")
        expect(failure).to_contain_text("1 / 3 件が失敗")
        expect(failure).not_to_contain_text("T001")
        site.picture(page, "night-with-a-failed-tenant", full=False)

        host.execute(mend)
        failure.get_by_role("button", name="失敗した分だけ再実行").click()
        dialog = board.get_by_role("dialog")
        expect(dialog).to_contain_text("aggregate_usage")
        expect(dialog).to_contain_text("T002")
        expect(dialog).not_to_contain_text("T003")
        site.picture(page, "clear-dialog", full=False)
        dialog.get_by_role("button", name="再実行する").click()
        expect(dialog).to_contain_text("実行の様子")
        expect(dialog.locator(".badge.good")).to_be_visible(timeout=120_000)
        site.picture(page, "clear-followed", full=False)
        dialog.get_by_role("button", name="閉じる").click()
        expect(board.get_by_text("失敗したままのバッチはありません")).to_be_visible()
    assert api.state(run_id) == "success"

    with site.signed_in("reader") as page:
        board = _board(page, site)
        board.locator("a.cell").first.click()
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
        board.get_by_role("link", name="通知").click()
        expect(board.get_by_text("452 mailbox full")).to_be_visible()
        expect(board.get_by_role("button", name="再送")).to_have_count(0)
        expect(board.get_by_text("m***@example.jp")).to_be_visible()

    with site.signed_in("operator") as page:
        board = _board(page, site)
        board.get_by_role("link", name="通知").click()
        board.locator('input[value="message-1"]').check()
        board.get_by_role("button", name="再送").click()
        dialog = board.get_by_role("dialog")
        expect(dialog).to_contain_text("T001 メール 送信できず")
        dialog.get_by_role("button", name="実行する").click()
        expect(dialog.locator(".badge.good")).to_be_visible(timeout=120_000)
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
        page.goto(f"{site.url}/batch-board/")
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
            page.goto(f"{site.url}/batch-board{path}")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 400, (path, width)
        page.goto(f"{site.url}/batch-board/")
        site.picture(page, "narrow")

    with site.signed_in("operator") as page:
        page.goto(f"{site.url}/batch-board/")
        page.keyboard.press("Tab")
        expect(page.locator("a.skip")).to_be_focused()
        page.keyboard.press("Enter")
        _tab_to(page, "失敗した分だけ再実行")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_hidden_tab_asks_nothing(site: Site) -> None:
    with site.signed_in("reader") as page:
        page.goto(f"{site.url}/batch-board/")
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
        page.goto(f"{site.url}/batch-board/")
        page.route("**/batch-board/", lambda route: route.fulfill(status=503, body="down"))
        page.evaluate("document.getElementById('content').dataset.refresh = '1'")
        expect(page.locator("#stale")).to_contain_text("時点の表示です")
        expect(page.get_by_role("heading", name="対応が必要なもの")).to_be_visible()
        page.unroute("**/batch-board/")
        expect(page.locator("#stale")).to_be_hidden()
        expect(page.get_by_role("heading", name="対応が必要なもの")).to_be_visible()


def _tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == name:
            return
    raise AssertionError(f"{name} is not reached by the keyboard")


def test_an_accountant_approves_a_held_invoice_and_a_reader_may_not(site: Site, database: Database) -> None:
    with database.connect() as host:
        jump(database, host)
    api = replace(site.api, dag_id=TENANT_BILLING.dag_id)
    assert api.wait(api.trigger(business_date="2026-10-01")) == "failed"
    page_of_month = f"{site.url}/batch-board/invoices?month=2026-10"

    with site.signed_in("reader") as page:
        page.goto(page_of_month)
        expect(page.get_by_text("HD001")).not_to_have_count(0)
        expect(page.get_by_role("button", name="承認")).to_have_count(0)
        # Nor by the address of the button, nor by answering the request.
        own = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
        refused = page.request.post(
            f"{site.url}/batch-board/operations/operate_invoices/approve",
            form={"tenants": "HD001"},
            headers=own,
        )
        assert refused.status == 403
        (request,) = _requests(page, site)
        answer = {"chosen_options": [request["options"][0]], "params_input": {}}
        assert page.request.patch(_answer_url(site, request), data=answer).status == 403

    with site.signed_in("accountant") as page:
        page.goto(page_of_month)
        site.picture(page, "invoices")
        page.locator('input[value="HD001"]').check()
        page.locator("button.primary", has_text="承認").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("HD001")
        expect(dialog).to_contain_text("保留中の請求を確定して番号を付け")
        site.picture(page, "approve-dialog", full=False)
        dialog.get_by_role("button", name="実行する").click()
        expect(dialog.locator(".badge.good")).to_be_visible(timeout=120_000)
        dialog.get_by_role("button", name="閉じる").click()
        expect(page.locator('input[value="HD001"]')).to_have_count(0)
        # The other one by the request in Airflow. HD001 is out of date there, and is not approved again.
        (request,) = _requests(page, site)
        chosen = next(option for option in request["options"] if "承認" in option)
        answer = {"chosen_options": [chosen], "params_input": {"tenants": ["B"], "note": "確認済み"}}
        assert page.request.patch(_answer_url(site, request), data=answer).status == 200
    approval = replace(site.api, dag_id="approve_invoices")
    assert approval.wait(request["task_instance"]["dag_run_id"]) == "success"
    with database.connect() as host:
        rows = host.execute(
            """
            SELECT tenant_id, status, approved_by FROM batch.invoice
            WHERE period_start = '2026-10-01' AND tenant_id IN ('A', 'B') ORDER BY tenant_id
            """
        ).fetchall()
    assert [(tenant_id, status) for tenant_id, status, _ in rows] == [("A", "finalized"), ("B", "finalized")]
    assert rows[1][2] == "accountant"


def test_the_bank_s_file_is_confirmed_and_nothing_is_open(site: Site, database: Database) -> None:
    payers = {"A": "ｶ)ｱｵﾊﾞ", "B": "ﾕ)ﾐﾄﾞﾘ", "C": "ﾔﾏﾀﾞ ﾀﾛｳ", "D": "ｻｸﾗｼﾖｳｶｲ(ｶ"}
    with database.connect() as host:
        for tenant_id in payers:
            customer(host, tenant_id)
    run_billing(database)
    amounts = {"A": 11_000, "B": 11_000, "C": 10_340, "D": 11_000}
    transfers = [
        Transfer(OWN_ACCOUNT, date(2026, 11, 27), Decimal(amounts[tenant_id]), name, reference=str(number))
        for number, (tenant_id, name) in enumerate(payers.items(), start=1)
    ]
    file = site.storage / "bank-files" / "incoming" / "振込入金 11月.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(zengin_file(transfers))
    before = time.time() - 120
    os.utime(file, (before, before))

    with site.signed_in("reader") as page:
        assert page.request.get(f"{site.url}/batch-board/transfers").status == 403

    with site.signed_in("accountant") as page:
        page.goto(f"{site.url}/batch-board/transfers")
        page.get_by_role("button", name="銀行のファイルの取込み").click()
        _run(page)
        expect(page.get_by_text("初めての振込名義です").first).to_be_visible()
        site.picture(page, "transfers")
        # Each payer is new, so a person names the invoices. The candidates are those of this amount.
        with database.connect() as host:
            numbers = {row["tenant_id"]: row["number"] for row in invoices(host)}
        lines = []
        for row in page.locator("#selection tbody tr").all():
            text = row.inner_text()
            tenant_id = next(each for each, name in payers.items() if name in text)
            transfer_id = str(row.get_by_role("button", name="対象外").get_attribute("hx-get")).partition(
                "="
            )[2]
            fee = ",手数料" if tenant_id == "C" else ""
            lines.append(f"{transfer_id}={numbers[tenant_id]}{fee}")
        assert len(lines) == 4
        page.get_by_role("button", name="請求書を指定").first.click()
        dialog = page.get_by_role("dialog")
        dialog.locator("textarea").fill("\n".join(lines))
        site.picture(page, "confirm-transfers", full=False)
        _run(page)
        expect(page.get_by_text("確認待ちの振込はありません。")).to_be_visible()
        expect(page.get_by_text("ﾔﾏﾀﾞ ﾀﾛｳ")).to_be_visible()
        site.picture(page, "transfers-confirmed")
        page.get_by_role("link", name="売掛金").click()
        expect(page.get_by_text("未入金の請求書も、過入金もありません。")).to_be_visible()
    assert not file.exists()


def test_an_imported_recipient_is_approved_by_a_second_person(site: Site, host: psycopg.Connection) -> None:
    file = site.storage / "contracts" / "incoming" / "profile.csv"
    file.parent.mkdir(parents=True)
    columns = [name for name in SetProfile.fields() if name not in ("tenants", "reason")]
    lines = [
        {"tenant": code, "recipient_name": f"株式会社{code}", "email": f"keiri@{code.lower()}.example"}
        for code in CODES
    ]
    rows = [",".join(line.get(name, "") for name in ("tenant", *columns)) for line in lines]
    file.write_text("\r\n".join([",".join(("tenant", *columns)), *rows]), encoding="utf-8")

    with site.signed_in("reader") as page:
        assert page.request.get(f"{site.url}/batch-board/contracts").status == 403

    with site.signed_in("accountant") as page:
        page.goto(f"{site.url}/batch-board/contracts")
        page.get_by_role("button", name="ファイルの取込み").click()
        dialog = page.get_by_role("dialog")
        dialog.locator("select[name=imported_kind]").select_option("profile")
        dialog.locator("input[name=imported_file]").fill("profile.csv")
        dialog.locator("input[name=reason]").fill("初回の登録")
        _run(page)
        expect(page.get_by_text("profile.csv")).to_be_visible()
        expect(page.get_by_text("自分の入力は、ほかの人が承認します")).to_be_visible()
    assert host.execute("SELECT count(*) FROM batch.billing_profile").fetchone() == (0,)

    with site.signed_in("controller") as page:
        (request,) = _requests(page, site)
        page.goto(f"{site.url}/batch-board/contracts")
        page.get_by_text("行を見る").click()
        expect(page.get_by_text("keiri@t001.example")).to_be_visible()
        site.picture(page, "contracts-waiting")
        expect(page.get_by_role("link", name="承認の画面を開く")).to_have_attribute(
            "href", re.compile("/dags/approve_contracts/runs/.*/required_actions")
        )
        answer = {
            "chosen_options": [next(option for option in request["options"] if "承認" in option)],
            "params_input": {"tenants": [], "note": "契約書と照合"},
        }
        assert page.request.patch(_answer_url(site, request), data=answer).status == 200
    approval = replace(site.api, dag_id="approve_contracts")
    assert approval.wait(request["task_instance"]["dag_run_id"]) == "success"
    assert host.execute("SELECT count(*) FROM batch.billing_profile").fetchone() == (3,)

    with site.signed_in("accountant") as page:
        page.goto(f"{site.url}/batch-board/tenants/T001")
        page.get_by_role("link", name="契約（").click()
        expect(page.get_by_text("決めた人: controller")).to_be_visible()
        page.get_by_role("button", name="請求先の変更").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator("input[name=email]")).to_have_value("keiri@t001.example")
        dialog.locator("input[name=department]").fill("経理部")
        dialog.locator("input[name=reason]").fill("客先の依頼")
        site.picture(page, "recipient-dialog", full=False)
        _run(page)
        expect(page.get_by_text("部署: — → 経理部")).to_be_visible()
        page.get_by_role("button", name="割引の登録").click()
        dialog = page.get_by_role("dialog")
        dialog.locator("input[name=discount_name]").fill("年間契約割引")
        dialog.locator("select[name=discount_kind]").select_option("percentage")
        for name, value in (("value", "10"), ("valid_from", "2026-11-01"), ("reason", "契約書")):
            dialog.locator(f"input[name={name}]").fill(value)
        _run(page)
        expect(page.get_by_role("row").filter(has_text="年間契約割引").first).to_contain_text("有効")
        site.picture(page, "contract")
    with site.signed_in("accountant", width=400, height=800) as page:
        for path in ("/contracts", "/tenants/T001/contract"):
            page.goto(f"{site.url}/batch-board{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, path
    found = host.execute("SELECT tenant_id, name, value::int FROM batch.discount").fetchall()
    assert found == [("T001", "年間契約割引", 10)]


def _run(page: Page) -> None:
    """Press the button of the dialog, wait for the run's success, and close the dialog."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="実行する").click()
    expect(dialog.locator(".badge.good")).to_be_visible(timeout=120_000)
    dialog.get_by_role("button", name="閉じる").click()


def _requests(page: Page, site: Site) -> list[dict[str, Any]]:
    """The open requests, as Airflow's page Required Actions asks for them."""
    address = f"{site.url}/api/v2/dags/~/dagRuns/~/hitlDetails?response_received=false"
    for _ in range(60):
        found: list[dict[str, Any]] = page.request.get(address).json()["hitl_details"]
        if found:
            return found
        page.wait_for_timeout(1_000)
    raise AssertionError("nobody was asked")


def _answer_url(site: Site, request: dict[str, Any]) -> str:
    instance = request["task_instance"]
    run = f"{site.url}/api/v2/dags/{instance['dag_id']}/dagRuns/{quote(instance['dag_run_id'], safe='')}"
    return f"{run}/taskInstances/{instance['task_id']}/{instance['map_index']}/hitlDetails"
