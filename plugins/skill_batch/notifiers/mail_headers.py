"""The headers of an alert by e-mail. Each class gets a plain value and encodes it; no value is parsed.

The rule of ``include.skillreport.messaging.channels.email.headers``, which explains it, applies here, too. A test compares both. The
triggerer imports this module, sometimes without ``include``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.header import Header
from email.headerregistry import (
    Address,
    BaseHeader,
    ContentTransferEncodingHeader,
    ContentTypeHeader,
    HeaderRegistry,
    MIMEVersionHeader,
)
from email.policy import EmailPolicy, Policy
from typing import Any

_ENCODED_WORD = "=?"
_LONGEST_ENCODED_LINE = 76
_EMPTY_FIRST_LINE = re.compile(rb"\A([^:\r\n]+:)[ \t]*\r?\n(?=[ \t])")
_ONE_HEADER = re.compile(rb"[^\r\n]+(\r?\n[ \t][^\r\n]*)*\r?\n")


class PlainHeader(BaseHeader):
    """A header that is written as it is, on one line."""

    max_count = 1

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """Keep the value."""
        kwds["decoded"], kwds["parse_tree"] = value, None

    def fold(self, *, policy: Policy) -> str:
        """The header."""
        return f"{self.name}: {self}{policy.linesep}"


class TextHeader(PlainHeader):
    """A header with a text. A text beyond ASCII, or with an encoded word, is encoded by RFC 2047."""

    def fold(self, *, policy: Policy) -> str:
        """The header, also of an international mail in ASCII."""
        charset = "utf-8" if _is_encoded(self) else "us-ascii"
        text = Header(str(self), charset, header_name=self.name).encode(linesep=policy.linesep)
        return f"{self.name}: {text}{policy.linesep}"


class AddressesHeader(PlainHeader):
    """A header with one address per line. Its value is a sequence of ``Address``."""

    @classmethod
    def parse(cls, value: Sequence[Address], kwds: dict[str, Any]) -> None:  # type: ignore[override]  # each class has its own value
        """Keep the addresses."""
        super().parse(", ".join(map(str, value)), kwds)
        kwds["addresses"] = tuple(value)

    def init(self, name: str, *, addresses: tuple[Address, ...], **values: Any) -> None:  # type: ignore[override]
        """Called by ``BaseHeader``."""
        self.addresses = addresses
        super().init(name, **values)

    def fold(self, *, policy: Policy) -> str:
        """The header. Non-ASCII names are encoded by RFC 2047, unless the mail is international (RFC 6532)."""
        is_international = isinstance(policy, EmailPolicy) and policy.utf8
        shown = [
            _with_encoded_name(address, policy)
            if _is_encoded(address.display_name, is_international=is_international)
            else str(address)
            for address in self.addresses
        ]
        return f"{self.name}: {f',{policy.linesep} '.join(shown)}{policy.linesep}"


class _MailPolicy(EmailPolicy):
    def fold_binary(self, name: str, value: str) -> bytes:
        """:raises ValueError: the header would end early."""
        folded = _EMPTY_FIRST_LINE.sub(rb"\1", super().fold_binary(name, value), count=1)
        if not _ONE_HEADER.fullmatch(folded):
            raise ValueError(f"{name} に改行が入るため、アラートをメールで送れません")
        return folded


def _is_encoded(text: str, *, is_international: bool = False) -> bool:
    return _ENCODED_WORD in text or not (is_international or text.isascii())


def _with_encoded_name(address: Address, policy: Policy) -> str:
    name = Header(address.display_name, "utf-8", header_name="From").encode(linesep=policy.linesep)
    *_, last_line = f"From: {name}".split(policy.linesep)
    is_long = len(f"{last_line} <{address.addr_spec}>") > _LONGEST_ENCODED_LINE
    return f"{name}{policy.linesep if is_long else ''} <{address.addr_spec}>"


_HEADERS = HeaderRegistry(default_class=TextHeader, use_default_map=False)  # type: ignore[arg-type]  # value_parser, in typeshed
for _name, _class in {
    "MIME-Version": MIMEVersionHeader,
    "Content-Type": ContentTypeHeader,
    "Content-Transfer-Encoding": ContentTransferEncodingHeader,
    "Message-ID": PlainHeader,
    **dict.fromkeys(("From", "To"), AddressesHeader),
}.items():
    _HEADERS.map_to_type(_name, _class)
MAIL_POLICY = _MailPolicy(header_factory=_HEADERS)
