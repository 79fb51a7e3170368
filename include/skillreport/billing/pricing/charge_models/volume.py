"""The charge model ``volume``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from typing_extensions import override

from include.skillreport.billing.pricing.charge_models.base import ModelName, PricedQuantity
from include.skillreport.billing.pricing.charge_models.tiers import TieredCharge


class VolumeCharge(TieredCharge):
    """The entire quantity at the price of its tier, plus the tier's flat amount. The amount may fall where the next tier begins."""

    model_name = ModelName(
        ja="数量別料金（全数量に該当段階の単価）",
        en="Volume price (the whole quantity at the price of its tier)",
    )
    rule = "q × `unit_amount` of the tier that holds q, + its `flat_amount`; it may fall where the next tier begins"

    model: Literal["volume"]

    @override
    def parts(self, quantity: Decimal) -> Sequence[PricedQuantity]:
        tier = next(tier for tier in self.tiers if tier.holds(quantity))
        return [PricedQuantity(quantity, tier.unit_amount, tier.flat_amount)]
