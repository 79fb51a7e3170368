"""The accountant's work on the board in Chromium: approvals, the bank's file, contracts, and the buttons of an invoice."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote

import pytest
from playwright.sync_api import Page, expect

from include.skillreport.billing.receivables.transfer import Transfer
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import APPROVE_CONTRACTS
from include.skillreport.operations.operate_contracts.form import SetProfile
from tests.browser.conftest import RUN_MS, Site
from tests.conftest import Database
from tests.worlds.billing_rows import customer, invoices, jump, run_billing
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.exclusive]

# The customers of an installation's first day.
CUSTOMERS = [f"T{number:03}" for number in range(1, 501)]


def test_an_accountant_approves_a_held_invoice_and_a_reader_may_not(site: Site, database: Database) -> None:
    with database.connect() as host:
        jump(database, host)
    api = replace(site.api, dag_id=TENANT_BILLING.dag_id)
    assert api.wait(api.trigger(business_date="2026-10-01")) == "failed"
    page_of_month = f"{site.url}/skill-batch-board/invoices?month=2026-10"

    with site.signed_in("reader") as page:
        page.goto(page_of_month)
        expect(page.get_by_text("HD001")).not_to_have_count(0)
        expect(page.get_by_role("button", name="承認")).to_have_count(0)
        # Nor by the address of the button, nor by answering the request.
        own = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
        refused = page.request.post(
            f"{site.url}/skill-batch-board/operations/operate_invoices/approve",
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
        expect(dialog.locator(".badge.good")).to_be_visible(timeout=RUN_MS)
        dialog.get_by_role("button", name="閉じる").click()
        expect(page.locator('input[value="HD001"]')).to_have_count(0)
        # The other one by the request in Airflow. HD001 is out of date there, and is not approved again.
        (request,) = _requests(page, site)
        chosen = next(option for option in request["options"] if "承認" in option)
        answer = {
            "chosen_options": [chosen],
            "params_input": {"tenants": ["B"], "confirmed": [], "note": "確認済み"},
        }
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
        assert page.request.get(f"{site.url}/skill-batch-board/transfers").status == 403

    with site.signed_in("accountant") as page:
        page.goto(f"{site.url}/skill-batch-board/transfers")
        page.get_by_role("button", name="銀行のファイルの取込み").click()
        _run(page)
        expect(page.get_by_text("初めての振込名義です").first).to_be_visible()
        site.picture(page, "transfers")
        # Each payer is new, so a person names the invoices. The candidates are those of this amount.
        with database.connect() as host:
            numbers = {row["tenant_id"]: row["number"] for row in invoices(host)}
        for tenant_id, name in payers.items():
            row = page.locator("#selection tbody tr").filter(has_text=name)
            row.get_by_role("button", name="請求書を指定").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_role("checkbox", name=numbers[tenant_id], exact=True).check()
            if tenant_id == "C":
                dialog.get_by_label("振込手数料が引かれている").check()
            expect(dialog.get_by_text("→")).to_contain_text("0 JPY")
            site.picture(page, f"confirm-transfer-{tenant_id}", full=False)
            _run(page)
            # The page has been loaded again.
            expect(row).to_have_count(0)
        expect(page.get_by_text("確定待ちの振込はありません。")).to_be_visible()
        expect(page.get_by_text("ﾔﾏﾀﾞ ﾀﾛｳ")).to_be_visible()
        site.picture(page, "transfers-confirmed")
        page.get_by_role("link", name="売掛金").click()
        expect(page.get_by_text("未入金の請求書も、過入金もありません。")).to_be_visible()
    assert not file.exists()


def test_the_first_day_has_500_customers_and_a_second_person(site: Site, database: Database) -> None:
    with database.connect() as host:
        for code in CUSTOMERS:
            customer(host, code, tenant_name=f"会社 {code}")
    _write_profiles(site, CUSTOMERS)

    with site.signed_in("reader") as page:
        assert page.request.get(f"{site.url}/skill-batch-board/contracts").status == 403

    with site.signed_in("accountant") as page:
        page.goto(f"{site.url}/skill-batch-board/contracts")
        _operate(
            page,
            "ファイルの取込み",
            imported_kind="profile",
            imported_file="profile.csv",
            reason="初回の登録",
        )
        expect(page.get_by_text("profile.csv")).to_be_visible()
        expect(page.get_by_text("500 行")).to_be_visible()
        expect(page.get_by_text("自分の入力は、ほかの人が承認します")).to_be_visible()
    assert _count(database, "billing_profile") == 0

    with site.signed_in("controller") as page:
        page.goto(f"{site.url}/skill-batch-board/contracts")
        page.get_by_text("行を見る").click()
        expect(page.get_by_text("keiri@t001.example")).to_be_visible()
        site.picture(page, "contracts-waiting", full=False)
        _approve_contracts(page, site)
    assert _count(database, "billing_profile") == 500

    with site.signed_in("accountant") as page:
        # One is corrected, one gets a second recipient, one a discount and the name of its payer.
        page.goto(f"{site.url}/skill-batch-board/tenants/T001")
        page.get_by_role("link", name="契約（").click()
        expect(page.get_by_text("決めた人: controller")).to_be_visible()
        page.get_by_role("button", name="請求先の変更").click()
        expect(page.get_by_role("dialog").locator("input[name=email]")).to_have_value("keiri@t001.example")
        _fill(page, department="経理部", reason="取引先の依頼")
        site.picture(page, "recipient-dialog", full=False)
        _run(page)
        expect(page.get_by_text("部署: — → 経理部")).to_be_visible()
        _operate(page, "請求先の変更", further_emails="buchou@t001.example", reason="取引先の依頼")
        expect(page.get_by_text("自分の入力は、ほかの人が承認します")).to_be_visible()
        _operate(
            page,
            "割引の登録",
            discount_name="年間契約割引",
            discount_kind="percentage",
            value="10",
            valid_from="2026-10-01",
            reason="契約書",
        )
        expect(page.get_by_role("row").filter(has_text="年間契約割引").first).to_contain_text("有効")
        _operate(page, "振込名義の登録", payer_name="ｶ)ｱｵﾊﾞ", reason="前の銀行の記録")
        expect(page.get_by_text("自分の入力は、ほかの人が承認します")).to_have_count(2)
        page.goto(f"{site.url}/skill-batch-board/contracts")
        _operate(
            page,
            "為替レートの登録",
            currency="USD",
            rate_date="2026-10-30",
            yen_per_unit="151.20",
            reason="TTM",
        )
        expect(page.get_by_role("row").filter(has_text="151.2").first).to_be_visible()

    with site.signed_in("controller") as page:
        for _ in range(2):
            page.goto(f"{site.url}/skill-batch-board/tenants/T001/contract")
            _approve_contracts(page, site)
    assert _count(database, "payer") == 1

    with site.signed_in("accountant") as page:
        page.goto(f"{site.url}/skill-batch-board/tenants/T001/contract")
        expect(page.get_by_text("buchou@t001.example").first).to_be_visible()
        site.picture(page, "contract")
        _operate(page, "削除")
        expect(page.get_by_text("該当する名義はありません。")).to_be_visible()
    with site.signed_in("accountant", width=400, height=800) as page:
        for path in ("/contracts", "/tenants/T001/contract"):
            page.goto(f"{site.url}/skill-batch-board{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, path

    billing = replace(site.api, dag_id=TENANT_BILLING.dag_id)
    assert billing.wait(billing.trigger(business_date="2026-10-01")) == "success"
    with site.signed_in("accountant") as page:
        page.goto(f"{site.url}/skill-batch-board/invoices?month=2026-10")
        expect(page.get_by_role("link", name="INV-2026-10-").first).to_be_visible()
        site.picture(page, "month-of-500", full=False)
        with database.connect() as host:
            (invoice,) = [each for each in invoices(host) if each["tenant_id"] == "T001"]
        page.goto(f"{site.url}/skill-batch-board/invoices/{invoice['invoice_id']}")
        expect(page.get_by_role("row").filter(has_text="年間契約割引")).to_contain_text("-1,000")
        expect(page.get_by_text("経理部").first).to_be_visible()


def test_every_button_of_an_invoice_does_what_it_says(site: Site, database: Database) -> None:
    with database.connect() as host:
        for tenant_id in "ABCDE":
            customer(host, tenant_id)
    run_billing(database)
    with database.connect() as host:
        pages = {
            row["tenant_id"]: f"{site.url}/skill-batch-board/invoices/{row['invoice_id']}"
            for row in invoices(host)
        }
    with site.signed_in("accountant") as page:
        # The letter is stopped and sent.
        page.goto(pages["A"])
        _operate(page, "送付を停止", reason="単価を確かめる")
        expect(page.get_by_text("停止中")).to_be_visible()
        page.goto(f"{site.url}/skill-batch-board/invoices?month=2026-10")
        expect(page.get_by_text("単価を確かめる")).to_be_visible()
        site.picture(page, "stopped-letter")
        page.goto(pages["A"])
        _operate(page, "送付する", reason="確かめた", accept_near_due=True)
        expect(page.get_by_text("停止中")).to_have_count(0)

        # The bank has kept its fee. It is entered by mistake once, and once more.
        page.goto(pages["B"])
        _operate(
            page,
            "入金の記録",
            paid_on="2026-11-20",
            paid_amount="10340",
            paid_method="bank_transfer",
            paid_reference="1120-1",
        )
        _operate(page, "手数料差額", fee_on="2026-11-20")
        expect(page.get_by_role("row").filter(has_text="手数料差額")).to_contain_text("660")
        _operate(page, "手数料差額・貸倒れの取り消し", adjustment="fee", reason="日付の誤り")
        _operate(page, "手数料差額", fee_on="2026-11-21")
        site.picture(page, "fee-difference")

        page.goto(pages["C"])
        _operate(
            page,
            "貸倒れ",
            written_off_on="2026-11-20",
            fact="insolvency",
            evidence="債権届出書の写し",
        )
        expect(page.get_by_role("row").filter(has_text="債権届出書の写し")).to_contain_text("11,000")

        page.goto(pages["D"])
        _operate(page, "取消", reason="契約書の誤り")
        _operate(page, "請求のやり直し（新番号）", reason="契約書を直した")
        page.get_by_role("link", name="INV-2026-10-006").first.click()
        expect(page.locator("h1")).to_contain_text("INV-2026-10-006")

        page.goto(pages["E"])
        _operate(
            page,
            "訂正",
            correction="宛名を「青葉商事株式会社」に訂正",
            recipient_name="青葉商事株式会社",
            due_on=f"{datetime.now(UTC).date() + timedelta(days=60)}",  # the letter about it has not left
        )
        expect(page.get_by_text("第 2 版").first).to_be_visible()
        expect(page.get_by_text("訂正の承認待ち").first).to_be_visible()
        site.picture(page, "corrected-invoice")
        page.goto(f"{site.url}/skill-batch-board/invoices?month=2026-10")
        expect(page.get_by_text("自分の訂正は、ほかの人が送付します。")).to_be_visible()

        # A line above the limit of one person waits, and is taken back. Its day is in the running month.
        today = datetime.now(JAPAN).date()
        page.goto(f"{site.url}/skill-batch-board/invoices?month={today:%Y-%m}")
        _operate(
            page,
            "個別明細の追加",
            tenants="A",
            line_date=f"{today}",
            line_text="導入支援",
            line_price="60000",
        )
        row = page.get_by_role("row").filter(has_text="導入支援")
        expect(row).to_be_visible()
        site.picture(page, "waiting-entry")
        row.get_by_role("button", name="個別明細の取り消し").click()
        _run(page)
        expect(row).to_have_count(0)

        page.goto(f"{site.url}/skill-batch-board/receivables")
        site.picture(page, "receivables-after")
    with site.signed_in("controller") as page:
        page.goto(pages["E"])
        _operate(page, "送付する", reason="契約書と照合", accept_near_due=True)
        expect(page.get_by_text("訂正の承認待ち")).to_have_count(0)
    with database.connect() as host:
        found = host.execute(
            """
            SELECT tenant_id, number, status, open_amount::int FROM batch.invoice
            WHERE kind = 'invoice' ORDER BY number
            """
        ).fetchall()
    assert [row[1:] for row in found] == [
        ("INV-2026-10-001", "finalized", 11_000),
        ("INV-2026-10-002", "finalized", 0),
        ("INV-2026-10-003", "finalized", 0),
        ("INV-2026-10-004", "void", 11_000),
        ("INV-2026-10-005", "finalized", 11_000),
        ("INV-2026-10-006", "finalized", 11_000),
    ]


def _write_profiles(site: Site, codes: Sequence[str]) -> None:
    """The file with the recipient of each tenant, in the folder of the import."""
    file = site.storage / "contracts" / "incoming" / "profile.csv"
    file.parent.mkdir(parents=True)
    columns = [name for name in SetProfile.fields() if name not in ("tenants", "reason")]
    lines = [
        {"tenant": code, "recipient_name": f"株式会社{code}", "email": f"keiri@{code.lower()}.example"}
        for code in codes
    ]
    rows = [",".join(line.get(name, "") for name in ("tenant", *columns)) for line in lines]
    file.write_text("\r\n".join([",".join(("tenant", *columns)), *rows]), encoding="utf-8")


def _count(database: Database, table: str) -> int:
    with database.connect() as host:
        (count,) = host.execute(f"SELECT count(*) FROM batch.{table}").fetchone() or (0,)
    return int(count)


def _operate(page: Page, button: str, **values: str | bool) -> None:
    """Press the page's first button with this text, fill in the dialog, and wait for the success of its run."""
    page.get_by_role("button", name=button, exact=True).first.click()
    _fill(page, **values)
    _run(page)


