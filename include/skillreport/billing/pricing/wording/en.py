"""The texts of English documents."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from typing_extensions import override

from include.skillreport.billing.documents.notation import NOTATIONS
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.charge_models.base import NamedCharge
from include.skillreport.billing.pricing.usage import Aggregation, Metric
from include.skillreport.billing.pricing.wording.words import Named, Words


class English(Words):
    """English texts. Dates are in ISO 8601, which is unambiguous."""

    notation = NOTATIONS["en"]
    metrics: ClassVar[Mapping[Metric, str]] = {
        Metric.ACTIVE_USERS: "active users",
        Metric.STORAGE_GB: "storage",
        Metric.API_CALLS: "API calls",
        Metric.REPORTS_GENERATED: "reports",
    }
    units: ClassVar[Mapping[Metric, str]] = {
        Metric.ACTIVE_USERS: "users",
        Metric.STORAGE_GB: "GB",
        Metric.API_CALLS: "calls",
        Metric.REPORTS_GENERATED: "reports",
    }
    aggregations: ClassVar[Mapping[Aggregation, str]] = {
        Aggregation.SUM: "Total",
        Aggregation.MAX: "Maximum",
        Aggregation.AVERAGE: "Average",
        Aggregation.LATEST: "Last day's figure",
    }
    commitment = "Difference to the minimum commitment"
    separator = " + "

    @override
    def model(self, charge: NamedCharge) -> str:
        return charge.model_name.en

    @override
    def name(self, named: Named) -> str:
        return named.name_en or named.name

    @override
    def base_fee(self, plan: str) -> str:
        return f"{plan}: base fee"

    @override
    def percentage_discount(self, name: str, percent: Decimal) -> str:
        return f"{name} ({self.number(percent)}%)"

    @override
    def monthly(self, amount: Decimal) -> str:
        return f"{self.money(amount)} per month"

    @override
    def prorated(self, amount: Decimal, days: int) -> str:
        return f"{self.money(amount)} × {days} ÷ {self.month_days} days (prorated)"

    @override
    def used(self, metric: Metric, aggregation: Aggregation, quantity: Decimal, days: int) -> str:
        figure = f"{self.aggregations[aggregation]} of {self.metrics[metric]}"
        unit = f" {self.units[metric]}" if metric is Metric.STORAGE_GB else ""
        return f"{figure}: {self.number(quantity)}{unit} ({_days(days)})"

    @override
    def days_without_record(self, days: int) -> str:
        return f"No record on {_days(days)}"

    @override
    def days_closed_again(self, days: int) -> str:
        return f"Figures corrected on {_days(days)}"

    @override
    def free_quantity(self, metric: Metric, free: Decimal, charged: Decimal) -> str:
        return f"Less {self.counted(metric, free)} free: {self.counted(metric, charged)}"

    @override
    def metered(self, meter: str, amount: Decimal, events: Decimal, days: int) -> str:
        return f"Total of {meter}: {self.money(amount)}, {self._events(events)} ({_days(days)})"

    @override
    def free_amount(self, free: tuple[Decimal, Decimal], charged: tuple[Decimal, Decimal]) -> str:
        (free_amount, free_events), (amount, events) = free, charged
        return f"Less {self.money(free_amount)} and {self._events(free_events)} free: {self.money(amount)}, {self._events(events)}"

    @override
    def per_event(self, events: Decimal, amount: Decimal) -> str:
        return f"{self._events(events)} × {self.money(amount)}"

    def _events(self, events: Decimal) -> str:
        return f"{self.number(events)} event" if events == 1 else f"{self.number(events)} events"

    @override
    def packages(self, packages: Decimal) -> str:
        return f"{self.number(packages)} package" if packages == 1 else f"{self.number(packages)} packages"

    @override
    def flat(self, amount: Decimal) -> str:
        return f"flat amount of {self.money(amount)}"

    @override
    def charge_minimum(
        self, minimum: Decimal, days: int | None, *, calculated: Decimal, difference: Decimal
    ) -> str:
        shown = self.money(minimum) if days is None else self.prorated(minimum, days)
        return f"Plus the difference to the minimum of {shown}: {self.money(difference)} (calculated: {self.money(calculated)})"

    @override
    def fixed_discount(self, value: Decimal, days: int) -> str:
        shown = self.money(value) if days == self.month_days else self.prorated(value, days)
        return f"Discount of {shown}, at most the amount that is left"

    @override
    def committed(self, amount: Decimal, days: Period, *, is_agreed: bool) -> str:
        source = "Minimum commitment of " + ("the agreement" if is_agreed else "the plan")
        if days.days == self.month_days:
            return f"{source}: {self.monthly(amount)}"
        return f"{source} ({_span(days)}): {self.prorated(amount, days.days)}"

    @override
    def to_commitment(self, minimum: Decimal, reached: Decimal) -> str:
        return f"Minimum commitment {self.money(minimum)} − sum so far {self.money(reached)}"

    @override
    def meter(self, name: str) -> str:
        return name

    @override
    def charge(self, name: str, part: Period, *, events_only: bool = False) -> str:
        span = "" if part.days == self.month_days else f" ({_span(part)})"
        return f"{'the events of ' if events_only else ''}'{name}'{span}"

    @override
    def some_records(self, label: str, missing_days: int, charge: str) -> str:
        return f"There is no record of {label} on {_days(missing_days)}: only the days with a record count for {charge}"

    @override
    def no_record(self, label: str, charge: str) -> str:
        return f"There is no record of {label}: nothing is charged for {charge}"

    @override
    def minimum_only(self, label: str, charge: str) -> str:
        return f"There is no record of {label}: only the minimum is charged for {charge}"


def _days(days: int) -> str:
    return f"{days} day" if days == 1 else f"{days} days"


def _span(days: Period) -> str:
    return str(days.start) if days.days == 1 else f"{days.start} to {days.end}"
