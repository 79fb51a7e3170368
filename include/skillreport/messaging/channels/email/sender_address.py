"""The sender of an e-mail: splits its text into display name and address.

The standard library's ``parseaddr`` is not used. Python versions since the security releases of 2024 refuse a display name with a comma or
a colon; older ones return a part of it. ``skill_batch.notifiers.mail_addresses`` has the same rule for alerts, because it must not import
``include``. A test compares both.
"""

from __future__ import annotations

import re
from email.headerregistry import Address

# An escaped quotation mark does not end the name.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


def split_sender(text: str) -> tuple[str, str]:
    """The display name and the address of a sender, neither of them checked.

    The last ``<…>`` is the address if the text ends with it; otherwise the entire text is the address, and there is no name. Quotation
    marks around the entire name are removed.
    """
    if "<" not in text or not text.endswith(">"):
        return "", text
    name, _, address = text[:-1].rpartition("<")
    name = name.strip()
    if quoted := _QUOTED.fullmatch(name):
        name = _ESCAPED.sub(r"\1", quoted[1])
    return name, address.strip()


def address_with_name(name: str, address: str) -> Address:
    """An address of a header. The standard library quotes the name if it has special characters."""
    username, _, domain = address.rpartition("@")
    return Address(name, username, domain)
