"""The charge model ``standard``."""

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
from include.skillreport.core.setting_types import Quantity


class StandardCharge(MetricCharge):
    """One price for each unit above the included units."""

    model_name = ModelName(ja="従量料金", en="Price per unit")
    rule = "q × `unit_amount`; `included` units are free"

    model: Literal["standard"]
    unit_amount: Amount
    included: Quantity = Decimal(0)

    @property
    @override
    def free(self) -> Decimal:
        return self.included

    @override
    def parts(self, quantity: Decimal) -> Sequence[PricedQuantity]:
        return [PricedQuantity(quantity, self.unit_amount)]

    @property
    @override
    def single_price(self) -> Decimal | None:
        return self.unit_amount
