"""Words in a text for a customer that may lead a payment to another account. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

# The setting billing.text_approval: which texts for a customer wait for a second person.
TextApproval = Literal["payment_words", "all"]

_WORDS = re.compile(r"振り?込|口座|銀行|支店|送金|IBAN|https?:|www\.|@", re.IGNORECASE)

# Numbers of accounts have seven digits.
_NUMBER = re.compile(r"\d{7}")


def text_waits(text: str, setting: TextApproval, *, is_code: bool = False) -> bool:
    """Whether somebody else must approve a text for a customer. ``is_code``: an order number, which may have many digits."""
    return bool(text.strip()) and (setting == "all" or names_payment(text, with_numbers=not is_code))


def names_payment(text: str, *, with_numbers: bool = True) -> bool:
    """Whether the text has words of payment, an address of a page or an e-mail, or seven digits in a row.

    Width, case and blanks make no difference. ``with_numbers``: digits count, too.
    """
    joined = "".join(unicodedata.normalize("NFKC", text).split())
    return bool(_WORDS.search(joined) or (with_numbers and _NUMBER.search(joined)))
