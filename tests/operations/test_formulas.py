"""No cell of any file that accountants open starts a formula, whoever chose its text."""

from __future__ import annotations

import csv
import re
from datetime import date
from io import BytesIO, StringIO
from pathlib import Path

import openpyxl
import psycopg
import pytest

from skill_batch.board.pages.documents import Criteria, documents_file
from include.skillreport.batches import monthly_report
from include.skillreport.core.catalog import MONTHLY_REPORT
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.operations.operate_contracts.rows import export
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.billing_rows import (
    billing_profile,
    customer,
    discount,
    files,
    operate,
    run_billing,
)
from tests.worlds.own_settings import change_billing

HOSTILE = "=1+1|x"
# Amounts and codes that are numbers stay as they are.
FORMULA = re.compile(r"[ \u3000]*[=＝@＠]|[ \u3000]*[-+＋－](?![0-9]+(\.[0-9]+)?$)")
WRITERS = {
    *(
        "accounting-",
        "journal-",
        "freee-",
        "moneyforward-",
        "index",
        "receivables",
        "月次レポート",
        "documents",
    ),
    *("profile", "discount", "plan"),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning")


def test_no_cell_of_any_file_starts_a_formula(
    database: Database, host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = {"account": HOSTILE, "sub_account": "@x", "department": "+x"}
    accounting = dict.fromkeys(("receivable", "bank", "sales", "output_tax"), account)
    change_billing(monkeypatch, tmp_path, accounting=accounting, payment_source="operations")
    store = ObjectStore(tmp_path / "store")
    customer(host, "A", tenant_code=HOSTILE, tenant_name="-x()", admin_email="admin@customer.example")
    host_rows.user(host, "A", "user")
    host.execute("""UPDATE "MST_Employee" SET full_name = '＝x', employee_code = '=1+2'""")
    billing_profile(host, "A", department="=d", partner_code="-cmd|x")
    discount(host, "A", name="@discount", value=1)
    run_billing(database, store=store)
    paid = {"paid_on": "2026-11-01", "paid_amount": "100", "paid_method": "=振込", "paid_reference": "@1"}
    operate(database, "record_payment", HOSTILE, values=paid, store=store)
    operate(database, "credit", HOSTILE, reason="＋値引き", store=store)
    with database.working() as (platform, connection):
        export(platform, store)
        batch = monthly_report.create_batch(LOCAL)
        run_batch(platform, connection, MONTHLY_REPORT, batch, date(2026, 10, 1), store=store)
    with database.connect("batch_board") as board:
        found = documents_file(board, Criteria())
    assert found is not None

    written = files(store) | {"documents.csv": found}
    tables = {name: content for name, content in written.items() if name.endswith((".csv", ".xlsx"))}
    assert {each for each in WRITERS if not any(each in name for name in tables)} == set()
    cells = {(name, cell) for name, content in tables.items() for cell in _cells(name, content)}
    assert [each for each in sorted(cells) if FORMULA.match(each[1])] == []
    assert len({name for name, cell in cells if HOSTILE in cell}) >= len(WRITERS) - 3  # guarded, not left out


def _cells(name: str, content: bytes) -> list[str]:
    if name.endswith(".csv"):
        return [cell for row in csv.reader(StringIO(content.decode("utf-8-sig"))) for cell in row]
    book = openpyxl.load_workbook(BytesIO(content))
    # Texts are strings there, not formulas.
    return [
        str(cell.value)
        for sheet in book
        for row in sheet.iter_rows()
        for cell in row
        if cell.data_type == "f"
    ]
