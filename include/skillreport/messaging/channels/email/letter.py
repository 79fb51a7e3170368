"""The e-mail of a message, and the syntax of e-mail addresses. Pure, except for the date of an e-mail."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage

import idna

from include.skillreport.core.errors import BatchError
from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.channels.email.headers import ENCODED_WORD, LETTER_POLICY
from include.skillreport.messaging.channels.email.page import with_paragraphs
from include.skillreport.messaging.channels.email.sender_address import address_with_name, split_sender
from include.skillreport.messaging.message import Message

# In the address settings, this is replaced by the token: the id of the message in the outbox.
TOKEN = "{token}"  # noqa: S105 - a placeholder

# A token of the usual length, to check the addresses of the settings with.
SAMPLE_TOKEN = "00000000-0000-4000-8000-000000000000"  # noqa: S105 - no secret

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-"
# RFC 5322 without quotes and comments, but with any dots: Japanese carriers have issued addresses such as "a..b.@docomo.ne.jp".
_LOCAL_PART = re.compile(rf"[{_ATEXT}]{{1,64}}")
# RFC 6531: the same with any printed character beyond ASCII.
_INTERNATIONAL_LOCAL_PART = re.compile(rf"[{_ATEXT}\x80-\U0010ffff]{{1,64}}")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")
_LONGEST_LOCAL_PART = 64
# The header is one line of less than 998 octets, with the address beside the URL.
_UNSUBSCRIBE_URL = re.compile(
    rf"(?=.{{1,500}}\Z)https://[A-Za-z0-9.-]+(:[0-9]{{1,5}})?/[{_ATEXT}:;,@\[\]()]*\{{token\}}[{_ATEXT}:;@\[\]()]*"
)
_LONGEST_ADDRESS = 254
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATES = re.compile("[\ud800-\udfff]")

_SENDER_EXAMPLE = "通知 <no-reply@example.jp>"
# Both are linear, because tenants write senders: a part before a character never matches that character.
_SEVERAL_ADDRESSES = re.compile(r"@[^@\s,;、]*[\s,;、][^@]*@")
_ADDRESS_IN_NAME = re.compile("<[^<>@]*@[^<>]*>")
# A line has at most 998 octets (RFC 5322), and a character of an international e-mail up to 4.
_LONGEST_DISPLAY_NAME = 200
# Characters. Python's time to fold a header grows with the square of its length.
_LONGEST_SUBJECT = 500


class LetterTooLargeError(BatchError):
    """The e-mail is larger than the mail server's limit (RFC 1870)."""


class Smtputf8MissingError(BatchError):
    """The address needs SMTPUTF8 (RFC 6531), which the mail server does not offer."""


@dataclass(frozen=True)
class Address:
    """An address as it is sent: its domain consists of A-labels (IDNA 2008). The local part may need SMTPUTF8."""

    text: str = field(repr=False)

    @property
    def needs_smtputf8(self) -> bool:
        """True if only a server with SMTPUTF8 accepts it."""
        return not self.text.isascii()


@dataclass(frozen=True)
class Letter:
    """An e-mail and its envelope. ``content`` has the headers in UTF-8 if the recipient needs SMTPUTF8, otherwise in ASCII.

    ``has_file``: it contains a file, and may be sent without it.
    """

    message_id: str
    envelope_sender: str = field(repr=False)
    recipient: Address = field(repr=False)
    content: bytes = field(repr=False)
    has_file: bool = False


