"""A change of the consumption tax law: the price list has another rate from a month on."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.stack import DEMO_SETTINGS
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import customer, files, invoices, operate, reasons, run_billing
from tests.worlds.own_settings import settings

__all__ = ["settings"]

NOVEMBER = date(2026, 11, 1)


@pytest.fixture
def two_rates(settings: Any, tmp_path: Path) -> None:
    """10 % until October, 12 % from November on."""
    prices = yaml.safe_load((DEMO_SETTINGS.parent / "pricing_plans.yaml").read_text(encoding="utf-8"))
    (version,) = prices["versions"]
    later = version | {"effective_from": NOVEMBER, "tax_rates": {"standard": 12, "reduced": 9}}
    prices["versions"] = [version, later]
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(prices, allow_unicode=True), encoding="utf-8")
    settings(price_list=str(tmp_path / "prices.yaml"))


@pytest.mark.usefixtures("two_rates")
def test_each_month_has_its_rate_and_its_tax_code(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=(billing_rows.MONTH, NOVEMBER))
    run_billing(database, store=store)
    run_billing(database, NOVEMBER, store=store)
    december = datetime(2026, 12, 10, 10, tzinfo=JAPAN)
    credit = {"credit_lines": ["1=100"]}
    operate(database, "part_credit", reason="x", values=credit, run_at=december, store=store)
    loss = {
        "written_off_on": "2026-12-05",
        "fact": "insolvency",
        "evidence": "x",
        "written_off_amount": "1120",
    }
    operate(database, "write_off", month=NOVEMBER, values=loss, run_at=december, store=store)

    taxes = [
        (
            row["number"],
            [(total["rate_percent"], total["tax_amount"]) for total in row["content"]["tax_totals"]],
        )
        for month in (billing_rows.MONTH, NOVEMBER)
        for row in invoices(host, "A", month=month)
    ]
    assert taxes == [
        ("INV-2026-10-001", [("10", "1000")]),
        ("CRN-2026-10-001", [("10", "-10")]),
        ("INV-2026-11-001", [("12", "1200")]),
    ]
    texts = {key: content.decode("utf-8-sig") for key, content in files(store).items() if "freee" in key}
    codes = {
        month: {code for code in ("課税売上10%", "課税売上12%", "課税売返10%", "課税売倒12%") if code in text}
        for month in ("2026-10", "2026-11", "2026-12")
        for key, text in texts.items()
        if f"/{month}/" in key
    }
    assert codes == {
        "2026-10": {"課税売上10%"},
        "2026-11": {"課税売上12%"},
        "2026-12": {"課税売返10%", "課税売倒12%"},
    }
    assert host.execute("SELECT content #>> '{parts,0,tax}' FROM batch.adjustment").fetchone() == ("120",)


@pytest.mark.usefixtures("two_rates")
def test_no_difference_is_carried_into_a_month_with_another_rate(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    host.execute(
        "UPDATE batch.usage_day SET active_users = 40, revision = 2, closed_at = now() + interval '2 days'"
    )

    refused = operate(database, "carry")

    assert reasons(refused)["A"].startswith("2026-10 と 2026-11 で消費税の税率が違うため")
    assert host.execute("SELECT count(*) FROM batch.extra_charge").fetchone() == (Decimal(0),)
