"""The calculation of one invoice: lines, tax and total. Pure.

Order (BATCH-018-02's rules): usage after free quantities, charges, proration of the base fee, percentage discounts, fixed discounts
(never below 0), minimum commitment (a true-up line), one-off lines, tax, total. A line keeps its exact amount and is rounded once to
the minor unit. Subtotal, discounts and tax are calculated from rounded lines, so that a reader can check the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from include.skillreport.billing.documents.invoice import Invoice, InvoiceKind, InvoiceLine, LineKind, YenTax
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs, DiscountKind, PricedPart
from include.skillreport.billing.money import (
    EXACT,
    YEN,
    RoundingMode,
    minor_unit,
    round_to_minor_unit,
    storable,
)
from include.skillreport.billing.periods import Period, prorate
from include.skillreport.billing.pricing.charge_lines import ChargeLines
from include.skillreport.billing.pricing.charge_models import Charge
from include.skillreport.billing.pricing.charge_models.percentage import PercentageCharge
from include.skillreport.billing.pricing.commitments import committed_days, minimum_of
from include.skillreport.billing.pricing.consumption_tax import (
    TaxCategory,
    TaxTotal,
    tax_of,
    tax_totals,
)
from include.skillreport.billing.pricing.usage import Metric
from include.skillreport.billing.pricing.wording import words_in

_ZERO = Decimal(0)

# A message lists this many days and counts the rest.
_LISTED_DAYS = 10


def price(inputs: BillingInputs) -> Invoice:
    """The draft invoice, without the lines whose amount is 0. An invoice without lines has a total of 0.

    :raises BillingError: usage days, a price in the tenant's currency or the exchange rate are missing, a currency does not match, or the
        total is below 0.
    """
    invoice = price_signed(inputs)
    if invoice.total < 0:
        raise BillingError(
            "NEGATIVE_TOTAL",
            f"請求額が {invoice.total:,f} {inputs.currency} となり、0 を下回ります。差し引きの個別明細を取り消して後の月の日付で"
            "登録するか、元の請求書に対する返還を行ってください",
        )
    return invoice


def price_signed(inputs: BillingInputs) -> Invoice:
    """As ``price``, but the total may be below 0. For comparisons only."""
    calculation = calculate(inputs)
    return _invoice(inputs, [line for line in calculation.lines if line.amount], calculation.remarks)


def calculate(inputs: BillingInputs) -> Calculation:
    """All lines, including lines with an amount of 0, and the remarks. Errors as ``price``, except for the exchange rate and the total."""
    require_closed_days(inputs)
    calculation = Calculation(inputs)
    for priced in inputs.parts:
        calculation.add_part(priced)
    calculation.add_percentage_discounts()
    calculation.add_fixed_discounts()
    calculation.add_commitment()
    calculation.add_extra_charges()
    return calculation


def require_closed_days(inputs: BillingInputs) -> None:
    """Check that BATCH-018-01 has closed all billable days. With ``allow_incomplete``, one closed day is enough.

    :raises BillingError: names the days that are not closed.
    """
    if inputs.allow_incomplete and inputs.usage_days:
        return
    closed = {day.usage_date for day in inputs.usage_days}
    missing = [day for priced in inputs.parts for day in priced.plan_part.part.dates() if day not in closed]
    if missing:
        listed = "、".join(str(day) for day in missing[:_LISTED_DAYS])
        more = f" ほか {len(missing) - _LISTED_DAYS} 日" if len(missing) > _LISTED_DAYS else ""
        raise BillingError(
            "USAGE_NOT_CLOSED",
            f"使用量が締まっていない日があります（{len(missing)} 日: {listed}{more}）"
            + (
                ""
                if not inputs.usage_days
                else "。欠けたまま請求するなら「未集計の日があっても請求する」（allow_incomplete）を指定します"
            ),
        )


class Calculation:
    """Adds lines step by step; each step reads the lines of the steps before. ``remarks`` as in ``Invoice``."""

    def __init__(self, inputs: BillingInputs) -> None:
        self.inputs = inputs
        self.lines: list[InvoiceLine] = []
        self.remarks: list[str] = []
        self.month_days = Period.month_of(inputs.period.start).days
        self.words = words_in(inputs.language, inputs.currency, self.month_days)

    def add_part(self, priced: PricedPart) -> None:
        """Add the base fee and the charges of one plan. Percentage charges come last: they depend on the other amounts."""
        plan, part = priced.plan, priced.plan_part.part
        prices = plan.prices.get(self.inputs.currency)
        if prices is None:
            raise BillingError(
                "NO_PRICE",
                f"プラン {priced.plan_part.plan} に通貨 {self.inputs.currency} の価格がありません（料金表 "
                f"{self.inputs.price_list_version} 版）。料金表に価格を追加するか、テナントの通貨を直してください",
            )
        base = self._add(
            LineKind.BASE_FEE,
            self.words.base_fee(self.words.name(plan)),
            prorate(prices.base_fee, part.days, self.month_days),
            priced=priced,
            tax=self._category(plan.tax),
            unit_amount=prices.base_fee if part.days == self.month_days else None,
            explanation=(
                self.words.prorated(prices.base_fee, part.days)
                if part.days < self.month_days
                else self.words.monthly(prices.base_fee),
            ),
        )
        charges = ChargeLines(self.inputs, priced, self.words)
        ordinary = [charge for charge in prices.charges if not isinstance(charge, PercentageCharge)]
        usage = sum((self._add_charge(priced, charge, charges, _ZERO) for charge in ordinary), _ZERO)
        basis = {"base_fee": base, "usage": usage, "all": base + usage}
        for charge in prices.charges:
            if isinstance(charge, PercentageCharge):
                self._add_charge(priced, charge, charges, basis[charge.of])
        self.remarks += charges.remarks

    def add_percentage_discounts(self) -> None:
        """Add one line per percentage discount and tax rate. Each applies to the lines so far, including earlier discounts."""
        for discount in self.inputs.discounts_of(DiscountKind.PERCENTAGE):
            for category, amount in self._sums().items():
                self._add(
                    LineKind.PERCENTAGE_DISCOUNT,
                    self.words.percentage_discount(discount.name, discount.value),
                    -min(amount * discount.value / 100, amount),
                    tax=category,
                    explanation=(self.words.percent_of(amount, discount.value),),
                )

    def add_fixed_discounts(self) -> None:
        """Add the fixed discounts by their days, in proportion to the sum per tax rate. The total never falls below 0."""
        for discount in self.inputs.discounts_of(DiscountKind.FIXED):
            if discount.currency != self.inputs.currency:
                raise BillingError(
                    "DISCOUNT_CURRENCY",
                    f"値引き「{discount.name}」の通貨 {discount.currency} がテナントの通貨 {self.inputs.currency} と違います。"
                    "DAG operate_contracts の「割引の登録・訂正」で直してください",
                )
            sums = self._sums()
            days = self.inputs.days_of(discount)
            exact = EXACT.divide(discount.value * days, Decimal(self.month_days))
            value = round_to_minor_unit(exact, self.inputs.currency, self.inputs.rounding)
            deducted = min(value, sum(sums.values(), _ZERO))
            for category, amount in _spread(deducted, sums, self.inputs.currency).items():
                self._add(
                    LineKind.FIXED_DISCOUNT,
                    discount.name,
                    -amount,
                    tax=category,
                    explanation=(self.words.fixed_discount(discount.value, days),),
                )

    def add_commitment(self) -> None:
        """Add the difference between the minimum commitment and the sum so far, in the tax category of the last plan.

        The minimum does not depend on usage. It also applies if a charge is left out because it has no records.
        """
        inputs = self.inputs
        minimums = [
            (priced.plan_part.part, priced.plan.prices[inputs.currency].minimum_commitment)
            for priced in inputs.parts
        ]
        reached = sum((line.amount for line in self.lines), _ZERO)
        runs = committed_days(minimums, inputs.commitments, inputs.currency)
        minimum = minimum_of(runs, self.month_days)
        shown = round_to_minor_unit(minimum, inputs.currency, inputs.rounding)
        self._add(
            LineKind.COMMITMENT,
            self.words.commitment,
            max(EXACT.subtract(minimum, reached), _ZERO),
            tax=self._category(inputs.parts[-1].plan.tax if inputs.parts else TaxCategory.STANDARD),
            service=Period(start=runs[0].days.start, end=runs[-1].days.end) if runs else None,
            explanation=(
                *(self.words.committed(run.amount, run.days, is_agreed=run.is_agreed) for run in runs),
                self.words.to_commitment(shown, reached),
            ),
        )

    def add_extra_charges(self) -> None:
        """Add the one-off lines. Discounts and the minimum commitment ignore them, and each keeps its tax category."""
        for extra in self.inputs.extra_charges:
            if extra.currency != self.inputs.currency:
                raise BillingError(
                    "EXTRA_CHARGE_CURRENCY",
                    f"{extra.charged_on} の個別明細「{extra.description}」の通貨 {extra.currency} がテナントの通貨 "
                    f"{self.inputs.currency} と違います。DAG operate_invoices の「個別明細の取り消し」で取り消してください",
                )
            self._add(
                LineKind.EXTRA,
                extra.description,
                EXACT.multiply(extra.quantity, extra.unit_amount),
                tax=extra.tax_category,
                service=Period(start=extra.charged_on, end=extra.charged_on),
                quantity=extra.quantity,
                unit=extra.unit,
                unit_amount=extra.unit_amount,
                explanation=(self.words.one_off(extra.quantity, extra.unit, extra.unit_amount),),
            )

    def _add_charge(
        self, priced: PricedPart, charge: Charge, charges: ChargeLines, basis: Decimal
    ) -> Decimal:
        """Add the charge's line, if any. Returns its rounded amount."""
        line = charges.line(charge, basis)
        if line is None:
            return _ZERO
        return self._add(
            LineKind.USAGE,
            self.words.name(charge),
            line.exact_amount,
            priced=priced,
            tax=self._category(charge.tax or priced.plan.tax),
            metric=line.metric,
            quantity=line.quantity,
            unit=self.words.units[line.metric] if line.metric else None,
            unit_amount=line.unit_amount,
            explanation=line.explanation,
        )

    def _category(self, listed: TaxCategory) -> TaxCategory:
        """The tenant's tax category, otherwise the price list's."""
        return self.inputs.tax_category or listed

    def _sums(self) -> dict[TaxCategory, Decimal]:
        """The sums of the lines so far per tax rate, if above 0."""
        sums: dict[TaxCategory, Decimal] = dict.fromkeys(TaxCategory, _ZERO)
        for line in self.lines:
            sums[line.tax_category] += line.amount
        return {category: amount for category, amount in sums.items() if amount > 0}

    def _add(
        self,
        kind: LineKind,
        description: str,
        exact_amount: Decimal,
        *,
        tax: TaxCategory,
        explanation: tuple[str, ...],
        priced: PricedPart | None = None,
        service: Period | None = None,
        metric: Metric | None = None,
        quantity: Decimal | None = None,
        unit: str | None = None,
        unit_amount: Decimal | None = None,
    ) -> Decimal:
        """Add a line; returns its rounded amount."""
        amount = round_to_minor_unit(exact_amount, self.inputs.currency, self.inputs.rounding)
        part = priced.plan_part.part if priced else service or self.inputs.period
        self.lines.append(
            InvoiceLine(
                position=len(self.lines) + 1,
                kind=kind,
                description=description,
                plan=priced.plan_part.plan if priced else None,
                metric=metric,
                quantity=quantity,
                unit=unit,
                unit_amount=unit_amount,
                exact_amount=storable(exact_amount),
                amount=amount,
                tax_category=tax,
                service_from=part.start,
                service_to=part.end,
                explanation=explanation,
            )
        )
        return amount


