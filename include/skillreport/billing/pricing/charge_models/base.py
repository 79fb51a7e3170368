"""The common part of all charges: names, metric, proration, minimum. Each model is a module of this package.

Amounts are exact and in the price's currency; quantities are per month, in the metric's unit. Source: BATCH-018-02's rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from include.skillreport.billing.documents.invoice import is_default
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.pricing.usage import DEFAULT_STEP, Aggregation, Metric
from include.skillreport.core.setting_types import MOST, Quantity, Range

Amount = Quantity
PositiveQuantity = Annotated[Decimal, Range(0, MOST, above=True)]

# An invoice's stored inputs omit these options if they are not used, so that older inputs keep their digest.
EnglishName = Annotated[str | None, Field(min_length=1, exclude_if=is_default)]
Minimum = Annotated[PositiveQuantity | None, Field(exclude_if=is_default)]

_LEVELS = {Metric.ACTIVE_USERS, Metric.STORAGE_GB}


class PriceListEntry(BaseModel):
    """A part of the price list. It is immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Prorate(StrEnum):
    """What is prorated by the days of a part of the month: the amount, the free quantities, or neither."""

    AMOUNT = "amount"
    INCLUDED = "included"
    NONE = "none"


class ModelName(NamedTuple):
    """The name of a charge model in the texts' languages."""

    ja: str
    en: str


class NamedCharge(PriceListEntry, ABC):
    """The fields of all charges: the model, the name on the invoice, a tax category, and the line's minimum amount.

    ``minimum`` is per month. With ``Prorate.AMOUNT``, it is prorated for a part of the month; otherwise it applies in full. ``model_name``
    is for the explanation of a line. ``rule`` is the model's row in docs/admin/billing-rules.md.
    """

    model_name: ClassVar[ModelName]
    rule: ClassVar[str]

    model: str
    name: Annotated[str, Field(min_length=1)]
    name_en: EnglishName = None
    tax: TaxCategory | None = None
    minimum: Minimum = None

    @property
    @abstractmethod
    def proration(self) -> Prorate:
        """What is prorated for a part of the month."""

    @property
    def single_price(self) -> Decimal | None:
        """The price of one unit, or None if the price depends on the quantity."""
        return None


class PricedQuantity(NamedTuple):
    """A part of a quantity with its price: units, or ``packages``, at ``unit_amount`` each, plus ``flat_amount``."""

    quantity: Decimal
    unit_amount: Decimal
    flat_amount: Decimal = Decimal(0)
    packages: bool = False

    @property
    def amount(self) -> Decimal:
        """The exact amount."""
        return self.quantity * self.unit_amount + self.flat_amount


class MetricCharge(NamedCharge):
    """A charge on a metric, with the aggregation of its days."""

    metric: Metric
    aggregation: Aggregation
    round_up_to: PositiveQuantity | None = None
    prorate: Annotated[Prorate | None, Field(exclude_if=is_default)] = None

    @property
    def step(self) -> Decimal:
        """Quantities are rounded up to a multiple of this."""
        return self.round_up_to or DEFAULT_STEP[self.metric]

    @property
    def proration(self) -> Prorate:
        """The chosen proration. By default, a level's price is for an entire month, and a sum contains only the part's events."""
        return self.prorate or (Prorate.AMOUNT if self.aggregation.is_level else Prorate.INCLUDED)

    @model_validator(mode="after")
    def _no_level_is_summed(self) -> Self:
        if self.metric in _LEVELS and self.aggregation is Aggregation.SUM:
            raise ValueError(
                f"{self.metric} は日ごとの水準で、合計（sum）すると約 30 倍になります。average、max、latest のどれかにしてください"
            )
        return self

    @property
    def free(self) -> Decimal:
        """The charge's free units per month, in addition to the plan's."""
        return Decimal(0)

    @abstractmethod
    def parts(self, quantity: Decimal) -> Sequence[PricedQuantity]:
        """The parts of a quantity without free units, each with its price. A fraction of a unit (storage) is charged as a fraction."""

    def amount(self, quantity: Decimal) -> Decimal:
        """The exact amount of all parts."""
        return sum((part.amount for part in self.parts(quantity)), Decimal(0))

    def share_of(self, basis: Decimal) -> Decimal:  # noqa: ARG002
        """The amount charged on other lines with the sum ``basis``."""
        return Decimal(0)
