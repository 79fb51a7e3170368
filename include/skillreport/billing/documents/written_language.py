"""The language of texts that users write for customers: an English document has no Japanese characters. Pure.

Names are exempt: a customer's name and address keep their characters in every language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from include.skillreport.billing.documents.invoice import Language
from include.skillreport.billing.errors import BillingError

# Kana, kanji, and full-width or half-width signs (the blocks of Unicode 16.0).
_JAPANESE = re.compile(
    "[\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)

_REASON = "「理由」（reason）"


def require_readable_reason(language: Language, reason: str, whose: str) -> None:
    """Check a reason that the customer sees; ``whose`` names the document. :raises BillingError: as ``require_readable``."""
    _require(language, {_REASON: reason}, "理由は記録に残り、取引先への書類かメールにも書かれます", whose)


def require_readable(language: Language, texts: Mapping[str, str], whose: str) -> None:
    """Check a document's texts by their fields. ``whose`` names the thing that has the language.

    :raises BillingError: the language is English, and a text has Japanese characters.
    """
    _require(language, texts, "取引先への書類に書かれます", whose)


def _require(language: Language, texts: Mapping[str, str], use: str, whose: str) -> None:
    for field, text in texts.items():
        if language == "en" and _JAPANESE.search(text):
            # The message omits the text, because the text may be personal, and everybody can read the message.
            raise BillingError(
                "NOT_IN_ENGLISH",
                f"{field}に日本語の文字があります。{use}。{whose}は英語なので、英語で書いてください",
            )
