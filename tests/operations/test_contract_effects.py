"""What changed contracts mean for final invoices: each difference is named, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.operations.operate_invoices.form import FORM as INVOICE_FORM
from tests.conftest import Database
from tests.worlds.approval_rows import asked
from tests.worlds.billing_rows import insert, operate, outcomes, run_billing
from tests.worlds.contract_entries import (
    AUTHOR,
    decide,
    discounts,
    run,
    set_discount,
    set_profile,
)
from tests.worlds.own_settings import change_billing, demo_issuer


@pytest.mark.usefixtures("tenants")
def test_a_credited_amount_is_no_difference_any_more(database: Database, host: psycopg.Connection) -> None:
    run_billing(database)
    set_discount(database, valid_from="2026-10-01")
    operate(
        database, "part_credit", reason="割引の漏れ", values={"credit_lines": ["1=1000"]}, triggered_by=AUTHOR
    )
    (credited,) = host.execute(
        "SELECT credited_total::int FROM batch.invoice WHERE tenant_id = 'A' AND kind = 'invoice'"
    ).fetchall()
    assert credited == (1100,)
    result = set_profile(database, due_months="2", due_day="31")

    assert [row["notes"] for row in outcomes(host, result).values()] == [[]]


@pytest.mark.usefixtures("tenants")
def test_a_removed_tax_category_differs(database: Database, host: psycopg.Connection) -> None:
    decide(database, asked(database, set_profile(database, tax_category="export")))
    run_billing(database)
    result = decide(database, asked(database, set_profile(database, department="")))

    ((notes),) = (row["notes"] for row in outcomes(host, result).values())
    assert "今の契約なら 11,000" in str(notes)


@pytest.mark.usefixtures("tenants")
def test_a_change_of_country_that_changes_the_tax_is_named(
    database: Database, host: psycopg.Connection
) -> None:
    run_billing(database)
    result = decide(database, asked(database, set_profile(database, country="US")))

    ((notes),) = (row["notes"] for row in outcomes(host, result).values())
    assert "差額" in str(notes)


@pytest.mark.usefixtures("tenants")
def test_a_change_of_currency_says_something_about_final_invoices(
    database: Database, host: psycopg.Connection
) -> None:
    run_billing(database)
    result = set_profile(database, currency="USD")

    ((notes),) = (row["notes"] for row in outcomes(host, result).values())
    assert notes


@pytest.mark.usefixtures("tenants")
def test_a_late_order_number_says_that_invoices_lack_it(database: Database, host: psycopg.Connection) -> None:
    run_billing(database)
    result = run(
        database,
        "set_order_number",
        tenants=["A"],
        order_number="PO-1",
        valid_from="2026-10-01",
        reason="取引先",
    )

    ((notes),) = (row["notes"] for row in outcomes(host, result).values())
    assert notes


@pytest.mark.usefixtures("tenants")
def test_a_discount_needs_no_english_issuer(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    insert(host, "billing_profile", tenant_id="A", language="en")
    change_billing(monkeypatch, tmp_path, issuer=demo_issuer(english=None))
    result = set_discount(database)

    assert (result.status, discounts(host)) == ("completed", [("A", "年間契約割引", 10, "2026-11-01", None)])


@pytest.mark.usefixtures("tenants")
def test_a_remark_names_operations_that_exist(database: Database, host: psycopg.Connection) -> None:
    insert(host, "discount", tenant_id="A", name="x", kind="percentage", value=10, valid_from="2026-10-01")
    run_billing(database)
    ending: dict[str, Any] = {
        "ended": "discount",
        "discount_name": "x",
        "valid_from": "2026-10-01",
        "reason": "誤り",
    }
    result = run(database, "end", tenants=["A"], last_day="2026-09-30", **ending)
    ((note,),) = (row["notes"] for row in outcomes(host, result).values())
    titles = {each.title for each in INVOICE_FORM.operations}
    named = {re.sub("（.*", "", title) for title in titles} | titles
    assert set(re.findall("「(.*?)」", note)) <= named
