"""売掛金: the open amounts by the ages of the accountant's table, and the invoices behind them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import psycopg
import pytest

from skill_batch.board.pages.receivables import AgeName, ReceivableFilters, load_receivables
from include.skillreport.billing.receivables.ageing import Age
from tests.board.conftest import Board
from tests.worlds.billing_rows import insert

# October's due date.
DUE = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("days", "age"),
    [
        (0, "not_due"),
        (1, "days_1_to_30"),
        (30, "days_1_to_30"),
        (31, "days_31_to_60"),
        (61, "days_61_to_90"),
        (91, "over_90_days"),
    ],
)
def test_an_invoice_is_as_old_as_in_the_accountants_table(
    reader: psycopg.Connection, days: int, age: AgeName
) -> None:
    as_of = DUE + timedelta(days=days)
    page = load_receivables(reader, ReceivableFilters(age, "PARTLY"), as_of)
    ((row, shown),) = page.listed
    assert shown is Age[age.upper()]
    assert (row["open_amount"], page.total) == (Decimal(10_000), 1)
    for aged in page.currencies:
        assert sum(aged.amounts.values()) == aged.total
    other: AgeName = "not_due" if days else "over_90_days"
    assert load_receivables(reader, ReceivableFilters(other, "PARTLY"), as_of).listed == []


def test_the_sums_are_those_of_the_open_invoices(reader: psycopg.Connection) -> None:
    page = load_receivables(reader, ReceivableFilters(), DUE)
    assert {aged.currency for aged in page.currencies} == {"JPY", "USD"}
    for aged in page.currencies:
        open_amounts = [row["open_amount"] for row, _ in page.listed if row["currency"] == aged.currency]
        assert aged.total == sum(open_amounts)
    listed = {row["tenant_id"] for row, _ in page.listed}
    assert {"PARTLY", "PART", "STOPPED"} <= listed
    assert listed.isdisjoint({"PAID", "VOID", "CREDIT"})


def test_the_number_is_that_of_the_listed_invoices(reader: psycopg.Connection) -> None:
    ages: tuple[AgeName, ...] = ("", "not_due", "days_1_to_30", "owed_back")
    for age in ages:
        for counterparty in ("", "PART", "nobody"):
            page = load_receivables(reader, ReceivableFilters(age, counterparty), DUE)
            assert page.total == len(page.listed), (age, counterparty)


def test_credit_balances_are_listed_apart(host: psycopg.Connection, reader: psycopg.Connection) -> None:
    with host.transaction(force_rollback=True):
        host.execute("UPDATE batch.invoice SET paid_total = 20000 WHERE tenant_id = 'EVIL'")
        host.execute("SET LOCAL ROLE batch_board")
        ((row, age),) = load_receivables(host, ReceivableFilters("owed_back"), DUE).listed
        assert (row["tenant_id"], row["open_amount"], age) == ("EVIL", Decimal(-9_000), Age.OWED_BACK)
    assert load_receivables(reader, ReceivableFilters("owed_back"), DUE).listed == []


def test_reminders_are_stopped_or_allowed_again_from_the_list(board: Board, host: psycopg.Connection) -> None:
    def row_of(code: str) -> str:
        return board.as_role("user").get(f"/receivables?counterparty={code}").text.split("<tbody>")[-1]

    stopped, other = row_of("STOPPED"), row_of("PARTLY")
    assert "係争中" in stopped
    assert "operate_invoices/allow_reminders?tenants=STOPPED&amp;business_date=2026-10-01" in stopped
    assert "係争中" not in other
    assert "operate_invoices/stop_reminders?tenants=PARTLY&amp;business_date=2026-10-01" in other
    assert "record_payment?tenants=PARTLY&amp;business_date=2026-10-01&amp;paid_amount=10000" in other
    insert(host, "reminder_stop", stop_id="all", tenant_id="USD", reason="全件停止", entered_by="経理")
    try:
        assert "allow_reminders?tenants=USD&amp;every_month=on" in row_of("")
    finally:
        host.execute("DELETE FROM batch.reminder_stop WHERE stop_id = 'all'")


def test_the_list_has_pages_and_refuses_unknown_ages(
    board: Board, reader: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skill_batch.board.pages.receivables._PAGE", 5)
    seen: list[str] = []
    filters: ReceivableFilters | None = ReceivableFilters()
    while filters:
        page = load_receivables(reader, filters, DUE)
        seen += [row["invoice_id"] for row, _ in page.listed]
        filters = page.next_page
    assert len(seen) == len(set(seen)) == page.total
    assert board.get("/receivables?age=ancient").status_code == 400
    assert board.get("/receivables?page=x").status_code == 400
    assert "該当する請求書はありません" in board.get("/receivables?counterparty=P%25D").text
