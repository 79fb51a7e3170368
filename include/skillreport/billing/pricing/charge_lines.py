"""The usage lines of one plan: quantity, free quantities, amount, proration and minimum of each charge. Pure.

Amounts are exact and in the invoice's currency; days are Asia/Tokyo dates. Source: BATCH-018-02's rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs, DiscountKind, MeteredDay, PricedPart
from include.skillreport.billing.money import minor_unit, round_to_minor_unit
from include.skillreport.billing.periods import prorate
from include.skillreport.billing.pricing.charge_models import Charge
from include.skillreport.billing.pricing.charge_models.base import MetricCharge, NamedCharge, Prorate
from include.skillreport.billing.pricing.charge_models.metered_percentage import MeteredPercentageCharge
from include.skillreport.billing.pricing.charge_models.percentage import PercentageCharge
from include.skillreport.billing.pricing.usage import Metric, quantity_of, round_up
from include.skillreport.billing.pricing.wording import Words

_ZERO = Decimal(0)


@dataclass(frozen=True)
class ChargeLine:
    """A usage line before rounding. ``quantity`` is the charged quantity, without free quantities."""

    exact_amount: Decimal
    explanation: tuple[str, ...]
    metric: Metric | None = None
    quantity: Decimal | None = None
    unit_amount: Decimal | None = None


class ChargeLines:
    """The lines of a plan's charges in its part of the month. ``remarks`` name the charges without records."""

    def __init__(self, inputs: BillingInputs, priced: PricedPart, words: Words) -> None:
        self.remarks: list[str] = []
        self._inputs = inputs
        self._priced = priced
        self._words = words
        self._part = priced.plan_part.part
        self._days = self._part.days
        self._is_whole_month = self._days == words.month_days
        self._closed = [day for day in inputs.usage_days if self._part.holds(day.usage_date)]

    def line(self, charge: Charge, basis: Decimal) -> ChargeLine | None:
        """The line of a charge, or None if it has no record and no minimum. ``basis``: the sum of the lines that a percentage applies to.

        :raises BillingError: an amount of its meter is in another currency.
        """
        line = (
            self._metered_line(charge)
            if isinstance(charge, MeteredPercentageCharge)
            else self._metric_line(charge, basis)
        )
        if charge.minimum is None:
            return line
        return self._at_least(charge, charge.minimum, line or ChargeLine(_ZERO, ()))

    def _metric_line(self, charge: MetricCharge, basis: Decimal) -> ChargeLine | None:
        """The line of a charge on a metric. Days without a record do not count. A percentage of other lines needs no record."""
        closed, metric, words = self._closed, charge.metric, self._words
        days = [day for day in closed if day.count(metric) is not None]
        is_percentage = isinstance(charge, PercentageCharge)
        if len(days) < len(closed):
            self._remark_on_records(charge, len(days))
            if not days and not is_percentage:
                return None
        used = quantity_of(days, metric, charge.aggregation, step=charge.step)
        free = self._free_quantity(charge)
        quantity = max(used - free, _ZERO)
        amount = charge.amount(quantity)
        is_prorated = self._prorates_amount(charge)
        exact = prorate(amount, self._days, words.month_days) if is_prorated else amount
        steps: list[str] = []
        if days or not closed:
            steps.append(words.used(metric, charge.aggregation, used, len(days)))
            if len(days) < len(closed):
                steps.append(words.days_without_record(len(closed) - len(days)))
            if revised := sum(day.revision > 1 for day in days):
                steps.append(words.days_closed_again(revised))
            if free:
                steps.append(words.free_quantity(metric, free, quantity))
        model = words.model(charge)
        if isinstance(charge, PercentageCharge):
            model += f" {words.percent_of(basis, charge.rate)}"
        steps.append(model)
        if charge.single_price is None and (priced := words.priced(metric, charge.parts(quantity))):
            steps.append(priced)
        if is_prorated and amount:
            steps.append(words.prorated(amount, self._days))
        return ChargeLine(
            exact + charge.share_of(basis),
            tuple(steps),
            metric=None if is_percentage else metric,
            quantity=None if is_percentage else quantity,
            unit_amount=charge.single_price,
        )

    def _metered_line(self, charge: MeteredPercentageCharge) -> ChargeLine | None:
        """The line for a percentage of a meter. A day without a row has no events. Without any row, there is no record."""
        words = self._words
        rows = [
            row
            for row in self._inputs.metered
            if row.meter == charge.meter and self._part.holds(row.usage_date)
        ]
        if not rows:
            self._remark_on_no_record(charge, words.meter(charge.meter))
            return None
        self._require_currency(rows)
        metered = sum((row.amount for row in rows), _ZERO), Decimal(sum(row.events for row in rows))
        free = (
            self._included(charge, charge.free_amount, minor_unit(self._inputs.currency)),
            self._included(charge, charge.free_events, Decimal(1)),
        )
        amount, events = (max(used - unpaid, _ZERO) for used, unpaid in zip(metered, free, strict=True))
        model = f"{words.model(charge)} {words.percent_of(amount, charge.rate)}"
        if charge.fixed_amount:
            model += f" + {words.per_event(events, charge.fixed_amount)}"
        steps = [words.metered(charge.meter, *metered, len(rows))]
        if any(free):
            steps.append(words.free_amount(free, (amount, events)))
        return ChargeLine(charge.amount(amount, events), (*steps, model))

    def _require_currency(self, rows: Sequence[MeteredDay]) -> None:
        for row in rows:
            if row.currency != self._inputs.currency:
                raise BillingError(
                    "METERED_CURRENCY",
                    f"{row.usage_date} の計測額「{row.meter}」の通貨 {row.currency} がテナントの通貨 {self._inputs.currency} と違います。"
                    "batch.metered_amount を直してください",
                )

    def _at_least(self, charge: NamedCharge, minimum: Decimal, line: ChargeLine) -> ChargeLine:
        """The line with at least the charge's minimum. The text has the difference between the rounded amounts."""
        is_prorated = self._prorates_amount(charge)
        least = prorate(minimum, self._days, self._words.month_days) if is_prorated else minimum
        if line.exact_amount >= least:
            return line
        calculated = self._rounded(line.exact_amount)
        step = self._words.charge_minimum(
            minimum,
            self._days if is_prorated else None,
            calculated=calculated,
            difference=self._rounded(least) - calculated,
        )
        return replace(line, exact_amount=least, explanation=(*line.explanation, step))

    def _free_quantity(self, charge: MetricCharge) -> Decimal:
        """The free quantity of plan, charge and discounts."""
        monthly = self._priced.plan.included.get(charge.metric, _ZERO) + charge.free
        for discount in self._inputs.discounts_of(DiscountKind.FREE_QUANTITY):
            if discount.metric is charge.metric:
                monthly += discount.value
        return self._included(charge, monthly, charge.step)

    def _included(self, charge: NamedCharge, monthly: Decimal, step: Decimal) -> Decimal:
        """The free quantity in the part of the month, rounded up to the step in the tenant's favour."""
        if not monthly:
            return _ZERO
        is_prorated = charge.proration is Prorate.INCLUDED and not self._is_whole_month
        share = Fraction(self._days, self._words.month_days) if is_prorated else 1
        return round_up(Fraction(monthly) * share, step)

    def _prorates_amount(self, charge: NamedCharge) -> bool:
        return charge.proration is Prorate.AMOUNT and not self._is_whole_month

    def _rounded(self, amount: Decimal) -> Decimal:
        return round_to_minor_unit(amount, self._inputs.currency, self._inputs.rounding)

    def _remark_on_records(self, charge: MetricCharge, recorded: int) -> None:
        """Add a remark if the charge's amount depends on a metric that has records on only ``recorded`` of the closed days."""
        is_percentage = isinstance(charge, PercentageCharge)
        if isinstance(charge, PercentageCharge) and not charge.fixed_amount:
            return  # Its amount does not depend on the metric.
        words, label = self._words, self._words.metrics[charge.metric]
        name = words.charge(words.name(charge), self._part, events_only=is_percentage)
        if recorded:
            self.remarks.append(words.some_records(label, len(self._closed) - recorded, name))
        elif is_percentage:
            self.remarks.append(words.no_record(label, name))
        else:
            self._remark_on_no_record(charge, label)

    def _remark_on_no_record(self, charge: NamedCharge, label: str) -> None:
        words = self._words
        remark = words.no_record if charge.minimum is None else words.minimum_only
        self.remarks.append(remark(label, words.charge(words.name(charge), self._part)))
