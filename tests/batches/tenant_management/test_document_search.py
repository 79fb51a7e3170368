"""The search over numbered documents (電子帳簿保存法), and the index beside them."""

from __future__ import annotations

import csv
import hashlib
import re
from datetime import date

import psycopg
import pytest

from include.skillreport.billing.accounting.document_index import INDEX_COLUMNS
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    customer,
    files,
    operate,
    run_billing,
)


def test_documents_are_found_by_date_amount_and_counterparty_with_void_ones(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", tenant_name="青葉商事")
    customer(host, "B", "STANDARD", tenant_name="若葉工業")
    run_billing(database, store=store)
    operate(database, "credit", "B", reason="訂正", store=store)
    operate(database, "void", "A", reason="宛先の誤り", store=store)

    found = platform.execute(
        """
        SELECT number, kind, status, transaction_date, amount, currency, yen_total, counterparty, tenant_code, format, location
        FROM batch.document_search
        WHERE
            transaction_date BETWEEN '2026-11-01' AND '2026-11-30' AND amount BETWEEN 10000 AND 12000
            AND counterparty LIKE '青葉%'
        ORDER BY format
        """
    ).fetchall()
    assert found == [
        (
            "INV-2026-10-001",
            "invoice",
            "void",
            FIRST_OF_NOVEMBER,
            11_000,
            "JPY",
            11_000,
            "青葉商事",
            "A",
            name,
            store.location(f"invoices/2026-10/INV-2026-10-001.{name}"),
        )
        for name in ("json", "pdf")
    ]
    credits = platform.execute(
        "SELECT DISTINCT number, original_number FROM batch.document_search WHERE amount < 0"
    )
    assert credits.fetchall() == [("CRN-2026-10-001", "INV-2026-10-002")]


def test_the_index_beside_the_documents_lists_all_numbers_with_amounts_and_files(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", tenant_name="=1+1\n商事")
    customer(host, "B", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "150")
    run_billing(database, store=store)
    operate(database, "credit", "B", reason="訂正", store=store)
    operate(database, "void", "A", reason="宛先の誤り", store=store)

    content = files(store)["invoices/2026-10/index.csv"]
    assert content.startswith(b"\xef\xbb\xbf")
    heads, *found = csv.reader(content.decode("utf-8-sig").split("\r\n")[:-1])
    assert tuple(heads) == INDEX_COLUMNS
    documents = [dict(zip(heads, row, strict=True)) for row in found]
    assert [
        (row["番号"], row["種別"], row["状態"], row["取引金額"], row["円換算額"]) for row in documents
    ] == [
        ("INV-2026-10-001", "請求", "取消", "11000", "11000"),
        ("INV-2026-10-002", "請求", "返還済", "220.00", "33000"),
        ("CRN-2026-10-001", "返還", "確定", "-220.00", "-33000"),
    ]
    assert documents[0]["取引先"] == "'=1+1 商事"
    assert documents[0]["取消理由"] == "宛先の誤り"
    assert documents[2]["元請求書番号"] == "INV-2026-10-002"
    for row in documents:
        for name in ("PDF", "JSON"):
            assert row[f"{name} の SHA-256"] == (
                hashlib.sha256(files(store)[f"invoices/2026-10/{row[name]}"]).hexdigest()
            )


@pytest.fixture
def seven_years(host: psycopg.Connection) -> None:
    """The invoices of 500 tenants."""
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute(
            """
            INSERT INTO batch.invoice (
                invoice_id, tenant_id, kind, period_start, period_end, status, number, issued_on, accrued_on, booked_on, currency,
                total, content, inputs, input_hash, execution_id, finalized_at
            )
            SELECT
                month || '-' || tenant, tenant::text, 'invoice', day, day, 'finalized', month || '-' || tenant, day, day, day,
                'JPY', 1000 * tenant, jsonb_build_object('recipient', jsonb_build_object('name', 'customer ' || tenant)), '{}', '',
                '', now()
            FROM generate_series(0, 83) AS month
            CROSS JOIN generate_series(1, 500) AS tenant
            CROSS JOIN LATERAL (SELECT ('2020-01-01'::date + make_interval(months => month))::date) AS dated (day)
            """
        )
    host.execute("ANALYZE batch.invoice")


def plan_of(platform: psycopg.Connection, query: str) -> str:
    return "\n".join(line for (line,) in platform.execute(f"EXPLAIN {query}".encode()))


@pytest.mark.slow("needs many rows")
@pytest.mark.usefixtures("seven_years")
def test_documents_and_entries_of_seven_years_are_read_through_indexes(platform: psycopg.Connection) -> None:
    by_date = "transaction_date BETWEEN '2023-04-01' AND '2023-04-30'"
    by_counterparty = "counterparty LIKE 'customer 77%'"
    for condition in (
        f"{by_date} AND amount BETWEEN 500000 AND 600000 AND counterparty LIKE '%55%'",
        f"{by_date} AND yen_total BETWEEN 500000 AND 600000",
        f"{by_counterparty} AND transaction_date >= '2020-01-01' AND yen_total > 100000",
    ):
        plan = plan_of(platform, f"SELECT * FROM batch.document_search WHERE {condition}")
        assert "invoice_by_" in plan, plan
        assert "Seq Scan on invoice " not in plan, plan
    plan = plan_of(
        platform,
        "SELECT * FROM batch.accounting_entry WHERE booked_on BETWEEN '2023-04-01' AND '2023-04-30'",
    )
    assert {"invoice_by_booking", "invoice_by_void"} <= set(re.findall("invoice_by_[a-z]+", plan)), plan
    assert "Seq Scan on invoice" not in plan, plan
