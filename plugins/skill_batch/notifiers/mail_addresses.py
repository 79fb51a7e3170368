"""Parses the sender and the recipients of an alert by e-mail.

The rule of ``include.skillreport.messaging.channels.email.sender_address``, which explains it, applies here, too. A test compares
both. The triggerer imports this module, sometimes without ``include``.
"""

from __future__ import annotations

import re
from email.headerregistry import Address

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
# A comma in a quoted name does not end a recipient.
_RECIPIENT = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,])+')
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SEVERAL_ADDRESSES = re.compile(r"@[^@]*[\s,;、][^@]*@")
_ADDRESS_IN_NAME = re.compile("<[^<>]*@[^<>]*>")


def sender_of(text: str) -> Address:
    """The sender of an alert. :raises LookupError: the text has no address, or several."""
    name, address = split_sender(_one_line(text))
    if _SEVERAL_ADDRESSES.search(address) or _ADDRESS_IN_NAME.search(name):
        raise LookupError("送信元（from_email）にメールアドレスが 2 つ以上あります。1 つだけにしてください")
    if not address or set("<> ") & set(address):
        raise LookupError("送信元（from_email）にメールアドレスがありません（例: 通知 <alerts@example.jp>）")
    return address_with_name(name, address)


def recipients_of(text: str) -> list[Address]:
    """The recipients of an alert, from a text with commas."""
    entries = map(_one_line, _RECIPIENT.findall(text))
    return [address_with_name(*split_sender(entry)) for entry in entries if entry]


def _one_line(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip()


def split_sender(text: str) -> tuple[str, str]:
    """The display name and the address: the last ``<…>`` at the end of the text, or the entire text without a name."""
    if "<" not in text or not text.endswith(">"):
        return "", text
    name, _, address = text[:-1].rpartition("<")
    name = name.strip()
    if quoted := _QUOTED.fullmatch(name):
        name = _ESCAPED.sub(r"\1", quoted[1])
    return name, address.strip()


def address_with_name(name: str, address: str) -> Address:
    """An address of a header. The standard library quotes a name with special characters."""
    username, _, domain = address.rpartition("@")
    # A local mail server may know a user name without a domain.
    return Address(name, username, domain) if username else Address(name, domain)
