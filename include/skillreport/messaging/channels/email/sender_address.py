"""The sender of an e-mail: splits its text into display name and address, and writes both into the header ``From``.

The standard library's ``parseaddr`` is not used. Python versions since the security releases of 2024 refuse a display name with a comma or
a colon; older ones return a part of it. ``skill_batch.notifiers.mail_addresses`` has the same rule for alerts, because it must not import
``include``. A test compares both.
"""

from __future__ import annotations

import re
from email.header import Header
from email.headerregistry import Address, BaseHeader, UniqueAddressHeader
from email.policy import EmailPolicy, Policy

# An escaped quotation mark does not end the name.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")

# RFC 2047, section 2: the longest line with an encoded word.
_LONGEST_ENCODED_LINE = 76


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
    """The value of a header with addresses. The standard library quotes the name if it has special characters."""
    username, _, domain = address.rpartition("@")
    return Address(name, username, domain)


class AddressesHeader(UniqueAddressHeader, BaseHeader):  # type: ignore[misc]  # max_count, in typeshed
    """A header with addresses, one on each line.

    A line is not folded: Python versions before the releases of September 2024 lose the quotation marks of a name when they fold it.
    """

    def fold(self, *, policy: Policy) -> str:
        """The header. A name beyond ASCII is encoded by RFC 2047, unless the e-mail is international (RFC 6532)."""
        is_international = isinstance(policy, EmailPolicy) and policy.utf8
        shown = [
            str(address) if is_international or address.display_name.isascii() else _encoded(address, policy)
            for address in self.addresses
        ]
        return f"{self.name}: {f',{policy.linesep} '.join(shown)}{policy.linesep}"


def _encoded(address: Address, policy: Policy) -> str:
    name = Header(address.display_name, "utf-8", header_name="From").encode(linesep=policy.linesep)
    *_, last_line = f"From: {name}".split(policy.linesep)
    is_long = len(f"{last_line} <{address.addr_spec}>") > _LONGEST_ENCODED_LINE
    return f"{name}{policy.linesep if is_long else ''} <{address.addr_spec}>"
