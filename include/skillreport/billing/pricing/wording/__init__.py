"""The texts of documents, in each language that a tenant can choose.

Messages for operators and accountants are not here: they are Japanese and are defined where the error is raised.
"""

from __future__ import annotations

from include.skillreport.billing.pricing.wording.en import English
from include.skillreport.billing.pricing.wording.ja import Japanese
from include.skillreport.billing.pricing.wording.words import Words

__all__ = ["English", "Japanese", "Words", "words_in"]

_LANGUAGES: dict[str, type[Words]] = {"ja": Japanese, "en": English}


def words_in(language: str, currency: str, month_days: int) -> Words:
    """The texts in a language (ja or en), for amounts in this currency and a month with this many days."""
    return _LANGUAGES[language](currency, month_days)
