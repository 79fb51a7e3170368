"""The charge model ``metered_percentage``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from include.skillreport.billing.documents.invoice import is_default
from include.skillreport.billing.pricing.charge_models.base import Amount, ModelName, NamedCharge, Prorate
from include.skillreport.core.setting_types import Quantity, Share


class MeteredPercentageCharge(NamedCharge):
    """A percentage of the amount of ``meter`` (``batch.metered_amount``), plus a fixed amount per event.

    ``free_amount`` and ``free_events`` are per month. By default, they are prorated for a part of the month.
    """

    model_name = ModelName(ja="割合料金", en="Percentage")
    rule = (
        "`rate` % of the amount of `meter` (`batch.metered_amount`) above `free_amount`, + `fixed_amount` per event above "
        "`free_events`; it has no metric and no aggregation, see below"
    )

    model: Literal["metered_percentage"]
    meter: Annotated[str, Field(min_length=1)]
    rate: Share
    free_amount: Amount = Decimal(0)
    fixed_amount: Amount = Decimal(0)
    free_events: Quantity = Decimal(0)
    prorate: Annotated[Literal[Prorate.INCLUDED, Prorate.NONE] | None, Field(exclude_if=is_default)] = None

    @property
    @override
    def proration(self) -> Prorate:
        """The chosen proration of the free amount and events."""
        return self.prorate or Prorate.INCLUDED

    def amount(self, amount: Decimal, events: Decimal) -> Decimal:
        """The exact amount of the part that is not free."""
        return amount * self.rate / 100 + events * self.fixed_amount
