"""The status code of a failed delivery, from the report's Status and the server's own words (Diagnostic-Code of RFC 3464). Pure.

Many servers answer without an enhanced code, such as docomo, au and SoftBank. The Status is then the reporting server's guess: 5.0.0
(Postfix, Amazon SES), 5.2.0 (Sendmail) or 5.1.351 (Exchange Online). Others give an address's code to a refusal by policy.
"""

from __future__ import annotations

import re

from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outcome import ErrorClass

# A failure with a subject of RFC 3463 in a server's own words, which may also contain program versions and IP addresses.
REFUSAL = re.compile(r"(?<![\d.])([45]\.[0-7]\.\d{1,3})(?!\.?\d)")

# These codes do not say what is wrong. 5.7.0 does: a policy.
_VAGUE = re.compile(r"([45]\.(?!7)\d{1,3}\.0|5\.1\.351)?")
_POLICY = "5.7.0"
# Characters of the words that are read.
_LONGEST_WORDS = 998
# "X-Outbound-Mail-Relay; Host not found"
_TYPE = re.compile(r"^[\w-]{1,64};")
_ADDRESS = re.compile(r"\S{0,320}@\S{0,320}")

_POLICY_WORDS = re.compile(
    r"\b(spf|dkim|dmarc|ptr|(dns|rb|r)bl)\b|spam|(black|block) ?list|blocked (using|by|for|ip)|block(ed)?\b.{0,20}client|reputation"
    r"|polic(y|ies)|client host|mailfrom|mail from|sender (address )?(is )?rejected|domain of sender|unauthenticated|too many|frequency"
    r"|relay|virus|content|banned|rate limit|not allowed|not verified|recipient preferences|reverse dns|access denied, ",
    re.IGNORECASE,
)
_PERSON = "(user|recipient|mailbox|account|address|customer)"
_WORDS = tuple(
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        ("5.2.2", r"(mailbox|inbox|quota)\b.{0,30}\b(full|exceeded)|over ?quota|exceeded storage|out of storage"),
        ("5.1.10", r"null mx|does ?n[o']t (receive|accept) e?-?mail"),
        ("5.1.2", r"no such domain|nxdomain|domain (name )?not found|host (name )?(unknown|not found)|unknown (host|domain)"),
        ("5.2.1", r"account\b.{0,30}\b(disabled|discontinued|inactive)|inactive (user|account|mailbox|email)"),
        (
            "5.1.1",
            rf"unknown (local|{_PERSON})|{_PERSON}\W{{1,5}}((is|was) )?(unknown|unavailable|invalid|not (be )?(found|known|exist))"
            rf"|no such {_PERSON}|{_PERSON}\b[^.;]{{0,60}} (does ?n[o']t|not) exist|user does ?n[o']t have an? \S{{1,80}} account"
            rf"|invalid {_PERSON}|destinataire invalide|not our {_PERSON}|no longer (on server|exists|available)|no mailbox here"
            r"|recipient address rejected|\baddress rejected",
        ),
    )
)  # fmt: skip


def status_of(status: str, words: str) -> str:
    """The status code; the Status of the report if the words say nothing more. A refusal by policy is 5.7.0 even if it names an address."""
    text = _ADDRESS.sub("", _TYPE.sub("", words[:_LONGEST_WORDS]))
    is_vague = _VAGUE.fullmatch(status) is not None
    if not is_vague and not _is_about_address(status):
        return status
    if _POLICY_WORDS.search(text):
        return _POLICY
    own = next((code for code in REFUSAL.findall(text) if not _VAGUE.fullmatch(code)), "")
    # The code of a server behind the reporting one: "5.1.0 - Unknown address error 550-'5.2.2 <…>... Mailbox Full'".
    if own and (is_vague or not _is_about_address(own)) and own[0] == "5":
        return own
    return next((code for code, pattern in _WORDS if pattern.search(text)), status) if is_vague else status


def _is_about_address(status: str) -> bool:
    row = EMAIL.errors.get(status)
    return row is not None and row.error_class is ErrorClass.ADDRESS
