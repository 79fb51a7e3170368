"""Tenants abroad: tax category, currency, language and names, from the billing profile and the host's row."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import customer, invoice, reasons, run_billing
from tests.worlds.own_settings import change_billing, demo_issuer


def tax(host: psycopg.Connection, tenant_id: str = "A") -> list[tuple[str, str, str]]:
    totals = invoice(host, tenant_id)["content"]["tax_totals"]
    return [(total["category"], total["rate_percent"], total["tax_amount"]) for total in totals]


@pytest.mark.parametrize(
    ("country", "profile", "category"),
    [
        (None, {}, "standard"),
        ("JP", {}, "standard"),
        ("jpn", {}, "standard"),
        ("us", {}, "not_taxable"),
        ("US", {"country": "JP"}, "standard"),
        ("JP", {"country": "FR"}, "not_taxable"),
        ("FR", {"tax_category": "export"}, "export"),
        ("JP", {"tax_category": "out_of_scope"}, "out_of_scope"),
    ],
)
def test_a_service_is_taxed_where_its_recipient_has_its_address(
    database: Database,
    host: psycopg.Connection,
    country: str | None,
    profile: dict[str, str],
    category: str,
) -> None:
    customer(host, "A", country_code=country)
    if profile:
        billing_rows.billing_profile(host, "A", **profile)

    run_billing(database)

    assert tax(host) == [(category, "10", "1000") if category == "standard" else (category, "0", "0")]


def test_the_category_abroad_is_a_setting(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, abroad_tax="export")
    customer(host, "A", country_code="DE")

    run_billing(database)

    assert tax(host) == [("export", "0", "0")]


def test_a_tenant_has_its_own_currency_and_its_english_name(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "STANDARD", country_code="US", tenant_name_en="Acme Inc.")
    billing_rows.billing_profile(host, "A", language="en", currency="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 30), "150.25")

    run_billing(database)

    content = invoice(host, "A")["content"]
    assert (content["currency"], content["language"], content["recipient"]["name"]) == (
        "USD",
        "en",
        "Acme Inc.",
    )
    assert (content["recipient"]["country"], content["issuer"]["name"]) == (
        "US",
        "Sample Cloud Service Co., Ltd.",
    )
    assert "SWIFT" in content["issuer"]["bank_account"]


def test_an_untaxed_invoice_in_another_currency_needs_a_rate_for_the_books(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "STANDARD", country_code="US", currency_code="USD")

    result = run_billing(database)

    assert "USD の円換算レートがありません" in reasons(result)["A"]
    assert invoice(host, "A")["status"] == "draft"


def test_without_an_english_issuer_there_is_no_invoice_in_english(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, issuer=demo_issuer(english=None))
    customer(host, "A")
    customer(host, "B")
    billing_rows.billing_profile(host, "A", language="en")

    result = run_billing(database)

    assert reasons(result) == {
        "A": "英文の請求書に必要な発行者の英語表記がありません。設定の billing.issuer.english に登録してください。"
    }
    assert invoice(host, "B")["number"] == "INV-2026-10-001"
