"""The charge model ``package``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Literal

from typing_extensions import override

from include.skillreport.billing.money import EXACT
from include.skillreport.billing.pricing.charge_models.base import (
    Amount,
    MetricCharge,
    ModelName,
    PositiveQuantity,
    PricedQuantity,
)
from include.skillreport.core.setting_types import Quantity


class PackageCharge(MetricCharge):
    """A price per package. A partly used package is charged in full."""

    model_name = ModelName(
        ja="セット料金（端数は 1 セット）", en="Price per package (a package used in part counts in full)"
    )
    rule = "packages of `package_size` begun × `package_amount`; `free_units` are free"

    model: Literal["package"]
    package_size: PositiveQuantity
    package_amount: Amount
    free_units: Quantity = Decimal(0)

    @property
    @override
    def free(self) -> Decimal:
        return self.free_units

    @override
    def parts(self, quantity: Decimal) -> Sequence[PricedQuantity]:
        packages = EXACT.divide(quantity, self.package_size).to_integral_value(ROUND_CEILING)
        return [PricedQuantity(packages, self.package_amount, packages=True)]
