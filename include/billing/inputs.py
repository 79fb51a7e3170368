"""The values that an invoice is calculated from, and their form as JSON."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from include.billing.commitments import Commitment
from include.billing.invoice import Document, Issuer, Recipient
from include.billing.money import RoundingMode
from include.billing.periods import Period, PlanPart
from include.billing.price_list import Plan
from include.billing.usage import Metric, UsageDay


class DiscountKind(StrEnum):
    """A percentage of the lines, a fixed amount, or a free quantity."""

    PERCENTAGE = "percentage"
    FIXED = "fixed"
    FREE_QUANTITY = "free_quantity"


class Discount(Document):
    """A tenant's discount. ``value`` is a percentage, an amount in ``currency``, or a monthly quantity of ``metric``.

    A discount that is valid on one of the tenant's billable days applies to the whole month. A free quantity adds to what the plan
    includes.
    """

    name: str
    kind: DiscountKind
    value: Annotated[Decimal, Field(gt=0)]
    currency: str | None = None
    metric: Metric | None = None
    valid_from: date
    valid_to: date | None = None


class ExchangeRate(Document):
    """Yen for one unit of the invoice's currency on a day (電信売買相場の仲値)."""

    yen_per_unit: Annotated[Decimal, Field(gt=0)]
    rate_date: date


class PricedPart(Document):
    """A part of the month with one plan, and that plan as the price list had it."""

    plan_part: PlanPart
    plan: Plan


class BillingInputs(Document):
    """All values that an invoice is calculated from. They are stored with it, so that it can be explained and recalculated years later.

    ``commitments`` are the tenant's commitments that are valid in the month; each counts by its days. Inputs stored before that rule have
    ``commitment`` instead: one commitment, or none, for the whole month. Their rule still applies to them.
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
    commitments: tuple[Commitment, ...] | None = None
    commitment: Commitment | None = None
    exchange_rate: ExchangeRate | None

    @model_validator(mode="after")
    def _one_rule_holds_for_the_minimum(self) -> Self:
        if ("commitment" in self.model_fields_set) == (self.commitments is not None):
            raise ValueError("exactly one of commitments and commitment must be given")
        return self

    def frozen(self) -> dict[str, Any]:
        """The inputs as JSON values, without the other rule's key, so that stored inputs keep their digest."""
        other_rule = "commitment" if self.commitments is not None else "commitments"
        return self.model_dump(mode="json", exclude={other_rule})

    def canonical_json(self) -> str:
        """The inputs as text. Equal inputs give equal text, even after jsonb has changed the order of their keys."""
        return json.dumps(self.frozen(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of ``canonical_json``, in hex."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()
