"""One world of invoices for all tests of the folder, which only read it: every state, two currencies, payments and requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board import archived_files
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.schema.deploy import BOARD
from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Database, Server, copied_database
from tests.worlds import billing_rows
from tests.worlds.approval_rows import asked_about
from tests.worlds.billing_rows import MONTH, customer, invoice, operate, run_billing

EVIL = "<script>alert(1)</script>社"
ACCOUNTANT = "経理 花子"
ADDRESS = "keiri.tantou@partly.example"

# Tenants whose October is issued, by what becomes of it afterwards.
ISSUED = ("PAID", "PARTLY", "VOID", "CREDIT", "PART", "AGAIN", "STOPPED")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    """The store that the board reads."""
    return ObjectStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def database(server: Server, templates: dict[HostVariant, str], store: ObjectStore) -> Iterator[Database]:
    """October 2026, issued on 1 November and due on 30 November. HD001's and B's October is held, EMOJI's cannot be finalised."""
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "board_billing") as copy:
        with copy.connect() as host:
            _bill(copy, host, store)
            _change(copy, host, store)
            _answer(host)
            _send(host)
        yield copy


@pytest.fixture
def reader(database: Database) -> Iterator[psycopg.Connection]:
    """The world as the board may read it."""
    with database.connect(BOARD) as connection:
        yield connection


@pytest.fixture(autouse=True)
def storage(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Variable of the API server."""
    monkeypatch.setenv(
        "AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"file://{store.location('x').removesuffix('/x')}"
    )


@pytest.fixture(autouse=True)
def no_kept_file() -> None:
    """No file that an earlier test has read is kept."""
    archived_files.forget()


@pytest.fixture
def ids(host: psycopg.Connection) -> dict[str, str]:
    """The id of each tenant's first invoice of October."""
    rows = host.execute(
        "SELECT tenant_id, invoice_id FROM batch.invoice WHERE period_start = %s AND kind = 'invoice' ORDER BY created_at DESC",
        [MONTH],
    )
    return dict(rows.fetchall())


def number_of(host: psycopg.Connection, invoice_id: str) -> str:
    """The document's number."""
    (row,) = host.execute("SELECT number FROM batch.invoice WHERE invoice_id = %s", [invoice_id]).fetchall()
    return str(row[0])


def _bill(database: Database, host: psycopg.Connection, store: ObjectStore) -> None:
    billing_rows.exchange_rate(host, date(2026, 10, 30), "150")
    billing_rows.jump(database, host)
    for tenant_id in ISSUED:
        customer(host, tenant_id, tenant_name=f"{tenant_id} 商事")
    customer(host, "USD", "STANDARD", currency_code="USD")
    customer(host, "EVIL", tenant_name=EVIL)
    customer(host, "FORMULA", tenant_name="=1+1 100%_引き")
    customer(host, "EMOJI", tenant_name="\U0001f600")
    # The findings of the run name it.
    customer(host, "IDLE", months=(), status="INACTIVE", contract_start_date=date(2026, 4, 1))
    billed = run_billing(database, store=store)
    about = asked_about(database, billed)
    assert about is not None
    # B's draft has changed since the request.
    host.execute("UPDATE batch.invoice SET input_hash = 'changed' WHERE tenant_id = 'B' AND status = 'draft'")


def _change(database: Database, host: psycopg.Connection, store: ObjectStore) -> None:
    def payment(amount: str, reference: str) -> dict[str, Any]:
        return {
            "paid_on": "2026-11-01",
            "paid_amount": amount,
            "paid_method": "銀行振込",
            "paid_reference": reference,
        }

    operate(database, "record_payment", "PAID", values=payment("11000", "F-PAID"))
    operate(database, "record_payment", "PARTLY", values=payment("1000", "F-PARTLY"))
    operate(database, "void", "VOID", reason="宛名の誤り")
    operate(database, "credit", "CREDIT", reason="契約の取消", store=store)
    operate(
        database, "part_credit", "PART", reason="値引き", values={"credit_lines": ["1=1000"]}, store=store
    )
    # Its letter has left, so that the new invoice names it.
    host.execute(
        """UPDATE "HIS_NotificationLog" SET send_status = 'SENT' WHERE tenant_id = 'AGAIN' AND notification_type = 'EMAIL'"""
    )
    operate(database, "reissue", "AGAIN", reason="住所の訂正", store=store)
    operate(database, "stop_reminders", "STOPPED", reason="係争中")


def _answer(host: psycopg.Connection) -> None:
    """An older request about PAID's invoice, which was answered."""
    paid = invoice(host, "PAID")
    billing_rows.insert(
        host,
        "approval_request",
        request_id="old",
        kind="invoices",
        business_date=MONTH,
        asked_by="run",
        dag_id="approve_invoices",
        run_id="old",
        closed_at="2026-11-01T10:00+09:00",
        close_reason="answered",
    )
    billing_rows.insert(
        host,
        "approval_item",
        request_id="old",
        tenant_id="PAID",
        item_id=paid["invoice_id"],
        tenant_code="PAID",
        tenant_name="PAID 商事",
        held_by="run",
        fingerprint=paid["input_hash"],
        figures=Jsonb({"total": str(paid["total"])}),
        reason="増えました",
        answer="approve",
        answered_by=ACCOUNTANT,
        answered_at="2026-11-01T09:00+09:00",
        note="取引先に確認済み",
        result="approved",
        result_text="確定しました",
        decided_at="2026-11-01T09:01+09:00",
    )


def _send(host: psycopg.Connection) -> None:
    """PARTLY's letter did not arrive, and a reminder was queued."""
    invoice_id = invoice(host, "PARTLY")["invoice_id"]
    billing_rows.insert(
        host,
        "outbox",
        message_id="letter",
        tenant_id="PARTLY",
        dedupe_key=f"host:invoice-{invoice_id}",
        host_log_id=f"invoice-{invoice_id}",
        channel="email",
        destination=ADDRESS,
        subject="請求書",
        body="本文",
        status="dead",
        attempts=3,
        due_at="2026-11-01T09:00+09:00",
        next_attempt_at="2026-11-01T09:00+09:00",
        error_code="mailbox_unavailable",
        finished_at="2026-11-01T09:05+09:00",
        created_by="run",
    )
    billing_rows.insert(
        host,
        "overdue_reminder",
        tenant_id="PARTLY",
        invoice_id=invoice_id,
        days=7,
        queued_on=date(2026, 12, 7),
        open_amount=10_000,
        execution_id="run",
    )