def letter_of(message: Message, config: EmailConfig) -> Letter:
    """The e-mail of a message with a valid address. Its Message-ID is the same for every attempt.

    It ends with the file's text and the message's signature. The file is attached if its content has been read.

    :raises UnsafeHeaderError: a header would begin another one.
    """
    display_name, sender = sender_of(config)
    recipient = address_of(message.destination)
    assert recipient is not None, "the client checks the address first"
    message_id = f"<{one_line(message.message_id)}@{sender.rpartition('@')[2]}>"
    letter = EmailMessage(LETTER_POLICY.clone(utf8=recipient.needs_smtputf8))
    letter["Message-ID"] = message_id
    letter["Date"] = datetime.now(UTC)
    letter["From"] = [address_with_name(display_name, sender)]
    to = _named(message, "to", recipient) or [recipient.text]
    letter["To"] = [address_with_name("", each) for each in to]
    if cc := _named(message, "cc", recipient):
        letter["Cc"] = [address_with_name("", each) for each in cc]
    letter["Subject"] = _shortened(one_line(message.subject))
    # RFC 3834: this prevents automatic replies, such as those about an absence.
    letter["Auto-Submitted"] = "auto-generated"
    if reply_to := address_of(config.reply_to):
        letter["Reply-To"] = [address_with_name("", reply_to.text)]
    unsubscribe = with_token(config.unsubscribe_address, message.message_id)
    if not message.belongs_to_contract:
        # RFC 2919. A recipient's rule for a kind of notification stays valid.
        letter["List-Id"] = f"<{message.kind.replace('_', '-')}.notifications.{sender.rpartition('@')[2]}>"
        if unsubscribe:
            by_mail = f"<mailto:{unsubscribe}?subject=unsubscribe>"
            by_url = config.unsubscribe_url.replace(TOKEN, message.message_id)
            letter["List-Unsubscribe"] = f"<{by_url}>, {by_mail}" if by_url else by_mail
            if by_url:
                # RFC 8058: the mail program posts to the URL, and the application writes the mail.
                letter["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    # Base64 passes every server, even one that refuses 8-bit text or long lines.
    file = message.file
    endings = [text for text in (file.text if file else "", message.signature) if text]
    text = "\n\n".join([message.text.rstrip(), *endings]) if endings else message.text
    letter.set_content(text, cte="base64")
    if message.rich:
        letter.add_alternative(with_paragraphs(message.rich, endings), subtype="html", cte="base64")
    if file and file.content is not None:
        name = LETTER_POLICY.header_factory("Content-Disposition", one_line(file.name))
        letter.add_attachment(file.content, maintype="application", subtype="pdf", headers=[name])
    return Letter(
        str(letter["Message-ID"]),
        with_token(config.envelope_sender, message.message_id) or sender,
        recipient,
        letter.as_bytes(),
        has_file=file is not None and file.content is not None,
    )


def _named(message: Message, header: str, recipient: Address) -> list[str]:
    """The addresses of a header that names all recipients. An ASCII e-mail cannot name an international address."""
    found = [address_of(address) for kind, address in message.recipients if kind == header]
    return [each.text for each in found if each and each.needs_smtputf8 <= recipient.needs_smtputf8]


def settings_problem(config: EmailConfig) -> str:
    """The name of a setting of the mail server that cannot be used, with the reason; empty if all are valid."""
    if problem := _sender_problem(config):
        return f"送信元（{'from_address' if config.is_tenants else 'from_email'}）{problem}"
    if config.reply_to and not is_ascii_address(config.reply_to):
        return "返信先（reply_to）がメールアドレスではありません"
    if config.envelope_sender and not is_ascii_address(with_token(config.envelope_sender, SAMPLE_TOKEN)):
        return f"エンベロープ送信元（envelope_sender）がメールアドレスではありません（例: bounce+{TOKEN}@example.jp）"
    unsubscribe = config.unsubscribe_address
    if unsubscribe and not (TOKEN in unsubscribe and is_ascii_address(with_token(unsubscribe, SAMPLE_TOKEN))):
        # Without the token, the batch cannot find out who unsubscribes.
        return (
            f"配信停止の宛先（unsubscribe_address）が {TOKEN} を含むメールアドレスではありません"
            f"（例: unsubscribe+{TOKEN}@example.jp）"
        )
    return _url_problem(config)


def _url_problem(config: EmailConfig) -> str:
    if not config.unsubscribe_url:
        return ""
    if not config.unsubscribe_address:
        return "配信停止の宛先（unsubscribe_address）が必要です（unsubscribe_url があるため）"
    if not _UNSUBSCRIBE_URL.fullmatch(config.unsubscribe_url):
        return (
            f"配信停止の URL（unsubscribe_url）が {TOKEN} を含む https の URL ではありません"
            f"（例: https://skill.example.jp/unsubscribe/{TOKEN}）"
        )
    return ""


def sender_of(config: EmailConfig) -> tuple[str, str]:
    """The display name and the address of the sender. The address is as entered if it is not valid."""
    display_name, sender = split_sender(one_line(config.sender))
    address = address_of(sender)
    return display_name, address.text if address else sender


def _sender_problem(config: EmailConfig) -> str:
    """What is wrong with the sender, as the end of a sentence; empty if nothing is."""
    display_name, sender = sender_of(config)
    if _SEVERAL_ADDRESSES.search(sender) or _ADDRESS_IN_NAME.search(display_name):
        return "にメールアドレスが 2 つ以上あります。1 つだけにしてください"
    if "@" not in sender:
        return f"にメールアドレスがありません（例: {_SENDER_EXAMPLE}）"
    if "<" in sender or ">" in sender:
        return f"は、メールアドレスを < と > で囲んで最後に書いてください（例: {_SENDER_EXAMPLE}）"
    address = address_of(sender)
    if address is None:
        return f"のメールアドレスの形式が正しくありません（例: {_SENDER_EXAMPLE}）"
    if address.needs_smtputf8:
        return "のメールアドレスの @ の前に、英数字と記号以外の文字は使えません"
    if len(display_name) > _LONGEST_DISPLAY_NAME or _SURROGATES.search(display_name):
        return f"の表示名が長すぎるか、送れない文字を含みます（{_LONGEST_DISPLAY_NAME} 文字まで）"
    return ""


def with_token(address: str, token: str) -> str:
    """An address of the settings, with the token; empty if this is not an ASCII address."""
    filled = address_of(address.replace(TOKEN, token))
    return filled.text if filled and not filled.needs_smtputf8 else ""


def address_of(text: str) -> Address | None:
    """The address in a text without display name; None if the text does not have the syntax of an address."""
    local_part, _, domain = text.rpartition("@")
    # Other programs may decode an encoded word in a header, and would see another address.
    if len(text) > _LONGEST_ADDRESS or ENCODED_WORD in local_part:
        return None
    if not domain.isascii():
        try:
            # With the mapping of UTS 46, because users enter capitals, full-width letters and full-width dots.
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    if not _DOMAIN.fullmatch(domain):
        return None
    if not local_part.isascii() and not _is_international(local_part):
        return None
    if local_part.isascii() and not _LOCAL_PART.fullmatch(local_part):
        return None
    address = f"{local_part}@{domain}"
    return Address(address) if len(address) <= _LONGEST_ADDRESS else None


def is_address(text: str) -> bool:
    """True if the text has the syntax of an e-mail address without display name, internationalised or not."""
    return address_of(text) is not None


def is_ascii_address(text: str) -> bool:
    """True if the text is an address that every server accepts. Its domain may be internationalised."""
    address = address_of(text)
    return address is not None and not address.needs_smtputf8


def one_line(text: str) -> str:
    """The text without line breaks and other control characters, so that it cannot begin another header."""
    return _CONTROLS.sub(" ", text).strip()


def _shortened(subject: str) -> str:
    return subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[: _LONGEST_SUBJECT - 1]}…"


def _is_international(local_part: str) -> bool:
    # A surrogate is not printable, so a printable text can be encoded.
    return (
        _INTERNATIONAL_LOCAL_PART.fullmatch(local_part) is not None
        and local_part.isprintable()
        and len(local_part.encode()) <= _LONGEST_LOCAL_PART
    )
