"""The inputs of an invoice's calculation, and their JSON form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from include.skillreport.billing.documents.invoice import (
    Document,
    DocumentReference,
    Issuer,
    Language,
    Recipient,
    is_default,
)
from include.skillreport.billing.money import EXACT, RoundingMode
from include.skillreport.billing.periods import Period, PlanPart
from include.skillreport.billing.pricing.commitments import Commitment
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, rate_percent
from include.skillreport.billing.pricing.price_list import Plan, TaxRates
from include.skillreport.billing.pricing.usage import Metric, UsageDay
from include.skillreport.core.entered import is_enterable


class DiscountKind(StrEnum):
    """A percentage of the lines, a fixed amount, or a free quantity."""

    PERCENTAGE = "percentage"
    FIXED = "fixed"
    FREE_QUANTITY = "free_quantity"


class Discount(Document):
    """A tenant's discount. ``value`` is a percentage, an amount in ``currency``, or a monthly quantity of ``metric``.

    A fixed amount is monthly and counts by its billable days. Any other discount that is valid on a billable day of the tenant applies
    to the entire month. A free quantity adds to the plan's included quantity.
    """

    name: str
    kind: DiscountKind
    value: Annotated[Decimal, Field(gt=0)]
    currency: str | None = None
    metric: Metric | None = None
    valid_from: date
    valid_to: date | None = None


class ExchangeRate(Document):
    """The yen for one unit of the invoice's currency on a day (電信売買相場の仲値)."""

    yen_per_unit: Annotated[Decimal, Field(gt=0)]
    rate_date: date


class ExtraCharge(Document):
    """A one-off line that a user entered (``batch.extra_charge``). ``unit_amount`` is in ``currency``; negative: a deduction.

    The numbers and their product have the limits of entered numbers (``is_enterable``).
    """

    charged_on: date
    extra_charge_id: Annotated[str | None, Field(exclude_if=is_default)] = None
    description: str
    quantity: Annotated[Decimal, Field(gt=0)]
    unit: str | None
    unit_amount: Decimal
    currency: str
    tax_category: TaxCategory

    @model_validator(mode="after")
    def _has_usable_numbers(self) -> Self:
        amount = EXACT.multiply(self.quantity, self.unit_amount).quantize(Decimal(1), context=EXACT)
        if not all(map(is_enterable, (self.quantity, self.unit_amount, amount))):
            raise ValueError("quantity, unit_amount or their product is too long")
        return self


class MeteredDay(Document):
    """One day's amount and events of a meter (``batch.metered_amount``). A percentage of ``amount`` (in ``currency``) is charged."""

    usage_date: date
    meter: str
    amount: Annotated[Decimal, Field(ge=0)]
    events: Annotated[int, Field(ge=0)]
    currency: str


class PricedPart(Document):
    """A part of the month with one plan, and the plan's price list entry at that time."""

    plan_part: PlanPart
    plan: Plan


class BillingInputs(Document):
    """All inputs of an invoice's calculation. They are stored with it, so that it can be explained and recalculated years later.

    ``commitments`` are valid in the month; each counts by its days. ``metered`` has the days of the meters that the plans charge.
    ``tax_category`` is the tenant's, and replaces the price list's; each of ``extra_charges`` has its own. ``tax_rates`` are the price
    list's, if any. ``replaces`` is the month's invoice that the new one replaces. ``order_number`` is the customer's (注文番号).
    """

    tenant_id: str
    tenant_code: str
    period: Period
    currency: str
    rounding: RoundingMode
    tax_included: bool
    price_list_version: date
    issuer: Issuer
    recipient: Recipient
    parts: tuple[PricedPart, ...]
    usage_days: tuple[UsageDay, ...]
    allow_incomplete: bool
    discounts: tuple[Discount, ...]
    commitments: tuple[Commitment, ...]
    exchange_rate: ExchangeRate | None
    language: Annotated[Language, Field(exclude_if=is_default)] = "ja"
    tax_category: Annotated[TaxCategory | None, Field(exclude_if=is_default)] = None
    metered: Annotated[tuple[MeteredDay, ...], Field(exclude_if=is_default)] = ()
    extra_charges: Annotated[tuple[ExtraCharge, ...], Field(exclude_if=is_default)] = ()
    replaces: Annotated[DocumentReference | None, Field(exclude_if=is_default)] = None
    order_number: Annotated[str | None, Field(exclude_if=is_default)] = None
    tax_rates: Annotated[TaxRates | None, Field(exclude_if=is_default)] = None

    @property
    def own_rates(self) -> Mapping[str, Decimal] | None:
        """The price list's tax rates in percent by category."""
        return self.tax_rates.model_dump() if self.tax_rates else None

    def rate_percent(self, category: TaxCategory) -> Decimal:
        """The consumption tax rate in percent."""
        return rate_percent(category, self.period.end, self.own_rates)

    def discounts_of(self, kind: DiscountKind) -> Iterator[Discount]:
        """The discounts of a kind that are valid on a billable day, in the order of the inputs (date, name)."""
        return (discount for discount in self.discounts if discount.kind is kind and self.days_of(discount))

    def days_of(self, discount: Discount) -> int:
        """The number of billable days on which the discount is valid."""
        clipped = (
            priced.plan_part.part.clipped(discount.valid_from, discount.valid_to) for priced in self.parts
        )
        return len({day for part in clipped if part for day in part.dates()})

    def frozen(self) -> dict[str, Any]:
        """The inputs as JSON values."""
        return self.model_dump(mode="json")

    def canonical_json(self) -> str:
        """The ``canonical_json`` of the inputs."""
        return canonical_json(self.frozen())

    def digest(self) -> str:
        """The ``digest_of`` the ``canonical_json``."""
        return digest_of(self.canonical_json())


def canonical_json(frozen: Mapping[str, Any]) -> str:
    """Frozen inputs as text. Equal inputs give equal text, even if jsonb has changed the key order."""
    return json.dumps(frozen, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest_of(canonical_json: str) -> str:
    """SHA-256 of a ``canonical_json``, in hex."""
    return hashlib.sha256(canonical_json.encode()).hexdigest()
