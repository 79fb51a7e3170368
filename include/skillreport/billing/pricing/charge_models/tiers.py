"""The tiers of the charge models ``graduated`` and ``volume``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, field_validator

from include.skillreport.billing.pricing.charge_models.base import (
    Amount,
    MetricCharge,
    PositiveQuantity,
    PriceListEntry,
)


class Tier(PriceListEntry):
    """Quantities above the previous tier and up to ``up_to`` (inclusive). The last tier has no limit."""

    up_to: PositiveQuantity | None
    unit_amount: Amount
    flat_amount: Amount = Decimal(0)

    def holds(self, quantity: Decimal) -> bool:
        """True if the quantity is not above this tier."""
        return self.up_to is None or quantity <= self.up_to


class TieredCharge(MetricCharge):
    """A charge whose price depends on the quantity."""

    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]

    @field_validator("tiers")
    @classmethod
    def _tiers_rise_and_end_open(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        edges = [tier.up_to for tier in tiers[:-1]]
        if tiers[-1].up_to is not None:
            raise ValueError(
                "最後の段は up_to: null にしてください。ないと、それより多い数量に価格がありません"
            )
        if None in edges or sorted(set(edges), key=lambda edge: edge or 0) != edges:
            raise ValueError("up_to は段ごとに大きくし、null は最後の段だけにしてください")
        return tiers
