"""The dialog of an invoice in Chromium: fixed, focused on the reason, and about what it names, to the end."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import RUN_MS, Site
from tests.conftest import Database
from tests.worlds.billing_rows import customer, invoices, operate, run_billing

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.exclusive]


def test_an_invoice_issued_again_is_named_before_it_is_voided(site: Site, database: Database) -> None:
    with database.connect() as host:
        for tenant_id in "AB":
            customer(host, tenant_id, tenant_code=f"CODE-{tenant_id}", tenant_name=f"会社 {tenant_id}")
    run_billing(database)
    with database.connect() as host:
        (first, _) = (row["invoice_id"] for row in invoices(host))
    with site.signed_in("accountant") as page:
        page.goto(f"{site.url}/skill-batch-board/invoices/{first}")
        dialog = page.get_by_role("dialog")
        page.get_by_role("button", name="一部の返還", exact=True).click()
        dialog.locator("[name='credit_lines=1']").fill("5000")
        page.keyboard.press("Tab")
        expect(dialog.locator(".changes")).to_contain_text("未入金: 11,000 JPY → 5,500 JPY")
        expect(dialog.locator("[name=again_same]")).to_be_focused()
        dialog.locator("[name='credit_lines=1']").fill("20000")
        page.keyboard.press("Tab")
        expect(dialog.locator(".changes")).to_contain_text("残額 10,000 JPY 以下にしてください")
        site.picture(page, "changes", full=False)
        dialog.locator("[name='credit_lines=1']").fill("abc")
        page.keyboard.press("Tab")
        expect(dialog.locator("#problem-credit_lines")).to_contain_text("「返還する明細」（credit_lines）の")
        expect(dialog.locator(".changes")).to_have_count(0)
        site.picture(page, "unreadable-value", full=False)
        dialog.locator("[name='credit_lines=1']").fill("5000")
        dialog.locator("[name=reason]").fill("障害のお詫び")
        page.keyboard.press("Tab")
        expect(dialog.locator(".decisions")).to_contain_text("承認を待たずに、すぐに反映されます。")
        expect(dialog.locator("#problem-credit_lines")).to_be_empty()
        site.picture(page, "credit", full=False)
        dialog.get_by_role("button", name="閉じる").click()

        page.get_by_role("button", name="取消", exact=True).click()
        expect(dialog).to_contain_text("INV-2026-10-001")
        expect(dialog.locator("[name=reason]")).to_be_focused()
        expect(dialog.locator("[name=tenants]:not([type=hidden])")).to_have_count(0)
        expect(dialog.locator("[name=business_date]:not([type=hidden])")).to_have_count(0)
        page.keyboard.type("契約書の誤り")
        site.picture(page, "fixed-dialog", full=False)

        operate(database, "reissue", reason="単価の訂正", codes=["CODE-A"])
        dialog.get_by_role("button", name="実行する").click()
        alert = dialog.get_by_role("alert")
        expect(alert).to_contain_text("INV-2026-10-001")
        expect(alert).to_contain_text("INV-2026-10-003")
        expect(dialog.locator(".targets")).to_contain_text("INV-2026-10-003")
        site.picture(page, "dialog-names-both", full=False)
        dialog.get_by_role("button", name="実行する").click()
        expect(dialog).to_contain_text("実行の様子")
        expect(dialog.locator(".badge.good")).to_be_visible(timeout=RUN_MS)
        for named in ("CODE-A", "会社 A", "INV-2026-10-003", "11,000 JPY"):
            expect(dialog).to_contain_text(named)
        site.picture(page, "end-of-a-void", full=False)
        dialog.get_by_role("link", name="実行のページ").click()
        expect(page.locator(".targets")).to_contain_text("CODE-A 会社 A: INV-2026-10-003 11,000 JPY")
    with database.connect() as host:
        states = host.execute("SELECT number, status FROM batch.invoice ORDER BY number").fetchall()
    assert states == [
        ("INV-2026-10-001", "void"),
        ("INV-2026-10-002", "finalized"),
        ("INV-2026-10-003", "void"),
    ]
