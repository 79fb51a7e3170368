"""Parses a mail that reports about an e-mail. Pure: bytes in, a report out. Every mail may be forged or hostile.

Sources: RFC 3464 (delivery status notifications, DSN), RFC 5965 (abuse reports, ARF), RFC 6533 (internationalised DSNs). ``flufl.bounce``
knows the texts of servers that write no DSN.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes, message_from_string
from email.message import Message as Mail
from email.policy import compat32
from enum import StrEnum
from itertools import islice

from flufl.bounce import all_failures

from include.skillreport.core.errors import BatchError
from include.skillreport.messaging.channels.email.letter import TOKEN, address_of
from include.skillreport.messaging.feedback.diagnosis import REFUSAL, status_of

# The id of a message, as a token in an address or in a Message-ID.
_ID = r"[A-Za-z0-9-]{8,64}"
_MESSAGE_ID = re.compile(rf"<({_ID})@[^<>@\s]{{1,255}}>")

# A real report has far fewer parts and shorter Content-Type fields. More would cost the parser much time.
_MOST_PARTS = 30
_LONGEST_CONTENT_TYPE = 2_000
_CONTENT_TYPE = re.compile(rb"^content-type[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE)

# An e-mail has one recipient; a report about several has a group of fields for each.
_MOST_GROUPS = 50
_LONGEST_FIELD = 998

_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UTF8_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")

# Where the last mail servers write the envelope's recipient, best first.
_RECIPIENT_FIELDS = ("Delivered-To", "X-Original-To", "Envelope-To", "To")

_COMPLAINTS = frozenset({"abuse", "fraud"})

# The server's own words come before the copy of the e-mail. The patterns of flufl.bounce are slow for long lines.
_LONGEST_WORDS = 32 * 1024
_LONGEST_LINE = 320
_COPY = re.compile(r"^-{3}", re.MULTILINE)

# flufl.bounce logs each step, and the text of an error might quote the mail.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)


class ReportKind(StrEnum):
    """The kind of a mail. DELIVERY is a notification without a failure. OTHER is any other mail, such as a user's reply."""

    BOUNCE = "bounce"
    DELIVERY = "delivery"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    OTHER = "other"


class UnreadableMailError(BatchError):
    """A mail is built in a way that costs too much time to read."""


@dataclass(frozen=True)
class FailedRecipient:
    """A recipient that a DSN reports as failed: its addresses as they are sent, in lower case, and the status code (``5.1.1``).

    ``passed_on_to`` is the Final-Recipient if it is another one than the Original-Recipient: an alias, a list or a forwarding.
    """

    addresses: frozenset[str] = field(repr=False)
    status: str
    passed_on_to: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class FeedbackReport:
    """A report about one e-mail. ``message_id`` is the id in the outbox; empty: the report does not name the e-mail.

    ``recipients`` are the addresses that a complaint names, as in ``FailedRecipient``. ``is_by_token``: the envelope sender of the e-mail
    names the message (VERP), whatever the report calls the recipient.
    """

    kind: ReportKind
    message_id: str = ""
    failures: tuple[FailedRecipient, ...] = ()
    recipients: frozenset[str] = field(default=frozenset(), repr=False)
    is_by_token: bool = field(default=False, compare=False)


class Addresses:
    """Finds the token in addresses that were made from the settings ``envelope_sender`` and ``unsubscribe_address``."""

    def __init__(self, envelope_sender: str, unsubscribe_address: str) -> None:
        self._bounce = _pattern(envelope_sender)
        self._unsubscribe = _pattern(unsubscribe_address)

    def bounced(self, texts: Sequence[str]) -> str:
        """The token of the first envelope sender; empty if there is none."""
        return _first(self._bounce, texts)

    def unsubscribed(self, texts: Sequence[str]) -> str:
        """The token of the first unsubscribe address; empty if there is none."""
        return _first(self._unsubscribe, texts)


