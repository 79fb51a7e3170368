"""Reads a mailbox once for a run: each unread mail is parsed, recorded, and only then marked as read."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from include.skillreport.core.errors import is_about_data
from include.skillreport.core.network import Network
from include.skillreport.messaging.feedback.mailbox import Mailbox, MailboxError, open_mailbox
from include.skillreport.messaging.feedback.record import Effect, record_report
from include.skillreport.messaging.feedback.reports import Addresses, FeedbackReport, ReportKind, report_in

log = logging.getLogger(__name__)

# The maximum number of mails per run. The next run reads the following mails.
MOST_MAILS = 500

# Seconds after which a run reads no more mails, so that a slow mailbox does not delay the retries.
_MOST_SECONDS = 300


# The figures of a reading (``RunRemark.effects``).
FIGURES = ("mails", "unreadable", "other", *Effect)


@dataclass
class Reading:
    """The number of mails in the mailbox by effect, and why the rest could not be read.

    ``mails`` were read; ``other`` are not reports; ``unreadable`` are flagged in the mailbox for users.
    """

    counts: Counter[str] = field(default_factory=Counter)
    problem: MailboxError | None = None


def read_feedback(
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    network: Network,
    clock: Callable[[], datetime],
) -> Reading:
    """Read the network's mailbox. ``platform`` acts as ``batch_platform`` and ``connection`` as ``batch_tenant``, in autocommit mode.

    A failure of the mailbox is a ``problem`` of the reading; earlier records stay. :raises psycopg.Error: the database failed.
    """
    reading = Reading()
    if network.mailbox is None:
        return reading
    email = network.email
    addresses = Addresses(email.envelope_sender if email else "", email.unsubscribe_address if email else "")
    stop_at = time.monotonic() + _MOST_SECONDS
    try:
        with open_mailbox(network.mailbox, network.allowed_hosts) as mailbox:
            for uid in mailbox.unread(MOST_MAILS):
                if time.monotonic() >= stop_at:
                    break
                _read_one(mailbox, uid, addresses, reading.counts, platform, connection, clock)
    except MailboxError as error:
        reading.problem = error
    return reading


def _read_one(
    mailbox: Mailbox,
    uid: str,
    addresses: Addresses,
    counts: Counter[str],
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    clock: Callable[[], datetime],
) -> None:
    content = mailbox.read(uid)
    if content is None:
        # Gone, or without content. If it stayed unread, it would come first in each run.
        mailbox.done(uid, is_flagged=True)
        return
    counts["mails"] += 1
    report = _report_in(content, addresses, uid)
    effect = None if report is None else _recorded(platform, connection, report, uid, clock())
    if report is None or effect is None:
        counts["unreadable"] += 1
        mailbox.done(uid, is_flagged=True)
        return
    counts["other" if report.kind is ReportKind.OTHER else effect.value] += 1
    # The mail stays unread for the next run if its message is being sent at the moment.
    if effect is not Effect.LATER:
        mailbox.done(uid)


def _report_in(content: bytes, addresses: Addresses, uid: str) -> FeedbackReport | None:
    try:
        return report_in(content, addresses)
    except Exception as error:
        # An error that a hostile mail causes concerns only this mail. Its text is not logged.
        log.warning("The mail with UID %s cannot be read: %s", uid, type(error).__name__)
        return None


def _recorded(
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    report: FeedbackReport,
    uid: str,
    now: datetime,
) -> Effect | None:
    try:
        return record_report(platform, connection, report, now)
    except Exception as error:
        if not is_about_data(error):
            raise
        log.warning("The mail with UID %s cannot be recorded: %s", uid, type(error).__name__)
        return None
