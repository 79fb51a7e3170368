"""The interface of the texts in each language. Texts have no full stop: documents join them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Protocol

from include.skillreport.billing.documents.notation import Notation
from include.skillreport.billing.money import storable
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.charge_models.base import NamedCharge, PricedQuantity
from include.skillreport.billing.pricing.usage import Aggregation, Metric


class Named(Protocol):
    """A plan or a charge of the price list."""

    @property
    def name(self) -> str:
        """The Japanese name."""

    @property
    def name_en(self) -> str | None:
        """The English name, if the price list has one."""


@dataclass(frozen=True)
class Words(ABC):
    """The texts of one invoice in one language. Amounts are in ``currency``; ``month_days`` is the number of days in the month."""

    currency: str
    month_days: int

    notation: ClassVar[Notation]
    metrics: ClassVar[Mapping[Metric, str]]
    units: ClassVar[Mapping[Metric, str]]
    aggregations: ClassVar[Mapping[Aggregation, str]]
    commitment: ClassVar[str]
    separator: ClassVar[str]

    def number(self, value: Decimal) -> str:
        """All digits of a number, with thousands separators and the document's sign."""
        return self.notation.number(storable(value))

    def money(self, amount: Decimal) -> str:
        """An amount with all its digits and the currency."""
        return f"{self.number(amount)} {self.notation.currency(self.currency)}"

    def counted(self, metric: Metric, quantity: Decimal) -> str:
        """A quantity with the unit of its metric."""
        return f"{self.number(quantity)} {self.units[metric]}"

    def percent_of(self, amount: Decimal, percent: Decimal) -> str:
        """A percentage of an amount."""
        return f"{self.money(amount)} × {self.number(percent)}%"

    def one_off(self, quantity: Decimal, unit: str | None, unit_amount: Decimal) -> str:
        """The quantity and the price of a one-off line."""
        return f"{self.number(quantity)} {unit or ''}".rstrip() + f" × {self.money(unit_amount)}"

    # Descriptions of lines -----------------------------------------------------------------------------------------------

    @abstractmethod
    def name(self, named: Named) -> str:
        """The name of a plan or a charge."""

    @abstractmethod
    def base_fee(self, plan: str) -> str:
        """The base fee of a plan."""

    @abstractmethod
    def percentage_discount(self, name: str, percent: Decimal) -> str:
        """A discount with its percentage."""

    # Steps of an explanation ---------------------------------------------------------------------------------------------

    @abstractmethod
    def model(self, charge: NamedCharge) -> str:
        """The charge model."""

    @abstractmethod
    def monthly(self, amount: Decimal) -> str:
        """An amount per month."""

    @abstractmethod
    def prorated(self, amount: Decimal, days: int) -> str:
        """An amount for some days of the month."""

    @abstractmethod
    def used(self, metric: Metric, aggregation: Aggregation, quantity: Decimal, days: int) -> str:
        """The combined figure of the days that have a record."""

    @abstractmethod
    def days_without_record(self, days: int) -> str:
        """How many days have no record."""

    @abstractmethod
    def days_closed_again(self, days: int) -> str:
        """How many days were closed again with other figures."""

    @abstractmethod
    def free_quantity(self, metric: Metric, free: Decimal, charged: Decimal) -> str:
        """The free quantity, and the used quantity that remains."""

    @abstractmethod
    def metered(self, meter: str, amount: Decimal, events: Decimal, days: int) -> str:
        """The amount and the events of a meter on the days that have a record."""

    @abstractmethod
    def free_amount(self, free: tuple[Decimal, Decimal], charged: tuple[Decimal, Decimal]) -> str:
        """The free amount and events of a meter, and the metered ones that remain."""

    @abstractmethod
    def per_event(self, events: Decimal, amount: Decimal) -> str:
        """A fixed amount per event."""

    def priced(self, metric: Metric, parts: Iterable[PricedQuantity]) -> str:
        """The parts of a quantity, each with its price; empty if nothing is charged."""
        texts = []
        for part in parts:
            if part.quantity:
                counted = (
                    self.packages(part.quantity) if part.packages else self.counted(metric, part.quantity)
                )
                texts.append(f"{counted} × {self.money(part.unit_amount)}")
            if part.flat_amount:
                texts.append(self.flat(part.flat_amount))
        return self.separator.join(texts)

    @abstractmethod
    def packages(self, packages: Decimal) -> str:
        """A number of packages."""

    @abstractmethod
    def flat(self, amount: Decimal) -> str:
        """The flat amount of a tier."""

    @abstractmethod
    def charge_minimum(
        self, minimum: Decimal, days: int | None, *, calculated: Decimal, difference: Decimal
    ) -> str:
        """The difference between a charge's minimum and its calculated amount. ``days``: only these days of the month count."""

    @abstractmethod
    def fixed_discount(self, value: Decimal, days: int) -> str:
        """A monthly discount with its number of billable days. It takes at most the amount that is left."""

    @abstractmethod
    def committed(self, amount: Decimal, days: Period, *, is_agreed: bool) -> str:
        """The minimum commitment of consecutive days: the tenant's own (``is_agreed``) or its plan's."""

    @abstractmethod
    def to_commitment(self, minimum: Decimal, reached: Decimal) -> str:
        """The month's minimum less the sum of the lines so far."""

    # Remarks on missing records ------------------------------------------------------------------------------------------

    @abstractmethod
    def meter(self, name: str) -> str:
        """The name of a meter in a remark."""

    @abstractmethod
    def charge(self, name: str, part: Period, *, events_only: bool = False) -> str:
        """A charge with its part of the month. ``events_only``: the remark is about its events."""

    @abstractmethod
    def some_records(self, label: str, missing_days: int, charge: str) -> str:
        """The metric's days without a record do not count."""

    @abstractmethod
    def no_record(self, label: str, charge: str) -> str:
        """Nothing is charged, because there is no record of the metric."""

    @abstractmethod
    def minimum_only(self, label: str, charge: str) -> str:
        """Only the charge's minimum is charged, because there is no record of the metric."""
