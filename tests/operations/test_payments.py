"""Payments are recorded once, shown to the application, and protect their invoice from being taken back."""

from __future__ import annotations

import csv
import threading
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from include.skillreport.batches.tenant_billing import create_batch
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.correction import void_invoice
from include.skillreport.billing.ledger.payments import record_payments
from include.skillreport.billing.ledger.stored_invoice import find_invoice
from include.skillreport.billing.receivables.payment import Payment
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.batch_runs import LOCAL, close_run
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds.billing_rows import (
    customer,
    host_billing,
    invoice,
    invoices,
    open_billing,
    open_operation,
    outcomes,
    process,
    reasons,
    run_billing,
    states,
)
from tests.worlds.payment_rows import NUMBER, TODAY, operate, pay

pytestmark = pytest.mark.usefixtures("billed")


def take_back(database: Database, reference: str = "F-1") -> Any:
    return operate(database, "reverse_payment", reason="誤り", values={"paid_reference": reference})


def payments(host: psycopg.Connection) -> list[dict[str, Any]]:
    with host.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM batch.payment ORDER BY entered_at").fetchall()


def shown(host: psycopg.Connection) -> tuple[Any, ...]:
    """The application's row of A's invoice."""
    original = invoices(host, "A")[0]
    row = host_billing(host, original["invoice_id"])
    return row["billing_status"], row["paid_date"], row["payment_method"], row["notes"]


def set_paid_by_the_application(host: psycopg.Connection) -> None:
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID', notes = '11/20 入金'""")


def notes(host: psycopg.Connection, result: Any) -> list[str]:
    return list(outcomes(host, result)["A"]["notes"])


def test_a_payment_of_the_whole_makes_the_applications_row_paid(
    database: Database, host: psycopg.Connection
) -> None:
    result = pay(database)

    assert result.status == "completed"
    assert notes(host, result) == []
    assert shown(host) == ("PAID", datetime(2026, 11, 27), "銀行振込", None)
    (payment,) = payments(host)
    assert (payment["amount"], payment["currency"], payment["reference"], payment["source"]) == (
        Decimal(11000),
        "JPY",
        "F-1",
        "operation",
    )


def test_a_part_leaves_the_row_invoiced_and_says_what_is_left(
    database: Database, host: psycopg.Connection
) -> None:
    result = pay(database, "5,000")

    assert notes(host, result) == [f"請求書 {NUMBER} は一部入金です。残り 6,000 JPY"]
    assert shown(host) == ("INVOICED", None, None, "一部入金 5000 JPY（残り 6000 JPY）")

    pay(database, "6000", reference="F-2", paid_on="2026-12-02")

    assert shown(host) == ("PAID", datetime(2026, 12, 2), "銀行振込", None)


def test_too_much_is_accepted_and_named(database: Database, host: psycopg.Connection) -> None:
    result = pay(database, "12000")

    assert notes(host, result) == [
        f"請求書 {NUMBER} は 1,000 JPY の過入金です。返金を記録するか、別の請求書へ付け替えてください"
    ]
    assert shown(host) == ("PAID", datetime(2026, 11, 27), "銀行振込", "過入金 1000 JPY")


def test_the_same_payment_again_changes_nothing(database: Database, host: psycopg.Connection) -> None:
    pay(database, "5000")

    result = pay(database, "5000")

    assert notes(host, result) == [f"請求書 {NUMBER} のこの入金は記録済みのため、そのままです"]
    assert len(payments(host)) == 1
    assert invoice(host, "A")["paid_total"] == 5000


def test_a_reference_that_means_another_payment_is_refused(
    database: Database, host: psycopg.Connection
) -> None:
    pay(database, "5000")

    result = pay(database, "6000")

    assert (
        f"請求書 {NUMBER} の参照番号 'F-1' は、別の入金（2026-11-27、5,000 JPY、銀行振込）"
        in reasons(result)["A"]
    )
    assert invoice(host, "A")["paid_total"] == 5000


@pytest.mark.parametrize(
    ("amount", "paid_on", "message"),
    [
        ("0", "2026-11-27", "入金額 0 JPY は記録できません"),
        ("-5", "2026-11-27", "入金額 -5 JPY は記録できません"),
        ("0.5", "2026-11-27", "入金額 0.5 JPY は記録できません"),
        (
            "11000",
            "2026-10-31",
            "入金日 2026-10-31 は、発行日 2026-11-01 から実行日 2026-12-10 までの日にしてください",
        ),
        (
            "11000",
            "2026-12-11",
            "入金日 2026-12-11 は、発行日 2026-11-01 から実行日 2026-12-10 までの日にしてください",
        ),
    ],
)
def test_an_impossible_payment_is_refused_by_name(
    database: Database, host: psycopg.Connection, amount: str, paid_on: str, message: str
) -> None:
    result = pay(database, amount, paid_on=paid_on)

    assert reasons(result)["A"].startswith(f"請求書 {NUMBER} の")
    assert message in reasons(result)["A"]
    assert payments(host) == []


