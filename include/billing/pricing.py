"""The calculation of one invoice: lines, tax and total. Pure.

Order (BATCH-018-02's rules): usage after free quantities, charges, proration of the base fee, percentage discounts, fixed discounts
(never below 0), minimum commitment (a true-up line), tax, total. A line keeps its exact amount and is rounded once to the minor
unit. Subtotal, discounts and tax are calculated from rounded lines, so that a reader can check the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from include.billing.commitments import CommittedDays, committed_days, minimum_by_whole_month, minimum_of
from include.billing.consumption_tax import TaxCategory, TaxTotal, rate_percent, tax_of, tax_totals
from include.billing.errors import BillingError
from include.billing.inputs import BillingInputs, Discount, DiscountKind, PricedPart
from include.billing.invoice import Invoice, InvoiceKind, InvoiceLine, LineKind, YenTax
from include.billing.money import EXACT, YEN, RoundingMode, minor_unit, round_to_minor_unit
from include.billing.periods import Period, prorate
from include.billing.price_list import Charge, PercentageCharge
from include.billing.usage import Metric, quantity_of, round_up

_ZERO = Decimal(0)

# How the explanation of a line names each charge model.
_MODEL_LABELS = {
    "standard": "従量料金",
    "graduated": "段階料金（各段階の数量に各段階の単価）",
    "volume": "数量別料金（全数量に該当段階の単価）",
    "package": "セット料金（端数は 1 セット）",
    "percentage": "割合料金",
}

# A message lists this many days and counts the rest.
_LISTED_DAYS = 10


def price(inputs: BillingInputs) -> Invoice:
    """The draft invoice, without the lines whose amount is 0. An invoice without lines has a total of 0.

    :raises BillingError: usage days, a price in the tenant's currency or the exchange rate are missing, or a currency does not match.
    """
    calculation = _calculate(inputs)
    return _invoice(inputs, [line for line in calculation.lines if line.amount], calculation.remarks)


def calculated_lines(inputs: BillingInputs) -> list[InvoiceLine]:
    """All lines in the order of the calculation, including lines with an amount of 0. Errors as ``price``."""
    return _calculate(inputs).lines


def _calculate(inputs: BillingInputs) -> _Calculation:
    require_closed_days(inputs)
    calculation = _Calculation(inputs)
    for priced in inputs.parts:
        calculation.add_part(priced)
    calculation.add_percentage_discounts()
    calculation.add_fixed_discounts()
    calculation.add_commitment()
    return calculation


def require_closed_days(inputs: BillingInputs) -> None:
    """Check that BATCH-018-01 has closed all billable days; ``allow_incomplete`` needs at least one closed day.

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
            f"使用量が締まっていない日があります（{len(missing)} 日: {listed}{more}）。BATCH-018-01 をその日付で実行してから"
            "消去（Clear）してください"
            + (
                ""
                if not inputs.usage_days
                else "。欠けたまま請求するなら「未締め日を許す」（allow_incomplete）を指定します"
            ),
        )


