"""The headers of an e-mail. Each class gets a plain value and encodes it; no value is parsed.

Python's header classes decode encoded words (RFC 2047) before they write a header. A tenant's text may contain them. Decoded, their line
breaks would begin other headers, and their commas other addresses. ``skill_batch.notifiers.mail_headers`` has the same classes for alerts,
because it must not import ``include``. A test compares both.
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
    UniqueDateHeader,
)
from email.policy import EmailPolicy, Policy
from typing import Any
from urllib.parse import quote

from typing_extensions import override

from include.skillreport.core.errors import BatchError

# The beginning of an encoded word.
ENCODED_WORD = "=?"

# RFC 2047, section 2: the longest line with an encoded word.
_LONGEST_ENCODED_LINE = 76
# Characters of a file's name on a line (RFC 2231).
_LONGEST_PIECE = 60
_PLAIN_FILE_NAME = re.compile(r"[A-Za-z0-9 ._()+-]{1,60}")
_EMPTY_FIRST_LINE = re.compile(rb"\A([^:\r\n]+:)[ \t]*\r\n(?=[ \t])")
_ONE_HEADER = re.compile(rb"[^\r\n]+(\r?\n[ \t][^\r\n]*)*\r?\n")


class UnsafeHeaderError(BatchError):
    """A header has a line break that would begin another header or the text."""


class PlainHeader(BaseHeader):
    """A header that is written as it is, on one line. Python would encode a URL that is longer than a line."""

    max_count = 1

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """Keep the value."""
        kwds["decoded"], kwds["parse_tree"] = value, None

    def fold(self, *, policy: Policy) -> str:
        """The header."""
        return f"{self.name}: {self}{policy.linesep}"


class TextHeader(PlainHeader):
    """A header with a text. A text beyond ASCII, or with an encoded word, is encoded by RFC 2047: the reader sees it as it is."""

    def fold(self, *, policy: Policy) -> str:
        """The header, also of an international e-mail in ASCII."""
        charset = "utf-8" if _is_encoded(self) else "us-ascii"
        text = Header(str(self), charset, header_name=self.name).encode(linesep=policy.linesep)
        return f"{self.name}: {text}{policy.linesep}"


class AddressesHeader(PlainHeader):
    """A header with addresses, one on each line. Its value is a sequence of ``Address``.

    A line is not folded: Python versions before the releases of September 2024 lose the quotation marks of a name when they fold it.
    """

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
        """The header. A name beyond ASCII is encoded by RFC 2047, unless the e-mail is international (RFC 6532)."""
        is_international = isinstance(policy, EmailPolicy) and policy.utf8
        shown = [
            _with_encoded_name(address, policy)
            if _is_encoded(address.display_name, is_international=is_international)
            else str(address)
            for address in self.addresses
        ]
        return f"{self.name}: {f',{policy.linesep} '.join(shown)}{policy.linesep}"


class AttachmentHeader(PlainHeader):
    """``Content-Disposition`` of an attachment. Its value is the file's name."""

    def fold(self, *, policy: Policy) -> str:
        """The header. A name with other characters than those of plain names is encoded by RFC 2231."""
        parameters = [f'filename="{self}"'] if _PLAIN_FILE_NAME.fullmatch(self) else _encoded_file_name(self)
        return f"{self.name}: attachment;{policy.linesep} {f';{policy.linesep} '.join(parameters)}{policy.linesep}"


class _LetterPolicy(EmailPolicy):
    """Begins each header on the line of its name. Python leaves that line empty before a long word, and mail servers and filters object."""

    @override
    def fold_binary(self, name: str, value: str) -> bytes:
        """:raises UnsafeHeaderError: the header would end early."""
        folded = _EMPTY_FIRST_LINE.sub(rb"\1", super().fold_binary(name, value), count=1)
        if not _ONE_HEADER.fullmatch(folded):
            raise UnsafeHeaderError(f"{name} に改行が入るため、メールを送りません")
        return folded


def _is_encoded(text: str, *, is_international: bool = False) -> bool:
    return ENCODED_WORD in text or not (is_international or text.isascii())


def _with_encoded_name(address: Address, policy: Policy) -> str:
    name = Header(address.display_name, "utf-8", header_name="From").encode(linesep=policy.linesep)
    *_, last_line = f"From: {name}".split(policy.linesep)
    is_long = len(f"{last_line} <{address.addr_spec}>") > _LONGEST_ENCODED_LINE
    return f"{name}{policy.linesep if is_long else ''} <{address.addr_spec}>"


def _encoded_file_name(name: str) -> list[str]:
    pieces = [""]
    for character in name:
        encoded = quote(character, safe="", errors="replace")
        if len(pieces[-1]) + len(encoded) > _LONGEST_PIECE:
            pieces.append("")
        pieces[-1] += encoded
    first = f"utf-8''{pieces[0]}"
    if len(pieces) == 1:
        return [f"filename*={first}"]
    return [f"filename*{number}*={piece}" for number, piece in enumerate([first, *pieces[1:]])]


# Only the headers with values of Python's own are parsed.
_HEADERS = HeaderRegistry(default_class=TextHeader, use_default_map=False)  # type: ignore[arg-type]  # value_parser, in typeshed
for _name, _class in {
    "Date": UniqueDateHeader,
    "MIME-Version": MIMEVersionHeader,
    "Content-Type": ContentTypeHeader,
    "Content-Transfer-Encoding": ContentTransferEncodingHeader,
    "Content-Disposition": AttachmentHeader,
    "Message-ID": PlainHeader,
    "List-Id": PlainHeader,
    "List-Unsubscribe": PlainHeader,
    "List-Unsubscribe-Post": PlainHeader,
    **dict.fromkeys(("From", "To", "Cc", "Reply-To"), AddressesHeader),
}.items():
    _HEADERS.map_to_type(_name, _class)
LETTER_POLICY = _LetterPolicy(linesep="\r\n", header_factory=_HEADERS)
