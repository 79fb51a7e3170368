"""What the answers and failures of a mail server mean: the results of a send, by the channel's table."""

from __future__ import annotations

import re
from dataclasses import replace

import aiosmtplib

from include.skillreport.messaging.address_guard import RefusedAddressError
from include.skillreport.messaging.channels.access_token import TokenFailedError
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.certificate import CertificateRefusedError
from include.skillreport.messaging.channels.email.letter import LetterTooLargeError, Smtputf8MissingError
from include.skillreport.messaging.outcome import ErrorClass, SendResult, failed

# RFC 5321: the server closes the connection.
CLOSING = 421

# RFC 2034 puts the enhanced code at the beginning. qmail and similar servers write it last.
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_LAST_ENHANCED = re.compile(r"\(#([245]\.\d{1,3}\.\d{1,3})\b[^()]*\)\s*$")
# The recipient's address or mailbox, not the sender's (1.7 and 1.8). The reply's text may mention the recipient's own quotas.
_ABOUT_RECIPIENT = re.compile(r"[45]\.1\.([1-6]|10)|4\.2\.2")
# Characters of an answer that are read. A tenant's own server may answer anything.
_LONGEST_ANSWER = 2_000
# A reply may quote addresses. Their text must not match a pattern.
_QUOTED_ADDRESS = re.compile(r"\S*@\S*")
_NUMBER = re.compile(r"\d+")
# Another server's text about this recipient (Exim's callout, Postfix's "said:"), or Exchange's about a group that accepts only internal
# mail. It says nothing about the installation.
_PASSED_ON = re.compile(r"callout|\bsaid:|response to rcpt|resolver\.rst", re.IGNORECASE)
# Answers of a server that is out of order itself (RFC 3463, 4.3; RFC 5321, 451 and 452).
_OUT_OF_ORDER = "4.3"
_LOCAL_ERRORS = frozenset({451, 452})
# This code is about the login, although it answers the recipient or the e-mail.
_NO_PASSWORDS = "basic_auth_off"

# The e-mail is larger than the server's or the recipient's limit. 552 is RFC 1870's code, without an enhanced code.
_TOO_LARGE = frozenset({"5.3.4", "5.2.3", "552"})

# UnicodeError: the host name cannot be encoded for a resolver.
FAILURES = (
    aiosmtplib.SMTPException,
    OSError,
    UnicodeError,
    RefusedAddressError,
    LetterTooLargeError,
    Smtputf8MissingError,
    TokenFailedError,
    CertificateRefusedError,
)


def not_sent(error: Exception) -> SendResult:
    """The result of a failure before the e-mail was sent. Only an answer about the recipient or the e-mail has ``is_answer``."""
    match error:
        case aiosmtplib.SMTPRecipientRefused():
            return _refused_letter(error)
        case Smtputf8MissingError():
            return failed(EMAIL, "smtputf8_missing")
        case LetterTooLargeError():
            return failed(EMAIL, "5.3.4")
        case aiosmtplib.SMTPSenderRefused() if _code(error) in _TOO_LARGE:
            # The server knows the e-mail's size.
            return failed(EMAIL, _code(error), _shown(error))
    return replace(_never_reached(error), is_answer=False, is_unanswered=isinstance(error, TimeoutError))


