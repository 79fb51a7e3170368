"""The charge model ``percentage``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from typing_extensions import override

from include.skillreport.billing.pricing.charge_models.base import (
    Amount,
    MetricCharge,
    ModelName,
    PricedQuantity,
)
from include.skillreport.core.setting_types import Quantity, Share


class PercentageCharge(MetricCharge):
    """A percentage of the plan's other lines, selected by ``of``, plus a fixed amount per event."""

    model_name = ModelName(ja="割合料金", en="Percentage")
    rule = (
        "`rate` % of the plan's lines selected by `of` (`base_fee`, `usage`, `all`), + q × `fixed_amount`; "
        "`free_events` are free"
    )

    model: Literal["percentage"]
    of: Literal["base_fee", "usage", "all"]
    rate: Share
    fixed_amount: Amount = Decimal(0)
    free_events: Quantity = Decimal(0)

    @property
    @override
    def free(self) -> Decimal:
        return self.free_events

    @override
    def parts(self, quantity: Decimal) -> Sequence[PricedQuantity]:
        """The events at their price, without the percentage."""
        return [PricedQuantity(quantity, self.fixed_amount)] if self.fixed_amount else []

    @override
    def share_of(self, basis: Decimal) -> Decimal:
        """The percentage of the sum of the lines that ``of`` selects."""
        return basis * self.rate / 100
