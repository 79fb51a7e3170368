"""Amounts of a meter, one-off lines and recipients abroad, from the tables to the finalised invoice."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import errors

from include.skillreport.billing.differences import find_differences
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from tests.conftest import Database
from tests.worlds.billing_rows import (
    MONTH,
    billing_profile,
    customer,
    explain,
    insert,
    invoice,
    invoices,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.own_settings import change_billing

FEE = {
    "name": "決済手数料",
    "name_en": "Payment fee",
    "model": "metered_percentage",
    "meter": "payments",
    "rate": 2,
    "fixed_amount": 3,
    "free_amount": 200,
    "free_events": 2,
}


@pytest.fixture
def fee_on_payments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The plan BASIC costs 2 % of the payments and nothing else."""
    prices = {
        "sample": False,
        "versions": [
            {
                "effective_from": MONTH,
                "tax_included": False,
                "plans": {"BASIC": {"name": "基本", "prices": {"JPY": {"base_fee": 0, "charges": [FEE]}}}},
            }
        ],
    }
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(prices, allow_unicode=True), encoding="utf-8")
    change_billing(monkeypatch, tmp_path, price_list="prices.yaml")


def payments(connection: psycopg.Connection, tenant_id: str, day: int, amount: str, **values: Any) -> None:
    """A day's payments in October, of one payment in yen unless the test says otherwise."""
    defaults = {"meter": "payments", "events": 1, "currency": "JPY"}
    row = defaults | {"usage_date": date(2026, 10, day), "amount": amount} | values
    insert(connection, "metered_amount", tenant_id=tenant_id, **row)


def content(connection: psycopg.Connection, tenant_id: str = "A") -> Invoice:
    return Invoice.model_validate(invoice(connection, tenant_id)["content"])


@pytest.mark.usefixtures("fee_on_payments")
def test_the_payments_of_the_month_are_charged_and_stored_with_the_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    customer(host, "B")
    payments(host, "A", 1, "600.00", events=2)
    payments(host, "A", 31, "400.00", events=3)
    payments(host, "A", 5, "7", meter="refunds")
    payments(host, "A", 1, "99", usage_date=date(2026, 11, 1))
    payments(host, "B", 2, "100")

    assert run_billing(database).status == "completed"

    (line,) = content(host).lines
    assert (line.description, str(line.amount)) == ("決済手数料", "25")
    stored = invoice(host, "A")["inputs"]["metered"]
    assert [(row["usage_date"], row["amount"], row["events"]) for row in stored] == [
        ("2026-10-01", "600.00", 2),
        ("2026-10-31", "400.00", 3),
    ]
    assert any("2026-10-31  400.00 JPY  3" in row for row in explain(database))
    # B's payment is free.
    assert content(host, "B").total == 0


@pytest.mark.usefixtures("fee_on_payments")
def test_a_tenant_whose_payments_are_in_another_currency_fails_alone(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    payments(host, "A", 3, "1000", currency="USD")
    payments(host, "B", 3, "1200")

    result = run_billing(database)

    assert outcomes(host, result)["A"]["error_code"] == "METERED_CURRENCY"
    assert "2026-10-03 の計測額「payments」の通貨 USD" in reasons(result)["A"]
    assert invoices(host, "A") == []
    assert content(host, "B").subtotal == 20


@pytest.mark.usefixtures("fee_on_payments")
def test_an_amount_that_changes_after_the_invoice_is_a_difference(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    payments(host, "A", 5, "100000", events=4)
    run_billing(database)
    host.execute("UPDATE batch.metered_amount SET amount = amount + 50000")

    with database.connect("batch_platform") as platform:
        (difference,) = find_differences(platform, MONTH)

    assert difference.days == (date(2026, 10, 5),)
    assert difference.uncarried[TaxCategory.STANDARD] == 1000
    operate(database, "carry")
    with database.connect("batch_platform") as platform:
        assert find_differences(platform, MONTH) == []


@pytest.mark.usefixtures("fee_on_payments")
def test_without_payments_the_invoice_says_that_there_is_no_record(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    assert run_billing(database).status == "completed"
    assert content(host).remarks == ("計測額（payments）の記録がないため、「決済手数料」は請求していません",)
    assert "metered" not in invoice(host, "A")["inputs"]


@pytest.mark.parametrize(
    "values", [{"amount": "-1"}, {"amount": "NaN"}, {"amount": "Infinity"}, {"events": -1}, {"meter": " "}]
)
def test_the_table_refuses_amounts_that_cannot_be_charged(
    host: psycopg.Connection, values: dict[str, Any]
) -> None:
    with pytest.raises(errors.CheckViolation):
        payments(host, "A", 1, **({"amount": "1"} | values))


def test_a_tenant_abroad_gets_english_words_and_no_tax(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    billing_profile(host, "A", language="en", country="SG", recipient_name="Merlion Pte. Ltd.")
    insert(
        host,
        "extra_charge",
        extra_charge_id="setup",
        tenant_id="A",
        charged_on=date(2026, 10, 20),
        description="Set-up",
        unit_amount=3000,
        currency="JPY",
        tax_category="not_taxable",
        entered_by="test",
    )

    assert run_billing(database).status == "completed"

    issued = content(host)
    assert [(line.description, str(line.amount)) for line in issued.lines] == [
        ("Basic plan: base fee", "10000"),
        ("Set-up", "3000"),
    ]
    assert issued.language == "en"
    assert (str(issued.tax), str(issued.total)) == ("0", "13000")
    assert {line.tax_category.value for line in issued.lines} == {"not_taxable"}


def test_a_deduction_above_the_month_stops_the_invoice_with_advice(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    insert(
        host,
        "extra_charge",
        extra_charge_id="deduction",
        tenant_id="A",
        charged_on=date(2026, 10, 20),
        description="お詫び",
        unit_amount=-10001,
        currency="JPY",
        tax_category="standard",
        entered_by="test",
    )

    result = run_billing(database)

    assert outcomes(host, result)["A"]["error_code"] == "NEGATIVE_TOTAL"
    assert "返還" in reasons(result)["A"]
    assert invoices(host, "A") == []
