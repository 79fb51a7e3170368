"""What the rules of an invoice say about the settings, before the first invoice fails. Pure."""

from __future__ import annotations

from decimal import Decimal

from include.skillreport.billing.accounts import issuer_of
from include.skillreport.billing.documents.invoice import Language, Recipient
from include.skillreport.billing.documents.issuable import require_issuable
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs, ExtraCharge
from include.skillreport.billing.money import YEN, RoundingMode
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.calculation import price
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.pricing.price_list import PriceListVersion
from include.skillreport.billing.pricing.wording import words_in
from include.skillreport.billing.terms import Terms

_SOMEBODY = Recipient(name="取引先", department=None, postal_code=None, address=None)


def problems_of_terms(terms: Terms) -> list[str]:
    """Why no invoice of the newest prices can be issued, in one or two languages. With a sample none is issued.

    A trial invoice has the issuer, and a line for each name of a plan or a charge.
    """
    if terms.samples:
        return []
    languages: tuple[Language, ...] = ("ja", "en") if terms.settings.issuer.english else ("ja",)
    problems: dict[str, None] = {}
    for language in languages:
        invoice = price(_inputs(terms, language))
        try:
            require_issuable(invoice, corporate_issuer=terms.settings.issuer.corporate)
        except BillingError as error:
            problems[str(error)] = None
    return list(problems)


def _inputs(terms: Terms, language: Language) -> BillingInputs:
    prices = max(terms.price_list.versions, key=lambda version: version.effective_from)
    period = Period.month_of(prices.effective_from)
    return BillingInputs(
        tenant_id="",
        tenant_code="",
        period=period,
        currency=YEN,
        rounding=RoundingMode(terms.settings.rounding),
        tax_included=prices.tax_included,
        price_list_version=prices.effective_from,
        issuer=issuer_of(terms.settings.issuer, language),
        recipient=_SOMEBODY,
        parts=(),
        usage_days=(),
        allow_incomplete=False,
        discounts=(),
        commitments=(),
        exchange_rate=None,
        language=language,
        extra_charges=tuple(_line(name, period) for name in _names(prices, language)),
    )


def _names(prices: PriceListVersion, language: Language) -> list[str]:
    words = words_in(language, YEN, month_days=31)
    plans = [plan for plan in prices.plans.values() if plan.billable]
    charges = [charge for plan in plans for offer in plan.prices.values() for charge in offer.charges]
    return list(dict.fromkeys(words.name(each) for each in (*plans, *charges)))


def _line(name: str, period: Period) -> ExtraCharge:
    return ExtraCharge(
        charged_on=period.start,
        description=name,
        quantity=Decimal(1),
        unit=None,
        unit_amount=Decimal(1),
        currency=YEN,
        tax_category=TaxCategory.STANDARD,
    )
