"""The price list: a YAML file with versions by month, validated when it is loaded. Errors name the place in the file.

Money is in the price's currency; quantities are per month, in the metric's unit. Source of the models: BATCH-018-02's rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from include.skillreport.billing.documents.invoice import is_default
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import has_minor_units, minor_unit
from include.skillreport.billing.pricing import charge_models
from include.skillreport.billing.pricing.charge_models import Tier
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.pricing.usage import DEFAULT_STEP, Aggregation, Metric
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.setting_problems import validated
from include.skillreport.core.setting_types import MOST, FirstOfMonth, Flag, Quantity, Range, Share, refused
from include.skillreport.core.yaml_files import read_text, read_yaml

Amount = Quantity
PositiveQuantity = Annotated[Decimal, Range(0, MOST, above=True)]

# Options that are omitted from the stored inputs of an invoice if they are not used, so that older inputs keep their digest.
EnglishName = Annotated[str | None, Field(min_length=1, exclude_if=is_default)]
Minimum = Annotated[PositiveQuantity | None, Field(exclude_if=is_default)]

_LEVELS = {Metric.ACTIVE_USERS, Metric.STORAGE_GB}


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prorate(StrEnum):
    """What is prorated by the days of a part of the month: the amount, the free quantities, or neither."""

    AMOUNT = "amount"
    INCLUDED = "included"
    NONE = "none"


class _NamedCharge(_Entry):
    """The fields that all charges have: the name on the invoice, a tax category, and the minimum amount of the line.

    ``minimum`` is per month. With ``Prorate.AMOUNT``, it is prorated for a part of the month; otherwise it applies in full.
    """

    name: Annotated[str, Field(min_length=1)]
    name_en: EnglishName = None
    tax: TaxCategory | None = None
    minimum: Minimum = None

    @property
    def single_price(self) -> Decimal | None:
        """The price of one unit, or None if the price depends on the quantity."""
        return None


class _Charge(_NamedCharge):
    """A charge on a metric: the metric and the aggregation of its days.

    ``amount`` takes a quantity without free units.
    """

    metric: Metric
    aggregation: Aggregation
    round_up_to: PositiveQuantity | None = None
    prorate: Annotated[Prorate | None, Field(exclude_if=is_default)] = None

    @property
    def step(self) -> Decimal:
        """Quantities are rounded up to a multiple of this."""
        return self.round_up_to or DEFAULT_STEP[self.metric]

    @property
    def proration(self) -> Prorate:
        """The chosen proration. By default, the price of a level is for a whole month, and a sum contains only the events of the part."""
        return self.prorate or (Prorate.AMOUNT if self.aggregation.is_level else Prorate.INCLUDED)

    @model_validator(mode="after")
    def _no_level_is_summed(self) -> Self:
        if self.metric in _LEVELS and self.aggregation is Aggregation.SUM:
            raise ValueError(
                f"{self.metric} は日ごとの水準で、合計（sum）すると約 30 倍になります。average、max、latest のどれかにしてください"
            )
        return self

    @property
    def free(self) -> Decimal:
        """The charge's free units per month, in addition to what the plan includes."""
        return Decimal(0)

    def share_of(self, basis: Decimal) -> Decimal:  # noqa: ARG002
        """The amount charged on other lines with the sum ``basis``."""
        return Decimal(0)


class StandardCharge(_Charge):
    """One price for each unit above the included units."""

    model: Literal["standard"]
    unit_amount: Amount
    included: Quantity = Decimal(0)

    @property
    def free(self) -> Decimal:
        """The included units."""
        return self.included

    def amount(self, quantity: Decimal) -> Decimal:
        """The exact amount."""
        return charge_models.standard(quantity, unit_amount=self.unit_amount)

    @property
    def single_price(self) -> Decimal | None:
        """The price of every unit."""
        return self.unit_amount


class TierEntry(_Entry):
    """A tier of a graduated or volume charge. The last tier has no limit."""

    up_to: PositiveQuantity | None
    unit_amount: Amount
    flat_amount: Amount = Decimal(0)


