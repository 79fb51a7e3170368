"""What can become of one send: four outcomes, never two, from one table of error codes for all channels.

The table (``error_codes.yaml``) drives the clients, the documentation and the stand-ins of the tests alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path

from include.settings import load_yaml

_TABLE_FILE = Path(__file__).with_name("error_codes.yaml")


class Channel(StrEnum):
    """How a message travels."""

    EMAIL = "email"
    SLACK = "slack"
    TEAMS = "teams"
    LINE_WORKS = "line_works"


class Outcome(StrEnum):
    """SENT; TRANSIENT: another try may help; PERMANENT: none will; AMBIGUOUS: it may have arrived, and a second one would be a repeat."""

    SENT = "sent"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    AMBIGUOUS = "ambiguous"


class ErrorClass(StrEnum):
    """What is wrong, and so who can mend it.

    RATE_LIMIT and RECIPIENT_LIMIT ask for less: the service of everybody, or one recipient (greylisting, a busy mailbox).
    CREDENTIAL and CHANNEL_CLOSED close the tenant's whole channel until somebody mends it; ADDRESS keeps one recipient from being
    written to again; the others concern one message, or nobody but the service.
    """

    RATE_LIMIT = "rate_limit"
    RECIPIENT_LIMIT = "recipient_limit"
    SERVICE = "service"
    NETWORK = "network"
    CREDENTIAL = "credential"
    CONFIGURATION = "configuration"
    DESTINATION = "destination"
    ADDRESS = "address"
    PAYLOAD = "payload"


_LIMITS = frozenset({ErrorClass.RATE_LIMIT, ErrorClass.RECIPIENT_LIMIT})


@dataclass(frozen=True)
class ErrorCode:
    """One row of the table: what an answer means.

    ``meaning`` is the operators' Japanese; ``wait`` the least time to the next try; ``text`` a pattern that the answer's text may match.
    """

    code: str
    outcome: Outcome
    error_class: ErrorClass
    meaning: str
    wait: timedelta | None = None
    text: re.Pattern[str] | None = None


@dataclass(frozen=True)
class SendResult:
    """What one send came to. ``detail`` is for the log: never a secret, an address or the message itself.

    ``retry_after`` is the service's own word on when to come back; ``provider_message_id`` its name for the message.
    """

    outcome: Outcome
    error: ErrorCode | None = None
    detail: str = ""
    provider_message_id: str | None = None
    retry_after: timedelta | None = None

    @property
    def counts_as_attempt(self) -> bool:
        """A request that was refused for its rate has not been tried."""
        return self.error is None or self.error.error_class not in _LIMITS

    @property
    def is_refused_for_rate(self) -> bool:
        """Whether the service takes nothing from anybody at this rate."""
        return self.error is not None and self.error.error_class is ErrorClass.RATE_LIMIT


@cache
def error_table(channel: Channel) -> Mapping[str, ErrorCode]:
    """The channel's codes; ``unknown`` is there for whatever the table does not list."""
    rows = load_yaml(_TABLE_FILE.read_text(encoding="utf-8"))[channel.value]
    return {
        code: ErrorCode(
            code=code,
            outcome=Outcome(row["outcome"]),
            error_class=ErrorClass(row["class"]),
            meaning=row["meaning"],
            wait=timedelta(minutes=row["wait_minutes"]) if "wait_minutes" in row else None,
            text=re.compile(row["text"], re.IGNORECASE) if "text" in row else None,
        )
        for code, row in rows.items()
    }


def failed(
    channel: Channel, code: str, detail: str = "", *, retry_after: timedelta | None = None
) -> SendResult:
    """The result for an error code; one that the table does not know is taken as the channel's ``unknown``."""
    table = error_table(channel)
    error = table.get(code) or table["unknown"]
    shown = detail if error.code == code else f"{code}: {detail}" if detail else code
    return SendResult(error.outcome, error, shown, retry_after=retry_after)