class _Calculation:
    """Adds lines step by step; each step reads the lines of the steps before. ``remarks`` as in ``Invoice``."""

    def __init__(self, inputs: BillingInputs) -> None:
        self.inputs = inputs
        self.lines: list[InvoiceLine] = []
        self.remarks: list[str] = []
        self.month_days = Period.month_of(inputs.period.start).days

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
            f"{plan.name} 基本料金",
            prorate(prices.base_fee, part.days, self.month_days),
            priced=priced,
            tax=plan.tax,
            unit_amount=prices.base_fee if part.days == self.month_days else None,
            explanation=(
                self._proration(prices.base_fee, part)
                if part.days < self.month_days
                else f"月額 {self._money(prices.base_fee)}",
            ),
        )
        ordinary = [charge for charge in prices.charges if not isinstance(charge, PercentageCharge)]
        usage = sum((self._add_charge(priced, charge, _ZERO) for charge in ordinary), _ZERO)
        basis = {"base_fee": base, "usage": usage, "all": base + usage}
        for charge in prices.charges:
            if isinstance(charge, PercentageCharge):
                self._add_charge(priced, charge, basis[charge.of])

    def add_percentage_discounts(self) -> None:
        """Add one line per percentage discount and tax rate. Each applies to the lines so far, including earlier discounts."""
        for discount in self._discounts(DiscountKind.PERCENTAGE):
            for category, amount in self._sums().items():
                self._add(
                    LineKind.PERCENTAGE_DISCOUNT,
                    f"{discount.name}（{_number(discount.value)}%）",
                    -min(amount * discount.value / 100, amount),
                    tax=category,
                    explanation=(f"{self._money(amount)} × {_number(discount.value)}%",),
                )

    def add_fixed_discounts(self) -> None:
        """Add the fixed discounts, in proportion to the sum per tax rate. The total never falls below 0."""
        for discount in self._discounts(DiscountKind.FIXED):
            if discount.currency != self.inputs.currency:
                raise BillingError(
                    "DISCOUNT_CURRENCY",
                    f"値引き「{discount.name}」の通貨 {discount.currency} がテナントの通貨 {self.inputs.currency} と違います。"
                    "batch.discount を直してください",
                )
            sums = self._sums()
            value = round_to_minor_unit(discount.value, self.inputs.currency, self.inputs.rounding)
            deducted = min(value, sum(sums.values(), _ZERO))
            for category, amount in _spread(deducted, sums, self.inputs.currency).items():
                self._add(
                    LineKind.FIXED_DISCOUNT,
                    discount.name,
                    -amount,
                    tax=category,
                    explanation=(f"値引き {self._money(discount.value)}（残額を上限とする）",),
                )

    def add_commitment(self) -> None:
        """Add the difference between the minimum commitment and the sum so far, with the tax category of the last plan.

        The tenant owes the minimum whatever it used, so the minimum also applies when a charge is missing for lack of a record.
        """
        inputs = self.inputs
        minimums = [
            (priced.plan_part.part, priced.plan.prices[inputs.currency].minimum_commitment)
            for priced in inputs.parts
        ]
        reached = sum((line.amount for line in self.lines), _ZERO)
        runs: list[CommittedDays] = []
        if inputs.commitments is None:
            minimum = minimum_by_whole_month(minimums, inputs.commitment, inputs.currency, self.month_days)
            shown, missing = minimum, minimum - reached
        else:
            runs = committed_days(minimums, inputs.commitments, inputs.currency)
            minimum = minimum_of(runs, self.month_days)
            shown = round_to_minor_unit(minimum, inputs.currency, inputs.rounding)
            missing = EXACT.subtract(minimum, reached)
        self._add(
            LineKind.COMMITMENT,
            "最低利用料金との差額",
            max(missing, _ZERO),
            tax=inputs.parts[-1].plan.tax if inputs.parts else TaxCategory.STANDARD,
            service=Period(start=runs[0].days.start, end=runs[-1].days.end) if runs else None,
            explanation=(
                *(self._committed(run) for run in runs),
                f"最低利用料金 {self._money(shown)} − ここまでの合計 {self._money(reached)}",
            ),
        )

    def _add_charge(self, priced: PricedPart, charge: Charge, basis: Decimal) -> Decimal:
        """Add the line of a charge; returns its rounded amount. Days without a record do not count.

        If no day has a record, the charge gives a remark and no line. A percentage of other lines needs no record.
        """
        part = priced.plan_part.part
        closed = [day for day in self.inputs.usage_days if part.holds(day.usage_date)]
        days = [day for day in closed if day.figure(charge.metric) is not None]
        if len(days) < len(closed):
            self._remark_on_records(charge, part, len(days), len(closed))
            if not days and not isinstance(charge, PercentageCharge):
                return _ZERO
        used = quantity_of(days, charge.metric, charge.aggregation, step=charge.step)
        free = self._free_quantity(priced, charge)
        quantity = max(used - free, _ZERO)
        amount = charge.amount(quantity)
        # The price of a level is for a whole month and is prorated. A sum counts only events within the part.
        is_prorated = charge.aggregation.is_level and part.days < self.month_days
        exact = prorate(amount, part.days, self.month_days) if is_prorated else amount
        counts = not isinstance(charge, PercentageCharge)
        metric, unit = charge.metric, charge.metric.unit
        revised = [day for day in days if day.revision > 1]
        steps = (
            f"{metric.label}の{charge.aggregation.label} {_number(used)} {unit}（{len(days)} 日分）",
            *([f"記録のない日: {len(closed) - len(days)} 日"] if len(days) < len(closed) else []),
            *([f"再締めされた日: {len(revised)} 日"] if revised else []),
            *([f"無料分 {_number(free)} {unit} を差し引き {_number(quantity)} {unit}"] if free else []),
        )
        has_figure = days or not closed
        return self._add(
            LineKind.USAGE,
            charge.name,
            exact + charge.share_of(basis),
            priced=priced,
            tax=charge.tax or priced.plan.tax,
            metric=metric if counts else None,
            quantity=quantity if counts else None,
            unit_amount=charge.single_price,
            explanation=(
                *(steps if has_figure else ()),
                _MODEL_LABELS[charge.model]
                + (
                    f" {self._money(basis)} × {_number(charge.rate)}%"
                    if isinstance(charge, PercentageCharge)
                    else ""
                ),
                *([self._proration(amount, part)] if is_prorated and amount else []),
            ),
        )

    def _remark_on_records(self, charge: Charge, part: Period, recorded: int, closed: int) -> None:
        """Remark on a charge whose metric has a record on ``recorded`` of the ``closed`` days only."""
        if isinstance(charge, PercentageCharge) and not charge.fixed_amount:
            return  # Its amount does not depend on the metric.
        label = charge.metric.label
        span = "" if part.days == self.month_days else f"（{_span(part)}）"
        events = "の件数分" if isinstance(charge, PercentageCharge) else ""
        name = f"「{charge.name}」{span}{events}"
        self.remarks.append(
            f"{label}の記録のない日が {closed - recorded} 日あり、{name}は記録のある日だけで計算しています"
            if recorded
            else f"{label}の記録がないため、{name}は請求していません"
        )

    def _free_quantity(self, priced: PricedPart, charge: Charge) -> Decimal:
        """The free quantity of plan, charge and discounts, rounded up to the charge's step in the tenant's favour.

        For a metric that is summed, a part of the month gets a prorated quantity.
        """
        monthly = (
            priced.plan.included.get(charge.metric, _ZERO)
            + charge.free
            + sum(
                (
                    discount.value
                    for discount in self._discounts(DiscountKind.FREE_QUANTITY)
                    if discount.metric is charge.metric
                ),
                _ZERO,
            )
        )
        part = (
            Fraction(1)
            if charge.aggregation.is_level
            else Fraction(priced.plan_part.part.days, self.month_days)
        )
        return round_up(Fraction(monthly) * part, charge.step)

    def _discounts(self, kind: DiscountKind) -> Iterator[Discount]:
        """The discounts of a kind that are valid on one of the billable days, in the order of the inputs (date, name)."""
        return (
            discount
            for discount in self.inputs.discounts
            if discount.kind is kind
            and any(
                priced.plan_part.part.clipped(discount.valid_from, discount.valid_to)
                for priced in self.inputs.parts
            )
        )

    def _sums(self) -> dict[TaxCategory, Decimal]:
        """The sum of the lines so far per tax rate, if it is above 0."""
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
                unit=metric.unit if metric else None,
                unit_amount=unit_amount,
                exact_amount=_storable(exact_amount),
                amount=amount,
                tax_category=tax,
                service_from=part.start,
                service_to=part.end,
                explanation=explanation,
            )
        )
        return amount

    def _proration(self, amount: Decimal, part: Period) -> str:
        return f"{self._money(amount)} × {part.days} 日 ÷ {self.month_days} 日（日割り）"

    def _committed(self, run: CommittedDays) -> str:
        source = "個別契約" if run.is_agreed else "プラン"
        if run.days.days == self.month_days:
            return f"{source}の最低利用料金 月額 {self._money(run.amount)}"
        return f"{source}の最低利用料金（{_span(run.days)}）{self._proration(run.amount, run.days)}"

    def _money(self, amount: Decimal) -> str:
        return f"{_number(amount)} {self.inputs.currency}"


