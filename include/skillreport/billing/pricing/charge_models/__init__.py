"""The charge models, one module each. To add a model, add a module, and its class to ``Charge``."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from include.skillreport.billing.pricing.charge_models.base import NamedCharge
from include.skillreport.billing.pricing.charge_models.graduated import GraduatedCharge
from include.skillreport.billing.pricing.charge_models.metered_percentage import MeteredPercentageCharge
from include.skillreport.billing.pricing.charge_models.package import PackageCharge
from include.skillreport.billing.pricing.charge_models.percentage import PercentageCharge
from include.skillreport.billing.pricing.charge_models.standard import StandardCharge
from include.skillreport.billing.pricing.charge_models.volume import VolumeCharge

# A charge of the price list. docs/admin/billing-rules.md has the models in this order.
Charge = Annotated[
    StandardCharge
    | GraduatedCharge
    | VolumeCharge
    | PackageCharge
    | PercentageCharge
    | MeteredPercentageCharge,
    Field(discriminator="model"),
]

CHARGE_MODELS: tuple[type[NamedCharge], ...] = get_args(get_args(Charge)[0])