class _TieredCharge(_Charge):
    tiers: Annotated[tuple[TierEntry, ...], Field(min_length=1)]

    @field_validator("tiers")
    @classmethod
    def _tiers_rise_and_end_open(cls, tiers: tuple[TierEntry, ...]) -> tuple[TierEntry, ...]:
        edges = [tier.up_to for tier in tiers[:-1]]
        if tiers[-1].up_to is not None:
            raise ValueError(
                "最後の段は up_to: null にしてください。ないと、それより多い数量に価格がありません"
            )
        if None in edges or sorted(set(edges), key=lambda edge: edge or 0) != edges:
            raise ValueError("up_to は段ごとに大きくし、null は最後の段だけにしてください")
        return tiers

    @property
    def _tiers(self) -> Sequence[Tier]:
        return [Tier(tier.up_to, tier.unit_amount, tier.flat_amount) for tier in self.tiers]


class GraduatedCharge(_TieredCharge):
    """Each tier's part of the quantity at the tier's price. The first tier's flat amount is charged even at 0."""

    model: Literal["graduated"]

    def amount(self, quantity: Decimal) -> Decimal:
        """The exact amount."""
        return charge_models.graduated(quantity, self._tiers)


class VolumeCharge(_TieredCharge):
    """The whole quantity at the price of its tier. The amount may fall where the next tier begins."""

    model: Literal["volume"]

    def amount(self, quantity: Decimal) -> Decimal:
        """The exact amount."""
        return charge_models.volume(quantity, self._tiers)


class PackageCharge(_Charge):
    """A price per package. A partly used package is charged in full."""

    model: Literal["package"]
    package_size: PositiveQuantity
    package_amount: Amount
    free_units: Quantity = Decimal(0)

    @property
    def free(self) -> Decimal:
        """The free units."""
        return self.free_units

    def amount(self, quantity: Decimal) -> Decimal:
        """The exact amount."""
        return charge_models.package(
            quantity, package_size=self.package_size, package_amount=self.package_amount
        )


class PercentageCharge(_Charge):
    """A percentage of the plan's other lines, selected by ``of``, plus a fixed amount per event."""

    model: Literal["percentage"]
    of: Literal["base_fee", "usage", "all"]
    rate: Share
    fixed_amount: Amount = Decimal(0)
    free_events: Quantity = Decimal(0)

    @property
    def free(self) -> Decimal:
        """The free events."""
        return self.free_events

    def amount(self, quantity: Decimal) -> Decimal:
        """The exact amount for the events, without the percentage."""
        return charge_models.percentage(Decimal(0), quantity, rate=self.rate, fixed_amount=self.fixed_amount)

    def share_of(self, basis: Decimal) -> Decimal:
        """The percentage of the sum of the lines that ``of`` selects."""
        return charge_models.percentage(basis, Decimal(0), rate=self.rate)


class MeteredPercentageCharge(_NamedCharge):
    """A percentage of the amount of ``meter`` (``batch.metered_amount``), plus a fixed amount per event.

    ``free_amount`` and ``free_events`` are per month. By default, they are prorated for a part of the month.
    """

    model: Literal["metered_percentage"]
    meter: Annotated[str, Field(min_length=1)]
    rate: Share
    free_amount: Amount = Decimal(0)
    fixed_amount: Amount = Decimal(0)
    free_events: Quantity = Decimal(0)
    prorate: Annotated[Literal[Prorate.INCLUDED, Prorate.NONE] | None, Field(exclude_if=is_default)] = None

    @property
    def proration(self) -> Prorate:
        """The chosen proration of the free amount and events."""
        return self.prorate or Prorate.INCLUDED

    def amount(self, amount: Decimal, events: Decimal) -> Decimal:
        """The exact amount of the part that is not free."""
        return charge_models.percentage(amount, events, rate=self.rate, fixed_amount=self.fixed_amount)


MetricCharge = StandardCharge | GraduatedCharge | VolumeCharge | PackageCharge | PercentageCharge
Charge = Annotated[MetricCharge | MeteredPercentageCharge, Field(discriminator="model")]


class PriceSet(_Entry):
    """A plan's prices in one currency, per month."""

    base_fee: Amount
    minimum_commitment: Amount = Decimal(0)
    charges: tuple[Charge, ...] = ()


class Plan(_Entry):
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


class PriceListVersion(_Entry):
    """The plans from the first day of a month on, so that no month has two prices.

    Either all prices include tax or none does, so that no invoice mixes both.
    """

    effective_from: FirstOfMonth
    tax_included: Flag
    plans: Mapping[str, Plan]


class PriceList(_Entry):
    """All versions. ``sample``: the prices are examples, and no invoice is finalised with them."""

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

    def included(self, plan: str | None, month_start: date) -> Mapping[Metric, Decimal]:
        """The quantities that a plan includes per month; empty for an unknown plan and before the first version."""
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