def perhaps_sent(error: Exception) -> SendResult:
    """The result of a failure while the e-mail was sent. After a refusal it has not arrived; without an answer it may have arrived."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        return _refused_letter(error)
    is_unanswered = isinstance(error, TimeoutError)
    code = "timeout" if is_unanswered else "connection_lost"
    return replace(failed(EMAIL, code, type(error).__name__), is_unanswered=is_unanswered)


def is_too_large(result: SendResult) -> bool:
    """True if the e-mail is larger than a limit."""
    return result.error is not None and result.error.code in _TOO_LARGE


def is_for_rate(error: aiosmtplib.SMTPResponseException) -> bool:
    """True if the server refuses because of its own limit."""
    return failed(EMAIL, _code(error)).is_refused_for_rate


def is_refused_login(error: Exception) -> bool:
    """True if the server refuses the login permanently."""
    return (
        isinstance(error, aiosmtplib.SMTPAuthenticationError) and error.code >= 500 and not is_for_rate(error)
    )


def _never_reached(error: Exception) -> SendResult:
    """The result of a failure of the connection, the login or the sender: the server has seen neither recipient nor e-mail."""
    match error:
        case RefusedAddressError():
            return failed(EMAIL, "refused_address", str(error))
        case CertificateRefusedError():
            return failed(EMAIL, "certificate_refused", str(error))
        case TokenFailedError():
            return error.result
        case aiosmtplib.SMTPResponseException():
            code = _code(error)
            if is_refused_login(error) and code != _NO_PASSWORDS:
                # "535 5.7.8" refuses the login. Without this, 5.7 would count as a refusal of the sender.
                code = "535"
            if EMAIL.errors[code].error_class in (ErrorClass.ADDRESS, ErrorClass.PAYLOAD):
                # The server refuses the installation.
                code = "5.7"
            # Not a mail server, or none at present.
            return failed(EMAIL, "connection_refused" if code == "unknown" else code, _shown(error))
        case ConnectionError() | TimeoutError():
            return failed(EMAIL, "connection_refused", type(error).__name__)
        case aiosmtplib.SMTPException():
            return failed(
                EMAIL, "5.7", "the server does not offer what the settings ask for (STARTTLS, AUTH)"
            )
    return failed(EMAIL, "connection_refused", type(error).__name__)


def _refused_letter(error: aiosmtplib.SMTPResponseException) -> SendResult:
    """The refusal of one recipient or e-mail. A refusal by policy (5.7) is about this e-mail only: the channel stays open."""
    code = _code(error)
    result = failed(EMAIL, "policy" if code == "5.7" else code, _shown(error))
    by_text = result.error is not None and result.error.text
    # A text that the table lists is not compared with other recipients' answers.
    is_known = by_text is not None and by_text and by_text.search(error.message[:_LONGEST_ANSWER])
    text = "" if is_known else _NUMBER.sub("#", _without_addresses(error))
    return replace(result, text=text, is_answer=code not in (_OUT_OF_ORDER, _NO_PASSWORDS))


def _code(error: aiosmtplib.SMTPResponseException) -> str:
    """The table's code for a refusal: by its text, otherwise by its most specific code.

    A recipient's limit counts as the server's limit if the command named no recipient yet.
    """
    table = EMAIL.errors
    text = _without_addresses(error)
    reply, enhanced = str(error.code), _enhanced(error)
    is_about_recipient = _ABOUT_RECIPIENT.fullmatch(enhanced) is not None
    # The login has its own codes.
    is_own_text = not (isinstance(error, aiosmtplib.SMTPAuthenticationError) or _PASSED_ON.search(text))
    # Servers behind this one may answer to the e-mail. Only a service's own words for a refused sender count then.
    is_ours = is_own_text and not isinstance(error, aiosmtplib.SMTPDataError)
    by_text = (
        row.code
        for row in table.values()
        if row.text and not is_about_recipient and row.text.search(text)
        if is_ours or row.error_class is not ErrorClass.ACCESS or (is_own_text and not row.if_repeated)
    )
    by_code = (
        reply if error.code == CLOSING else "",
        f"{reply} {enhanced}",
        enhanced,
        enhanced.rpartition(".")[0],
        _OUT_OF_ORDER if error.code in _LOCAL_ERRORS and not enhanced else "",
        reply,
        f"smtp_{(enhanced or reply)[0]}",
    )
    code = next((code for code in (*by_text, *by_code) if code in table), "unknown")
    names_recipient = isinstance(error, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError)
    if table[code].error_class is ErrorClass.RECIPIENT_LIMIT and not names_recipient:
        return "throttled"
    return code


def _without_addresses(error: aiosmtplib.SMTPResponseException) -> str:
    return _QUOTED_ADDRESS.sub("", error.message[:_LONGEST_ANSWER])


def _enhanced(error: aiosmtplib.SMTPResponseException) -> str:
    if match := _ENHANCED.match(error.message):
        return match.group()
    match = _LAST_ENHANCED.search(error.message)
    return match[1] if match else ""


def _shown(error: aiosmtplib.SMTPResponseException) -> str:
    # Without the reply's text, which usually quotes the recipient.
    return f"SMTP {error.code} {_enhanced(error)}".strip()
