"""The explanation of an invoice for operators, in Japanese: every line, with the closed days it was calculated from."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from include.skillreport.billing.documents.invoice import Invoice, InvoiceLine
from include.skillreport.billing.inputs import BillingInputs, PricedPart
from include.skillreport.billing.pricing.calculation import calculate
from include.skillreport.billing.pricing.charge_models.metered_percentage import MeteredPercentageCharge
from include.skillreport.billing.pricing.usage import Metric
from include.skillreport.billing.pricing.wording import Japanese


def explain(invoice: Invoice, inputs: BillingInputs) -> Iterator[str]:
    """The steps of the calculation in order, including lines with an amount of 0. Amounts are in the invoice's currency.

    The stored inputs are priced again, so the explanation shows the actual calculation. It is in Japanese, even for an invoice in another
    language. ``invoice`` is no credit note.
    """
    yield f"{invoice.number or '（未確定）'} {inputs.tenant_code} {inputs.period.start} – {inputs.period.end} {inputs.currency}"
    yield f"料金表 {inputs.price_list_version} 版、端数処理 {inputs.rounding}、入力の SHA-256 {inputs.digest()}"
    for priced in inputs.parts:
        yield f"プラン {priced.plan_part.plan}（{priced.plan.name}）: {priced.plan_part.part.start} – {priced.plan_part.part.end}"
        yield from _daily_rows(inputs, priced)
    calculation = calculate(inputs.model_copy(update={"language": "ja"}))
    yield "明細（番号は請求書の行、– は 0 のため載らない行）:"
    shown = 0
    for line in calculation.lines:
        shown += bool(line.amount)
        yield from _line(line, str(shown) if line.amount else "–")
    yield from (f"注記: {remark}" for remark in calculation.remarks)
    yield f"小計 {invoice.subtotal:,f}"
    for total in invoice.tax_totals:
        kind = "内税" if invoice.tax_included else "外税"
        base = 100 + total.rate_percent if invoice.tax_included else Decimal(100)
        yield (
            f"消費税（{kind}）{total.rate_percent}%: {total.taxable_amount:,f} × {total.rate_percent}/{base} → {total.tax_amount:,f}"
        )
    if invoice.yen_tax:
        for total in invoice.yen_tax.totals:
            yield (
                f"円換算（1 {invoice.currency} = {invoice.yen_tax.yen_per_unit} 円、{invoice.yen_tax.rate_date}）"
                f"{total.rate_percent}%: 対価 {total.taxable_amount:,f} 円、消費税 {total.tax_amount:,f} 円"
            )
    yield f"合計 {invoice.total:,f} {invoice.currency}"


def _daily_rows(inputs: BillingInputs, priced: PricedPart) -> Iterator[str]:
    charges = [charge for price in priced.plan.prices.values() for charge in price.charges]
    metrics = sorted({charge.metric for charge in charges if not isinstance(charge, MeteredPercentageCharge)})
    if metrics:
        names = (f"{Japanese.metrics[metric]}({Japanese.units[metric]})" for metric in metrics)
        yield f"  日        {'  '.join(names)}  版"
        for day in inputs.usage_days:
            if priced.plan_part.part.holds(day.usage_date):
                figures = "  ".join(_figure(day.figure(metric), metric) for metric in metrics)
                yield f"  {day.usage_date}  {figures}  {day.revision}"
    for meter in sorted({charge.meter for charge in charges if isinstance(charge, MeteredPercentageCharge)}):
        yield f"  日        {meter}(金額)  件数"
        for row in inputs.metered:
            if row.meter == meter and priced.plan_part.part.holds(row.usage_date):
                yield f"  {row.usage_date}  {row.amount:,f} {row.currency}  {row.events:,}"


def _figure(value: Fraction | None, metric: Metric) -> str:
    if value is None:
        return "記録なし"
    return f"{float(value):,.3f}" if metric is Metric.STORAGE_GB else f"{int(value):,}"


def _line(line: InvoiceLine, number: str) -> Iterator[str]:
    yield f"  {number}. {line.description}: {line.amount:,f}（端数処理前 {line.exact_amount:,f}）"
    yield from (f"     {step}" for step in line.explanation)