def _invoice(inputs: BillingInputs, lines: Sequence[InvoiceLine], remarks: Sequence[str]) -> Invoice:
    totals = tax_totals(
        ((line.tax_category, line.amount) for line in lines),
        on=inputs.period.end,
        included=inputs.tax_included,
        currency=inputs.currency,
        rounding=inputs.rounding,
        own=inputs.own_rates,
    )
    subtotal = sum((line.amount for line in lines), minor_unit(inputs.currency) * 0)
    tax = sum((total.tax_amount for total in totals), minor_unit(inputs.currency) * 0)
    total = subtotal if inputs.tax_included else subtotal + tax
    return Invoice(
        kind=InvoiceKind.INVOICE,
        number=None,
        original_number=None,
        issued_on=None,
        due_on=None,
        period_start=inputs.period.start,
        period_end=inputs.period.end,
        tenant_id=inputs.tenant_id,
        tenant_code=inputs.tenant_code,
        currency=inputs.currency,
        tax_included=inputs.tax_included,
        issuer=inputs.issuer,
        recipient=inputs.recipient,
        lines=tuple(line.model_copy(update={"position": number}) for number, line in enumerate(lines, 1)),
        tax_totals=totals,
        yen_tax=_yen_tax(inputs, totals),
        subtotal=subtotal,
        tax=tax,
        total=total,
        remarks=tuple(remarks),
        language=inputs.language,
        replaces=inputs.replaces,
        order_number=inputs.order_number,
    )


