"""Words in a text for a customer that may redirect a payment to another account. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

# The setting billing.text_approval: the texts for customers that wait for a second user.
TextApproval = Literal["payment_words", "all"]

_WORDS = re.compile(
    r"[振ふ]り?込|ふりこ|フリ[込コ]|口座|銀行|支店|送金|IBAN|https?:|www\.|@"
    r"|[a-z0-9-]+\.(?:com|net|org|info|biz|io|jp|co|xyz|top|shop|site|online|app|example)(?![a-z0-9])",
    re.IGNORECASE,
)

# Format characters, variation selectors and other marks without a letter of their own.
_UNSEEN = ("Cf", "Mn", "Me", "Cc", "Cn", "Co")

# Numbers of accounts have seven digits.
_NUMBER = re.compile(r"\d{7}")


def text_waits(text: str, setting: TextApproval, *, with_numbers: bool = True) -> bool:
    """True if another user must approve a text for a customer. ``with_numbers``: as ``names_payment``."""
    return bool(text.strip()) and (setting == "all" or names_payment(text, with_numbers=with_numbers))


def names_payment(text: str, *, with_numbers: bool = True) -> bool:
    """True if the text has words of payment, a web or e-mail address, or seven digits in a row.

    Width, case, blanks and invisible characters make no difference. ``with_numbers``: digits also count.
    """
    shown = (
        letter
        for letter in unicodedata.normalize("NFKC", text)
        if unicodedata.category(letter) not in _UNSEEN
    )
    joined = "".join("".join(shown).split())
    return bool(_WORDS.search(joined) or (with_numbers and _NUMBER.search(joined)))
