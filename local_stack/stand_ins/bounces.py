"""The bounce mails of a mail server that accepts a letter and cannot deliver it."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText


def bounce_of(letter: bytes, sender: str, recipient: str, status: str) -> bytes:
    """The delivery status notification (RFC 3464) to the letter's envelope sender."""
    report = MIMEMultipart("report", report_type="delivery-status")
    report["Delivered-To"] = report["To"] = sender
    report["From"] = "MAILER-DAEMON@mx.stand-in.example"
    report["Subject"] = "Undelivered Mail Returned to Sender"
    report["Auto-Submitted"] = "auto-replied"
    report.attach(MIMEText("The letter could not be delivered."))
    about_message, about_recipient = Message(), Message()
    about_message["Reporting-MTA"] = "dns; mx.stand-in.example"
    about_recipient["Final-Recipient"] = f"rfc822; {recipient}"
    about_recipient["Action"] = "failed"
    about_recipient["Status"] = status
    part = EmailMessage()
    part["Content-Type"] = "message/delivery-status"
    part.set_payload([about_message, about_recipient])
    report.attach(part)
    headers = message_from_bytes(letter, policy=policy.compat32)
    report.attach(MIMEText(f"Message-ID: {headers['Message-ID']}\n", "rfc822-headers"))
    return report.as_bytes(policy=policy.SMTP)
