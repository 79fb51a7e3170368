"""The result of one send: one of four outcomes, from the channel's table of error codes.

Clients, documentation and the tests' stand-ins all use the table (``channels/<name>/errors.yaml``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from include.skillreport.core.yaml_files import load_yaml

if TYPE_CHECKING:
    from include.skillreport.messaging.channels.channel import Channel


class Outcome(StrEnum):
    """TRANSIENT: a retry may succeed. PERMANENT: a retry cannot succeed. AMBIGUOUS: the message may have arrived."""

    SENT = "sent"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    AMBIGUOUS = "ambiguous"


class ErrorClass(StrEnum):
    """The kind of error. It determines who can fix it.

    RATE_LIMIT is the service's limit, RECIPIENT_LIMIT one recipient's (greylisting, a busy mailbox). CREDENTIAL and CONFIGURATION close the
    tenant's channel until an administrator fixes it. ACCESS: the mail server refuses the installation's sender, network address or
    relaying, or requires a login. It closes the server for all its tenants until a probe is accepted. ADDRESS suppresses the recipient's
    address for a time. FILE: the file of an e-mail cannot be read from the object store. The other classes concern one message or the
    service.
    """

    RATE_LIMIT = "rate_limit"
    RECIPIENT_LIMIT = "recipient_limit"
    SERVICE = "service"
    NETWORK = "network"
    CREDENTIAL = "credential"
    CONFIGURATION = "configuration"
    ACCESS = "access"
    DESTINATION = "destination"
    ADDRESS = "address"
    PAYLOAD = "payload"
    FILE = "file"


# After these errors nothing was sent, and the send does not count as an attempt.
_NO_ATTEMPTS = frozenset(
    {ErrorClass.RATE_LIMIT, ErrorClass.RECIPIENT_LIMIT, ErrorClass.ACCESS, ErrorClass.FILE}
)


@dataclass(frozen=True)
class ErrorCode:
    """A row of a table: the meaning of an answer. ``http_*`` is an HTTP status whose answer has no listed code.

    ``meaning`` is the Japanese text for operators, ``wait`` (``wait_minutes``) the minimum time to the next retry, ``text`` a pattern for
    the answer's text. ``limits_connections`` (``limits: connections``): a rate limit that counts connections. ``closes_after``
    (``closes_after_hours``): from this age of the message, the error closes the channel. ``ends_by_check``: the daily check of the settings
    reopens the channel. ``if_repeated``: the code instead of this one if other recipients get the same answer.
    """

    code: str
    outcome: Outcome
    error_class: ErrorClass
    meaning: str
    wait: timedelta | None = None
    text: re.Pattern[str] | None = None
    limits_connections: bool = False
    closes_after: timedelta | None = None
    ends_by_check: bool = False
    if_repeated: str = ""


@dataclass(frozen=True)
class SendResult:
    """The result of one send. ``detail`` is for the log and contains no secret, address or message text.

    The service states ``retry_after`` (the wait), ``provider_message_id`` and ``per_minute`` (its limit in messages per minute). ``text``
    is the answer's text without addresses and numbers, to compare answers. ``is_answer``: the service has judged the message; otherwise the
    connection, login or sender failed before, or the server is out of order. ``is_doubtful``: the message or the installation may be the
    cause, so the result neither closes nor opens the service. ``is_unanswered``: no answer came in the time limit.
    """

    outcome: Outcome
    error: ErrorCode | None = None
    detail: str = ""
    provider_message_id: str | None = None
    retry_after: timedelta | None = None
    per_minute: int | None = None
    text: str = field(default="", repr=False)
    is_answer: bool = True
    is_doubtful: bool = False
    is_unanswered: bool = False

    @property
    def counts_as_attempt(self) -> bool:
        """True if the send counts as an attempt: the service answered to the message. Refusals by a limit or of the installation, and
        unreadable files, do not count.
        """
        return self.is_answer and (self.error is None or self.error.error_class not in _NO_ATTEMPTS)

    @property
    def is_refused_for_rate(self) -> bool:
        """True if the service refused the send because of its rate limit."""
        return self.error is not None and self.error.error_class is ErrorClass.RATE_LIMIT


@cache
def load_errors(file: Path) -> Mapping[str, ErrorCode]:
    """The table of a channel."""
    return {
        code: ErrorCode(
            code=code,
            outcome=Outcome(row["outcome"]),
            error_class=ErrorClass(row["class"]),
            meaning=row["meaning"],
            wait=timedelta(minutes=row["wait_minutes"]) if "wait_minutes" in row else None,
            text=re.compile(row["text"], re.IGNORECASE) if "text" in row else None,
            limits_connections=row.get("limits") == "connections",
            closes_after=timedelta(hours=row["closes_after_hours"]) if "closes_after_hours" in row else None,
            ends_by_check=row.get("ends_by_check", False),
            if_repeated=row.get("if_repeated", ""),
        )
        for code, row in load_yaml(file).items()
    }


def failed(
    channel: Channel, code: str, detail: str = "", *, retry_after: timedelta | None = None
) -> SendResult:
    """The result for an error code. A code that the channel's table does not list becomes its ``unknown``."""
    table = channel.errors
    error = table.get(code) or table["unknown"]
    shown = detail if error.code == code else f"{code}: {detail}" if detail else code
    return SendResult(error.outcome, error, shown, retry_after=retry_after)
