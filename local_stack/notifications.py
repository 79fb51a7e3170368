"""Demo data for BATCH-019: channels that lead to the stand-ins, waiting notifications, and broken settings."""

from __future__ import annotations

from pathlib import Path

import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from include.skillreport.core.database import Statements
from local_stack.stand_ins import teams_webhook_url

_SQL = Statements(Path(__file__).parent)

# The error codes of the stand-ins for some destinations of ``sql/notification_facts.sql``.
REFUSED_BY_STAND_INS = {
    "retired@hd.takahashizaki.example": "5.1.1",  # unknown mailbox: the address is suppressed
    "full@hd.takahashizaki.example": "5.2.2",  # full mailbox: retried after an hour
    "C0UNSURE": "internal_error",  # ambiguous: an operator decides
    "C0ARCHIVED": "is_archived",
    "bot-suspended": "FORBIDDEN",
}

# The mail server accepts letters to these addresses, and they bounce later with this status code.
BOUNCING_AT_STAND_INS = {"moved@hd.takahashizaki.example": "5.1.6"}


def plant_notifications(connection: psycopg.Connection, http_port: int) -> None:
    """Add channels and notifications to fresh demo data. The stand-ins listen on this port of 127.0.0.1."""
    services = _services(http_port)
    # A client cursor, because the server accepts only one statement with parameters at a time.
    _SQL.execute(
        psycopg.ClientCursor(connection),
        "notification_facts",
        services=services,
        teams_webhook_url=teams_webhook_url(services),
        private_key=_private_key(),
    )


def move_channels(connection: psycopg.Connection, http_port: int) -> None:
    """Make the channels of earlier demo data lead to the stand-ins on this port."""
    _SQL.execute(connection, "move_channels", services=_services(http_port))


def make_due_on_demo_date(connection: psycopg.Connection) -> None:
    """Make the messages of the batches due on 1 November 2026, the demo's date. The batches use the real date."""
    _SQL.execute(connection, "make_due_on_demo_date")


def _services(http_port: int) -> str:
    return f"http://127.0.0.1:{http_port}/"


def _private_key() -> str:
    """A new key for the LINE WORKS service account, because a private key must not be in a repository."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
