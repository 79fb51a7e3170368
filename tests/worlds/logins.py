"""Tenants whose user logged in some days before 31 October 2026."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import psycopg

from tests.worlds import host_rows

DAY = date(2026, 10, 31)

NOON = datetime(2026, 10, 31, 3, 0)


def tenant(host: psycopg.Connection, tenant_id: str, days_ago: int | None = None, **values: Any) -> str:
    """A tenant that is years old with one user, who logged in this many days before (or never); returns the user's id."""
    values = {
        "created_at": datetime(2020, 4, 1),
        "contact_email": f"contact@{len(tenant_id)}.example.jp",
    } | values
    host_rows.tenant(host, tenant_id, **values)
    at = None if days_ago is None else NOON - timedelta(days=days_ago)
    return host_rows.user(host, tenant_id, f"user of {tenant_id}", last_login_at=at)
