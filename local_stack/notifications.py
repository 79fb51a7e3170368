"""What the demo's tenants have to say to people: channels that lead to the stand-ins, notifications that wait, and broken settings."""

from __future__ import annotations

from pathlib import Path

import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from include.database import read_sql
from local_stack.stand_ins import teams_webhook_url

# What the stand-ins answer to some destinations of ``sql/notification_facts.sql``.
REFUSED_BY_STAND_INS = {
    "retired@hd.takahashizaki.example": "5.1.1",  # nobody there any more: never written to again
    "full@hd.takahashizaki.example": "5.2.2",  # a full mailbox: another try in an hour
    "C0UNSURE": "internal_error",  # may have arrived: an operator decides
    "C0ARCHIVED": "is_archived",
    "bot-suspended": "FORBIDDEN",
}


def plant_notifications(connection: psycopg.Connection, http_port: int) -> None:
    """Add them to fresh demo data; the services answer on this port of loopback."""
    services = f"http://127.0.0.1:{http_port}/"
    # Many statements with parameters: the server takes only one at a time.
    psycopg.ClientCursor(connection).execute(
        read_sql(Path(__file__).parent, "notification_facts"),
        {
            "services": services,
            "teams_webhook_url": teams_webhook_url(services),
            "private_key": _private_key(),
        },
    )


def play_the_first_of_november(connection: psycopg.Connection) -> None:
    """The demo plays 1 November 2026: what the batches have dated with the day on which they really ran is due on that morning."""
    connection.execute(read_sql(Path(__file__).parent, "first_of_november"))


def _private_key() -> str:
    """Of LINE WORKS' service account, made anew: a key that lies in a repository is none."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
