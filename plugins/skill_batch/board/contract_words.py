"""The words for values of contracts, by column."""

from __future__ import annotations

from collections.abc import Mapping

from include.skillreport.billing.actions.fields import TAX_CATEGORIES
from include.skillreport.operations.operate_contracts.fields import (
    DELIVERIES,
    DISCOUNT_KINDS,
    HONORIFICS,
    LANGUAGES,
    METRICS,
)

WORDS: Mapping[str, Mapping[str, str]] = {
    "kind": DISCOUNT_KINDS,
    "metric": METRICS,
    "language": LANGUAGES,
    "tax_category": TAX_CATEGORIES,
    "pdf_delivery": DELIVERIES,
    "honorific": HONORIFICS,
}

# The period of validity of a row, compared with today.
STATES = {"now": "有効", "later": "これから", "earlier": "終了"}

RESULTS = {"applied": "登録", "refused": "取り下げ", "expired": "期限切れ（30 日）"}