def report_in(content: bytes, addresses: Addresses) -> FeedbackReport:
    """The report in a mail, which may be cut off.

    :raises UnreadableMailError: the mail is too complex. Hostile mails may raise other errors, which the caller catches.
    """
    mail = _parsed(content)
    recipients = [text for name in _RECIPIENT_FIELDS for text in _fields(mail, name)]
    report_type = mail.get_param("report-type")
    if mail.get_content_type() == "multipart/report" and isinstance(report_type, str):
        match report_type.lower():
            case "delivery-status":
                return _bounce(mail, addresses.bounced(recipients))
            case "feedback-report":
                return _complaint(mail, addresses, addresses.bounced(recipients))
    if (token := addresses.bounced(recipients)) and (report := _in_own_words(content, token)):
        return report
    # Programs also reply, for example about an absence. Only users and their mail programs unsubscribe. Apple Mail calls its mail a reply.
    is_automatic = _field(mail, "Auto-Submitted").lower() not in ("", "no")
    is_automatic = is_automatic and _field(mail, "X-Apple-Unsubscribe").lower() != "true"
    token = addresses.unsubscribed(recipients)
    if token and not is_automatic:
        return FeedbackReport(ReportKind.UNSUBSCRIBE, token)
    return FeedbackReport(ReportKind.OTHER)


def _parsed(content: bytes) -> Mail:
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    types = [match.end() - match.start() for match in _CONTENT_TYPE.finditer(content)]
    if len(types) > _MOST_PARTS or max(types, default=0) > _LONGEST_CONTENT_TYPE:
        raise UnreadableMailError("the mail has too many parts, or a Content-Type that is too long")
    # This policy keeps the fields as they are. The newer one parses each of them when it is read.
    return message_from_bytes(content, policy=compat32)


def _bounce(mail: Mail, token: str) -> FeedbackReport:
    failures = []
    for group in islice(_groups(mail), _MOST_GROUPS):
        if _field(group, "Action").lower() != "failed":
            continue
        status = _STATUS.match(_field(group, "Status"))
        original, final = (
            _typed_addresses(_field(group, name)) for name in ("Original-Recipient", "Final-Recipient")
        )
        passed_on_to = final if original and original.isdisjoint(final) else frozenset[str]()
        code = status_of(status[1] if status else "", _field(group, "Diagnostic-Code"))
        failures.append(FailedRecipient(original | final, code, passed_on_to))
    kind = ReportKind.BOUNCE if failures else ReportKind.DELIVERY
    return FeedbackReport(kind, token or _returned_id(mail), tuple(failures), is_by_token=bool(token))


def _in_own_words(content: bytes, token: str) -> FeedbackReport | None:
    """The bounce that a server describes in its own words; None: the mail is no such bounce.

    Not by the token alone: any mail may contain these words, so the caller accepts only the address of the e-mail.
    """
    lines = content[:_LONGEST_WORDS].split(b"\n")
    mail = _parsed(b"\n".join(line[:_LONGEST_LINE] for line in lines))
    warned, failed = all_failures(mail)
    if not failed:
        return FeedbackReport(ReportKind.DELIVERY, token) if warned else None
    named = (_plain_address(address.decode("ascii", "replace")) for address in islice(failed, _MOST_GROUPS))
    words = _COPY.split(_text(mail), maxsplit=1)[0]
    status = min(REFUSAL.findall(words), key=lambda code: not code.startswith("5"), default="")
    failure = FailedRecipient(frozenset(filter(None, named)), status)
    return FeedbackReport(ReportKind.BOUNCE, token, (failure,))


def _text(mail: Mail) -> str:
    """The first plain text; empty if there is none."""
    part = next((part for part in mail.walk() if part.get_content_type() == "text/plain"), None)
    payload = part.get_payload(decode=True) if part else None
    return payload.decode("ascii", "replace") if isinstance(payload, bytes) else ""