def test_unreadable_values_or_several_tenants_are_refused_before_the_run(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "B")
    for options, message in (
        ({"amount": "一万"}, "「入金額」"),
        ({"paid_on": "11/27"}, "「入金日」"),
        ({"codes": ["A", "B"]}, "1 件だけ"),
    ):
        with pytest.raises(ParameterError, match=message):
            pay(database, **options)


def test_a_month_without_a_numbered_invoice_cannot_be_paid(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "B")

    assert "2026-10 の有効な請求書がありません" in reasons(pay(database, codes=["B"]))["B"]


def test_a_tenant_that_has_left_still_pays(database: Database, host: psycopg.Connection) -> None:
    host.execute("""UPDATE "MST_Tenant" SET status = 'SUSPENDED'""")
    host.execute("DELETE FROM batch.usage_day")

    assert pay(database).status == "completed"
    assert shown(host)[0] == "PAID"


def test_a_tenant_that_the_application_has_deleted_still_pays(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host.execute("""DELETE FROM "MST_Tenant" """)

    result = pay(database, "5000", store=store)

    assert result.status == "completed"
    store.write(
        "payments/p.csv",
        f"請求書番号,入金日,金額,通貨,方法,参照番号\n{NUMBER},2026-11-28,6000,JPY,振込,F-2\n".encode(),
    )
    result = operate(database, "import_payments", codes=(), values={"payment_file": "p.csv"}, store=store)
    assert result.status == "completed"
    assert shown(host)[0] == "PAID"
    assert take_back(database).status == "completed"
    assert shown(host)[0] == "INVOICED"
    with pytest.raises(ParameterError, match="存在しません"):
        operate(database, "explain")


# Taking a payment back -----------------------------------------------------------------------------------------------


def test_a_reversed_payment_makes_the_row_invoiced_again(
    database: Database, host: psycopg.Connection
) -> None:
    pay(database)

    result = take_back(database)

    assert notes(host, result) == [f"請求書 {NUMBER} の入金を取り消しました。未入金は 11,000 JPY です"]
    assert shown(host) == ("INVOICED", None, None, None)
    (payment,) = payments(host)
    assert payment["reversed_at"]
    assert payment["reversal_reason"] == "誤り"


def test_a_payment_is_reversed_once(database: Database, host: psycopg.Connection) -> None:
    pay(database, "5000")
    run = open_operation(database, "reverse_payment", reason="誤り", values={"paid_reference": "F-1"})

    for _ in range(2):
        assert process(database, run).failures == []
    result = take_back(database)

    assert "の入金は取り消し済みです" in reasons(result)["A"]
    assert invoice(host, "A")["paid_total"] == 0


def test_an_unknown_reference_cannot_be_reversed(database: Database) -> None:
    assert "2026-10 の請求書に、参照番号 'X' の入金はありません" in reasons(take_back(database, "X"))["A"]


def test_a_reversed_payment_needs_another_reference(database: Database, host: psycopg.Connection) -> None:
    pay(database)
    take_back(database)

    result = pay(database)

    assert "取り消し済みのため、記録していません" in notes(host, result)[0]
    assert shown(host)[0] == "INVOICED"

    pay(database, reference="F-2")

    assert shown(host)[0] == "PAID"


def test_paid_by_the_applications_own_word_stays(database: Database, host: psycopg.Connection) -> None:
    set_paid_by_the_application(host)
    pay(database)
    take_back(database)

    assert shown(host) == ("PAID", None, None, "11/20 入金")


def test_the_applications_own_note_stays_before_ours(database: Database, host: psycopg.Connection) -> None:
    set_paid_by_the_application(host)
    for amount, reference in (("5000", "F-1"), ("7000", "F-2")):
        pay(database, amount, reference=reference)

    assert shown(host) == ("PAID", None, None, "11/20 入金。過入金 1000 JPY")


# Other operations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["void", "reissue"])
def test_an_invoice_with_a_payment_cannot_be_voided_or_reissued(
    database: Database, host: psycopg.Connection, operation: str
) -> None:
    pay(database, "1")

    result = operate(database, operation, reason="訂正")

    assert f"請求書 {NUMBER} は入金済みのため取り消せません" in reasons(result)["A"]
    assert states(host) == [("finalized", NUMBER)]

    take_back(database)

    assert operate(database, "void", reason="訂正").status == "completed"


def test_a_void_invoice_cannot_be_paid(database: Database, connection: psycopg.Connection) -> None:
    operate(database, "void", reason="訂正")

    with tenant_transaction(connection, ["A"]), pytest.raises(BillingError, match="取消済み"):
        record(connection)


def test_a_credit_of_the_rest_settles_a_partly_paid_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    pay(database, "5500")

    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=5000"]})

    status, paid_date, _, note = shown(host)
    assert (status, paid_date) == ("PAID", datetime(2026, 11, 27))
    assert note == "返還請求書 CRN-2026-10-001（2026-12-10、5500 JPY）で一部を返還済み"


def record(connection: psycopg.Connection, number: str = NUMBER) -> None:
    """Record A's payment in the transaction."""
    record_payments(
        connection,
        [Payment(number, date(2026, 11, 27), Decimal(11000), "JPY", "振込", "F-1")],
        source="operation",
        today=TODAY,
        entered_by="test",
        execution_id="test",
    )


def void(connection: psycopg.Connection) -> None:
    """Void A's invoice in the transaction."""
    void_invoice(connection, load_terms(), find_invoice(connection, NUMBER), "訂正", actor="test")


@pytest.mark.parametrize(
    ("first", "second", "message", "left"),
    [
        (record, void, "入金済みのため取り消せません", "finalized"),
        (void, record, "取消済みのため、入金を記録できません", "void"),
    ],
)
def test_of_a_concurrent_payment_and_void_the_second_is_refused(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    first: Any,
    second: Any,
    message: str,
    left: str,
) -> None:
    refusals: list[str] = []

    def act_elsewhere() -> None:
        with (
            database.connect("batch_tenant") as other,
            suppress(BillingError),
            tenant_transaction(other, ["A"]),
        ):
            try:
                second(other)
            except BillingError as error:
                refusals.append(str(error))
                raise

    with tenant_transaction(connection, ["A"]):
        first(connection)
        thread = threading.Thread(target=act_elsewhere)
        thread.start()
        wait_for_blocked_statement(database)
    thread.join()

    (refusal,) = refusals
    assert message in refusal
    assert states(host) == [(left, NUMBER)]


def test_two_payments_at_the_same_time_both_count(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    def pay_elsewhere() -> None:
        with database.connect("batch_tenant") as other, tenant_transaction(other, ["A"]):
            record_payments(
                other,
                [Payment(NUMBER, date(2026, 11, 28), Decimal(1000), "JPY", "振込", "F-2")],
                source="operation",
                today=TODAY,
                entered_by="test",
                execution_id="test",
            )

    with tenant_transaction(connection, ["A"]):
        record(connection)
        thread = threading.Thread(target=pay_elsewhere)
        thread.start()
        wait_for_blocked_statement(database)
    thread.join()

    assert invoice(host, "A")["paid_total"] == 12000
    assert shown(host)[3] == "過入金 1000 JPY"


def test_a_payment_never_changes(database: Database, connection: psycopg.Connection) -> None:
    pay(database)
    for statement in ("UPDATE batch.payment SET amount = 1", "DELETE FROM batch.payment"):
        with tenant_transaction(connection, ["A"]), pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


# The ageing table ------------------------------------------------------------------------------------------------------


def aged(store: ObjectStore) -> list[list[str]]:
    """The rows of the ageing table, without the header."""
    content = store.read("accounting/receivables.csv").decode("utf-8-sig")
    header, *rows = csv.reader(content.splitlines())
    assert header == [
        "基準日",
        "テナントコード",
        "取引先",
        "通貨",
        "期限前",
        "1〜30日超過",
        "31〜60日超過",
        "61〜90日超過",
        "90日を超える超過",
        "過入金・返金待ち",
        "合計",
        "円換算",
    ]
    return rows


def test_the_table_has_what_is_left_after_credits_and_payments(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    for tenant_id in ("B", "C", "D", "E"):
        customer(host, tenant_id)
    run_billing(database, store=store)
    assert [row[3:5] for row in aged(store)] == [["JPY", "11000"]] * 5

    operate(database, "part_credit", "B", reason="障害", values={"credit_lines": ["1=5000"]})
    operate(database, "credit", "C", reason="障害")
    operate(database, "void", "D", reason="訂正")
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID' WHERE tenant_id = 'E'""")
    pay(database, "12000", store=store)

    assert aged(store) == [
        ["2026-12-10", "A", "A", "JPY", "0", "0", "0", "0", "0", "-1000", "-1000", "-1000"],
        ["2026-12-10", "B", "B", "JPY", "0", "5500", "0", "0", "0", "0", "5500", "5500"],
    ]


def test_a_run_that_is_cleared_later_writes_the_table_of_that_day(
    database: Database, platform: psycopg.Connection, store: ObjectStore
) -> None:
    run = open_billing(database)
    process(database, run)
    for moment, row in (
        (None, ["2026-11-01", "A", "A", "JPY", "11000", "0", "0", "0", "0", "0", "11000", "11000"]),
        (
            datetime(2026, 12, 1, 9, tzinfo=JAPAN),
            ["2026-12-01", "A", "A", "JPY", "0", "11000", "0", "0", "0", "0", "11000", "11000"],
        ),
    ):
        close_run(platform, TENANT_BILLING, create_batch(LOCAL), run, store=store, moment=moment)
        assert aged(store) == [row]


def test_the_view_shows_open_invoices_to_the_platform_only(
    database: Database, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    pay(database, "5000")

    row = platform.execute(
        "SELECT number, due_on, total, paid_total, open_amount FROM batch.receivable"
    ).fetchall()
    assert row == [(NUMBER, date(2026, 11, 30), 11000, 5000, 6000)]
    with tenant_transaction(connection, ["A"]), pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("TABLE batch.receivable")