def _invoice(inputs: BillingInputs, lines: Sequence[InvoiceLine], remarks: Sequence[str]) -> Invoice:
    totals = tax_totals(
        ((line.tax_category, line.amount) for line in lines),
        on=inputs.period.end,
        included=inputs.tax_included,
        currency=inputs.currency,
        rounding=inputs.rounding,
    )
    subtotal = sum((line.amount for line in lines), minor_unit(inputs.currency) * 0)
    tax = sum((total.tax_amount for total in totals), minor_unit(inputs.currency) * 0)
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
        total=subtotal if inputs.tax_included else subtotal + tax,
        remarks=tuple(remarks),
    )


def _yen_tax(inputs: BillingInputs, totals: Iterable[TaxTotal]) -> YenTax | None:
    """The totals per rate in yen: each is converted, taxed and rounded once (インボイス制度に関するQ&A, 外貨建取引)."""
    taxed = [total for total in totals if total.rate_percent]
    if inputs.currency == YEN or not taxed:
        return None
    rate = inputs.exchange_rate
    if rate is None:
        raise BillingError(
            "NO_EXCHANGE_RATE",
            f"{inputs.currency} の円換算レートがありません（{inputs.period.end} 以前、対象月内）。batch.exchange_rate に登録してください",
        )
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
                    rate_percent(total.category, inputs.period.end),
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
    """Split an amount in proportion to the sums, in whole minor units. No part is larger than its sum.

    The remainder of rounding goes to the largest sums.
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


def _storable(exact: Decimal) -> Decimal:
    """The amount with the 30 decimals of the host's NUMERIC(65,30), without trailing zeros."""
    value = exact.quantize(Decimal(1).scaleb(-30), context=EXACT)
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize(EXACT)


def _span(days: Period) -> str:
    return f"{days.start:%-m/%-d}〜{days.end:%-m/%-d}"


def _number(value: Decimal) -> str:
    return f"{_storable(value):,f}"
