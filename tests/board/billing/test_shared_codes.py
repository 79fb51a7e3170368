"""A code that several tenants have: the buttons about an invoice select only its tenant, or there are none."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from include.skillreport.schema.host_contract import HostVariant
from tests.board.conftest import Board
from tests.conftest import Database, Server, copied_database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import customer, insert, operate, run_billing

OCTOBER = "/invoices?month=2026-10"
# Above what one person may enter.
LINE = {"line_date": "2026-11-15", "line_text": "作業費", "line_price": "60000"}

SAME = "‖ 同じコードのテナントがある"


@pytest.fixture(scope="module")
def database(server: Server, templates: dict[HostVariant, str]) -> Iterator[Database]:
    """October of tenants that were given one code afterwards. A and B are held. No text selects NAMED or B: their ids are codes."""
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "board_shared_codes") as copy:
        with copy.connect() as host:
            billing_rows.jump(copy, host)
            for tenant_id in ("ALONE", "TWIN", "NAMED", "RETURNED", "VANISHED"):
                customer(host, tenant_id, tenant_code=f"CODE-{tenant_id}")
        run_billing(copy)
        for tenant_id in ("TWIN", "NAMED"):
            operate(copy, "stop_letter", f"CODE-{tenant_id}", reason="確認する")
            operate(copy, "extra_line", f"CODE-{tenant_id}", values=LINE)
        with copy.connect() as host:
            host.execute(
                """ALTER TABLE "MST_Tenant" DROP CONSTRAINT IF EXISTS "MST_Tenant_tenant_code_key" """
            )
            host.execute("""DROP INDEX IF EXISTS "MST_Tenant_tenant_code_key" """)
            host.execute(
                """UPDATE "MST_Tenant" SET tenant_code = 'SHARED' WHERE tenant_id IN ('TWIN', 'NAMED', 'A', 'B')"""
            )
            customer(host, "OTHER", tenant_code="NAMED")
            customer(host, "OTHER-B", tenant_code="B")
            # The application has deleted the row of a customer whose code the new contract has, too.
            host.execute("""DELETE FROM "MST_Tenant" WHERE tenant_id = 'VANISHED'""")
            host.execute(
                """UPDATE "MST_Tenant" SET tenant_code = 'CODE-VANISHED' WHERE tenant_id = 'RETURNED'"""
            )
            for tenant_id in ("TWIN", "NAMED"):
                insert(
                    host, "reminder_stop", stop_id=tenant_id, tenant_id=tenant_id, reason="x", entered_by="x"
                )
        yield copy


def chosen(text: str) -> set[str]:
    """The tenants that buttons and checkboxes of a page select."""
    text = html.unescape(text)
    return {*re.findall(r"[?&]tenants=([^&\"]*)", text), *re.findall(r'name="tenants" value="([^"]*)"', text)}


def test_buttons_of_the_month_select_only_the_rows_tenant(board: Board) -> None:
    text = board.get(OCTOBER).text
    assert chosen(text) == {"CODE-ALONE", "TWIN", "RETURNED", "VANISHED", "A", "C"}
    stopped, waiting, held, listed = (
        text.split(f"<h2>{title}")[1].split("</section>")[0]
        for title in ("送付を停止している請求書", "ほかの人の承認を待つ登録", "保留中の請求", "請求の一覧")
    )
    assert (chosen(stopped), chosen(waiting), chosen(held)) == ({"TWIN"}, {"TWIN"}, {"A"})
    assert [part.count(SAME) for part in (stopped, waiting, held)] == [1, 1, 1]
    assert SAME in listed


def test_an_invoices_page_has_no_button_that_selects_others(board: Board, ids: dict[str, str]) -> None:
    expected = {
        "ALONE": {"CODE-ALONE"},
        "TWIN": {"TWIN"},
        "NAMED": set[str](),
        "RETURNED": {"RETURNED"},
        "VANISHED": {"VANISHED"},
    }
    for tenant_id, tenants in expected.items():
        text = board.get(f"/invoices/{ids[tenant_id]}").text
        assert chosen(text) == tenants, tenant_id
        assert (SAME in text) == (not tenants), tenant_id


def test_receivables_select_only_the_rows_tenant(board: Board) -> None:
    text = board.get("/receivables").text
    assert {"CODE-ALONE", "TWIN", "RETURNED", "VANISHED"} <= chosen(text)
    assert "SHARED" not in chosen(text)
    assert "NAMED" not in chosen(text)
    # Of NAMED, and of B's September.
    assert text.count(SAME) == 2


def test_the_dialog_of_such_a_button_lists_one_invoice(board: Board) -> None:
    for code in ("TWIN", "RETURNED", "VANISHED"):
        dialog = board.get(
            f"/operations/operate_invoices/write_off?tenants={code}&business_date=2026-10-01"
        ).text
        assert "対象（1 件）" in dialog, code


def test_lists_that_are_cut_say_how_many_there_are(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skill_batch.board.pages.invoices._MOST_STOPPED", 1)
    monkeypatch.setattr("skill_batch.board.pages.invoices._MOST_WAITING", 1)
    text = board.get(OCTOBER).text
    for title in ("送付を停止している請求書", "ほかの人の承認を待つ登録"):
        section = text.split(f"<h2>{title}")[1].split("</section>")[0]
        assert section.startswith(' <small class="muted">2 件</small></h2>'), title
        assert "2 件のうち 1 件を表示しています。" in section, title


def test_readers_are_not_told_about_buttons(board: Board, ids: dict[str, str]) -> None:
    viewer = board.as_role("viewer")
    for path in (OCTOBER, f"/invoices/{ids['NAMED']}", "/receivables"):
        assert SAME not in viewer.get(path).text
