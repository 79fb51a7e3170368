"""The index of a billing month's documents, ``invoices/2026-10/index.csv`` (電子帳簿保存法): void documents keep their amounts."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import date
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.skillreport.billing.accounting.csv_form import code_cell, text_cell, yen
from include.skillreport.billing.accounting.detailed_list import KIND_LABELS, STATUS_LABELS, plain_amount
from include.skillreport.billing.documents.invoice import revision_suffix
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore

_SQL = Statements(Path(__file__).parents[1])

_STREAM_ROWS = 500

# The first key of the advisory lock, unique among this product's locks. The second key is the month.
_INDEX_LOCK = 180202

# Dates are ISO 8601. 取引年月日 is the date of the document. 円換算額 is empty if neither the document nor its inputs have a rate.
INDEX_COLUMNS = (
    "番号",
    "種別",
    "状態",
    "取引年月日",
    "対象期間開始",
    "対象期間終了",
    "取引金額",
    "通貨",
    "円換算額",
    "取引先",
    "テナントコード",
    "元請求書番号",
    "差し替えた請求書番号",
    "取消日",
    "取消理由",
    "PDF",
    "PDF の SHA-256",
    "JSON",
    "JSON の SHA-256",
    "版",
    "訂正日",
    "訂正の内容",
    "注文番号",
)


def index_key(period_start: date) -> str:
    """``invoices/2026-10/index.csv``."""
    return f"invoices/{period_start:%Y-%m}/index.csv"


def index_cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of ``INDEX_COLUMNS`` from a row of the statement ``document_index``. A text never starts a formula.

    Each revision of a document has a row. Only the row of the newest revision counts for the amount.
    """
    number = code_cell(row["number"])
    file = f"{number}{revision_suffix(row['revision'])}"
    return [
        number,
        KIND_LABELS[row["kind"]],
        _state(row),
        str(row["issued_on"]),
        str(row["period_start"]),
        str(row["period_end"]),
        plain_amount(row["total"], row["currency"]),
        row["currency"],
        "" if row["yen_total"] is None else yen(row["yen_total"]),
        text_cell(row["counterparty"]),
        text_cell(row["tenant_code"]),
        code_cell(row["original_number"]),
        code_cell(row["replaced_number"]),
        str(row["voided_on"] or ""),
        text_cell(row["void_reason"]),
        # A void document without a file was voided before its file was written.
        f"{file}.pdf" if row["pdf_sha256"] else "",
        row["pdf_sha256"],
        f"{file}.json" if row["json_sha256"] else "",
        row["json_sha256"],
        str(row["revision"]),
        str(row["corrected_on"] or ""),
        text_cell(row["correction"]),
        text_cell(row["order_number"]),
    ]


def _state(row: Mapping[str, Any]) -> str:
    if row["is_corrected"]:
        return "訂正前"
    return "返還済" if row["credited"] else STATUS_LABELS[row["status"]]


def write_index(platform: psycopg.Connection, period_start: date, store: ObjectStore) -> None:
    """Write the index of a billing month's numbered documents. Writers of a month run one after the other."""
    with platform.transaction():
        platform.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_INDEX_LOCK, period_start.toordinal()])
        with store.writer(index_key(period_start)) as file:
            text = TextIOWrapper(file, encoding="utf-8-sig", newline="")
            try:
                writer = csv.writer(text)
                writer.writerow(INDEX_COLUMNS)
                writer.writerows(map(index_cells, _documents(platform, period_start)))
            finally:
                text.detach()


def _documents(platform: psycopg.Connection, period_start: date) -> Iterator[dict[str, Any]]:
    with platform.cursor(name="document_index", row_factory=dict_row) as cursor:
        cursor.itersize = _STREAM_ROWS
        _SQL.execute(cursor, "document_index", period_start=period_start)
        yield from cursor
