"""Addresses that get no mail, with the reason: a bounce, a complaint or an unsubscription.

A bounce suppresses an address for ``notification.suppress_days``. Three bounces in a row, a complaint or an unsubscription suppress it
permanently. Contract letters ignore unsubscriptions (``contract_letters``), but not the bounces of an unsubscribed address. An accepted
e-mail that does not bounce later resets the count. An operator can lift a suppression. All functions run in the caller's transaction.
Datetimes are aware; addresses are compared in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.messaging.preferences import load_preferences
from include.skillreport.messaging.settings import NotificationSettings

_SQL = Statements(Path(__file__).parent)

# After this many bounces in a row an address is suppressed permanently.
MOST_BOUNCES = 3

# A mail server reports a bounce within five days (RFC 5321, section 4.5.4.1).
_LATEST_BOUNCE = timedelta(days=7)

# The batches' own codes: no mail server has refused the address.
_NO_BOUNCES = frozenset({"suppressed", "invalid_address"})


class SuppressionReason(StrEnum):
    """Why an address is suppressed."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True)
class Suppression:
    """A suppressed address. ``until`` is None if it is suppressed permanently. ``bounces`` counts the bounces in a row.

    ``bounced_until``: an unsubscribed address gets no contract letters until then, because its mails bounce; None: it gets them.
    """

    tenant_id: str
    address: str = field(repr=False)
    reason: SuppressionReason
    error_code: str
    bounces: int
    since: datetime
    until: datetime | None
    bounced_until: datetime | None


def suppressed_addresses(
    connection: psycopg.Connection, now: datetime | None = None
) -> dict[str, SuppressionReason]:
    """The suppressed addresses (lower case) of the transaction's tenants at ``now`` (default: the database's time), with the reason."""
    rows = _SQL.execute(connection, "suppressed_addresses", now=now)
    return {address: SuppressionReason(reason) for address, reason in rows}


def record_bounce(
    connection: psycopg.Connection,
    tenant_id: str,
    address: str,
    *,
    message_id: str,
    error_code: str,
    now: datetime,
) -> None:
    """Count the hard bounce of a message, and suppress its address."""
    if error_code in _NO_BOUNCES:
        return
    settings = NotificationSettings.load()
    preferences = load_preferences(connection, settings, now).get(tenant_id)
    days = (preferences.settings if preferences else settings).suppress_days
    _SQL.execute(
        connection,
        "record_bounce",
        tenant_id=tenant_id,
        address=address.lower(),
        message_id=message_id,
        error_code=error_code,
        now=now,
        until=now + timedelta(days=days),
        most_bounces=MOST_BOUNCES,
    )


def record_accepted(
    connection: psycopg.Connection, tenant_id: str, messages: Mapping[str, str], now: datetime
) -> None:
    """Note that mail servers accepted messages: their addresses, by message id."""
    if messages:
        _SQL.execute(
            connection,
            "record_accepted",
            tenant_id=tenant_id,
            addresses=[address.lower() for address in messages.values()],
            message_ids=list(messages),
            now=now,
        )


def forget_ended(connection: psycopg.Connection, now: datetime) -> None:
    """Delete the bounces of addresses that accepted an e-mail so long ago that it cannot bounce any more."""
    _SQL.execute(connection, "forget_ended", accepted_before=now - _LATEST_BOUNCE)


def suppress_for_good(
    connection: psycopg.Connection, tenant_id: str, address: str, reason: SuppressionReason, now: datetime
) -> bool:
    """Suppress an address because of a complaint or an unsubscription; returns True if this is new."""
    changed = _SQL.execute(
        connection,
        "suppress_for_good",
        tenant_id=tenant_id,
        address=address.lower(),
        reason=reason,
        now=now,
    )
    return changed.rowcount == 1


def list_suppressed(
    connection: psycopg.Connection, addresses: Sequence[str], now: datetime, *, most: int
) -> tuple[list[Suppression], dict[str, int]]:
    """The latest suppressions of the transaction's tenants, limited per tenant, and the number of all by tenant id.

    ``addresses``: only these; empty: all.
    """
    rows = _SQL.rows(connection, "list_suppressed", addresses=_lower(addresses), now=now, count=most)
    listed = [
        Suppression(
            row["tenant_id"],
            row["address"],
            SuppressionReason(row["reason"]),
            row["error_code"],
            row["bounces"],
            row["suppressed_at"],
            row["suppressed_until"],
            row["bounced_until"],
        )
        for row in rows
    ]
    return listed, {row["tenant_id"]: row["suppressions"] for row in rows}


def lift(connection: psycopg.Connection, addresses: Sequence[str]) -> list[str]:
    """Send mail to these addresses again, and forget their bounces; returns the tenant id of each."""
    rows = _SQL.execute(connection, "lift", addresses=_lower(addresses)).fetchall()
    return [tenant_id for (tenant_id,) in rows]


def not_suppressed(
    platform: psycopg.Connection, tenant_ids: Sequence[str], addresses: Sequence[str], now: datetime
) -> list[str]:
    """The addresses (lower case) that none of these tenants has suppressed. ``platform`` acts as ``batch_platform``."""
    return [
        str(address)
        for address in _SQL.column(
            platform, "not_suppressed", tenant_ids=list(tenant_ids), addresses=_lower(addresses), now=now
        )
    ]


def masked(address: str) -> str:
    """The address for logs: its first character and its domain."""
    _, at, domain = address.rpartition("@")
    return f"{address[:1]}***{at}{domain if at else ''}"


def _lower(addresses: Sequence[str]) -> list[str]:
    return sorted({address.lower() for address in addresses})
