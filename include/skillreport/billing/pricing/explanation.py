"""The explanation of an invoice: every line, and the closed days behind it. ``explain`` is its text for operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from include.skillreport.billing.documents.invoice import Invoice, InvoiceLine, Language
from include.skillreport.billing.inputs import BillingInputs, MeteredDay, PricedPart
from include.skillreport.billing.pricing.calculation import calculate
from include.skillreport.billing.pricing.charge_models.metered_percentage import MeteredPercentageCharge
from include.skillreport.billing.pricing.consumption_tax import TaxTotal
from include.skillreport.billing.pricing.usage import Metric, UsageDay
from include.skillreport.billing.pricing.wording import Japanese


@dataclass(frozen=True)
class PartDays:
    """A part of the month with one plan: its closed days, the metrics of its charges, and the days of its meters, by meter."""

    priced: PricedPart
    metrics: Sequence[Metric]
    days: Sequence[UsageDay]
    metered: Mapping[str, Sequence[MeteredDay]]


def part_days(inputs: BillingInputs) -> list[PartDays]:
    """The closed days of each part of the month."""
    return [_part_days(inputs, priced) for priced in inputs.parts]


def _part_days(inputs: BillingInputs, priced: PricedPart) -> PartDays:
    charges = [charge for price in priced.plan.prices.values() for charge in price.charges]
    part = priced.plan_part.part
    meters = sorted({charge.meter for charge in charges if isinstance(charge, MeteredPercentageCharge)})
    return PartDays(
        priced,
        sorted({charge.metric for charge in charges if not isinstance(charge, MeteredPercentageCharge)}),
        [day for day in inputs.usage_days if part.holds(day.usage_date)],
        {
            meter: [row for row in inputs.metered if row.meter == meter and part.holds(row.usage_date)]
            for meter in meters
        },
    )


def explained_lines(
    inputs: BillingInputs, language: Language
) -> tuple[list[tuple[int | None, InvoiceLine]], Sequence[str]]:
    """The lines with their numbers on the invoice, and the remarks, in a language. A line with an amount of 0 has no number.

    The stored inputs are priced again, so the explanation shows the actual calculation.
    """
    calculation = calculate(inputs.model_copy(update={"language": language}))
    shown = [line for line in calculation.lines if line.amount]
    numbers = {line.position: number for number, line in enumerate(shown, start=1)}
    return [(numbers.get(line.position), line) for line in calculation.lines], calculation.remarks


def figure(day: UsageDay, metric: Metric) -> str | None:
    """A day's figure with thousands separators; None without a record."""
    value = day.figure(metric)
    if value is None:
        return None
    return f"{float(value):,.3f}" if metric is Metric.STORAGE_GB else f"{int(value):,}"


def explain(invoice: Invoice, inputs: BillingInputs) -> Iterator[str]:
    """The steps of the calculation in order, including lines with an amount of 0. Amounts are in the invoice's currency.

    The text is always Japanese. ``invoice`` is no credit note.
    """
    yield f"{invoice.number or '（未確定）'} {inputs.tenant_code} {inputs.period.start} – {inputs.period.end} {inputs.currency}"
    yield f"料金表 {inputs.price_list_version} 版、端数処理 {inputs.rounding}、入力の SHA-256 {inputs.digest()}"
    for part in part_days(inputs):
        plan_part, plan = part.priced.plan_part, part.priced.plan
        yield f"プラン {plan_part.plan}（{plan.name}）: {plan_part.part.start} – {plan_part.part.end}"
        yield from _daily_rows(part)
    lines, remarks = explained_lines(inputs, "ja")
    yield "明細（番号は請求書の行、– は 0 のため載らない行）:"
    for number, line in lines:
        yield f"  {number or '–'}. {line.description}: {line.amount:,f}（端数処理前 {line.exact_amount:,f}）"
        yield from (f"     {step}" for step in line.explanation)
    yield from (f"注記: {remark}" for remark in remarks)
    yield f"小計 {invoice.subtotal:,f}"
    for total in invoice.tax_totals:
        kind = "内税" if invoice.tax_included else "外税"
        base = 100 + total.rate_percent if invoice.tax_included else Decimal(100)
        calculated = f" × {total.rate_percent}/{base} → {total.tax_amount:,f}" if total.rate_percent else ""
        yield f"消費税（{kind}）{_rate(total)}: {total.taxable_amount:,f}{calculated}"
    if invoice.yen_tax:
        for total in invoice.yen_tax.totals:
            yield (
                f"円換算（1 {invoice.currency} = {invoice.yen_tax.yen_per_unit} 円、{invoice.yen_tax.rate_date}）"
                f"{_rate(total)}: 対価 {total.taxable_amount:,f} 円、消費税 {total.tax_amount:,f} 円"
            )
    yield f"合計 {invoice.total:,f} {invoice.currency}"


def _rate(total: TaxTotal) -> str:
    """10%, or 不課税: a category without a rate has its name only."""
    return f"{total.rate_percent}%" if total.rate_percent else total.category.label


def _daily_rows(part: PartDays) -> Iterator[str]:
    if part.metrics:
        names = (f"{Japanese.metrics[metric]}({Japanese.units[metric]})" for metric in part.metrics)
        yield f"  日        {'  '.join(names)}  版"
        for day in part.days:
            figures = "  ".join(figure(day, metric) or "記録なし" for metric in part.metrics)
            yield f"  {day.usage_date}  {figures}  {day.revision}"
    for meter, rows in part.metered.items():
        yield f"  日        {meter}(金額)  件数"
        for row in rows:
            yield f"  {row.usage_date}  {row.amount:,f} {row.currency}  {row.events:,}"
