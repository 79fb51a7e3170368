"""Mails of other servers about the batches' letters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from include.skillreport.core.network import MailboxConfig, Network
from local_stack.stand_ins import StandIns
from tests.worlds.outbox_rows import network

ID = "3f2b8a54-0c1d-4e6f-9a7b-1234567890ab"
BOUNCES = "bounce+{token}@example.jp"
UNSUBSCRIBES = "unsubscribe+{token}@example.jp"


def dsn(
    recipient: str = "taro@example.jp",
    *,
    to: str = "bounce@example.jp",
    action: str = "failed",
    status: str = "5.1.1",
    returned: str = f"<{ID}@example.jp>",
    original: str | None = None,
    kind: str = "delivery-status",
) -> bytes:
    """A delivery status notification as Postfix writes it. ``to`` is the envelope sender of the letter."""
    original_field = f"Original-Recipient: {original}\n" if original else ""
    return f"""\
Return-Path: <>
Delivered-To: {to}
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4F2A/mx.example.net"

This is a MIME-encapsulated message.

--4F2A/mx.example.net
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--4F2A/mx.example.net
Content-Description: Delivery report
Content-Type: message/{kind}

Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 4F2A
Arrival-Date: Sun,  1 Nov 2026 09:00:00 +0900 (JST)

Final-Recipient: rfc822; {recipient}
{original_field}Action: {action}
Status: {status}
Remote-MTA: dns; mail.example.org
Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: Recipient address rejected

--4F2A/mx.example.net
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: no-reply@example.jp
To: {recipient}
Message-ID: {returned}

--4F2A/mx.example.net--
""".replace("\n", "\r\n").encode()


def arf(
    *,
    kind: str = "abuse",
    returned: str = f"<{ID}@example.jp>",
    rcpt_to: str = "",
    mail_from: str = "bounce@example.jp",
    to: str = "abuse@example.jp",
) -> bytes:
    """An abuse report as mailbox providers write it."""
    recipient_field = f"Original-Rcpt-To: {rcpt_to}\n" if rcpt_to else ""
    return f"""\
From: <fbl@example.net>
To: {to}
Subject: FW: Spam
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part1"

--part1
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report.

--part1
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: Provider/1.0
Version: 1
Original-Mail-From: <{mail_from}>
{recipient_field}
--part1
Content-Type: message/rfc822
Content-Disposition: inline

From: no-reply@example.jp
To: redacted@example.net
Message-ID: {returned}
Content-Type: multipart/alternative; boundary="part2"

--part2
Content-Type: text/plain

Spam
--part2--

--part1--
""".replace("\n", "\r\n").encode()


def unsubscription(token: str = ID, *, automatic: str = "", to: str = UNSUBSCRIBES) -> bytes:
    """The mail of a mail program when its user unsubscribes."""
    automatic_field = f"Auto-Submitted: {automatic}\n" if automatic else ""
    return f"""\
From: Taro <another.address@example.net>
To: <{to.replace("{token}", token)}>
Subject: unsubscribe
{automatic_field}
""".replace("\n", "\r\n").encode()


def qmail_bounce(
    recipient: str = "taro@example.jp",
    *,
    to: str,
    reason: str = "Remote host said: 550 5.1.1 <taro@example.jp>: Recipient address rejected: User unknown",
) -> bytes:
    """A bounce of qmail-send (QSBMF, https://cr.yp.to/proto/qsbmf.txt): no RFC 3464, no MIME."""
    return f"""\
Return-Path: <>
Delivered-To: {to}
Received: (qmail 4711 invoked for bounce); 1 Nov 2026 00:00:12 -0000
Date: 1 Nov 2026 00:00:12 -0000
From: MAILER-DAEMON@mx.example.net
To: {to}
Subject: failure notice

Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{recipient}>:
192.5.2.1 does not like recipient.
{reason}
Giving up on 192.5.2.1.

--- Below this line is a copy of the message.

Return-Path: <{to}>
Received: (qmail 4708 invoked from network); 1 Nov 2026 00:00:10 -0000
From: no-reply@example.jp
To: {recipient}
Subject: 4.2.2

The text of the letter.
""".replace("\n", "\r\n").encode()


_EXIM_FAILED = """\
A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {recipient}
    SMTP error from remote mail server after RCPT TO:<{recipient}>:
    host mx.example.org [192.5.2.1]: 550 5.1.1 <{recipient}>: User unknown
"""

_EXIM_DELAYED = """\
A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue on mx.example.net.

The message identifier is:     1vFabc-000000001Xy-2abc
The address to which the message has not yet been delivered is:

  {recipient}
    host mx.example.org [192.5.2.1]: 451 4.7.1 Greylisted

No action is required on your part. Delivery attempts will continue for
some time, and this warning may be repeated at intervals if the message
remains undelivered.
"""


def exim_bounce(recipient: str = "taro@example.jp", *, to: str, is_delayed: bool = False) -> bytes:
    """A bounce of Exim without RFC 3464, its only kind before version 4.84; or its warning about a letter that waits."""
    says = (_EXIM_DELAYED if is_delayed else _EXIM_FAILED).format(recipient=recipient)
    failed = "" if is_delayed else f"X-Failed-Recipients: {recipient}\n"
    return f"""\
Return-path: <>
Envelope-to: {to}
Received: from Debian-exim by mx.example.net with local (Exim 4.80.1)
\tid 1vFabd-000000001Xz-3bcd; Sun, 01 Nov 2026 09:00:00 +0900
{failed}Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.example.net>
To: {to}
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

{says}
------ This is a copy of the message, including all the headers. ------

Return-path: <{to}>
From: no-reply@example.jp
To: {recipient}
Subject: 4.2.2

The text of the letter.
""".replace("\n", "\r\n").encode()


def box(services: StandIns, **changes: Any) -> MailboxConfig:
    usual = MailboxConfig(
        "127.0.0.1", services.imap_port, "bounce@example.jp", "imap-very-secret", security="none"
    )
    return replace(usual, **changes)


def with_mailbox(services: StandIns, **changes: Any) -> Network:
    """The stand-ins with VERP, an unsubscribe address and a mailbox."""
    usual = network(services)
    assert usual.email is not None
    email = replace(usual.email, envelope_sender=BOUNCES, unsubscribe_address=UNSUBSCRIBES)
    return replace(usual, email=email, mailbox=box(services, **changes))
