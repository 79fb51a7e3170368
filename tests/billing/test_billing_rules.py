"""The page docs/admin/billing-rules.md: every example of its tables is calculated by the code, and its lists are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest
from stdnum.jp import cn

from include.skillreport.billing.documents.invoice import Invoice, InvoiceLine, LineKind
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.money import RoundingMode, minor_unit
from include.skillreport.billing.periods import Period, PlanPart
from include.skillreport.billing.pricing.calculation import calculate, price
from include.skillreport.billing.pricing.charge_models.base import Prorate
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, rate_percent, tax_totals
from include.skillreport.billing.pricing.usage import BYTES_PER_GB
from include.skillreport.core.yaml_files import read_yaml
from tests.airflow_installation import PROJECT
from tests.billing.billing_inputs import (
    OCTOBER,
    inputs,
    one_off,
    own_minimum,
    part,
    payments,
    plan,
    usage_days,
)

PAGE = (PROJECT / "docs" / "admin" / "billing-rules.md").read_text(encoding="utf-8")

Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table of the page, and the YAML block right before it."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    terms: dict[str, Any]


def _tables() -> Iterator[Table]:
    pattern = r"(?:```yaml\n(?P<terms>(?:(?!```).)*)```\n\n)?(?P<table>(?:^\|[^\n]*\|\n)+)"
    for match in re.finditer(pattern, PAGE, flags=re.MULTILINE | re.DOTALL):
        lines = [
            tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))
            for line in match["table"].splitlines()
        ]
        header, _, *rows = lines
        terms = read_yaml(match["terms"] or "{}", "billing-rules.md").plain()
        yield Table(header, tuple(dict(zip(header, row, strict=True)) for row in rows), terms)


TABLES = list(_tables())


def examples(*header: str) -> list[tuple[dict[str, Any], Row]]:
    """The rows of all tables with this header, each with the terms of its table."""
    rows = [(table.terms, row) for table in TABLES if table.header == header for row in table.rows]
    assert rows, f"the page has no table {header}"
    return rows


def amount(cell: str) -> Decimal:
    return Decimal(cell.replace(",", ""))


def days_of(cell: str) -> tuple[int, int]:
    """6/31 are the last 6 days of October."""
    active, month_days = cell.split("/")
    assert int(month_days) == OCTOBER.days
    return OCTOBER.days - int(active) + 1, OCTOBER.days


def used(quantity: str) -> dict[str, int]:
    """Every metric with this figure, storage in bytes."""
    whole = int(amount(quantity))
    return {
        "active_users": whole,
        "api_calls": whole,
        "storage_bytes": int(amount(quantity) * BYTES_PER_GB),
    }


def charged(charge: dict[str, Any], quantity: str, days: str = "31/31") -> InvoiceLine:
    """The line of a charge on storage, unless it names another metric, that is the same on each day."""
    defaults = {"name": "charge", "metric": "storage_gb", "aggregation": "latest"}
    usage = tuple(day.model_copy(update=used(quantity)) for day in usage_days())
    month = inputs(parts=(part(plan("0", defaults | charge), *days_of(days)),), usage_days=usage)
    return calculate(month).lines[1]


# Whole months ------------------------------------------------------------------------------------------------------------


def month_of(terms: dict[str, Any]) -> BillingInputs:
    """The inputs of a block with the keys of a month."""
    first, last = (date.fromisoformat(day) for day in terms["days"].split(" to "))
    prices = dict(terms["plan"])
    base_fee, charges = str(prices.pop("base_fee")), prices.pop("charges", ())
    days = Period(start=first, end=last)
    figures = terms.get("usage", {})
    closed = tuple(
        usage_days(1, 1, **{name: figure for name, figure in figures.items() if name != "storage_gb"})[
            0
        ].model_copy(
            update={
                "usage_date": day,
                "storage_bytes": int(Decimal(str(figures.get("storage_gb", 0))) * BYTES_PER_GB),
            }
        )
        for day in days.dates()
    )
    priced = part(plan(base_fee, *charges, **prices)).model_copy(
        update={"plan_part": PlanPart(plan="BASIC", part=days)}
    )
    return inputs(
        period=Period.month_of(first),
        parts=(priced,),
        usage_days=closed,
        discounts=tuple({"valid_from": first} | discount for discount in terms.get("discounts", ())),
        extra_charges=tuple(
            one_off(**{"charged_on": first} | extra) for extra in terms.get("extra_charges", ())
        ),
    )


def shown(invoice: Invoice) -> list[tuple[str, Decimal]]:
    """The lines, the tax and the total."""
    lines = [(line.kind.value, line.amount) for line in invoice.lines]
    return [*lines, ("tax", invoice.tax), ("total", invoice.total)]


@pytest.mark.parametrize(
    "table", [table for table in TABLES if table.header == ("kind", "calculation", "amount")]
)
def test_the_months_of_the_page_come_to_their_lines_and_totals(table: Table) -> None:
    expected = [(row["kind"], amount(row["amount"])) for row in table.rows]
    calculated = shown(price(month_of(table.terms)))
    has_total = expected[-1][0] == "total"
    assert (calculated if has_total else calculated[:-2]) == expected


def test_the_order_of_the_page_has_every_kind_of_line() -> None:
    first = next(table for table in TABLES if table.header[0] == "kind")
    assert [row["kind"] for row in first.rows] == [*LineKind, "tax", "total"]


# Single rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("_terms", "row"), examples("currency", "smallest amount"))
def test_a_currency_has_its_smallest_amount(_terms: dict[str, Any], row: Row) -> None:
    assert minor_unit(row["currency"]) == amount(row["smallest amount"])


@pytest.mark.parametrize(("_terms", "row"), examples("base fee", "days", "exact", "floor", "half-up"))
def test_a_base_fee_is_prorated_by_days(_terms: dict[str, Any], row: Row) -> None:
    parts = (part(plan(str(amount(row["base fee"]))), *days_of(row["days"])),)
    for mode in (RoundingMode.FLOOR, RoundingMode.HALF_UP):
        (line,) = price(inputs(parts=parts, rounding=mode)).lines
        assert line.amount == amount(row[mode])
        assert line.exact_amount.quantize(Decimal("0.01"), ROUND_DOWN) == amount(row["exact"])


@pytest.mark.parametrize(("terms", "row"), examples("quantity", "amount"))
def test_a_quantity_has_its_price(terms: dict[str, Any], row: Row) -> None:
    assert charged(terms["charge"], row["quantity"]).exact_amount == amount(row["amount"])


@pytest.mark.parametrize(("terms", "row"), examples("prorate", "quantity", "days", "amount"))
def test_a_part_of_the_month_is_prorated_as_the_charge_says(terms: dict[str, Any], row: Row) -> None:
    line = charged(terms["charge"] | {"prorate": row["prorate"]}, row["quantity"], row["days"])
    assert line.exact_amount == amount(row["amount"])


@pytest.mark.parametrize(("terms", "row"), examples("metered amount", "events", "amount"))
def test_a_metered_amount_is_charged_by_percentage_and_events(terms: dict[str, Any], row: Row) -> None:
    metered = payments(str(amount(row["metered amount"])), events=int(row["events"]))
    month = inputs(parts=(part(plan("0", {"name": "fee"} | terms["charge"])),), metered=metered)
    assert calculate(month).lines[1].exact_amount == amount(row["amount"])


@pytest.mark.parametrize(
    ("_terms", "row"), examples("plan's", "tenant's own", "billable days", "minimum", "line's days")
)
def test_the_minimum_commitment_counts_day_by_day(_terms: dict[str, Any], row: Row) -> None:
    first, last = map(int, row["billable days"].split("–"))
    agreed = re.findall(r"([\d,]+) (from|until) (\d+)", row["tenant's own"])
    assert agreed
    commitments = tuple(
        own_minimum(
            str(amount(own)),
            **{"valid_from" if bound == "from" else "valid_to": OCTOBER.start.replace(day=int(day))},
        )
        for own, bound, day in agreed
    )
    days = part(plan("0", minimum_commitment=str(amount(row["plan's"]))), first, last)
    lines = price(inputs(parts=(days,), usage_days=usage_days(first, last), commitments=commitments)).lines
    assert sum(line.amount for line in lines) == amount(row["minimum"])
    assert [f"{line.service_from.day}–{line.service_to.day}" for line in lines] == row["line's days"].split()


@pytest.mark.parametrize(("_terms", "row"), examples("lines", "rate", "prices", "floor", "half-up", "ceil"))
def test_tax_is_rounded_once_per_category(_terms: dict[str, Any], row: Row) -> None:
    category = {"10 %": TaxCategory.STANDARD, "8 %": TaxCategory.REDUCED}[row["rate"]]
    for mode in RoundingMode:
        (total,) = tax_totals(
            [(category, amount(line)) for line in row["lines"].split(" + ")],
            on=OCTOBER.end,
            included={"before tax": False, "including tax": True}[row["prices"]],
            currency="JPY",
            rounding=mode,
        )
        assert total.tax_amount == amount(row[mode])


@pytest.mark.parametrize(("_terms", "row"), examples("corporate number", "valid"))
def test_a_corporate_number_has_a_check_digit(_terms: dict[str, Any], row: Row) -> None:
    assert cn.is_valid(row["corporate number"]) == (row["valid"] == "yes")


# Lists -------------------------------------------------------------------------------------------------------------------


def test_the_page_lists_every_tax_category_with_its_name_and_rate() -> None:
    assert [
        (row["category"], row["name"], row["rate"]) for _, row in examples("category", "name", "rate", "use")
    ] == [
        (category.value, category.label, f"{rate_percent(category, OCTOBER.end)} %")
        for category in TaxCategory
    ]


def test_the_page_lists_every_proration() -> None:
    listed = examples("prorate", "amount", "free quantities", "default for")
    assert [row["prorate"] for _, row in listed] == list(Prorate)
