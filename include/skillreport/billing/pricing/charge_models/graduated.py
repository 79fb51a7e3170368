"""The charge model ``graduated``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from typing_extensions import override

from include.skillreport.billing.pricing.charge_models.base import ModelName, PricedQuantity
from include.skillreport.billing.pricing.charge_models.tiers import TieredCharge


class GraduatedCharge(TieredCharge):
    """Each tier's part of the quantity at the tier's price, plus the flat amount of every tier that is reached.

    The first tier is reached at 0, so that its flat amount is charged without usage. Another tier is reached just above its lower edge.
    """

    model_name = ModelName(
        ja="段階料金（各段階の数量に各段階の単価）",
        en="Graduated price (each tier's part at the tier's price)",
    )
    rule = "each tier's part × its `unit_amount`, + `flat_amount` of each tier entered; the first one is entered at 0"

    model: Literal["graduated"]

    @override
    def parts(self, quantity: Decimal) -> Sequence[PricedQuantity]:
        parts, lower = [], Decimal(0)
        for tier in self.tiers:
            upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
            parts.append(PricedQuantity(upper - lower, tier.unit_amount, tier.flat_amount))
            lower = upper
            if tier.holds(quantity):
                break
        return parts
