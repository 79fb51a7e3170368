"""The ageing table as a file, with one row per tenant and currency with open amounts. UTF-8 with BOM.

Rows are ordered by tenant code and currency. 円換算 is the yen of the total in the books. The last row has the transfers that are not yet
payments, as an amount that is owed back.

Each run that may change an open amount replaces ``accounting/receivables.csv``. 基準日 is the run's day (Asia/Tokyo). The hand-over of a
month writes ``accounting/2026-11/receivables-2026-11.csv`` with the open amounts at its end by the books.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.rows import dict_row

from include.skillreport.billing.accounting.csv_form import FileTally, text_cell
from include.skillreport.billing.accounting.detailed_list import plain_amount
from include.skillreport.billing.accounting.stored_entries import booked_yen
from include.skillreport.billing.money import YEN
from include.skillreport.billing.receivables.ageing import Age, AgedTenant, OpenInvoice, ageing
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore

_SQL = Statements(Path(__file__).parents[1])

_STREAM_ROWS = 500

# The first key of the advisory lock, unique among this product's locks.
_AGEING_LOCK = 180203

_TRANSFERS = "確定待ちの振込"

AGEING_NAME = "receivables"
AGEING_KEY = f"accounting/{AGEING_NAME}.csv"
AGEING_COLUMNS = ("基準日", "テナントコード", "取引先", "通貨", *Age, "合計", "円換算")


def write_ageing(platform: psycopg.Connection, as_of: date, store: ObjectStore) -> None:
    """Write the table of all tenants. Writers run one after the other, so that an older table never replaces a newer one."""
    with platform.transaction():
        platform.execute("SELECT pg_advisory_xact_lock(%s, 0)", [_AGEING_LOCK])
        with store.writer(AGEING_KEY) as file:
            _write_table(file, _open_invoices(platform, "open_invoices", as_of, date.max), as_of)


def write_month_end(platform: psycopg.Connection, stream: IO[bytes], last_day: date) -> FileTally:
    """Write the table as of the last day of a month. ``yen`` is the sum of the receivables in yen."""
    return _write_table(stream, _open_invoices(platform, "open_invoices_on", last_day, last_day), last_day)


def _write_table(stream: IO[bytes], invoices: Iterator[OpenInvoice], as_of: date) -> FileTally:
    rows, yen = 0, Decimal(0)
    text = TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        writer = csv.writer(text)
        writer.writerow(AGEING_COLUMNS)
        for aged in sorted(ageing(invoices, as_of), key=_place):
            amounts = [aged.amounts[age] for age in Age]
            writer.writerow(
                [
                    as_of.isoformat(),
                    text_cell(aged.tenant_code),
                    text_cell(aged.counterparty),
                    aged.currency,
                    *(plain_amount(amount, aged.currency) for amount in [*amounts, aged.total]),
                    plain_amount(aged.yen, YEN),
                ]
            )
            rows, yen = rows + 1, yen + aged.yen
    finally:
        text.detach()
    return FileTally(rows, int(yen))


def _place(aged: AgedTenant) -> tuple[bool, str, str]:
    """The place of a row; the transfers have no tenant."""
    return not aged.tenant_code, aged.tenant_code, aged.currency


def _open_invoices(
    platform: psycopg.Connection, statement: str, day: date, until: date
) -> Iterator[OpenInvoice]:
    """The open invoices by a statement. Those in other currencies come last, with the yen of their entries until a day."""
    foreign = []
    with platform.cursor(name="open_invoices", row_factory=dict_row) as cursor:
        cursor.itersize = _STREAM_ROWS
        _SQL.execute(cursor, statement, day=day)
        for row in cursor:
            if row["currency"] == YEN:
                yield _open_invoice(row, row["open_amount"])
            else:
                foreign.append(row)
    _, yen = _SQL.row(platform, "open_transfers_on", day=day)
    if yen:
        yield OpenInvoice("", "", _TRANSFERS, YEN, None, -yen, -yen)
    booked = booked_yen(platform, [row["invoice_id"] for row in foreign], until)
    for row in foreign:
        yield _open_invoice(row, booked[row["invoice_id"]])


def _open_invoice(row: Mapping[str, Any], yen: Decimal) -> OpenInvoice:
    return OpenInvoice(**{name: value for name, value in row.items() if name != "invoice_id"}, yen=yen)
