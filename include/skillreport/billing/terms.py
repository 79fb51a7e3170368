"""The terms of all invoices: price list and issuer, and whether they are samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.pricing.price_list import PriceList, load_price_list
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.execution.settings import IdentitySettings

NO_IMAGES: Mapping[str, str] = {}


@dataclass(frozen=True)
class Terms:
    """The installation's price list and billing settings, and the thresholds for rows that name no user.

    ``images`` are the names of the kept images for new documents (``Billing.keep_images``).
    """

    price_list: PriceList
    settings: BillingSettings
    identity: IdentitySettings
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def samples(self) -> str:
        """The parts that are samples, in Japanese; empty if there are none. With a sample, nothing is finalised, credited or voided."""
        parts = {"料金表": self.price_list.sample, "発行者": self.settings.issuer.sample}
        return "と".join(name for name, is_sample in parts.items() if is_sample)

    @property
    def sample_notes(self) -> tuple[str, ...]:
        """The note about samples in a tenant's settlement."""
        if not self.samples:
            return ()
        return (f"{self.samples}が見本（sample: true）のため、確定していません（見本の下書きだけです）",)

    def require_billed_month(self, month_start: date) -> None:
        """Check that the month is not before the first month to bill. :raises BillingError: it is, or the settings have no first month.

        Samples need no first month, because they bill nothing.
        """
        first = self.settings.first_month
        if first is None and not self.samples:
            raise BillingError(
                "NO_FIRST_MONTH",
                "請求を始める月が決まっていないため、請求しません。設定の billing.first_month に最初の対象月の 1 日（例 2026-12-01）を"
                "書いてください",
            )
        if first is not None and month_start < first:
            raise BillingError(
                "BEFORE_FIRST_MONTH",
                f"{month_start:%Y-%m} は請求を始める月（billing.first_month = {first}）より前のため、請求しません。"
                "請求する月なら、設定の billing.first_month を直してください",
            )

    def require_no_sample(self) -> None:
        """Check that no part is a sample. :raises BillingError: a part is a sample."""
        if self.samples:
            raise BillingError(
                "SAMPLE_TERMS",
                f"{self.samples}が見本（sample: true）のため、請求書の確定、再発行、取消、返還はできません。{OWN_TERMS}",
            )


# The action for an operator. Without a full stop, because BillingError adds it.
OWN_TERMS = "自社の料金表と発行者（どちらも sample: false）の設定ファイルを用意し、環境変数 SKILL_BATCH_SETTINGS に指定してください"


def load_terms() -> Terms:
    """The terms of this installation. :raises SettingsError: the settings or the price list are invalid."""
    return Terms(load_price_list(), BillingSettings.load(), IdentitySettings.load())