def _fill(page: Page, **values: str | bool) -> None:
    """Fill in these fields of the open dialog. True ticks a box."""
    dialog = page.get_by_role("dialog")
    for name, value in values.items():
        field = dialog.locator(f"[name={name}]")
        if value is True:
            field.check()
        elif field.evaluate("each => each.tagName") == "SELECT":
            field.select_option(str(value))
        else:
            field.fill(str(value))


def _approve_contracts(page: Page, site: Site) -> None:
    """Open the first request from the page of the board, and approve it in Airflow."""
    page.get_by_role("link", name="承認の画面を開く").first.click()
    page.wait_for_url(re.compile("/dags/approve_contracts/runs/.*/required_actions"))
    run_id = page.url.split("/runs/")[1].split("/")[0]
    approve = page.get_by_role("button", name="承認する")
    expect(approve).to_be_visible(timeout=60_000)
    site.picture(page, "required-actions", full=False)
    approve.click()
    approval = replace(site.api, dag_id=APPROVE_CONTRACTS.dag_id)
    assert approval.wait(unquote(run_id)) == "success"


def _run(page: Page) -> None:
    """Press the button of the dialog, wait for the run's success, and close the dialog."""
    dialog = page.get_by_role("dialog")
    run = dialog.get_by_role("button", name="実行する")
    run.click()
    # Before, the dialog has the states of the invoices. It shows what was typed before it runs.
    expect(dialog).to_contain_text(re.compile("実行の様子|もう一度「実行する」"))
    if run.count():
        run.click()
    expect(dialog).to_contain_text("実行の様子")
    expect(dialog.locator(".badge.good")).to_be_visible(timeout=RUN_MS)
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
