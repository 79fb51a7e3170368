"""Runs of the operation ``import_payments`` on 10 December 2026, and the bank's files in its folder."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg

from include.skillreport.billing.receivables.transfer import Transfer
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from include.skillreport.operations.import_payments import create_batch
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

TODAY = date(2026, 12, 10)
PAID_ON = date(2026, 11, 27)

# 三菱UFJ銀行 BizSTATION, 入出金明細.
BIZSTATION = (
    "金融機関コード,金融機関名,支店コード,支店名,科目,口座番号,口座名,取引日,入払区分,取引区分,取引金額,内他店券金額,"
    "手形・小切手区分,手形・小切手番号,振込依頼人番号,振込依頼人名,仕向金融機関名,仕向支店名,摘要,EDI情報"
)

A1, B1, C1 = "INV-2026-10-001", "INV-2026-10-002", "INV-2026-10-003"


def transfer(amount: int, payer: str = "ｶ)ｱｵﾊﾞ", **values: Any) -> Transfer:
    """A transfer of yen on 27 November."""
    given: dict[str, Any] = {"account": OWN_ACCOUNT, "booked_on": PAID_ON, "reference": "1"} | values
    return Transfer(amount=Decimal(amount), payer_name=payer, **given)


def put(store: ObjectStore, *transfers: Transfer, name: str = "20261127.txt", content: bytes = b"") -> None:
    """Put a file into the folder, as if it had been there for two minutes."""
    key = f"bank-files/incoming/{name}"
    store.write(key, content or zengin_file(transfers))
    before = time.time() - 120
    os.utime(store.location(key), (before, before))


def run(
    database: Database,
    store: ObjectStore,
    operation: str = "import",
    *,
    on: date = TODAY,
    values: Mapping[str, Any] | None = None,
    **options: Any,
) -> RunResult:
    """One whole run on a day at 8:30."""
    at = datetime(on.year, on.month, on.day, 8, 30, tzinfo=JAPAN)
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            IMPORT_PAYMENTS,
            create_batch(LOCAL),
            on,
            store=store,
            parameters={"operation": operation, **(values or {})},
            run_at=at,
            **options,
        )


def confirm(database: Database, store: ObjectStore, *lines: str, **options: Any) -> RunResult:
    """A confirmation of transfers by a person."""
    values = {"transfers": list(lines), **options.pop("values", {})}
    return run(database, store, "confirm", values=values, **({"triggered_by": "keiri"} | options))


def payments(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    """The live payments: tenant, invoice, amount, source and transfer."""
    return host.execute(
        """
        SELECT payment.tenant_id, invoice.number, payment.amount, payment.source, payment.transfer_id
        FROM batch.payment JOIN batch.invoice USING (invoice_id)
        WHERE payment.reversed_at IS null
        ORDER BY payment.tenant_id, invoice.number, payment.entered_at
        """
    ).fetchall()


def waiting(host: psycopg.Connection) -> dict[str, str]:
    """The doubts of the open transfers, by id."""
    return dict(
        host.execute(
            """
            SELECT transfer_id, doubt FROM batch.bank_transfer
            WHERE settled < amount AND cancelled_by IS null AND set_aside_at IS null
            """
        ).fetchall()
    )


def remark(host: psycopg.Connection, result: RunResult) -> dict[str, Any]:
    """The figures of the step that reads the files."""
    row = host.execute(
        "SELECT details || jsonb_build_object('problem', problem) FROM batch.run_remark WHERE execution_id = %s",
        [result.execution_id],
    ).fetchone()
    assert row is not None
    return dict(row[0])


def open_amounts(host: psycopg.Connection, numbers: Sequence[str] = ()) -> dict[str, Decimal]:
    """The open amounts of invoices by number."""
    rows = host.execute("SELECT number, open_amount FROM batch.invoice WHERE number IS NOT null").fetchall()
    return {number: amount for number, amount in rows if not numbers or number in numbers}


def know(host: psycopg.Connection, tenant_id: str, key: str = "[ｶ]ｱｵﾊﾞ", code: str = "") -> None:
    """The payer of a tenant, as a person has confirmed it before."""
    host.execute(
        """
        INSERT INTO batch.payer (tenant_id, payer_key, payer_code, payer_name, confirmed_by, execution_id)
        VALUES (%s, %s, %s, %s, 'keiri', 'earlier')
        """,
        [tenant_id, key, code, key],
    )


def only_transfer(host: psycopg.Connection) -> str:
    """The id of the only open transfer."""
    (transfer_id,) = waiting(host)
    return transfer_id