def _complaint(mail: Mail, addresses: Addresses, own_token: str) -> FeedbackReport:
    parts = (part for part in _submessages(mail) if part.get_content_type() == "message/feedback-report")
    fields = next((each for part in parts for each in _submessages(part)), None)
    if fields is None or _field(fields, "Feedback-Type").lower() not in _COMPLAINTS:
        return FeedbackReport(ReportKind.OTHER)
    # Amazon SES replaces the envelope sender and the Message-ID, and passes the report on to our envelope sender.
    token = addresses.bounced(_fields(fields, "Original-Mail-From")) or own_token
    # Many providers replace the recipient in the returned e-mail, so only the report's own field counts.
    named = [_plain_address(text) for text in _fields(fields, "Original-Rcpt-To")]
    return FeedbackReport(
        ReportKind.COMPLAINT, token or _returned_id(mail), recipients=frozenset(filter(None, named))
    )


def _groups(mail: Mail) -> Iterator[Mail]:
    """The groups of fields of a DSN: one about the message, then one for each recipient."""
    for part in _submessages(mail):
        if part.get_content_type() == "message/delivery-status":
            yield from _submessages(part)
        elif part.get_content_type() == "message/global-delivery-status":
            for first in _submessages(part):
                yield first
                # As bytes: as text, all beyond ASCII would be replaced.
                rest = first.get_payload(decode=True)
                texts = (
                    rest.decode("ascii", "surrogateescape").split("\n\n") if isinstance(rest, bytes) else []
                )
                yield from (message_from_string(text, policy=compat32) for text in texts[:_MOST_GROUPS])


def _returned_id(mail: Mail) -> str:
    """The id in the Message-ID of the returned e-mail, or of its returned headers; empty if there is none."""
    for part in _submessages(mail):
        kind, returned = part.get_content_type(), part.get_payload()
        if kind == "text/rfc822-headers" and isinstance(returned, str):
            headers: Sequence[Mail] = [message_from_string(returned, policy=compat32)]
        elif kind in ("message/rfc822", "message/global", "message/global-headers", "message/rfc822-headers"):
            headers = _submessages(part)
        else:
            continue
        for each in headers:
            if match := _MESSAGE_ID.search(_field(each, "Message-ID")):
                return match[1].lower()
    return ""


def _submessages(part: Mail) -> Sequence[Mail]:
    """The direct parts, so that the parts of the returned e-mail do not count as parts of the report."""
    payload = part.get_payload()
    return [each for each in payload if isinstance(each, Mail)] if isinstance(payload, list) else []


def _fields(mail: Mail, name: str) -> list[str]:
    values = [value for each, value in mail.raw_items() if each.lower() == name.lower()]
    return [" ".join(_as_utf8(str(value)[:_LONGEST_FIELD]).split()) for value in values]


def _as_utf8(text: str) -> str:
    """RFC 6532: the fields of an internationalised report are UTF-8. The parser keeps their bytes as surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _field(mail: Mail, name: str) -> str:
    return next(iter(_fields(mail, name)), "")


def _typed_addresses(text: str) -> frozenset[str]:
    """The addresses in ``rfc822;taro@example.jp``. RFC 3461 encodes some characters, but not every server does."""
    kind, _, address = text.partition(";")
    encoding = _UTF8_ESCAPE if kind.strip().lower() == "utf-8" else _XTEXT
    decoded = encoding.sub(_character, address)
    return frozenset(filter(None, map(_plain_address, (address, decoded))))


def _character(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code <= 0x10FFFF else ""


def _plain_address(text: str) -> str:
    address = address_of(text.strip().removeprefix("<").removesuffix(">"))
    return address.text.lower() if address else ""


def _pattern(setting: str) -> re.Pattern[str] | None:
    if TOKEN not in setting:
        return None
    sample = address_of(setting.replace(TOKEN, "0"))
    if sample is None:
        return None
    local_part, _, _ = setting.rpartition("@")
    before, _, after = f"{local_part}@{sample.text.rpartition('@')[2]}".partition(TOKEN)
    return re.compile(rf"(?<![\w.+-]){re.escape(before)}({_ID}){re.escape(after)}(?![\w.-])", re.IGNORECASE)


def _first(pattern: re.Pattern[str] | None, texts: Sequence[str]) -> str:
    found = (pattern.search(text) for text in texts) if pattern else ()
    return next((match[1].lower() for match in found if match), "")
