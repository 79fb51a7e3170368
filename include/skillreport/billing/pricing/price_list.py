"""The price list: a YAML file with versions by month, validated when it is loaded. Errors name the place in the file.

Money is in the price's currency; quantities are per month, in the metric's unit. Source of the models: BATCH-018-02's rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import has_minor_units, minor_unit
from include.skillreport.billing.pricing.charge_models import Charge
from include.skillreport.billing.pricing.charge_models.base import Amount, EnglishName, PriceListEntry
from include.skillreport.billing.pricing.charge_models.metered_percentage import MeteredPercentageCharge
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, rate_percent
from include.skillreport.billing.pricing.usage import Metric
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.setting_problems import validated
from include.skillreport.core.setting_types import FirstOfMonth, Flag, Percent, Quantity, refused
from include.skillreport.core.yaml_files import read_text, read_yaml


class PriceSet(PriceListEntry):
    """A plan's prices in one currency, per month."""

    base_fee: Amount
    minimum_commitment: Amount = Decimal(0)
    charges: tuple[Charge, ...] = ()


class Plan(PriceListEntry):
    """A plan. Tenants with a plan that is not ``billable`` get no invoice for it.

    ``included`` quantities are free in every currency.
    """

    name: Annotated[str, Field(min_length=1)]
    name_en: EnglishName = None
    billable: Flag = True
    tax: TaxCategory = TaxCategory.STANDARD
    included: Mapping[Metric, Quantity] = Field(default_factory=dict)
    prices: Mapping[str, PriceSet] = Field(default_factory=dict)

    @field_validator("prices")
    @classmethod
    def _amounts_can_be_paid(cls, prices: Mapping[str, PriceSet]) -> Mapping[str, PriceSet]:
        for currency, price in prices.items():
            try:
                smallest = minor_unit(currency)
            except BillingError:
                raise refused(
                    f"{currency} は ISO 4217 の通貨ではありません。直してください", currency
                ) from None
            amounts: dict[tuple[int | str, ...], Decimal] = {
                ("base_fee",): price.base_fee,
                ("minimum_commitment",): price.minimum_commitment,
            }
            for index, charge in enumerate(price.charges):
                amounts["charges", index, "minimum"] = charge.minimum or Decimal(0)
                if isinstance(charge, MeteredPercentageCharge):
                    amounts["charges", index, "free_amount"] = charge.free_amount
            for place, amount in amounts.items():
                if not has_minor_units(amount, currency):
                    raise refused(f"{smallest} {currency} の倍数にしてください", currency, *place)
        return prices

    @model_validator(mode="after")
    def _free_quantities_are_said_once(self) -> Self:
        for currency, price in self.prices.items():
            for index, charge in enumerate(price.charges):
                if isinstance(charge, MeteredPercentageCharge):
                    continue
                if charge.free and charge.metric in self.included:
                    raise refused(
                        f"無料分があり、プランの included にも {charge.metric} があります。どちらか一方にしてください",
                        *("prices", currency, "charges", index),
                    )
        return self


class TaxRates(PriceListEntry):
    """The rates of the consumption tax in percent."""

    standard: Percent
    reduced: Percent


class PriceListVersion(PriceListEntry):
    """The plans from the first day of a month on, so that no month has two prices.

    Either all prices include tax or none does, so that no invoice mixes both. Without ``tax_rates``, those of ``consumption_tax`` apply.
    """

    effective_from: FirstOfMonth
    tax_included: Flag
    tax_rates: TaxRates | None = None
    plans: Mapping[str, Plan]


class PriceList(PriceListEntry):
    """All versions. ``sample``: the prices are examples, so no invoice is finalised."""

    sample: Flag
    versions: Annotated[tuple[PriceListVersion, ...], Field(min_length=1)]

    @field_validator("versions")
    @classmethod
    def _versions_rise(cls, versions: tuple[PriceListVersion, ...]) -> tuple[PriceListVersion, ...]:
        for index, (earlier, later) in enumerate(pairwise(versions), start=1):
            if earlier.effective_from >= later.effective_from:
                raise refused("前の版より後の月にしてください", index, "effective_from")
        return versions

    def version_for(self, month_start: date) -> PriceListVersion:
        """The version that applies to the month. :raises BillingError: the month is before the first version."""
        for version in reversed(self.versions):
            if version.effective_from <= month_start:
                return version
        raise BillingError(
            "NO_PRICE_LIST",
            f"{month_start:%Y-%m} に有効な料金表がありません（最初の版は {self.versions[0].effective_from}）。"
            "料金表に版を追加してください",
        )

    def rate_percent(self, category: TaxCategory, month_start: date) -> Decimal:
        """The tax rate in percent for a month's services. :raises BillingError: the month is before the first version."""
        own = self.version_for(month_start).tax_rates
        return rate_percent(category, month_start, own.model_dump() if own else None)

    def included(self, plan: str | None, month_start: date) -> Mapping[Metric, Decimal]:
        """The monthly quantities that a plan includes; empty for an unknown plan and before the first version."""
        version = next(
            (version for version in reversed(self.versions) if version.effective_from <= month_start), None
        )
        listed_plan = version.plans.get(plan or "") if version else None
        return listed_plan.included if listed_plan else {}


def parse_price_list(text: str, source: str) -> PriceList:
    """Parse and validate a price list. :raises SettingsError: names the file, the line, the plan, the field and the problem."""
    return validated(PriceList, read_yaml(text, source))


def load_price_list() -> PriceList:
    """The price list of the settings.

    :raises SettingsError: it cannot be read or is invalid. Names the file, the plan and the field.
    """
    return _load(BillingSettings.load().price_list)


@cache
def _load(file: Path) -> PriceList:
    return parse_price_list(read_text(file, "billing.price_list"), str(file))