def no_exchange_rate(inputs: BillingInputs) -> BillingError:
    """The error that the month has no rate for the invoice's currency."""
    return BillingError(
        "NO_EXCHANGE_RATE",
        f"{inputs.currency} の円換算レートがありません（{inputs.period.end} 以前、対象月内）。"
        "DAG operate_contracts の「為替レートの登録・訂正」で登録してください",
    )


def _yen_tax(inputs: BillingInputs, totals: Iterable[TaxTotal]) -> YenTax | None:
    """The totals per rate in yen: each is converted, taxed and rounded once (インボイス制度に関するQ&A, 外貨建取引)."""
    taxed = [total for total in totals if total.rate_percent]
    if inputs.currency == YEN or not taxed:
        return None
    rate = inputs.exchange_rate
    if rate is None:
        raise no_exchange_rate(inputs)
    return YenTax(
        yen_per_unit=rate.yen_per_unit,
        rate_date=rate.rate_date,
        totals=tuple(
            TaxTotal(
                category=total.category,
                rate_percent=total.rate_percent,
                taxable_amount=round_to_minor_unit(
                    total.taxable_amount * rate.yen_per_unit, YEN, inputs.rounding
                ),
                tax_amount=tax_of(
                    total.taxable_amount * rate.yen_per_unit,
                    total.rate_percent,
                    included=inputs.tax_included,
                    currency=YEN,
                    rounding=inputs.rounding,
                ),
            )
            for total in taxed
        ),
    )


def _spread(
    amount: Decimal, sums: Mapping[TaxCategory, Decimal], currency: str
) -> dict[TaxCategory, Decimal]:
    """Split an amount in proportion to the sums, in whole minor units. No part exceeds its sum.

    The largest sums take the rounding remainder.
    """
    whole = sum(sums.values())
    parts = {
        category: round_to_minor_unit(EXACT.divide(amount * part, whole), currency, RoundingMode.FLOOR)
        for category, part in sums.items()
    }
    remainder = amount - sum(parts.values())
    for category in sorted(sums, key=lambda category: sums[category], reverse=True):
        added = min(remainder, sums[category] - parts[category])
        parts[category] += added
        remainder -= added
    return parts
